"""The backlog, measured from outside: a relay or a Region that is missing cannot report that it is."""

from typing import NamedTuple

from sql.connection import Database
from sql.queries import load
from sql.transaction import snapshot

_QUERIES = load("jobs")


class Backlog(NamedTuple):
    """What waits in one Region's outbox: rows, and the age in seconds of the oldest."""

    region: str
    depth: int
    age_s: int


class Measured(NamedTuple):
    """What waits over all Regions; `cleanup_age_s` of the oldest row of `region_cleanups`, 0 without one."""

    outboxes: list[Backlog]
    dead_letters: int
    cleanup_age_s: int


_OUTBOX = _QUERIES["measure_outbox"].of(Backlog)
_DEAD_LETTERS = _QUERIES["count_outbox_dead_letters"].of(int)
_CLEANUPS = _QUERIES["measure_region_cleanups"].of(int)


def measure_backlog(database: Database) -> Measured:
    """Measure all of it in one round trip."""
    outboxes, (dead_letters,), (cleanup_age_s,) = snapshot(database, _OUTBOX(), _DEAD_LETTERS(), _CLEANUPS())
    return Measured(outboxes, dead_letters, cleanup_age_s)
