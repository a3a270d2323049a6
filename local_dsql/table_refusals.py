"""What Aurora DSQL refuses because of what is there: a table's columns, keys and indexes, numbers of objects.

`refusals.find` needs a statement alone; this needs the table too, from the catalogue or from the statements
that made it.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from pglast import ast
from pglast.enums import parsenodes as p

from local_dsql import dialect
from local_dsql.dialect import Node, is_a, type_name
from local_dsql.limits import SCHEMAS, SEQUENCES, TABLE_COLUMNS, TABLE_INDEXES, TABLES, VIEWS
from local_dsql.refusals import (
    DROP_PRIMARY_KEY,
    TABLE_TOO_WIDE,
    TOO_MANY_INDEXES,
    TOO_MANY_SCHEMAS,
    TOO_MANY_SEQUENCES,
    TOO_MANY_TABLES,
    TOO_MANY_VIEWS,
    KeyColumn,
    Refusal,
    drop_key_column,
    find_in_key,
    key_columns,
    modifiers,
)

_UNKNOWN = KeyColumn("unknown")


class TableState(NamedTuple):
    """A table before a statement."""

    columns: Mapping[str, KeyColumn]
    primary_key: tuple[str, ...] = ()
    primary_key_name: str = ""
    indexes: int = 0
    """The primary key's and those of UNIQUE count."""


def find_with_table(tree: Node, table: TableState) -> Refusal | None:
    """Tell whether DSQL refuses a CREATE INDEX or ALTER TABLE because of what its table is."""
    if is_a(tree, ast.IndexStmt):
        if table.indexes >= TABLE_INDEXES:
            return TOO_MANY_INDEXES
        return find_in_key([table.columns.get(key.name, _UNKNOWN) for key in tree.indexParams])
    if is_a(tree, ast.AlterTableStmt):
        return next(_altered(tree, table), None)
    return None


def _altered(tree: Node, table: TableState) -> Iterator[Refusal]:
    dropped = set()
    for command in tree.cmds:
        if command.subtype == p.AlterTableType.AT_DropColumn:
            dropped.add(command.name)
            if command.name in table.primary_key:
                yield drop_key_column(command.name)
        elif command.subtype == p.AlterTableType.AT_DropConstraint and command.name == table.primary_key_name:
            yield DROP_PRIMARY_KEY
    left = len((table.columns.keys() - dropped) | key_columns(tree).keys())
    if left > max(TABLE_COLUMNS, len(table.columns)):
        yield TABLE_TOO_WIDE


class Counts(NamedTuple):
    """How many there are in the database, of what DSQL limits; `schemas` without `public` and `sys`."""

    schemas: int
    tables: int
    views: int
    sequences: int


LIMITED = (ast.CreateSchemaStmt, ast.CreateStmt, ast.ViewStmt, ast.CreateSeqStmt)
"""Statements that make what DSQL limits the number of."""


def find_with_counts(tree: Node, counts: Counts) -> Refusal | None:
    """Tell whether DSQL refuses a CREATE because there are as many as it takes."""
    limits = (
        (SCHEMAS, TOO_MANY_SCHEMAS),
        (TABLES, TOO_MANY_TABLES),
        (VIEWS, TOO_MANY_VIEWS),
        (SEQUENCES, TOO_MANY_SEQUENCES),
    )
    for kind, there_are, (most, refusal) in zip(LIMITED, counts, limits, strict=True):
        if is_a(tree, kind) and there_are >= most:
            return refusal
    return None


@lru_cache(1024)
def key_column(shown: str) -> KeyColumn:
    """Read a type as `format_type` shows it: character varying(20)."""
    try:
        (statement,) = dialect.parse(f"select null::{shown}")
    except dialect.UnreadableError:
        return _UNKNOWN
    node = statement.tree.targetList[0].val.typeName
    return KeyColumn(type_name(node), modifiers(node))
