"""Which of PostgreSQL's errors the local DSQL takes for two changes of the schema that met."""

import pytest

from local_dsql import statements, wire
from local_dsql.backend import EXECUTED, Failure, Prepared, Run, Step

TABLE = "create table t (id int)"
UNLESS_THERE = "create table if not exists t (id int)"


@pytest.mark.parametrize(
    ("text", "sqlstate", "words", "expected"),
    [
        (TABLE, "42P07", 'relation "t" already exists', False),
        (UNLESS_THERE, "42P07", 'relation "t" already exists', True),
        ("create index async if not exists i on t (id)", "42P07", 'relation "i" already exists', True),
        (TABLE, "42710", 'type "t" already exists', True),
        ("create role r", "42710", 'role "r" already exists', False),
        (TABLE, "XX000", "tuple concurrently updated", True),
        (TABLE, "XX000", "something else", False),
        ("insert into t values (1)", "23505", "duplicate key value", False),
    ],
)
def test_what_meets_in_the_catalogue(text: str, sqlstate: str, words: str, expected: bool) -> None:
    run = Run(Prepared(statements.read(text), b"\0\0"), b"", 0, None)
    failure = Failure(Step(b"", EXECUTED, run=run), wire.error(sqlstate, words))
    assert failure.is_of_catalogue is expected
