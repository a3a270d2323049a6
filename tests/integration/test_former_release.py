"""The former release goes on working on the schema of this one: only then can a deployment be taken back."""

import re
from collections.abc import Iterator

import psycopg
import pytest

from sql.connection import Connection
from sql.queries import load
from tests.former_release import CONTRACT, STATEMENTS, Step, new_steps, steps, takes_away
from tests.integration.conftest import Connect

_PARAMETER = re.compile(r"%\((\w+)\)[sbt]")


def statements() -> Iterator[tuple[str, str]]:
    """Give the former release's statements by `file:name`, with `$1` for the first parameter."""
    for path in sorted(STATEMENTS.glob("*.sql")):
        if path.stem == "migrations":
            continue  # the migration is the new release's, always
        for name, query in load(str(path.with_suffix(""))).items():
            text, numbers = query.text.decode(), dict[str, int]()

            def number(match: re.Match[str], numbers: dict[str, int] = numbers) -> str:
                return f"${numbers.setdefault(match[1], len(numbers) + 1)}"

            yield f"{path.stem}:{name}", _PARAMETER.sub(number, text).replace("%%", "%")


def broken(connection: Connection) -> dict[str, str]:
    """Give the statements that the schema refuses, with its words."""
    found = {}
    for name, text in statements():
        try:
            connection.execute(f"explain (generic_plan) {text}".encode())
        except psycopg.Error as error:
            found[name] = str(error)
    return found


def test_the_former_releases_statements_are_accepted_by_this_schema(connect: Connect) -> None:
    assert len(list(statements())) > 50
    refused = broken(connect())
    assert refused == {}


def test_a_column_that_the_former_release_needs_is_missed(connect: Connect) -> None:
    connection = connect()
    connection.execute(b"alter table xpoints.orders drop column region")
    assert "checkout:insert_order" in broken(connection)


def test_what_takes_something_away_says_which_release_stopped_using_it() -> None:
    unexplained = [
        f"{step.file}, statement {step.number}"
        for step in new_steps()
        if takes_away(step) and CONTRACT not in step.text
    ]
    assert unexplained == [], f"expand first; or say `{CONTRACT}<why nothing that runs needs it>` before it"


EXPANDING = [
    "create table xpoints.t (id uuid primary key, n int not null)",
    "create index async if not exists i on xpoints.t (n)",
    "alter table xpoints.t add column m int",
    "create role r with login",
    "grant select on xpoints.t to r",
    "create view xpoints.v as select 1 as one",
]
CONTRACTING = [
    "alter table xpoints.t drop column m",
    "alter table xpoints.t add constraint c check (n > 0) not valid",
    "alter table xpoints.t rename column m to k",
    "alter table xpoints.t alter column m set not null",
    "create unique index async i on xpoints.t (n)",
    "create or replace view xpoints.v as select 2 as one",
    "drop index xpoints.i",
    "drop table xpoints.t",
    "revoke select on xpoints.t from r",
    "update xpoints.t set n = 1",
]


@pytest.mark.parametrize("text", EXPANDING)
def test_what_only_adds_needs_no_word(text: str) -> None:
    assert [takes_away(step) for step in steps("f", f"-- why\n{text};")] == [False]


@pytest.mark.parametrize("text", CONTRACTING)
def test_what_may_disturb_the_former_release_needs_one(text: str) -> None:
    (step,) = steps("f", f"-- contract: release 3 reads it no more.\n{text};")
    assert takes_away(step)
    assert CONTRACT in step.text
    assert isinstance(step, Step)
