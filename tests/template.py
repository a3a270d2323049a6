"""The templates as data, for tests: CloudFormation's short forms become {"Fn::Name": ...}."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]


class _Loader(yaml.SafeLoader):
    """Reads `!Ref A` as {"Ref": "A"} and `!Sub x` as {"Fn::Sub": "x"}."""


def _short_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)


def read(text: str) -> dict[str, Any]:
    """Read a template's text."""
    loaded: dict[str, Any] = yaml.load(text, _Loader)
    return loaded


@cache
def template(file: str = "template.yaml") -> dict[str, Any]:
    """Give a template."""
    return read((ROOT / file).read_text())


def resources(*kinds: str) -> dict[str, dict[str, Any]]:
    """Give the resources of these types by their names, whole."""
    return {name: each for name, each in template()["Resources"].items() if each["Type"] in kinds}


def functions() -> dict[str, dict[str, Any]]:
    """Give the properties of the functions by their names."""
    return {name: each["Properties"] for name, each in resources("AWS::Serverless::Function").items()}


def variables(function: str) -> dict[str, Any]:
    """Give what a function's stanza adds to the environment."""
    found: dict[str, Any] = functions()[function].get("Environment", {}).get("Variables", {})
    return found


def serves_requests(function: str) -> bool:
    """Tell whether the API calls a function."""
    return any(event["Type"] == "Api" for event in functions()[function].get("Events", {}).values())


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
