"""The backlog, measured from outside the relay: a relay that is missing cannot report that it is."""

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


def measure_backlog(database: Database) -> tuple[list[Backlog], int]:
    """Give each Region's backlog and the number of dead letters, in one round trip."""
    outbox, dead = run(
        database,
        lambda transaction: transaction.commit(
            _QUERIES["measure_outbox"](), _QUERIES["count_outbox_dead_letters"]()
        ),
    ).value
    return [Backlog(*row) for row in outbox.rows], dead.rows[0][0]
