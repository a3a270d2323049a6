"""Shoppers at a local Region's API and what looks on beside them: for the demo, the drill and the tests."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from local.emulator import NO_CERTIFICATES
from local.region import LocalRegion
from sql.connection import Database

#: API Gateway gives up after 29 s. Who gives up sooner sends again what is still being worked on.
HTTP_TIMEOUT_S = 30.0
#: Shorter than the emulator keeps an idle connection (5 s), so that none is used that it is just closing.
_IDLE_CONNECTION_S = 2.0
#: How often a client sends a request that it gets no answer to.
SENDINGS = 3
FOLLOW_UP_TIMEOUT_S = 60.0
SOURCE = "rewards.orders"

console = Console(highlight=False, width=110)


class NotSoError(Exception):
    """Something was not as it must be; the message says what."""


def expect(holds: bool, what: str) -> None:
    """Print a line that holds, or raise NotSoError."""
    if not holds:
        raise NotSoError(what)
    console.print(f"   [green]✓[/] {what}")


def heading(text: str) -> None:
    """Begin a chapter."""
    console.print(f"\n[bold]{text}[/]")


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Show how many of how many are done, and for how long."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        yield progress


def wait_for(what: str, condition: Callable[[], object], timeout_s: float = FOLLOW_UP_TIMEOUT_S) -> float:
    """Wait until a condition holds; give the seconds that it took. Raises NotSoError when it never does."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > timeout_s:
            raise NotSoError(f"{what} did not happen within {timeout_s:.0f} s")
        time.sleep(0.05)
    return time.monotonic() - start


def api_client(region: LocalRegion) -> httpx.Client:
    """Give a client of the Region's API, for any number of shoppers and threads."""
    return httpx.Client(
        base_url=region.api_url,
        timeout=HTTP_TIMEOUT_S,
        limits=httpx.Limits(keepalive_expiry=_IDLE_CONNECTION_S),
        trust_env=False,
        verify=NO_CERTIFICATES,
    )


class Shopper:
    """A signed-in customer at the API. `resent` counts the requests that were sent again."""

    def __init__(self, region: LocalRegion, http: httpx.Client, username: str) -> None:
        self.resent = 0
        self._http = http
        self._token = region.sign_in(username)

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """Read something that is there. Raises NotSoError."""
        answer = self.send("GET", path, params=query)
        if answer.status_code != 200:
            raise NotSoError(f"GET {path} answered {answer.status_code}: {answer.text}")
        document: dict[str, Any] = answer.json()
        return document

    def order(self, expected_total_points: int, key: str) -> httpx.Response:
        """Order the cart."""
        return self.send(
            "POST",
            "/orders",
            json={"expected_total_points": expected_total_points},
            headers={"Idempotency-Key": key},
        )

    def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send a request; after no answer or a fault of ours send the same again, as every client may.

        Raises NotSoError when the last sending got no answer either.
        """
        for _ in range(SENDINGS - 1):
            with suppress(httpx.TransportError):
                answer = self.send_once(method, path, **request)
                if answer.status_code < 500:
                    return answer
            self.resent += 1
        try:
            return self.send_once(method, path, **request)
        except httpx.TransportError as error:
            raise NotSoError(f"{method} {path} got no answer, {SENDINGS} times: {error!r}") from error

    def send_once(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send a request and take what comes. Raises httpx.TransportError for no answer."""
        headers = {"Authorization": self._token, **request.pop("headers", {})}
        return self._http.request(method, path, headers=headers, **request)


class BusTap:
    """Listens to the bus beside the consumers: a rule and a queue of its own."""

    def __init__(self, region: LocalRegion, name: str) -> None:
        self._sqs = region.client("sqs")
        events = region.client("events")
        self._queue = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])
        arn, bus = attributes["Attributes"]["QueueArn"], region.outputs["EventBusName"]
        rule = events.put_rule(Name=name, EventBusName=bus, EventPattern=json.dumps({"source": [SOURCE]}))
        admitted = {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": rule["RuleArn"]}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [admitted]})
        self._sqs.set_queue_attributes(QueueUrl=self._queue, Attributes={"Policy": policy})
        events.put_targets(Rule=name, EventBusName=bus, Targets=[{"Id": name, "Arn": arn}])
        self.seen: list[dict[str, Any]] = []

    def listen(self) -> list[dict[str, Any]]:
        """Take what has arrived; give everything seen so far."""
        while messages := self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            for message in messages:
                self.seen.append(json.loads(message["Body"]))
                self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        return self.seen

    def events_of(self, order_id: str) -> list[dict[str, Any]]:
        """Give what was seen of one order."""
        return [event for event in self.listen() if event["detail"]["data"].get("order_id") == order_id]


def reader(region: LocalRegion, application_name: str) -> Database:
    """Give the database as the role of people who look after the pipeline."""
    return region.way_to_database("operations", application_name)


def errors(region: LocalRegion, most: int = 5) -> list[str]:
    """Give the last errors that functions and the emulator logged, for whoever has to find out more."""
    lines = region.log.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line for line in lines if '"level":"ERROR"' in line or " ERROR [" in line][-most:]
