"""The request log of a sale: every buyer's attempt, sold or refused, and the scoreboard made of it."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from domain.refusals import Refusal
from sql.connection import Database
from sql.errors import Fault, RetriesExhaustedError
from sql.queries import load
from sql.transaction import Completed, snapshot

_INSERT = load("request_log")["insert_logged_request"]


class Score(NamedTuple):
    """How many buyers ended in one way, the conflicts that they met, and the most attempts of one."""

    outcome: str
    buyers: int
    conflicts: int
    most_attempts: int


_READ_SCOREBOARD = load(str(Path(__file__).parent / "queries" / "scoreboard"))["read_scoreboard"].of(Score)

GAVE_UP = "gave-up"
"""The outcome of an attempt whose retries ran out."""


def outcome_of(completed: Completed[Any]) -> str:
    """Say how an attempt ended as the log does: done, or the code of the refusal."""
    return completed.value.code if isinstance(completed.value, Refusal) else "done"


def logged(
    database: Database,
    operation: str,
    subject_id: UUID,
    actor_id: UUID,
    work: Callable[[], Completed[Any]],
    clock: Callable[[], datetime],
) -> Completed[Any]:
    """Do the work and log how it ended, in a transaction of its own: what is refused is logged too.

    An attempt whose retries ran out is logged and raises RetriesExhaustedError as before.
    """
    started_at = clock()

    def write(outcome: str, attempts: int, conflicts: int) -> None:
        statement = _INSERT(
            id=uuid4(),
            operation=operation,
            subject_id=subject_id,
            actor_id=actor_id,
            region=database.settings.region,
            outcome=outcome,
            attempts=attempts,
            conflicts=conflicts,
            started_at=started_at,
            ended_at=clock(),
        )
        snapshot(database, statement)

    try:
        completed = work()
    except RetriesExhaustedError as error:
        write(GAVE_UP, error.attempts, error.attempts)
        raise
    write(outcome_of(completed), completed.attempts, completed.faults[Fault.CONFLICT])
    return completed


def scoreboard(database: Database, subject_id: UUID) -> list[Score]:
    """Give how a sale ended, by outcome."""
    (rows,) = snapshot(database, _READ_SCOREBOARD(subject_id=subject_id))
    return rows
