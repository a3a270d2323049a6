"""Named SQL statements, loaded from `sql/queries/*.sql`.

A file holds statements that each start with `-- name: the_name`, followed by a comment that says what the
statement is for. Parameters are psycopg's `%(name)s`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

DIRECTORY = Path(__file__).parent / "queries"

_NAME = re.compile(r"^-- name: ([a-z_]+)$", re.MULTILINE)


class Statement(NamedTuple):
    """A query with the values of its parameters, ready to be sent."""

    query: "Query"
    parameters: Mapping[str, Any]


class Query(NamedTuple):
    """One named statement. `text` is what the database receives; `comment` what it is for."""

    name: str
    text: bytes
    comment: str

    def __call__(self, **parameters: Any) -> Statement:
        """Bind the statement's parameters by name."""
        return Statement(self, parameters)


def load(file: str) -> dict[str, Query]:
    """Read `sql/queries/<file>.sql` into queries by name; a name that stands twice is a ValueError."""
    source = (DIRECTORY / f"{file}.sql").read_text(encoding="utf-8")
    _, *parts = _NAME.split(source)
    queries: dict[str, Query] = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        if name in queries:
            raise ValueError(f"{file}.sql names {name} twice; give one of the statements another name")
        lines = [line.rstrip() for line in body.strip().splitlines()]
        comment = " ".join(line[2:].strip() for line in lines if line.startswith("--"))
        # Comments stay in the file: what travels to the server with every call is the bare statement.
        text = "\n".join(line for line in lines if line and not line.lstrip().startswith("--"))
        queries[name] = Query(name, text.rstrip(";").encode(), comment)
    return queries
