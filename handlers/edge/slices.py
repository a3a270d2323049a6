"""A cascade's slice: each record gets one, and it has an end."""

import time
from collections.abc import Callable

#: A slice's length, in seconds. Short, so that a small cascade behind a large one waits for one slice of it.
SLICE_S = 20.0

#: Kept back of the function's time for the transaction under way and the one that hands on, in milliseconds.
MARGIN_MS = 15_000


def start_slice(
    time_is_up: Callable[[], bool], monotonic: Callable[[], float] = time.monotonic
) -> Callable[[], bool]:
    """Start a slice; give the question whether it is over: long enough, or the function's time is up."""
    end = monotonic() + SLICE_S
    return lambda: monotonic() >= end or time_is_up()
