"""Loading the sample, in transactions that DSQL accepts."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from local.sample_data.progress import Progress, silent
from local.sample_data.rows import TABLES, SampleData, Table

#: What DSQL lets one transaction change. At the columns' full widths this is far below its 10 MiB, too.
MAX_ROWS = 3000

SCHEMA = "xpoints"

Connection = psycopg.Connection[tuple[Any, ...]]


class OtherDataError(RuntimeError):
    """The database holds other customers or items: load into an empty one, or with the numbers of before."""


class Loaded(NamedTuple):
    """What a loading did: rows and transactions written. Both are 0 where the sample was there already."""

    rows: int
    transactions: int


def batches(data: SampleData, most: int = MAX_ROWS) -> Iterator[tuple[Table, Sequence[tuple[Any, ...]]]]:
    """Cut the tables' rows into parts of at most `most`, in the order of loading."""
    for table in TABLES:
        rows = data.rows(table.name)
        for start in range(0, len(rows), most):
            yield table, rows[start : start + most]


def load(connection: Connection, data: SampleData, progress: Progress = silent) -> Loaded:
    """Copy the sample into a migrated database, one batch a transaction.

    Safe to run again: a sample that is there is left as customers have changed it meanwhile, and a loading
    that was interrupted goes on where it stopped. Raises OtherDataError where the tables hold anything else,
    before anything is written, and ValueError for a connection in the middle of a transaction.
    """
    if connection.info.transaction_status != TransactionStatus.IDLE:
        raise ValueError("Each batch is a transaction of its own: commit or roll back before loading.")
    total = sum(len(data.rows(table.name)) for table in TABLES)
    last_entry = data.transactions[-1]
    if _has(connection, "transactions", ("id",), (last_entry.id,)):
        progress("Loading rows", total, total)
        return Loaded(0, 0)
    # The first batches are images and items; the first customer's id belongs to this sample alone.
    first_customer = data.customers[0]
    begun = _has(connection, "images", ("id",), (data.images[0].id,))
    customers_begun = _has(connection, "customers", ("id",), (first_customer.id,))
    if (not begun and _has(connection, "catalog_items")) or (
        not customers_begun and _has(connection, "customers")
    ):
        raise OtherDataError(
            "The database holds other customers or items than this sample. "
            "Load into an empty database, or ask for the same customers, items and seed as before."
        )
    rows = transactions = done = 0
    for table, batch in batches(data):
        # A batch is there whole or not at all: its first row tells.
        key = slice(table.key_columns)
        if not (begun and _has(connection, table.name, table.columns[key], batch[0][key])):
            _copy(connection, table, batch)
            rows += len(batch)
            transactions += 1
        done += len(batch)
        progress("Loading rows", done, total)
    return Loaded(rows, transactions)


def _has(
    connection: Connection, table: str, columns: Sequence[str] = (), values: Sequence[object] = ()
) -> bool:
    """Tell whether a table has a row with these values, or any row."""
    conditions: list[sql.Composable] = [
        sql.SQL("{} = %s").format(sql.Identifier(column)) for column in columns
    ]
    query = sql.SQL("select 1 from {} where {} limit 1").format(
        sql.Identifier(SCHEMA, table), sql.SQL(" and ").join(conditions or [sql.SQL("true")])
    )
    with connection.transaction():
        return connection.execute(query, values).fetchone() is not None


def _copy(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    statement = sql.SQL("copy {} ({}) from stdin").format(
        sql.Identifier(SCHEMA, table.name), sql.SQL(", ").join(map(sql.Identifier, table.columns))
    )
    with connection.transaction(), connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)
