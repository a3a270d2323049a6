"""Named SQL statements, loaded from `sql/queries/*.sql`.

A file holds statements that each start with `-- name: the_name`, followed by a comment that says what the
statement is for. Parameters are psycopg's `%(name)s`. What a statement's rows become is said where it is
loaded: `load("stock")["read_stock"].of(StockSlot)`.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

DIRECTORY = Path(__file__).parent / "queries"

_NAME = re.compile(r"^-- name: ([a-z_]+)$", re.MULTILINE)


R = TypeVar("R")
T = TypeVar("T")


class Statement(NamedTuple, Generic[R]):
    """A query with the values of its parameters, ready to be sent."""

    query: "Query[R]"
    parameters: Mapping[str, object]


class Query(NamedTuple, Generic[R]):
    """One named statement. `text` is what the database receives; `comment` what it is for.

    `record` is what a row becomes; without one, rows can be counted and nothing else.
    """

    name: str
    text: bytes
    comment: str
    record: type[R] | None = None

    def __call__(self, **parameters: object) -> Statement[R]:
        """Bind the statement's parameters by name."""
        return Statement(self, parameters)

    def of(self, record: type[T]) -> "Query[T]":
        """Say what a row becomes, by the statement's columns.

        A NamedTuple whose fields are the columns, name by name and in their order (a test compares them in
        the database); `dict`, by the columns' names; any other type for the value of the only column. Said
        when a module is loaded and never in a function, so that the test finds it.
        """
        return Query(self.name, self.text, self.comment, record)


def part(record: type[T], row: dict[str, Any]) -> T:
    """Take those columns of a row that a NamedTuple has as fields out of it, and make one of them."""
    return record(**{name: row.pop(name) for name in record._fields})  # type: ignore[attr-defined]


@cache
def load(file: str) -> Mapping[str, Query[object]]:
    """Read `sql/queries/<file>.sql` into queries by name; a name that stands twice is a ValueError.

    Statements that are not the shop's own stand elsewhere: `file` may be a whole path, without its suffix.
    """
    source = (DIRECTORY / f"{file}.sql").read_text(encoding="utf-8")
    _, *parts = _NAME.split(source)
    queries: dict[str, Query[object]] = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        if name in queries:
            raise ValueError(f"{file}.sql names {name} twice; give one of the statements another name")
        lines = [line.rstrip() for line in body.strip().splitlines()]
        comment = " ".join(line[2:].strip() for line in lines if line.startswith("--"))
        # Comments stay in the file: what travels to the server with every call is the bare statement.
        text = "\n".join(line for line in lines if line and not line.lstrip().startswith("--"))
        queries[name] = Query(name, text.rstrip(";").encode(), comment)
    return queries
