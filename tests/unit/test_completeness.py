"""A consumer, a job, a route has everything: whatever is taken away from one of them is missed."""

import copy
import json
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from local.functions import sample
from tools.template import ROOT, functions, template, the
from tools.wiring import kinds, main, missing, parts, parts_in, required

FUNCTIONS = [function for members in kinds(template()).values() for function in members]


#: What a function has that the others of its kind have not, and which test would miss it.
OWN = {
    r"^(EffectsLate|MailsRefused)Alarm/|^\w+Alarm/Properties/Dimensions/0$": "test_template_alarms.py",
    r"^(Relay|CleanRegion|Storefront)FunctionRole/Properties/Policies\b": "test_template_rights.py",
    r"^OperationsFunctionRole/Properties/Policies\b": "test_template_rights.py",
    r"^(Notify|RetireItem|EnrolUsers)FunctionRole/.*/Statement/1\b": "test_template_rights.py",
    r"^(Relay|EnrolUsers|Operations)Function/Properties/Environment\b": "test_import_budget.py",
    r"Function/Properties/Environment/Variables/(SENDER_ADDRESS|PICTURES_BUCKET)$": "test_import_budget.py",
    r"Function/Properties/Environment/Variables/MAIL_CONFIGURATION$": "test_import_budget.py",
    r"^(Notify|RetireItem)Function/Properties/Environment/Variables/QUEUE_URL$": "test_import_budget.py",
    r"^(Notify|RetireItem)FunctionRole/.*/Action/3$": "test_template_rights.py",
    r"^(Relay|Checkout)Function/Properties/ReservedConcurrentExecutions$": "test_template_change.py",
    r"^EnrolUsers\w+/Condition$|/RoleArns/enrolment/0$": "test_template_change.py",
    r"^StorefrontFunction/Properties/Events/ShowHealth\b": "test_api_document.py",
    r"^PlaceSmokeOrdersPolicy\b": "test_template_rights.py",
    r"^SmokeOrderFunction/Properties/(Environment|Events/EveryMinute/Properties/State)\b|"
    r"^SmokeOrder\w+Alarm/Condition$": "test_template_change.py",
    r"^UndeliveredEventsQueuePolicy/.*/Statement/0\b": "below: what a rule may not fill is named",
    r"^SuppressAddressRule/Properties/": "test_wiring.py, test_returned_mail.py",
    r"/PolicyName$": "none: CloudFormation itself asks for it",
}


def test_everything_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0, capsys.readouterr().out


def test_every_function_is_of_one_kind_or_called_by_the_deployment_or_the_user_pool() -> None:
    called = [
        the(each["Properties"]["ServiceToken"])
        for each in template()["Resources"].values()
        if each["Type"].startswith("Custom::")
    ]
    pool = template()["Resources"]["UserPool"]["Properties"]["LambdaConfig"]
    assert sorted([*FUNCTIONS, *called, the(pool["Fn::If"][2])]) == sorted(functions())


