"""The backlog, measured from outside: a relay or a Region that is missing cannot report that it is."""

from typing import NamedTuple

from sql.connection import Database
from sql.queries import load
from sql.transaction import run

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


def measure_backlog(database: Database) -> Measured:
    """Measure all of it in one round trip."""
    outbox, dead, cleanups = run(
        database,
        lambda transaction: transaction.commit(
            _QUERIES["measure_outbox"](),
            _QUERIES["count_outbox_dead_letters"](),
            _QUERIES["measure_region_cleanups"](),
        ),
    ).value
    return Measured([Backlog(*row) for row in outbox.rows], dead.rows[0][0], cleanups.rows[0][0])
