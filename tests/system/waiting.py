"""Waiting for what follows by itself in a Region."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Longer than anything takes on a busy machine.
TIMEOUT_S = 60.0


def until(ask: Callable[[], T | None], what: str = "what was waited for") -> T:
    """Ask until the answer is something, and give it. Raises AssertionError after a minute without."""
    deadline = time.monotonic() + TIMEOUT_S
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"no sign of {what}"
        time.sleep(0.2)
    return answer
