"""Whether each consumer, job and function of the API has what all others of its kind have.

python -m tools.wiring

Prints what is missing, a line each, and ends with 1 if anything is. No part of the template is listed here: a
part is asked of one function because all others of its kind have it, so a new kind of part is asked for once
the others have it. What stands beside the template (samples, documentation, schemas) is listed.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from local_dsql.console import run_command
from tools.bundle import BundleError, modules_of, sql_of
from tools.template import ROOT, events, functions, resources, started_by, template, the

Source = Mapping[str, Any]

#: What a function's own resources are called, behind its stem.
_SUFFIXES = (
    "Function|FunctionRole|Rule|(?:DeadLetter)?Queue(?:Policy)?|QueueAgingAlarm|DeadLettersAlarm|"
    "StoppedAlarm|FailingAlarm"
)

#: Keys whose values are each function's own: that they are there is asked for, not what they say.
_OWN_VALUE = ("Description", "Handler", "ScheduleExpression", "Input", "detail-type/[]", "Path", "Method")

#: A module that is a function's entry point has this.
_HANDLER = re.compile(r"^(?:def handler\(|handler = )", re.MULTILINE)

_METHODS = {"get", "put", "post", "delete", "patch", "head"}

#: Keys under which each function has names of its own.
_OWN_NAMES = re.compile(r"/(Events|RoleArns|Variables)/[^/=]+")

#: What one of a kind does without, by a pattern of parts, and why.
WITHOUT = {
    "EnrolUsersFunction": (
        r"Rule|events\.amazonaws|aws:SourceArn|Action=sqs:SendMessage|\{\}Queue/Properties/MessageRetention"
        r"|Migration/Properties/RoleArns",
        "operators send its messages, not the bus; it is there in a shop to try out alone",
    ),
    "SuppressAddressFunction": (
        r"Rule/Properties/(EventBusName|EventPattern/source)",
        "its events are another service's, which announces them on the account's default bus",
    ),
    "FallbackFunction": (
        r"Database|Migration|Variables|InternalErrors",
        "it answers what no route fits, without a database, and catches nothing that it could count",
    ),
    "SmokeOrderFunction": (
        r"Database|Migration|Variables",
        "it calls other functions and has no database",
    ),
    "RelayFunction": (
        r"Variables",
        "its settings are its own",
    ),
}


def kinds(source: Source) -> dict[str, list[str]]:
    """Give the functions by kind. Those that the deployment calls, as custom resources, have none."""
    return {
        "consumer": started_by("SQS", source),
        "scheduled function": started_by("ScheduleV2", source),
        "function of the API": started_by("Api", source),
    }


def parts(source: Source, function: str) -> set[str]:
    """Give what a template has for a function, as paths in which `{}` is the function's stem.

    These are its own resources, whose names begin with the stem, whole, and whatever else refers to them.
    """
    found = set()
    for section in ("Resources", "Outputs"):
        for name, each in source.get(section, {}).items():
            found |= parts_in(f"{section}/{name}", each, function)
    return found


def parts_in(place: str, each: Any, function: str) -> set[str]:
    """Give a function's parts that are in one resource or output."""
    own = _own(function)
    is_own = own.search(place) is not None
    return {
        own.sub("{}", _OWN_NAMES.sub(r"/\1/*", f"{place}{path}{value}"))
        for path, value in _leaves(each)
        if is_own or own.search(value)
    }


@cache
def _own(function: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![A-Za-z]){function.removesuffix('Function')}(?=(?:{_SUFFIXES})\b)")


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}/{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, f"{path}/[]")
    elif isinstance(value, str | bool) and not path.endswith(_OWN_VALUE) and "/Variables/" not in path:
        yield path, f"={value}"
    else:
        yield path, ""


def required(of_each: Mapping[str, set[str]], function: str) -> set[str]:
    """Give the parts that every other function of a kind has, but for those that it does without.

    `of_each` has the parts of each function of the kind.
    """
    others = of_each.keys() - {function}
    return {
        part
        for part in set().union(*(of_each[other] for other in others))
        if all(part in of_each[other] or _without(other, part) for other in others)
        and not _without(function, part)
    }


def _without(function: str, part: str) -> bool:
    return function in WITHOUT and re.search(WITHOUT[function][0], part) is not None


def missing(source: Source | None = None, root: Path = ROOT) -> list[str]:
    """Give what a template and the repository around it lack, as lines for a person.

    Without a template it is this checkout's.
    """
    source = template() if source is None else source
    found = []
    for kind, members in kinds(source).items():
        of_each = {function: parts(source, function) for function in members}
        for function in members:
            stem = function.removesuffix("Function")
            for part in sorted(required(of_each, function) - of_each[function]):
                found.append(f"{function}: every other {kind} has {part.replace('{}', stem)}")
    return [*found, *_undelivered(source), *_beside(source, root)]


