import json
from pathlib import Path

import pytest

from local_dsql.postgres import ExecutedStatement
from tools.dsql_bounds import check_bounds
from tools.dsql_check import executed_findings, find, lint, main, migration_statements, query_statements
from tools.dsql_rules import MAX_COLUMNS, MAX_INDEXES, RULES, Statement, check, check_transaction

COLUMNS_256 = ", ".join(f"c{n} int" for n in range(MAX_COLUMNS))
KEY_9 = "(a, b, c, d, e, f, g, h, i)"
KEY_8 = "(a, b, c, d, e, f, g, h)"

# rule, a statement that DSQL (or this house) refuses, and its nearest neighbour that is fine
TRIPWIRES = [
    ("skip-locked", "select id from t for update skip locked", "select id from t for update"),
    ("for-share", "select id from t for share", "select id from t for key share"),
    ("for-share", "select id from t for no key update", "select id from t for update"),
    (
        "merge",
        "merge into t using s on t.id = s.id when matched then do nothing",
        "insert into t (id) values ($1) on conflict do nothing",
    ),
    ("savepoint", "savepoint a", "begin"),
    ("savepoint", "release savepoint a", "commit"),
    ("savepoint", "rollback to savepoint a", "rollback"),
    ("listen-notify", "listen news", "select 'listen news'"),
    ("listen-notify", "notify news, 'x'", "select pg_notify from t"),
    ("truncate", "truncate t", "delete from t where id = $1"),
    ("temporary-table", "create temporary table t (a int primary key)", "create table t (a int primary key)"),
    ("temporary-table", "select 1 into temporary t", "with t as (select 1) select * from t"),
    (
        "trigger",
        "create trigger x after insert on t execute function f()",
        "create view trigger_view as select 1",
    ),
    (
        "function-language",
        "create function f() returns int language plpgsql as 'begin return 1; end'",
        "create function f() returns int language sql as 'select 1'",
    ),
    ("function-language", "do 'begin end'", "select 'do'"),
    ("create-type", "create type mood as enum ('good')", "create table t (mood varchar(4) primary key)"),
    ("create-type", "create type pair as (a int, b int)", "select row(1, 2)"),
    ("materialized-view", "create materialized view v as select 1", "create view v as select 1"),
    ("materialized-view", "refresh materialized view v", "select * from v"),
    ("sql-prepare", "prepare p as select 1", "select 'prepare p as select 1'"),
    ("sql-prepare", "execute p", "call p()"),
    ("sql-prepare", "deallocate all", "rollback"),
    ("cursor", "declare c cursor for select 1", "select id from t where id > $1 order by id limit 10"),
    ("cursor", "fetch 10 from c", "select id from t fetch first 10 rows only"),
    ("set-role", "set role checkout", "grant checkout to admin"),
    ("set-role", "set session authorization checkout", "select session_user"),
    ("set-isolation", "set transaction read only", "begin isolation level repeatable read"),
    ("set-isolation", "begin isolation level serializable", "begin read only"),
    ("set-isolation", "set default_transaction_isolation = 'serializable'", "show transaction_isolation"),
    ("set-timeout", "set statement_timeout = '5s'", "set application_name = 'x'"),
    ("set-timeout", "set local lock_timeout = '5s'", "select 'lock_timeout'"),
    ("custom-setting", "set rewards.customer = 'x'", "set search_path = rewards"),
    ("custom-setting", "select set_config('rewards.customer', 'x', true)", "select current_setting('x')"),
    ("advisory-lock", "select pg_advisory_xact_lock(1)", "select token from xpoints.relay_leases"),
    ("advisory-lock", "select pg_try_advisory_lock(1)", "select 'pg_try_advisory_lock'"),
    ("lock-table", "lock table t", "select id from t for update"),
    ("row-security", "alter table t enable row level security", "alter table t owner to admin"),
    ("row-security", "create policy p on t using (true)", "create view p as select 1"),
    ("array-column", "create table t (id int primary key, tags text[])", "select $1::text[]"),
    ("array-column", "alter table t add column tags text[]", "alter table t add column tags jsonb"),
    ("serial", "create table t (id bigserial primary key)", "create table t (id bigint primary key)"),
    ("index-async", "create index i on xpoints.t (a)", "create index async i on xpoints.t (a)"),
    ("index-async", "create unique index i on xpoints.t (a)", "create unique index async i on xpoints.t (a)"),
    (
        "index-direction",
        "create index async i on xpoints.t (a desc)",
        "create index async i on xpoints.t (a nulls first) include (b)",
    ),
    ("index-direction", "create index async i on xpoints.t (a asc)", "select a from t order by a asc"),
    ("add-column", "alter table t add column a int default 1", "alter table t add column a int"),
    ("add-column", "alter table t add column a int not null", "alter table t alter column a drop not null"),
    ("add-column", "alter table t add column a int check (a > 0)", "alter table t add column a int null"),
    ("add-column", "alter table t add column a int unique", "alter table t alter column a set default 1"),
    ("alter-type", "alter table t alter column a type bigint", "alter table t add column b bigint"),
    ("set-not-null", "alter table t alter a set not null", "alter table t alter a drop not null"),
    (
        "add-check",
        "alter table t add constraint c check (a > 0)",
        "alter table t add constraint c check (a > 0) not valid",
    ),
    (
        "validate-async",
        "alter table xpoints.t validate constraint c",
        "alter table async xpoints.t validate constraint c",
    ),
    ("add-key", "alter table t add primary key (a)", "create table t (a int primary key)"),
    (
        "add-key",
        "alter table t add constraint u unique (a)",
        "alter table t add constraint u unique using index i",
    ),
    (
        "left-join-lateral",
        "select 1 from t left join lateral (select t.id) s on true",
        "select 1 from t cross join lateral (select t.id) s",
    ),
    ("key-columns", f"create table t (primary key {KEY_9})", f"create table t (primary key {KEY_8})"),
    ("key-columns", f"create index async i on t {KEY_9}", f"create index async i on t {KEY_8}"),
    (
        "table-columns",
        f"create table t (id int primary key, {COLUMNS_256})",
        f"create table t ({COLUMNS_256}, primary key (c0))",
    ),
    (
        "foreign-key",
        "create table t (id int primary key, a int references s (id))",
        "create table t (id int primary key, a int)",
    ),
    (
        "foreign-key",
        "alter table t add constraint f foreign key (a) references s (id)",
        "alter table t drop constraint f",
    ),
    ("primary-key", "create table t (id int)", "create table t (id int, primary key (id))"),
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


def rules_broken(text: str) -> set[str]:
    return {finding.rule for finding in check(Statement(text))}


@pytest.mark.parametrize(("rule", "refused", "_accepted"), TRIPWIRES)
def test_a_statement_that_dsql_refuses_trips_the_rule_for_it(rule: str, refused: str, _accepted: str) -> None:
    assert rule in rules_broken(refused)


@pytest.mark.parametrize(("_rule", "_refused", "accepted"), TRIPWIRES)
def test_its_nearest_neighbour_trips_no_rule(_rule: str, _refused: str, accepted: str) -> None:
    assert rules_broken(accepted) == set()


def test_every_rule_of_the_table_has_a_statement_that_trips_it() -> None:
    assert {rule.name for rule in RULES} <= {rule for rule, _, _ in TRIPWIRES}


@pytest.mark.parametrize("text", [unbounded for unbounded, _ in BOUNDS])
def test_a_write_without_a_bound_is_found(text: str) -> None:
    assert [finding.rule for finding in check_bounds(Statement(text), KEYS)] == ["unbounded-write"]


@pytest.mark.parametrize("text", [bounded for _, bounded in BOUNDS])
def test_a_write_that_is_bounded_by_its_form_is_not_found(text: str) -> None:
    assert check_bounds(Statement(text), KEYS) == []


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


def test_a_table_takes_so_many_indexes_and_no_more() -> None:
    table = Statement("create table xpoints.t (a int primary key)")
    indexes = [Statement(f"create index async i{n} on xpoints.t (a)") for n in range(MAX_INDEXES)]
    assert find([table, *indexes[:-1]], []) == []
    assert {each.rule for each in find([table, *indexes], [])} == {"table-indexes"}


def test_a_table_takes_so_many_columns_and_no_more_however_they_came() -> None:
    table = Statement(f"create table xpoints.t ({COLUMNS_256}, primary key (c0))")
    one_more = Statement("alter table xpoints.t add column late int")
    assert find([table], []) == []
    assert {each.rule for each in find([table, one_more], [])} == {"table-columns"}


def test_the_linter_that_aws_publishes_is_really_run() -> None:
    findings = lint([Statement("create table t (id serial primary key)", "a"), Statement("select 1", "b")])
    assert [(each.source, each.rule) for each in findings] == [("a", "dsql-lint serial_type")]


def test_the_linter_reads_psycopgs_placeholders() -> None:
    assert lint([Statement("select a from t where b = %(b)s and c = any(%(c)s::uuid[]) and d % 2 = 0")]) == []


def test_every_statement_of_the_migrations_and_queries_is_legal_on_dsql() -> None:
    migrations, queries = migration_statements(), query_statements()
    assert len(migrations) > 40
    assert len(queries) > 20
    findings = find(migrations, queries)
    assert not findings, "\n".join(map(str, findings))


def executed(
    text: str, application_name: str = "rewards-CheckoutFunction", session: str = "s"
) -> ExecutedStatement:
    return ExecutedStatement(text, application_name, "checkout", session, "postgres")


def test_an_executed_statement_that_dsql_refuses_is_found_once_with_who_ran_it() -> None:
    log = [executed("select 1 for share"), executed("select 1 for share"), executed("select 1")]
    ours, theirs = executed_findings(log)
    assert ours.rule == "for-share"
    assert theirs.rule == "dsql-lint parse_error"
    assert ours.source == theirs.source == "executed by checkout (rewards-CheckoutFunction)"


def test_what_fixtures_execute_is_their_own_affair() -> None:
    assert executed_findings([executed("truncate t", application_name="fixture")]) == []


def test_a_migration_on_another_server_leaves_the_word_async_out() -> None:
    assert executed_findings([executed("create index i on xpoints.t (a)")]) == []


def test_the_transactions_that_executed_statements_form_are_checked_a_session() -> None:
    mixed = ["begin", "insert into t values (1)", "create table u (a int primary key)", "commit"]
    apart = ["begin", "insert into t values (1)", "commit", "create table u (a int primary key)"]
    assert [each.rule for each in executed_findings(map(executed, mixed))] == ["transaction"]
    assert executed_findings(map(executed, apart)) == []
    interleaved = [executed(text, session=str(n % 2)) for n, text in enumerate(mixed)]
    assert executed_findings(interleaved) == []


def test_the_command_prints_findings_and_ends_with_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.sql"
    file.write_text("select 1;\n-- a comment; with a semicolon\nselect 2 for share;\n", encoding="utf-8")
    assert main([str(file), "--json"]) == 1
    findings = json.loads(capsys.readouterr().out)
    assert ("bad.sql:2", "for-share") in {(each["source"], each["rule"]) for each in findings}
    assert main([str(file)]) == 1
    assert "Use FOR UPDATE where a decision depends on the row" in capsys.readouterr().out


def test_the_command_ends_with_status_0_where_there_is_nothing_to_find(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "good.sql"
    file.write_text("select 1;\n", encoding="utf-8")
    assert main([str(file)]) == 0
    assert capsys.readouterr().out == "1 statements, 0 findings\n"
