"""Each lock of requirements/ holds what is asked of it, and what the lock holds that it builds on."""

import re
from pathlib import Path

import pytest

REQUIREMENTS = Path(__file__).parents[2] / "requirements"
ASKED = {path.stem: path.read_text() for path in REQUIREMENTS.glob("*.in")}


def names(text: str) -> set[str]:
    """Give the packages that a file asks for, as the locks write them."""
    return {name.lower().replace("_", "-") for name in re.findall(r"^[A-Za-z][\w.-]*", text, re.MULTILINE)}


def pins(name: str) -> dict[str, str]:
    """Give the versions of a lock."""
    text = (REQUIREMENTS / f"{name}.txt").read_text()
    return dict(re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==(\S+)", text, re.MULTILINE))


@pytest.mark.parametrize("name", ASKED)
def test_a_lock_holds_all_that_is_asked_of_it(name: str) -> None:
    assert names(ASKED[name]) <= pins(name).keys(), "make lock"


@pytest.mark.parametrize("name", [name for name in ASKED if "-r " in ASKED[name]])
def test_a_lock_holds_what_the_one_that_it_builds_on_holds(name: str) -> None:
    (below,) = re.findall(r"^-r (\w+)\.in$", ASKED[name], re.MULTILINE)
    assert pins(below).items() <= pins(name).items(), "make lock"
