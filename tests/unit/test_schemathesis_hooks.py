"""What the API's own runs of schemathesis change of Hypothesis changes nothing of what it generates."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis.strategies import from_regex
from hypothesis.strategies._internal.strings import OneCharStringStrategy

from api.__main__ import DOCUMENT
from tests.system import schemathesis_hooks as hooks
from tests.system.schemathesis_hooks import regex


def patterns(part: Any) -> Iterator[str]:
    """Give the patterns of a document."""
    if isinstance(part, dict):
        if isinstance(part.get("pattern"), str):
            yield part["pattern"]
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from patterns(each)


def classes(pattern: str, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Give the characters of each class of a pattern, in the order in which Hypothesis makes them."""
    made: list[Any] = []
    build = regex.CharactersBuilder.strategy.fget

    def noted(self: Any) -> Any:
        strategy = build(self)
        assert isinstance(strategy, OneCharStringStrategy)
        made.append(strategy.intervals.intervals)
        return strategy

    with monkeypatch.context() as patched:
        patched.setattr(regex.CharactersBuilder, "strategy", property(noted))
        from_regex(pattern).validate()
    return made


IN_THE_DOCUMENT = sorted(set(patterns(json.loads(DOCUMENT.read_text(encoding="utf-8")))))


@pytest.mark.parametrize(
    "pattern", [*IN_THE_DOCUMENT, r"(?i:^[k-s]$)", r"^([^a-f\d]|(x[0-9_-])+){2}$"], ids=ascii
)
def test_a_pattern_has_the_same_characters(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = classes(pattern, monkeypatch)
    # The same pattern is the same strategy for Hypothesis.
    regex_of_another = f"(?:){pattern}"
    monkeypatch.setattr(regex, "sre_parse", regex.sre_parse)
    monkeypatch.setattr(regex.CharactersBuilder, "add_category", regex.CharactersBuilder.add_category)
    hooks.install()

    assert classes(regex_of_another, monkeypatch) == before
    assert before


def test_a_range_is_not_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regex, "sre_parse", regex.sre_parse)
    monkeypatch.setattr(regex.CharactersBuilder, "add_category", regex.CharactersBuilder.add_category)
    hooks.install()
    monkeypatch.setattr(regex.CharactersBuilder, "add_char", None)

    from_regex("^[^\U000e0000-\U000effff0-9]$").validate()
