"""What the local DSQL makes of PostgreSQL's errors: two changes of the schema that met, and DSQL's words."""

import pytest

from local_dsql import refusals, statements, wire
from local_dsql.backend import EXECUTED, Failure, Prepared, Run, Step
from local_dsql.refusals import Refusal
from local_dsql.session.conversation import in_words_of_dsql

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


@pytest.mark.parametrize(
    ("sqlstate", "words", "is_schema", "expected"),
    [
        ("40P01", "deadlock detected", False, refusals.CONFLICT),
        ("40P01", "deadlock detected", True, refusals.SCHEMA_CHANGED),
        ("40001", "could not serialize access due to concurrent update", False, refusals.CONFLICT),
        ("40001", "could not serialize access due to concurrent update", True, refusals.SCHEMA_CHANGED),
        ("40001", refusals.SCHEMA_CHANGED.message, False, None),
        ("54000", "index row size 2720 exceeds btree version 4 maximum 2704", False, refusals.KEY_TOO_LARGE),
        ("54000", "pg_dsql key", False, refusals.KEY_TOO_LARGE),
        ("54000", "pg_dsql size row", False, refusals.ROW_TOO_LARGE),
        ("54000", "pg_dsql size bytea", False, refusals.value_too_large("bytea")),
        ("54000", "something else", False, None),
        ("53400", "temporary file size exceeds temp_file_limit", False, refusals.QUERY_MEMORY),
        ("23505", "duplicate key value", False, None),
    ],
)
def test_words_of_dsql(sqlstate: str, words: str, is_schema: bool, expected: Refusal | None) -> None:
    assert in_words_of_dsql(sqlstate, words, is_schema=is_schema) == expected
