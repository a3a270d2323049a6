import json
import re
from pathlib import Path

import pytest

from local_dsql import refusals
from local_dsql.dialect import parse
from local_dsql.limits import TABLE_COLUMNS, TABLE_INDEXES
from local_dsql.refusals import Refusal, find_in
from tests.unit.test_dsql_refusals import ANSWERS, REFUSED, is_error
from tools.dsql_bounds import check_bounds
from tools.dsql_check import (
    check_transaction,
    find,
    main,
    migration_statements,
    query_statements,
    table_findings,
)
from tools.dsql_rules import REMEDIES, RULES, Statement, check, numbered

COLUMNS_255 = ", ".join(f"c{n} int" for n in range(TABLE_COLUMNS))

# rule, a statement that this project refuses although DSQL does not, and its nearest neighbour that is fine
PROJECT_RULES = [
    ("skip-locked", "select id from t for update skip locked", "select id from t for update"),
    (
        "foreign-key",
        "create table t (id int primary key, a int references s (id))",
        "create table t (id int primary key, a int)",
    ),
    (
        "foreign-key",
        "alter table t add constraint f foreign key (a) references s (id) not valid",
        "alter table t drop constraint f",
    ),
    ("primary-key", "create table t (id int)", "create table t (id int, primary key (id))"),
    (
        "bare-numeric",
        "create table t (id int primary key, price numeric)",
        "create table t (id int primary key, price numeric(8, 2))",
    ),
    ("bare-numeric", "alter table t add column price decimal", "alter table t add column price decimal(8)"),
    ("unreadable", "select from where", "select 1 where true"),
    ("unreadable", "select 1; select 2", "select 1;"),
]

KEYS = {"cart": frozenset({"customer_id", "item_id"}), "orders": frozenset({"id"})}

# an unbounded write, and its nearest neighbour that is bounded
BOUNDS = [
    ("delete from xpoints.cart", "delete from xpoints.cart where customer_id = %(c)s and item_id = %(i)s"),
    (
        "delete from xpoints.cart where item_id = %(i)s",
        "delete from xpoints.cart where item_id = %(i)s and customer_id = any(%(c)s::uuid[])",
    ),
    (
        "delete from xpoints.cart where customer_id = %(c)s or item_id = %(i)s",
        "delete from xpoints.cart where (customer_id = %(c)s and item_id = %(i)s)",
    ),
    (
        "delete from xpoints.orders where id in (select id from xpoints.orders where placed_at < now())",
        "delete from xpoints.orders where id in (select id from xpoints.orders limit %(most)s)",
    ),
    (
        "delete from xpoints.cart where customer_id in (select customer_id from xpoints.cart limit 10)",
        "delete from xpoints.cart where (customer_id, item_id) in"
        " (select customer_id, item_id from xpoints.cart limit 10)",
    ),
    ("update xpoints.orders set status = 'x'", "update xpoints.orders set status = 'x' where id = %(id)s"),
    (
        "update xpoints.orders set status = 'x' where id <> %(id)s",
        "update xpoints.orders set status = 'x' where id in (%(a)s, %(b)s)",
    ),
    (
        "update xpoints.cart c set quantity = 1 from unnest(%(i)s::uuid[]) as t (i) where c.item_id = t.i",
        "update xpoints.cart c set quantity = 1 from unnest(%(i)s::uuid[]) as t (i)"
        " where c.item_id = t.i and c.customer_id = %(c)s",
    ),
    (
        "delete from xpoints.orders o using xpoints.cart c where o.id = c.item_id",
        "with c as (select item_id from xpoints.cart limit 10)"
        " delete from xpoints.orders o using c where o.id = c.item_id",
    ),
    (
        "delete from xpoints.orders where id = id",
        "with c as (delete from xpoints.orders where id = %(id)s returning id) select * from c",
    ),
    (
        "with c as (delete from xpoints.orders returning id) select * from c",
        "with c as (select id from xpoints.orders) select * from c",
    ),
    (
        "insert into xpoints.orders (id) select item_id from xpoints.cart",
        "insert into xpoints.orders (id) select item_id from xpoints.cart limit 10",
    ),
    (
        "insert into xpoints.orders (id) select c.item_id from unnest(%(i)s::uuid[]) as t (i)"
        " join xpoints.cart c on c.item_id = t.i",
        "insert into xpoints.orders (id) select c.item_id from unnest(%(i)s::uuid[]) as t (i)"
        " join xpoints.cart c on c.item_id = t.i and c.customer_id = %(c)s",
    ),
    (
        "insert into xpoints.orders (id) select c.item_id from xpoints.orders o"
        " left join xpoints.cart c on o.id = %(o)s and c.item_id = %(i)s and c.customer_id = %(c)s",
        "insert into xpoints.orders (id) select c.item_id from xpoints.orders o"
        " left join xpoints.cart c on c.item_id = %(i)s and c.customer_id = %(c)s where o.id = %(o)s",
    ),
    (
        "insert into xpoints.orders (id) select %(a)s union all select item_id from xpoints.cart",
        "insert into xpoints.orders (id) select %(a)s union all select %(b)s",
    ),
]


