"""A Region's functions as they are deployed: all that it takes to run one by hand."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tools.template import ROOT, events, functions, resources

SAMPLES = ROOT / "events" / "samples"


class Function(NamedTuple):
    """A deployed function: its names in the template and in the Region, and how it is set up.

    `sample` is the file of its sample event, below the project's root.
    """

    id: str
    name: str
    timeout_s: int
    memory_mb: int
    variables: dict[str, str]
    sample: str


def deployed(client: Any, names: Mapping[str, str]) -> dict[str, Function]:
    """Give the functions of a Region by their logical ids.

    `client` is boto3's of Lambda, `names` are what a stack made, by its logical ids.
    """
    found = {
        each["FunctionName"]: each
        for page in client.get_paginator("list_functions").paginate()
        for each in page["Functions"]
    }
    return {
        id_: Function(
            id=id_,
            name=names[id_],
            timeout_s=found[names[id_]]["Timeout"],
            memory_mb=found[names[id_]]["MemorySize"],
            variables=found[names[id_]].get("Environment", {}).get("Variables", {}),
            sample=str(sample(id_).relative_to(ROOT)),
        )
        for id_ in functions()
    }


def sample(function: str) -> Path:
    """Give the file of a function's sample event: its own, or the one that it shares.

    Consumers share one of an event that they take, functions that a schedule starts without input its tick.
    """
    rules = [rule["Properties"] for rule in resources("AWS::Events::Rule").values()]
    targets = [(rule, rule["Targets"][0]) for rule in rules]
    consumed = [
        kind
        for rule, target in targets
        if target["Id"] == f"{function.removesuffix('Function')}Queue"
        for kind in _kinds(rule, target)
    ]
    ticks = (each for each in events("ScheduleV2") if "Input" not in each.properties)
    shared = ["Scheduled"] if any(tick.function == function for tick in ticks) else []
    paths = [SAMPLES / f"{each}.json" for each in (function, *consumed, *shared)]
    return next(path for path in paths if path.exists())


def _kinds(rule: dict[str, Any], target: dict[str, Any]) -> list[str]:
    """Give the types of event that reach a rule's target: those of its pattern, or what it makes of them."""
    if "InputTransformer" in target:
        return re.findall(r'"detail-type": "([^"]+)"', target["InputTransformer"]["InputTemplate"])
    return list(rule["EventPattern"]["detail-type"])


def write(functions_: Iterable[Function]) -> str:
    """Give functions as JSON text."""
    return json.dumps([each._asdict() for each in functions_], indent=1)


def read(text: str) -> dict[str, Function]:
    """Read what `write` gave; by their logical ids."""
    return {each["id"]: Function(**each) for each in json.loads(text)}
