"""What is refused because of what is there: keys of a table's columns, and numbers of objects."""

import psycopg
import pytest

from local_dsql import limits
from local_dsql.dialect import parse
from local_dsql.table_refusals import Counts, find_with_counts, key_column
from tests.local_dsql.conftest import Connect, Connection


@pytest.fixture
def session(connect: Connect) -> Connection:
    session = connect()
    session.execute("create schema lab")
    session.execute(
        "create table lab.t (a int, b jsonb, c varchar(1500), d varchar(501), e bytea, f timetz,"
        " constraint named primary key (a))"
    )
    return session


def refusal(session: Connection, statement: str) -> str:
    with pytest.raises(psycopg.Error) as caught:
        session.execute(statement.encode())
    return f"{caught.value.sqlstate} {caught.value.diag.message_primary}"


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("create index async i on lab.t (d, b)", "0A000 datatype jsonb is not supported in a key"),
        ("create unique index async i on lab.t (e)", "0A000 datatype bytea is not supported in a key"),
        ("create index async i on lab.t (f)", "0A000 datatype time with time zone is not supported in a key"),
        ("create index async i on lab.t (c, d)", "54000 key size greater than 2000 bytes not supported"),
        ("alter table lab.t drop column a", "0A000 cannot drop primary key column a"),
        ("alter table lab.t drop column c, drop column a", "0A000 cannot drop primary key column a"),
        (
            "alter table lab.t drop constraint named",
            "0A000 unsupported ALTER TABLE DROP CONSTRAINT statement",
        ),
    ],
)
def test_a_tables_columns_and_keys_decide(session: Connection, statement: str, words: str) -> None:
    assert refusal(session, statement) == words
    session.execute("create index async taken on lab.t (d) include (b)")
    session.execute("alter table lab.t drop column c")


def test_a_table_takes_24_indexes_its_primary_key_included(session: Connection) -> None:
    for number in range(limits.TABLE_INDEXES - 1):
        session.execute(f"create index async i{number} on lab.t (d)".encode())
    words = "54000 more than 24 indexes per table are not allowed"
    assert refusal(session, "create index async one_more on lab.t (d)") == words
    session.execute("drop index lab.i0")
    session.execute("create index async one_more on lab.t (d)")


def test_a_table_takes_255_columns(session: Connection) -> None:
    names = [f"c{number}" for number in range(limits.TABLE_COLUMNS)]
    session.execute(f"create table lab.wide ({', '.join(f'{name} int' for name in names)})".encode())
    words = "54011 tables can have at most 255 columns"
    assert refusal(session, "alter table lab.wide add column late int") == words
    session.execute("alter table lab.wide drop column c1")
    session.execute("alter table lab.wide add column late int")


def test_there_are_ten_schemas_and_no_more(session: Connection) -> None:
    for number in range(limits.SCHEMAS - 1):
        session.execute(f"create schema s{number}".encode())
    assert refusal(session, "create schema one_more") == "54000 more than 10 schemas not allowed"
    session.execute("drop schema s0")
    session.execute("create schema one_more")


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("create table t (a int)", "creating more than 1000 tables not allowed"),
        ("create view v as select 1", "creating more than 5000 views not allowed"),
        ("create sequence s cache 1", "creating more than 5000 sequences is not allowed"),
    ],
)
def test_there_are_so_many_tables_views_and_sequences(statement: str, words: str) -> None:
    (parsed,) = parse(statement)
    full = Counts(limits.SCHEMAS, limits.TABLES, limits.VIEWS, limits.SEQUENCES)
    found = find_with_counts(parsed.tree, full)
    assert found is not None
    assert found.message == words
    assert find_with_counts(parsed.tree, Counts(*(each - 1 for each in full))) is None


@pytest.mark.parametrize(
    ("shown", "type_name", "numbers"),
    [
        ("character varying(20)", "varchar", (20,)),
        ("numeric(18,6)", "numeric", (18, 6)),
        ("timestamp(3) with time zone", "timestamptz", (3,)),
        ("integer", "int4", ()),
        ('lab."a domain"', "a domain", ()),
        ("%", "unknown", ()),
    ],
)
def test_types_are_read_as_the_catalogue_shows_them(
    shown: str, type_name: str, numbers: tuple[int, ...]
) -> None:
    assert key_column(shown) == (type_name, numbers)