def rules_broken(text: str) -> list[str]:
    return [found.rule for found in check(Statement(text))]


@pytest.mark.parametrize(("rule", "unwanted", "_wanted"), PROJECT_RULES)
def test_a_statement_that_this_project_does_not_want_is_found(rule: str, unwanted: str, _wanted: str) -> None:
    assert rules_broken(unwanted) == [rule]


@pytest.mark.parametrize(("_rule", "_unwanted", "wanted"), PROJECT_RULES)
def test_its_nearest_neighbour_is_not_found(_rule: str, _unwanted: str, wanted: str) -> None:
    assert rules_broken(wanted) == []


def test_every_project_rule_has_a_statement_that_it_finds_and_says_that_it_is_one() -> None:
    assert {rule.name for rule in RULES} <= {rule for rule, _, _ in PROJECT_RULES}
    assert all(rule.remedy.startswith("Project rule: ") for rule in RULES)


def test_what_dsql_refuses_is_found_with_its_words_and_a_remedy() -> None:
    (found,) = check(Statement("truncate t", "a.sql:1"))
    assert found[:4] == (
        "a.sql:1",
        "dsql 0A000",
        "unsupported statement: Truncate",
        "Delete in bounded batches.",
    )


def test_every_remedy_is_that_of_a_refusal() -> None:
    messages = [refusal.message for refusal in every_refusal()]
    unused = [words for words, _ in REMEDIES if not any(words in message for message in messages)]
    assert unused == []


def is_refused(step: dict[str, str]) -> bool:
    return is_error(step["answer"]) and not step["answer"].startswith("42601")


def every_refusal() -> list[Refusal]:
    """Give a refusal of each kind: a statement's, a table's, a transaction's."""
    recorded = [step["sql"] for case in ANSWERS["cases"] for step in case["steps"] if is_refused(step)]
    found = [find_in(statement) for text in [*REFUSED, *recorded] for statement in parse(text)]
    made = [*vars(refusals).values(), refusals.drop_key_column("a"), *map(refusals.parameter, ("role",))]
    return [each for each in [*found, *made] if isinstance(each, Refusal)]


@pytest.mark.parametrize("text", [unbounded for unbounded, _ in BOUNDS])
def test_a_write_without_a_bound_is_found(text: str) -> None:
    assert [finding.rule for finding in check_bounds(Statement(numbered(text)), KEYS)] == ["unbounded-write"]


@pytest.mark.parametrize("text", [bounded for _, bounded in BOUNDS])
def test_a_write_that_is_bounded_by_its_form_is_not_found(text: str) -> None:
    assert check_bounds(Statement(numbered(text)), KEYS) == []


def test_a_write_whose_comment_gives_a_bound_is_not_found() -> None:
    statement = Statement("delete from xpoints.cart", comment="bounded by: a test has two rows")
    assert check_bounds(statement, KEYS) == []


