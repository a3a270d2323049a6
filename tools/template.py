"""The templates as data: what this checkout's template.yaml and cluster.yaml say.

CloudFormation's short forms become their long ones: `!Ref A` is {"Ref": "A"}, `!Sub x` is {"Fn::Sub": "x"}.
Everything in the project that reads a template reads it here; a running stack is asked itself.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parent.parent

#: Resources, or anything else that has a name: by their logical ids.
Named = dict[str, dict[str, Any]]


#: The one in C reads the template in a seventh of the time; a PyYAML that was built without it has it not.
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):  # type: ignore[misc]  # either is one
    """Reads a template's short forms, and is otherwise as safe as it was."""


def _long_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _long_form)


def read(text: str) -> dict[str, Any]:
    """Read a template's text. Raises yaml.YAMLError."""
    loaded: dict[str, Any] = yaml.load(text, _Loader)  # noqa: S506  # a SafeLoader
    return loaded


@cache
def template(file: str = "template.yaml") -> dict[str, Any]:
    """Give a template of this checkout. It is one object for all: copy it before changing it."""
    return read((ROOT / file).read_text(encoding="utf-8"))


class Event(NamedTuple):
    """What starts a function: `kind` is SAM's type (Api, SQS, ScheduleV2)."""

    function: str
    name: str
    kind: str
    properties: dict[str, Any]


def resources(*kinds: str, of: Mapping[str, Any] | None = None) -> Named:
    """Give the resources of these types by their names, whole."""
    made = (template() if of is None else of)["Resources"]
    return {name: each for name, each in made.items() if each["Type"] in kinds}


def functions(of: Mapping[str, Any] | None = None) -> Named:
    """Give the properties of the functions by their names, without what Globals adds."""
    return {name: each["Properties"] for name, each in resources("AWS::Serverless::Function", of=of).items()}


def events(kind: str, of: Mapping[str, Any] | None = None) -> list[Event]:
    """Give the events of a kind of all functions, in the template's order."""
    return [
        Event(function, name, event["Type"], event["Properties"])
        for function, properties in functions(of).items()
        for name, event in properties.get("Events", {}).items()
        if event["Type"] == kind
    ]


def started_by(kind: str, of: Mapping[str, Any] | None = None) -> list[str]:
    """Give the functions that events of a kind start, each once, in the template's order."""
    return list(dict.fromkeys(event.function for event in events(kind, of)))


def variables(function: str, of: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Give what a function's stanza adds to the environment."""
    found: dict[str, Any] = functions(of)[function].get("Environment", {}).get("Variables", {})
    return found


def referred(value: Any) -> Iterator[str]:
    """Give the names that a value refers to by Ref and GetAtt."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "Ref":
                yield inner
            elif key == "Fn::GetAtt":
                yield inner.partition(".")[0]
            else:
                yield from referred(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from referred(inner)


def the(value: Any) -> str:
    """Give the one name that a value refers to."""
    (name,) = referred(value)
    return name
