"""The orphan sweep: finds rows whose parent is missing, over every declared reference.

It is the net under the cascades: a row that is written while its parent goes is seen by neither transaction
(write skew), and stays behind.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from psycopg import sql

from sql.connection import Database
from sql.queries import Query, Statement, load
from sql.references import TABLES, OnOrphan, Reference
from sql.scan import Batch, fill, scan
from sql.transaction import Transaction

#: Between the end of a sweep and the beginning of the next: less than the day for which the alarm remembers
#: an orphan, so that one which stays is found again before the alarm forgets it.
SWEEP_EVERY_S = 20 * 3600

_ALIVE = load("templates/scan")


@dataclass(slots=True)
class Swept:
    """What one run found at one reference: rows it deleted, or missing parents where it only reports."""

    reference: Reference
    deleted: int = 0
    missing: set[UUID] = field(default_factory=set)
    most_rows: int = 0
    done: bool = False


def sweep(
    database: Database,
    reference: Reference,
    time_is_up: Callable[[], bool],
    every_s: int = SWEEP_EVERY_S,
    found: Callable[[set[UUID]], None] = lambda _: None,
) -> Swept:
    """Go on with a reference's sweep. Raises as `sql.scan.scan` does.

    `found` is told of a batch's missing parents before the batch counts as swept, so that none is lost
    whatever fails later; of a batch that is visited again after a conflict it is told again.
    """
    table = TABLES[reference.table]
    swept = Swept(reference)
    query = orphans(reference)

    def visit(transaction: Transaction, batch: Batch) -> Sequence[Statement[Any]]:
        statement = query(**batch.parameters())
        if reference.on_orphan is OnOrphan.DELETE:
            return [statement]
        missing = set(transaction.read(statement)[0])
        if missing:
            # A set: a batch that is visited again after a conflict adds nothing.
            swept.missing.update(missing)
            found(missing)
        return []

    scanned = scan(database, f"sweep {reference}", table, visit, time_is_up, every_s=every_s)
    swept.deleted, swept.most_rows, swept.done = scanned.rows, scanned.most_rows, scanned.done
    return swept


def orphans(reference: Reference) -> Query[Any]:
    """Give the statement that deletes or finds a reference's orphans in a batch."""
    condition = _ALIVE["parent_not_gone" if reference.gone_column else "parent_there"].text.decode()
    alive = sql.SQL(condition).format(gone_column=sql.Identifier(reference.gone_column or ""))
    names = {
        "column": sql.Identifier(reference.column),
        "parent": sql.Identifier(reference.parent),
        "alive": alive,
    }
    table = TABLES[reference.table]
    if reference.on_orphan is OnOrphan.DELETE:
        return fill("delete_orphans", table, **names)
    return fill("find_orphans", table, **names).of(UUID)