@pytest.mark.parametrize(
    ("kinds", "is_refused"),
    [
        (["ddl"], False),
        (["ddl", "ddl"], True),
        (["dml", "ddl"], True),
        (["ddl", "dml"], True),
        (["ddl", "other"], False),
        (["dml", "dml", "other"], False),
    ],
)
def test_a_transaction_holds_one_ddl_statement_or_any_dml(kinds: list[str], is_refused: bool) -> None:
    assert (check_transaction(kinds) is not None) == is_refused


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("begin", "begin"),
        ("start transaction", "begin"),
        ("commit", "end"),
        ("rollback", "end"),
        ("select 1", "other"),
        ("with x as (insert into t values (1) returning a) select * from x", "dml"),
        ("insert into t values (1)", "dml"),
        ("create table t (a int)", "ddl"),
        ("create index async i on xpoints.t (a)", "ddl"),
        ("grant select on t to x", "ddl"),
        ("create role x with login", "ddl"),
        ("drop table t", "ddl"),
        ("AWS IAM GRANT x TO 'arn:aws:iam::111122223333:role/x'", "ddl"),
    ],
)
def test_statements_are_told_apart_by_what_a_transaction_makes_of_them(text: str, kind: str) -> None:
    assert Statement(text).kind == kind


def table_refusals(*texts: str) -> list[tuple[str, str]]:
    """Give where and in which words DSQL refuses what statements one after the other make of tables."""
    statements = [Statement(text, str(place)) for place, text in enumerate(texts)]
    return [(found.source, found.refused) for found in table_findings(statements)]


def test_a_table_takes_so_many_indexes_and_no_more() -> None:
    indexes = [f"create index async i{n} on xpoints.t (a)" for n in range(TABLE_INDEXES)]
    table = "create table xpoints.t (a int primary key)"
    assert table_refusals(table, *indexes[:-1]) == []
    words = "more than 24 indexes per table are not allowed"
    assert table_refusals(table, *indexes) == [(str(TABLE_INDEXES), words)]
    assert table_refusals(table, *indexes[:-1], "drop index xpoints.i3", indexes[-1]) == []


def test_a_table_takes_so_many_columns_and_no_more_however_they_came() -> None:
    table = f"create table xpoints.t ({COLUMNS_255}, primary key (c0))"
    one_more = "alter table xpoints.t add column late int"
    assert table_refusals(table) == []
    assert table_refusals(table, one_more) == [("1", "tables can have at most 255 columns")]
    assert table_refusals(table, "alter table xpoints.t drop column c1", one_more) == []


def test_an_indexs_key_is_refused_for_what_its_tables_columns_are() -> None:
    table = "create table t (a int primary key, b jsonb, c varchar(1500), d text)"
    late = "alter table t add column e bytea"
    assert table_refusals(table, late, "create index async i on t (d, a) include (b)") == []
    assert table_refusals(
        table, late, "create index async i on t (d, b)", "create index async j on t (e)"
    ) == [
        ("2", "datatype jsonb is not supported in a key"),
        ("3", "datatype bytea is not supported in a key"),
    ]
    wide = "create index async i on t (c, late)"
    assert table_refusals(table, "alter table t add column late varchar(501)", wide) == [
        ("2", "key size greater than 2000 bytes not supported")
    ]


@pytest.mark.parametrize(
    ("table", "alter", "words"),
    [
        ("create table t (a int primary key)", "drop column a", "cannot drop primary key column a"),
        ("create table t (a int, b int, primary key (b, a))", "drop a", "cannot drop primary key column a"),
        (
            "create table t (a int primary key)",
            "drop constraint t_pkey",
            "unsupported ALTER TABLE DROP CONSTRAINT statement",
        ),
        (
            "create table t (a int, constraint k primary key (a))",
            "drop constraint k",
            "unsupported ALTER TABLE DROP CONSTRAINT statement",
        ),
    ],
)
def test_a_primary_key_cannot_be_taken_away(table: str, alter: str, words: str) -> None:
    assert table_refusals(table, f"alter table t {alter}") == [("1", words)]
    assert table_refusals(table, "alter table t drop column c, drop constraint c") == []


def test_every_statement_of_the_migrations_and_queries_is_legal_on_dsql() -> None:
    migrations, queries = migration_statements(), query_statements()
    assert len(migrations) > 40
    assert len(queries) > 20
    findings = find(migrations, queries)
    assert not findings, "\n".join(map(str, findings))


def test_the_command_prints_findings_and_ends_with_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.sql"
    file.write_text("select 1;\n-- a comment; with a semicolon\nselect 2 for share;\n", encoding="utf-8")
    assert main([str(file), "--json"]) == 1
    findings = json.loads(capsys.readouterr().out)
    assert ("bad.sql:2", "dsql 0A000") in {(each["source"], each["rule"]) for each in findings}
    assert main([str(file)]) == 1
    assert "Use FOR UPDATE where a decision depends on the row" in capsys.readouterr().out