def _undelivered(source: Source) -> Iterator[str]:
    """Give the rules whose events would be lost in silence when they cannot be delivered."""
    policy = source["Resources"]["UndeliveredEventsQueuePolicy"]["Properties"]["PolicyDocument"]
    admitted = str([each.get("Condition") for each in policy["Statement"] if each["Effect"] == "Allow"])
    for rule, made in resources("AWS::Events::Rule", of=source).items():
        of_bus = "rule/${EventBus}/*" if "EventBusName" in made["Properties"] else f"'{rule}.Arn'"
        if of_bus not in admitted and f"'{rule}.Arn'" not in admitted:
            yield f"{rule}: UndeliveredEventsQueuePolicy does not admit it"


def _beside(source: Source, root: Path) -> Iterator[str]:
    for path in sorted(root.glob("handlers/*.py")):
        function = f"{path.stem.title().replace('_', '')}Function"
        if _HANDLER.search(path.read_text(encoding="utf-8")) and function not in functions(source):
            yield f"handlers/{path.name}: {function} in template.yaml"
    filled = _detail_types(source)
    consumed = {
        event.function: filled[queue]
        for event in events("SQS", source)
        if (queue := the(event.properties["Queue"])) in filled
    }
    samples = {path.stem for path in root.glob("events/samples/*.json")}
    plain = {event.function for event in events("ScheduleV2", source) if "Input" not in event.properties}
    for function in functions(source):
        shared = {*consumed.get(function, ()), *(["Scheduled"] if function in plain else [])}
        if not samples & {function, *shared}:
            yield f"{function}: events/samples/{function}.json, an event to invoke it with"
        try:
            sql_of(modules_of(function))
        except BundleError as error:
            yield str(error)
    for function, kinds_of_events in consumed.items():
        name = re.sub(r"(?<!^)(?=[A-Z])", "-", function.removesuffix("Function")).lower()
        if _row(root, "consumers", name) is None:
            yield f"{function}: a row for {name} in docs/consumers.md"
        for kind in kinds_of_events:
            if not (root / "events" / "schemas" / f"{kind}.json").is_file():
                yield f"{kind}: its contract in domain/events/, then `python -m events.contracts`"
            elif name not in (_row(root, "events", kind) or ""):
                yield f"{kind}: a row in docs/events.md that says that {name} listens"
    described = json.loads((root / "api" / "openapi.json").read_text(encoding="utf-8"))["paths"]
    routed = {(event.properties["Path"], event.properties["Method"]) for event in events("Api", source)}
    routed = {route for route in routed if route[0] != "/{proxy+}"}
    served = {(path, method) for path, methods in described.items() for method in {*methods} & _METHODS}
    for path, method in sorted(routed - served):
        yield f"{method.upper()} {path}: a route of its function, then `python -m api`"
    for path, method in sorted(served - routed):
        yield f"{method.upper()} {path}: an event of its function in template.yaml"


def event_types(rule: Mapping[str, Any], target: Mapping[str, Any]) -> list[str]:
    """Give the types of the events that a target of a rule gets: another service's are put into our form."""
    if "InputTransformer" not in target:
        types: list[str] = rule["EventPattern"]["detail-type"]
        return types
    made = re.sub(r"<\w+>", "null", target["InputTransformer"]["InputTemplate"])
    return [json.loads(made)["detail-type"]]


def _detail_types(source: Source) -> dict[str, list[str]]:
    """Give the types of the events that rules put into each queue."""
    return {
        the(target["Arn"]): event_types(rule["Properties"], target)
        for rule in resources("AWS::Events::Rule", of=source).values()
        for target in rule["Properties"]["Targets"]
    }


def _row(root: Path, page: str, name: str) -> str | None:
    """Give a page's table row that is about a name, by its first cell."""
    text = (root / "docs" / f"{page}.md").read_text(encoding="utf-8")
    found = re.search(rf"^\|[^|]*(?<![\w-]){re.escape(name)}(?![\w-])[^|]*\|.*", text, re.MULTILINE)
    return found and found[0]


def main() -> int:
    """Print what is missing; give the exit status."""
    found = missing()
    print("\n".join(found) or "Every consumer, scheduled function and route has what the others have.")
    return 1 if found else 0


if __name__ == "__main__":
    run_command(main)
