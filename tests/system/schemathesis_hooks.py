"""What schemathesis loads before it runs: it has Hypothesis take a range of characters in one piece.

Hypothesis adds each character of a range by itself. The pattern of a name ends with a range of 65,536, and
strategies are made of it for each operation, phase and length: more than half of a run's processor time. What
is generated stays the same (tests/unit/test_schemathesis_hooks.py).
"""

import re
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from hypothesis.internal.intervalsets import IntervalSet

#: Hypothesis's own, where none of it is told to type checkers.
regex: Any = import_module("hypothesis.strategies._internal.regex")

_parse = regex.sre_parse.parse
_add_category = regex.CharactersBuilder.add_category


def parse(pattern: Any, flags: int = 0) -> Any:
    """Parse a pattern, the ranges in its classes made categories, which Hypothesis takes as intervals."""
    tree = _parse(pattern, flags=flags)
    # Where case is ignored, a character brings another with it.
    if isinstance(pattern, str) and not re.search(r"\(\?[a-zL]*i", pattern):
        _replace_ranges(tree)
    return tree


def _replace_ranges(part: Any) -> None:
    """Replace ranges in place: a tree is made of its own sequences, lists and tuples."""
    if isinstance(part, list):
        part[:] = [(regex.sre.CATEGORY, each[1]) if _is_range(each) else each for each in part]
    if isinstance(part, list | tuple | regex.sre_parse.SubPattern):
        for each in part:
            _replace_ranges(each)


def _is_range(part: Any) -> bool:
    return isinstance(part, tuple) and part[0] is regex.sre.RANGE


def add_category(self: Any, category: Any) -> None:
    """Add a category of characters, or a range: its first and its last code point."""
    if isinstance(category, tuple):
        self._intervals |= IntervalSet([category])
    else:
        _add_category(self, category)


def install() -> None:
    """Have Hypothesis use both in this process."""
    regex.CharactersBuilder.add_category = add_category
    regex.sre_parse = SimpleNamespace(parse=parse, SubPattern=regex.sre_parse.SubPattern)


if __name__ == "_schemathesis_hooks":
    install()
