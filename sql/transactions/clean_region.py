"""What a Region keeps outside the database for somebody or something that went: it deletes that itself.

An erasure or a retirement runs its slices in any Region, and leaves a row for every Region in the transaction
that forgets what the thing was called. Each Region works off its own rows, by a schedule: one that is away
finds them when it is back.
"""

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from sql.connection import Database
from sql.queries import Statement, load
from sql.scan import NO_ID
from sql.transaction import run

_QUERIES = load("regions")
_ENTER = _QUERIES["enter_region"]
_LEAVE = _QUERIES["leave_region_cleanups"]
_DELETE = _QUERIES["delete_region_cleanup"]

#: Rows that are read at once.
_PAGE = 100


class CleanupKind(StrEnum):
    """What a Region deletes: a user of its pool, or a picture in its bucket."""

    USER = "user"
    PICTURE = "picture"


class Cleanup(NamedTuple):
    """What a Region has to delete: the user or the file of that name, which was this subject's."""

    kind: CleanupKind
    subject_id: UUID
    name: str


class _Row(NamedTuple):
    kind: str
    subject_id: UUID
    name: str


_READ = _QUERIES["read_region_cleanups"].of(_Row)


def leave_cleanups(cleanup: Cleanup, region: str) -> Statement[Any]:
    """Give the statement that leaves a cleanup to every Region that is known, `region` included."""
    return _LEAVE(region=region, **cleanup._asdict())


def enter(database: Database, region: str) -> None:
    """Make a Region known, so that cleanups are left to it."""
    run(database, lambda transaction: transaction.commit(_ENTER(region=region)))


def waiting_cleanups(database: Database, region: str) -> Iterator[Cleanup]:
    """Give all that a Region has to delete, a page at a time, what fails not twice."""
    kind, after = "", UUID(NO_ID)
    while True:
        statement = _READ(region=region, kind=kind, after=after, most=_PAGE)
        rows = run(database, lambda transaction, statement=statement: transaction.read(statement)[0]).value  # type: ignore[misc]
        for row in rows:
            yield Cleanup(CleanupKind(row.kind), row.subject_id, row.name)
        if len(rows) < _PAGE:
            return
        kind, after = rows[-1].kind, rows[-1].subject_id


def clean(database: Database, region: str, cleanup: Cleanup, delete: Callable[[Cleanup], None]) -> None:
    """Delete something outside and then what asks for it; a crash between the two deletes it once more."""
    # guard: what a Region has to delete is forgotten when it is deleted
    delete(cleanup)
    done = _DELETE(region=region, kind=cleanup.kind, subject_id=cleanup.subject_id)
    run(database, lambda transaction: transaction.commit(done))
