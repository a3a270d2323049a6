"""Where the shop is: its stack says everything, in an account as on this machine."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from sql.connection import Database, DatabaseSettings

_QUEUE = "AWS::SQS::Queue"
_DEAD = "DeadLetterQueue"
_UNDELIVERED = "UndeliveredEventsQueue"


class SiteError(Exception):
    """The command cannot go on; the message says what to do."""


@dataclass(frozen=True, slots=True)
class DeadLetterQueue:
    """A dead-letter queue. `source_url` is where its messages came from and go back to.

    None stands for events that the bus could not deliver: each names its own target.
    """

    name: str
    url: str
    source_url: str | None


class Site:
    """One Region's stack: AWS clients, the database and the queues, each reached when first asked for."""

    def __init__(
        self,
        parameters: Mapping[str, str],
        outputs: Mapping[str, str],
        queues: Mapping[str, str],
        region: str,
        role: str,
    ) -> None:
        """Take what the stack says; `queues` are the URLs of its queues by their logical ids."""
        self.parameters = parameters
        self.outputs = outputs
        self.queues = queues
        self.region = region
        self.role = role

    def client(self, service: str) -> Any:
        """Give a boto3 client in the stack's Region."""
        return boto3.client(service, region_name=self.region)  # type: ignore[call-overload]  # by its name

    @property
    def is_local(self) -> bool:
        """Tell whether AWS is an emulator."""
        return ".amazonaws." not in self.client("events").meta.endpoint_url

    @cached_property
    def database(self) -> Database:
        """The way to the database as the role `operations`."""
        given = self.parameters
        settings = DatabaseSettings(
            host=self.outputs["ClusterEndpoint"],
            port=int(given.get("DatabasePort", 5432)),
            name=given.get("DatabaseName", "postgres"),
            tls=given.get("DatabaseTls", "verify-full"),
            pipelined=given.get("DatabasePipeline", "on") == "on",
            role=self.role,
            region=self.region,
            application_name="rewards-operations",
        )
        return Database(settings)

    @cached_property
    def dead_letter_queues(self) -> dict[str, DeadLetterQueue]:
        """The dead-letter queues by name: that of CleanCartQueue is `clean-cart`."""
        found = {}
        for queue, url in self.queues.items():
            if queue == _UNDELIVERED:
                found["undelivered"] = DeadLetterQueue("undelivered", url, None)
            elif queue.endswith(_DEAD):
                stem = queue.removesuffix(_DEAD)
                found[_kebab(stem)] = DeadLetterQueue(_kebab(stem), url, self.queues[f"{stem}Queue"])
        return found

    def dead_letter_queue(self, name: str) -> DeadLetterQueue:
        """Give a queue by name. Raises SiteError."""
        queue = self.dead_letter_queues.get(name)
        if queue is None:
            raise SiteError(
                f"There is no queue {name}. There are: {', '.join(sorted(self.dead_letter_queues))}."
            )
        return queue


def find_site(stack: str, region: str | None, profile: str | None, role: str) -> Site:
    """Read a stack. Raises SiteError when it cannot be read."""
    if profile is not None:
        os.environ["AWS_PROFILE"] = profile  # for the database's token, too
    # The SDK for Python reads AWS_DEFAULT_REGION alone, its sisters AWS_REGION.
    session = boto3.Session(region_name=region or os.environ.get("AWS_REGION"))
    if session.region_name is None:
        raise SiteError("Which Region? Give --region, or set AWS_REGION; or start one here with `make up`.")
    _spare_the_proxy(os.environ.get("AWS_ENDPOINT_URL", ""))
    try:
        config = Config(connect_timeout=5, retries={"mode": "standard", "total_max_attempts": 2})
        formation = session.client("cloudformation", config=config)
        (described,) = formation.describe_stacks(StackName=stack)["Stacks"]
        pages = formation.get_paginator("list_stack_resources").paginate(StackName=stack)
        queues = {
            each["LogicalResourceId"]: each["PhysicalResourceId"]
            for page in pages
            for each in page["StackResourceSummaries"]
            if each["ResourceType"] == _QUEUE
        }
    except ValueError as error:
        # botocore's own word for an AWS_ENDPOINT_URL that is none.
        raise SiteError(
            f"{error}. Set AWS_ENDPOINT_URL to a URL such as .local/region.env has, or unset it."
        ) from None
    except (BotoCoreError, ClientError) as error:
        raise SiteError(
            f"The stack {stack} in {session.region_name} cannot be read: {error}\n"
            "Give --stack, --region and --profile; for a Region on this machine, in the shell: "
            ". .local/region.env"
        ) from error
    parameters = {each["ParameterKey"]: each["ParameterValue"] for each in described.get("Parameters", ())}
    outputs = {each["OutputKey"]: each["OutputValue"] for each in described.get("Outputs", ())}
    return Site(parameters, outputs, queues, session.region_name, role)


def _spare_the_proxy(endpoint_url: str) -> None:
    """Have an endpoint of this machine reached without the proxy that HTTP_PROXY names."""
    host = urlsplit(endpoint_url).hostname
    if host in ("127.0.0.1", "localhost", "::1"):
        os.environ["NO_PROXY"] = os.environ["no_proxy"] = host


def _kebab(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()