def nodes(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Give the place of every member and item of a resource."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if not (isinstance(key, str) and (key.startswith("Fn::") or key == "Ref")):
                yield (*path, key)
                yield from nodes(inner, (*path, key))


def without(value: Any, path: tuple[Any, ...]) -> Any:
    """Give a copy without the member or item at a place."""
    changed = holder = copy.deepcopy(value)
    for key in path[:-1]:
        holder = holder[key]
    del holder[path[-1]]
    return changed


@cache
def parts_here(function: str) -> set[str]:
    """Give a function's parts in this checkout's template."""
    return parts(template(), function)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_is_taken_from_a_function_is_missed(function: str) -> None:
    """Each resource of its own, each member and item in them, each item elsewhere that refers to them."""
    made = {f"Resources/{name}": each for name, each in template()["Resources"].items()}
    of_each = {place: found for place, each in made.items() if (found := parts_in(place, each, function))}
    (members,) = (members for members in kinds(template()).values() if function in members)
    wanted = required({each: parts_here(each) for each in members}, function)
    unmissed, taken = [], 0
    for place, has in of_each.items():
        name = place.removeprefix("Resources/")
        elsewhere = set().union(*(found for other, found in of_each.items() if other != place))
        is_own = name.startswith(function.removesuffix("Function"))
        for path in [(), *nodes(made[place])] if is_own else nodes(made[place]):
            if not (is_own or isinstance(path[-1], int)):
                continue
            left = parts_in(place, without(made[place], path), function) if path else set()
            if has - left:
                taken += 1
                if not wanted - elsewhere - left and (name, *path) != (function,):
                    unmissed.append("/".join(map(str, (name, *path))))
    assert taken > 25
    assert [place for place in unmissed if not any(re.search(own, place) for own in OWN)] == []


@pytest.mark.parametrize("function", functions())
def test_every_function_has_a_sample_event(function: str) -> None:
    assert isinstance(json.loads(sample(function).read_text()), dict)


def test_the_page_on_invoking_says_what_each_functions_own_sample_does() -> None:
    page = (
        (ROOT / "docs" / "sam-local-invoke.md").read_text("utf-8").partition("\n## What the samples say\n")[2]
    )
    rows = re.findall(r"^\| (\w.*?) \|", page.partition("\n## ")[0], re.MULTILINE)
    own = {path.stem for path in (ROOT / "events" / "samples").glob("*Function.json")}
    assert {name for row in rows[1:] for name in row.split(", ")} == own <= set(functions())


def test_each_exception_is_still_one() -> None:
    places = {
        "/".join(map(str, (name, *path)))
        for name, each in template()["Resources"].items()
        for path in nodes(each)
    }
    assert all(any(re.search(own, place) for place in places) for own in OWN)


def changed(*path: Any) -> dict[str, Any]:
    """Give a copy of the template without what is at a place."""
    copied: dict[str, Any] = without(template(), path)
    return copied


def test_what_is_missing_is_said_in_words() -> None:
    found = missing(changed("Resources", "NotifyQueueAgingAlarm"))
    assert {line.partition("Alarm/")[0] for line in found} == {
        "NotifyFunction: every other consumer has Resources/NotifyQueueAging"
    }
    links = template()["Resources"]["Migration"]["Properties"]["RoleArns"]["jobs"]
    (number,) = (n for n, arn in enumerate(links) if arn["Fn::GetAtt"] == "ExpireFunctionRole.Arn")
    (line,) = missing(changed("Resources", "Migration", "Properties", "RoleArns", "jobs", number))
    assert line.startswith(
        "ExpireFunction: every other scheduled function has Resources/Migration/Properties/RoleArns"
    )


def test_an_entry_point_that_is_no_function_is_named() -> None:
    assert "handlers/orders.py: OrdersFunction in template.yaml" in missing(
        changed("Resources", "OrdersFunction")
    )


def test_a_queue_of_undelivered_events_that_a_rule_may_not_fill_is_named() -> None:
    statements = ("Resources", "UndeliveredEventsQueuePolicy", "Properties", "PolicyDocument", "Statement")
    assert missing(changed(*statements, 0)) == [
        f"{name}: UndeliveredEventsQueuePolicy does not admit it"
        for name in (
            "CleanCartRule",
            "NotifyRule",
            "SuppressAddressRule",
            "EraseCustomerRule",
            "RetireItemRule",
        )
    ]


def test_a_route_without_its_event_or_an_event_without_its_route_is_named() -> None:
    events = ("Resources", "StorefrontFunction", "Properties", "Events")
    assert missing(changed(*events, "ShowCart")) == ["GET /cart: an event of its function in template.yaml"]
    more = copy.deepcopy(template())
    more["Resources"]["StorefrontFunction"]["Properties"]["Events"]["ShowCart"]["Properties"]["Method"] = (
        "head"
    )
    assert missing(more) == [
        "HEAD /cart: a route of its function, then `python -m api`",
        "GET /cart: an event of its function in template.yaml",
    ]


#: What stands beside the template: a file, or a row of a page; and who misses it.
BESIDE = {
    "events/samples/CheckoutFunction.json": "CheckoutFunction: events/samples/",
    "events/samples/EnrolUsersFunction.json": "EnrolUsersFunction: events/samples/",
    "events/samples/Scheduled.json": "SweepOrphansFunction: events/samples/",
    "events/samples/AuditLedgerFunction.json": "AuditLedgerFunction: events/samples/",
    "events/schemas/OrderPlaced.v1.json": "OrderPlaced.v1: its contract",
    r"docs/consumers.md:\| notify": "NotifyFunction: a row for notify in docs/consumers.md",
    r"docs/events.md:\| `OrderPlaced.v1`": "OrderPlaced.v1: a row in docs/events.md that says",
}


@pytest.mark.parametrize("what", BESIDE)
def test_what_is_taken_from_beside_the_template_is_missed(what: str, tmp_path: Path) -> None:
    for directory in ("docs", "api", "handlers", "events/samples", "events/schemas"):
        shutil.copytree(ROOT / directory, tmp_path / directory)
    assert missing(root=tmp_path) == []
    file, _, row = what.partition(":")
    path = tmp_path / file
    if row:
        kept = [line for line in path.read_text().splitlines(True) if not re.match(row, line)]
        assert len(kept) == len(path.read_text().splitlines()) - 1
        path.write_text("".join(kept))
    else:
        path.unlink()
    assert any(line.startswith(BESIDE[what]) for line in missing(root=tmp_path))