def test_the_command_ends_with_status_0_where_there_is_nothing_to_find(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "good.sql"
    file.write_text("select 1;\n", encoding="utf-8")
    assert main([str(file)]) == 0
    assert capsys.readouterr().out == "1 statements, 0 findings\n"


def test_a_files_transactions_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mixed.sql"
    file.write_text("begin;\ninsert into t values ('100%s');\ndrop table u;\ncommit;\n", encoding="utf-8")
    assert main([str(file), "--json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["source"], found["remedy"]) == (
        "mixed.sql:3",
        "Make each DDL statement a transaction of its own.",
    )


def test_a_file_that_cannot_be_read_as_a_whole_is_read_statement_by_statement(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "broken.sql"
    file.write_text("select 1; select from from; truncate t", encoding="utf-8")
    assert main([str(file)]) == 1
    said = capsys.readouterr().out
    assert 'broken.sql:2: unreadable: syntax error at or near "from"' in said
    assert "broken.sql:3: dsql 0A000: unsupported statement: Truncate" in said


def unreadable(directory: Path, what: str) -> Path:
    path = directory / "a.sql"
    if what == "not UTF-8":
        path.write_bytes(b"select '\xff'")
    elif what == "a directory":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        (
            "missing",
            "a.sql cannot be read (No such file or directory): name a file of SQL that you may read.",
        ),
        ("a directory", "a.sql cannot be read (Is a directory): name a file of SQL that you may read."),
        ("not UTF-8", "a.sql is not UTF-8 (byte 9): save it as UTF-8, as DSQL's data are."),
    ],
)
def test_bad_usage_ends_in_a_sentence_with_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str, sentence: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([str(unreadable(tmp_path, what))])
    assert caught.value.code == 2
    assert sentence in capsys.readouterr().err


def test_without_the_linter_the_command_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda _name: str(tmp_path))
    (tmp_path / "a.sql").write_text("select 1", encoding="utf-8")
    with pytest.raises(SystemExit) as caught:
        main([str(tmp_path / "a.sql")])
    assert caught.value.code == 2
    assert "dsql-lint is not installed; run `make tools`" in capsys.readouterr().err


#: A comparison of rows with its first column, and a condition that a parameter switches off.
_ROWS_COMPARED = re.compile(r"\((\"?[\w.]+\"?)(?:, \"?[\w.]+\"?)+\) ([<>])=? \(")
_SWITCHED_OFF = re.compile(r"\(\$\d+(?:::\w+(?:\[\])?)? is null or ")


def badly_placed(text: str) -> list[str]:
    """Give the first columns of rows that are compared without a bound of their own, by which to search."""
    found = []
    for column, operator in _ROWS_COMPARED.findall(text):
        if not re.search(rf"(?<![\w.]){re.escape(column)} (?:{operator}= |between )", text):
            found.append(column)
    return found


def test_an_index_is_searched_also_where_rows_are_not_compared_by_it() -> None:
    texts = {each.source: " ".join(each.text.split()) for each in query_statements()}
    compared = {place for place, text in texts.items() if _ROWS_COMPARED.search(text)}
    switched_off = {place for place, text in texts.items() if _SWITCHED_OFF.search(text)}
    assert len(compared) > 15
    # An operator's list of outbox dead letters: a table that is empty where all is well.
    of_operators = {"operations.sql:list_outbox_dead_letters"}
    assert {place for place in compared if badly_placed(texts[place])} | switched_off == of_operators


def test_a_comparison_of_rows_without_a_bound_of_its_first_column_is_found() -> None:
    assert badly_placed("where (o.a, o.b) > ($1, $2)") == ["o.a"]
    assert badly_placed("where o.a >= $1 and (o.a, o.b) > ($1, $2)") == []
    assert badly_placed("where o.a <= $1 and (o.a, o.b) > ($1, $2)") == ["o.a"]
    assert badly_placed('where "a" between $1 and $2 and ("a", "b") <= ($1, $2)') == []
    assert _SWITCHED_OFF.search("where ($1::uuid[] is null or id = any($1::uuid[]))")
