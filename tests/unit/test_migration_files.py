import pglast
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pglast.stream import RawStream

from sql.migrate import DIRECTORY, Migration, read_migrations, split

SOURCES = [
    "select 1; select 2;",
    "select ';'; select 'it''s; fine'; select 3",
    'select 1 as "a;b"; select 2',
    "-- one; two\nselect 1; -- three; four\nselect 2",
    "/* a; b */ select 1; select/* ; */2",
    "create function f() returns int language sql as $$ select 1; $$; select 2",
    "create function f() returns int language sql as $x$ select '$$;'; $x$; select 2",
    r"select E'a\';b'; select 2",
    "select 'a--b;c'; select 2",
    "select 1;;; select 2;\n\n;",
    "select a-1, b/2; select $1",
    "",
    "-- nothing but a comment;",
]
PIECES = [
    "select 1",
    "select 'a;''b'",
    'select 1 as "x;""y"',
    "select $t$a;'b$t$",
    r"select E'\';'",
    "select 1 - -1 / 2",
    "select/*;*/1",
    "select 1 -- ;'\n",
]


def as_postgresql_reads(source: str) -> list[str]:
    return [RawStream()((statement,)) for statement in pglast.parse_sql(source)]


@pytest.mark.parametrize("source", SOURCES)
def test_files_are_cut_into_statements_as_postgresql_cuts_them(source: str) -> None:
    assert [as_postgresql_reads(text) for text in split(source)] == [
        [statement] for statement in as_postgresql_reads(source)
    ]


@given(
    st.lists(st.sampled_from(PIECES), max_size=6), st.sampled_from([";", ";\n", " ; ", ";--;'\n", ";/*';*/"])
)
def test_any_sequence_of_statements_is_cut_as_postgresql_cuts_it(pieces: list[str], between: str) -> None:
    source = between.join(pieces)
    assert [as_postgresql_reads(text) for text in split(source)] == [
        [statement] for statement in as_postgresql_reads(source)
    ]


def test_comments_and_line_breaks_may_change_after_a_statement_was_applied_and_words_may_not() -> None:
    (original,) = split("create table a ( -- why\n  b int\n);")
    (reformatted,) = split("-- why it is here\ncreate table a (\n b int )")
    assert Migration("f", 1, original).checksum != Migration("f", 1, "create table a (c int)").checksum
    assert Migration("f", 1, original).checksum == Migration("f", 1, reformatted).checksum


def test_statements_come_in_the_order_of_their_files_names_and_are_numbered_in_each() -> None:
    migrations = read_migrations()
    assert [(each.file, each.number) for each in migrations] == sorted(
        (each.file, each.number) for each in migrations
    )
    assert {each.number for each in migrations if each.file.startswith("0001")} == set(range(1, 11))


def test_files_numbers_are_their_own_and_follow_each_other() -> None:
    numbers = [int(path.name.partition("_")[0]) for path in sorted(DIRECTORY.glob("*.sql"))]

    assert numbers == [*range(1, len(numbers) + 1)], (
        "give the new file of sql/migrations/ the next free number, then: make release"
    )
