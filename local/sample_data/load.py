"""Loading the sample, in transactions that DSQL accepts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from local.sample_data.progress import Progress, silent
from local.sample_data.rows import TABLES, SampleData, Table

#: What DSQL lets one transaction change. At the columns' full widths this is far below its 10 MiB, too.
MAX_ROWS = 3000

SCHEMA = "xpoints"

#: The tables of a catalogue. Items come last: one that is there was loaded with all that belongs to it.
CATALOGUE_TABLES = ("images", "item_words", "catalog_images", "stock", "catalog_items")

#: Where a row of a table names its customer.
_CUSTOMER_AT = {
    "staff_members": 0,
    "points_balances": 0,
    "shopping_cart_items": 0,
    "orders": 1,
    "transactions": 1,
}

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
    that was interrupted goes on where it stopped; of a customer who was erased meanwhile nothing comes back.
    Raises OtherDataError where the tables hold anything else, before anything is written, and ValueError for
    a connection in the middle of a transaction.
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
        # Of whoever was erased meanwhile nothing comes back.
        due = _without_erased(connection, data, table, batch) if customers_begun else batch
        # A batch is there whole or not at all: its first row tells.
        key = slice(table.key_columns)
        if due and not (begun and _has(connection, table.name, table.columns[key], due[0][key])):
            _copy(connection, table, due)
            rows += len(due)
            transactions += 1
        done += len(batch)
        progress("Loading rows", done, total)
    return Loaded(rows, transactions)


def load_catalogue(
    connection: Connection, rows: Mapping[str, Sequence[tuple[Any, ...]]], progress: Progress = silent
) -> Loaded:
    """Copy a catalogue: `rows` by CATALOGUE_TABLES. What is there stays as the staff have made it.

    So of an item that was retired nothing comes back. One batch a transaction; run again, it goes on where it
    stopped. Raises ValueError for a connection in the middle of a transaction.
    """
    if connection.info.transaction_status != TransactionStatus.IDLE:
        raise ValueError("Each batch is a transaction of its own: commit or roll back before loading.")
    items = rows["catalog_items"]
    there = _there(connection, "catalog_items", [item[0] for item in items])
    pictures = {item[-1] for item in items if item[0] not in there}
    pictures |= {image_id for item_id, image_id in rows["catalog_images"] if item_id not in there}
    tables = {table.name: table for table in TABLES}
    total = sum(len(rows[name]) for name in CATALOGUE_TABLES)
    written = transactions = done = 0
    for name in CATALOGUE_TABLES:
        width = tables[name].key_columns
        for start in range(0, len(rows[name]), MAX_ROWS):
            batch = rows[name][start : start + MAX_ROWS]
            due = [row for row in batch if (row[0] in pictures if name == "images" else row[0] not in there)]
            loaded = _keys(connection, tables[name], [row[0] for row in due])
            missing = [row for row in due if tuple(row[:width]) not in loaded]
            if missing:
                _copy(connection, tables[name], missing)
                written += len(missing)
                transactions += 1
            done += len(batch)
            progress("Loading rows", done, total)
    return Loaded(written, transactions)


def pictures_in_use(connection: Connection, data: SampleData) -> SampleData:
    """Give the sample with those pictures alone that the database still names."""
    named = set[str]()
    for start in range(0, len(data.images), MAX_ROWS):
        ids = [image.id for image in data.images[start : start + MAX_ROWS]]
        query = sql.SQL("select filename from {} where id = any(%s)").format(sql.Identifier(SCHEMA, "images"))
        with connection.transaction():
            named |= {row[0] for row in connection.execute(query, [ids])}
    return replace(data, pictures=tuple(one for one in data.pictures if one.filename in named))


def _without_erased(
    connection: Connection, data: SampleData, table: Table, batch: Sequence[tuple[Any, ...]]
) -> Sequence[tuple[Any, ...]]:
    """Give the rows of a batch but those of customers who were erased since they were loaded."""
    if table.name in ("order_items", "order_events"):
        owners = {order.id: order.customer_id for order in data.orders}
        named = [owners[row[0]] for row in batch]
    elif table.name in _CUSTOMER_AT:
        named = [row[_CUSTOMER_AT[table.name]] for row in batch]
    else:
        return batch
    query = sql.SQL("select id from {} where id = any(%s) and erased_at is not null").format(
        sql.Identifier(SCHEMA, "customers")
    )
    with connection.transaction():
        erased = {row[0] for row in connection.execute(query, [[*{*named}]])}
    return [row for row, customer_id in zip(batch, named, strict=True) if customer_id not in erased]


def _there(connection: Connection, table: str, ids: Sequence[UUID]) -> set[UUID]:
    found = set[UUID]()
    for start in range(0, len(ids), MAX_ROWS):
        query = sql.SQL("select id from {} where id = any(%s)").format(sql.Identifier(SCHEMA, table))
        with connection.transaction():
            found |= {row[0] for row in connection.execute(query, [ids[start : start + MAX_ROWS]])}
    return found


def _keys(connection: Connection, table: Table, firsts: Sequence[UUID]) -> set[tuple[Any, ...]]:
    """Give the keys of a table's rows that begin with one of these ids."""
    key = table.columns[: table.key_columns]
    query = sql.SQL("select {} from {} where {} = any(%s)").format(
        sql.SQL(", ").join(map(sql.Identifier, key)),
        sql.Identifier(SCHEMA, table.name),
        sql.Identifier(key[0]),
    )
    with connection.transaction():
        return set(connection.execute(query, [[*{*firsts}]]))


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
