"""Scans: a job goes through a whole table in key order, a bounded batch a transaction, never turning back.

How far a scan has come stands in `xpoints.job_progress` and moves in the transaction of what was done there.
A run that was cut off is taken up by the next one; runs that overlap, in one Region or two, meet on that row,
and the one that loses goes on from where the other came to.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from psycopg import sql

from sql.connection import Database
from sql.errors import Fault, RetriesExhaustedError
from sql.queries import Query, Statement, load
from sql.transaction import Row, Transaction, run

#: Rows that DSQL lets a transaction change. Index entries count against its bytes, not here.
# guard: rows a transaction
MAX_ROWS = 3000

#: Bytes that a transaction may change there are 10 MiB, index entries included; this leaves them room.
MAX_BYTES = 8 * 1024 * 1024

NO_ID = "00000000-0000-0000-0000-000000000000"
"""Sorts before every id that is ever given."""

_JOBS = load("jobs")
_INSERT_PROGRESS = _JOBS["insert_progress"]
_ADVANCE = _JOBS["advance_progress"]
_FINISH = _JOBS["finish_pass"]
_TEMPLATES = load("templates/scan")

Key = tuple[str, ...]


class _Progress(NamedTuple):
    checkpoint: str | None
    is_due: bool


_READ_PROGRESS = _JOBS["read_progress"].of(_Progress)


@dataclass(frozen=True, slots=True)
class Table:
    """A table that can be scanned.

    `key` maps the primary key's columns, in their order, to a text that sorts before every value.
    `row_bytes` is about the largest row with its index entries.
    """

    name: str
    key: dict[str, str] = field(hash=False)
    row_bytes: int = 1000

    @property
    def first(self) -> Key:
        """The key before all keys."""
        return tuple(self.key.values())

    @property
    def batch_rows(self) -> int:
        """Rows that one transaction may change of this table, beside the scan's own progress."""
        # guard: bytes a transaction
        return min(MAX_ROWS - 1, MAX_BYTES // self.row_bytes)


class Batch(NamedTuple):
    """Rows with `after` < key <= `upto`."""

    after: Key
    upto: Key

    def parameters(self) -> dict[str, str]:
        """Give the bounds as the statements' parameters: after_0, after_1, upto_0, upto_1."""
        return _numbered("after", self.after) | _numbered("upto", self.upto)


#: What is done with a batch: reads, if any, through the transaction, and writes as statements to commit.
#: It may be called again for the same batch, after a conflict or a commit that nobody saw succeed.
Visit = Callable[[Transaction, Batch], Sequence[Statement[Any]]]


@dataclass(slots=True)
class ScanResult:
    """What one run of a scan did. `done` tells that nothing is left to do until the next pass is due."""

    batches: int = 0
    rows: int = 0
    most_rows: int = 0
    done: bool = False


def fill(template: str, table: Table, **names: sql.Composable) -> Query[Row]:
    """Write a table's names into one of the templates of `sql/queries/templates/scan.sql`."""
    query = _TEMPLATES[template]
    columns = [sql.Identifier(column) for column in table.key]
    text = sql.SQL(query.text.decode()).format(
        table=sql.Identifier(table.name),
        key=sql.SQL(", ").join(columns),
        lead=columns[0],
        key_down=sql.SQL(", ").join(sql.SQL("{} desc").format(column) for column in columns),
        after=_placeholders("after", table),
        upto=_placeholders("upto", table),
        **names,
    )
    return Query(f"{template} of {table.name}", text.as_bytes(None), query.comment, tuple)


def next_batch(query: Query[Row], after: Key, most: int) -> Statement[Row]:
    """Bind a `read_batch_end` statement."""
    return query(**_numbered("after", after), most=most)


def scan(
    database: Database,
    job: str,
    table: Table,
    visit: Visit,
    time_is_up: Callable[[], bool],
    *,
    most: int | None = None,
    every_s: int = 0,
) -> ScanResult:
    """Go on with a job's pass over a table until its end, or until the time is up.

    A new pass begins when the last one ended at least `every_s` seconds ago. `most` is the batch's rows, by
    default as many as a transaction may change. Raises sql.errors.RetriesExhaustedError and psycopg.Error as
    `sql.transaction.run` does, but not for conflicts without end: another run is at it, and this one stops.
    """
    read_batch_end = fill("read_batch_end", table)
    rows = most or table.batch_rows
    scanned = ScanResult()
    step = _Step(job, table, visit, read_batch_end, rows, every_s)
    run(database, step.begin)
    while not step.done and not time_is_up():
        try:
            touched = run(database, step.take).value
        except RetriesExhaustedError as error:
            if error.fault is Fault.CONFLICT:
                break
            raise
        if touched is not None:
            scanned.batches += 1
            scanned.rows += touched
            scanned.most_rows = max(scanned.most_rows, touched + 1)
    scanned.done = step.done
    return scanned


class _Step:
    """One transaction of a scan. It has a cursor, so that progress and batch are read in one exchange."""

    def __init__(
        self, job: str, table: Table, visit: Visit, read_batch_end: Query[Row], most: int, every_s: int
    ) -> None:
        self._job = job
        self._table = table
        self._visit = visit
        self._read_batch_end = read_batch_end
        self._most = most
        self._every_s = every_s
        self._cursor = table.first
        self.done = False

    def begin(self, transaction: Transaction) -> None:
        """Read the scan's checkpoint."""
        _, progress = transaction.commit(
            _INSERT_PROGRESS(job=self._job), _READ_PROGRESS(job=self._job, every_s=self._every_s)
        )
        self._adopt(progress.rows)

    def take(self, transaction: Transaction) -> int | None:
        """Do one batch; give the rows changed, or None where there was none to do at the cursor."""
        progress, batch = transaction.read(
            _READ_PROGRESS(job=self._job, every_s=self._every_s),
            next_batch(self._read_batch_end, self._cursor, self._most),
        )
        if not self._adopt(progress):
            return None  # another run is at work, or was until now
        if not batch:
            transaction.commit(_FINISH(job=self._job))
            self.done = True
            return None
        upto = tuple(str(value) for value in batch[0])
        writes = self._visit(transaction, Batch(self._cursor, upto))
        _, *written = transaction.commit(_ADVANCE(job=self._job, checkpoint=json.dumps(upto)), *writes)
        self._cursor = upto
        return sum(one.touched for one in written)

    def _adopt(self, progress: Sequence[_Progress]) -> bool:
        """Move the cursor to the checkpoint; tell whether it was there, with work left to do."""
        ((checkpoint, is_due),) = progress
        # guard: a scan resumes where it stopped
        known, self._cursor = self._cursor, tuple(json.loads(checkpoint)) if checkpoint else self._table.first
        self.done = checkpoint is None and not is_due
        return known == self._cursor and not self.done


def _placeholders(name: str, table: Table) -> sql.Composed:
    return sql.SQL(", ").join(sql.Placeholder(f"{name}_{number}") for number in range(len(table.key)))


def _numbered(name: str, key: Key) -> dict[str, str]:
    return {f"{name}_{number}": value for number, value in enumerate(key)}
