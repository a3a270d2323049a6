"""What DSQL refuses, in its words: what a cluster answered, and the kinds behind it with their neighbours."""

import json
from pathlib import Path
from typing import Any

import pytest
from pglast import ast

from local_dsql import refusals
from local_dsql.dialect import RoleLink, UnreadableError, parse
from local_dsql.limits import (
    CHAR_LENGTH,
    DECLARED_KEY_BYTES,
    KEY_COLUMNS,
    TABLE_COLUMNS,
    TABLE_INDEXES,
    VARCHAR_LENGTH,
)
from local_dsql.refusals import KeyColumn, Refusal, find_in, find_in_key
from tools.dsql_check import find as find_all
from tools.dsql_rules import RULES, Statement

ANSWERS = json.loads((Path(__file__).parents[1] / "dsql_answers.json").read_text(encoding="utf-8"))
PROJECT_RULES = {rule.name for rule in RULES}


def columns(number: int) -> str:
    return ", ".join(f"c{n} int" for n in range(number))


def uniques(number: int) -> str:
    return ", ".join(f"c{n} int unique" for n in range(number))


CACHE = (
    "is not supported without an explicit cache size. please define CACHE greater than or equal to 65536 "
    "or equal to 1"
)

#: What DSQL says to each statement: 0A000 where no SQLSTATE is given.
REFUSED = {
    # Statements that there are not.
    "create extension x": "unsupported statement: CreateExtension",
    "create database x": "unsupported statement: Createdb",
    "drop database x": "unsupported statement: Dropdb",
    "alter system set work_mem = 1": "unsupported statement: AlterSystem",
    "alter database postgres set search_path = x": "unsupported statement: AlterDatabaseSet",
    "unlisten *": "unsupported statement: Unlisten",
    "lock table t": "unsupported statement: Lock",
    "do 'begin end'": "unsupported statement: Do",
    "prepare p as select 1": "unsupported statement: Prepare",
    "execute p": "unsupported statement: Execute",
    "deallocate p": "unsupported statement: Deallocate",
    "declare c cursor for select 1": "unsupported statement: DeclareCursor",
    "fetch 10 from c": "unsupported statement: Fetch",
    "move 10 from c": "unsupported statement: Fetch",
    "close c": "unsupported statement: ClosePortal",
    "discard all": "unsupported statement: Discard",
    "load 'x'": "unsupported statement: Load",
    "checkpoint": "unsupported statement: CheckPoint",
    "reindex table t": "unsupported statement: Reindex",
    "cluster t": "unsupported statement: Cluster",
    "vacuum": "unsupported VACUUM statement",
    "vacuum (analyze) t": "unsupported VACUUM statement",
    "create table t as select 1": "unsupported statement: CreateTableAs",
    "create temp table t as select 1": "unsupported statement: CreateTableAs",
    "select 1 into t": "unsupported statement: CreateTableAs",
    "explain create table t as select 1": "unsupported statement: CreateTableAs",
    "refresh materialized view v": "unsupported statement: RefreshMatView",
    "create type pair as (a int, b int)": "unsupported statement: CompositeType",
    "create type r as range (subtype = int)": "unsupported statement: CreateRange",
    "create aggregate a(int) (sfunc = f, stype = int)": "unsupported statement: Define",
    "create operator + (leftarg = int, rightarg = int, function = f)": "unsupported statement: Define",
    'create collation c from "C"': "unsupported statement: Define",
    "create text search configuration c (copy = simple)": "unsupported statement: Define",
    "alter text search configuration c add mapping for word with simple": (
        "unsupported statement: AlterTSConfiguration"
    ),
    "create rule r as on insert to t do nothing": "unsupported statement: Rule",
    "create policy p on t using (true)": "unsupported statement: CreatePolicy",
    "create event trigger e on ddl_command_start execute function f()": (
        "unsupported statement: CreateEventTrig"
    ),
    "create publication p": "unsupported statement: CreatePublication",
    "create subscription s connection 'x' publication p": "unsupported statement: CreateSubscription",
    "create server s foreign data wrapper w": "unsupported statement: CreateForeignServer",
    "create foreign data wrapper w": "unsupported statement: CreateFdw",
    "import foreign schema s from server w into t": "unsupported statement: ImportForeignSchema",
    "create language plpython3u": "unsupported statement: CreateExtension",
    "create cast (a as b) without function": "unsupported statement: CreateCast",
    "create access method m type index handler h": "unsupported statement: CreateAm",
    "alter role r with login": "unsupported statement: AlterRole",
    "alter role r set search_path = x": "unsupported statement: AlterRoleSet",
    "alter function f() immutable": "unsupported statement: AlterFunction",
    "create procedure p() language sql as 'select 1'": "PROCEDURE is not supported",
    "create function f() returns int language PLpgSQL as 'x'": (
        "CREATE FUNCTION with language plpgsql not supported"
    ),
    "create function f() returns int language c as 'x'": "CREATE FUNCTION with language c not supported",
    "create function f() returns int4range language sql as 'x'": "datatype int4range not supported",
    "create or replace trigger g before update on t for each row execute function f()": (
        "CREATE TRIGGER not supported"
    ),
    "create constraint trigger g after update on t for each row execute function f()": (
        "CREATE TRIGGER not supported"
    ),
    "merge into t using s on t.id = s.id when matched then delete": "unsupported statement type: MERGE",
    "explain merge into t using s on t.id = s.id when matched then delete": (
        "unsupported statement type: MERGE"
    ),
    "copy t from '/a/file'": "COPY with a file or program not supported",
    "copy t to program 'gzip'": "COPY with a file or program not supported",
    # Objects of other statements.
    "drop trigger g on t": "unsupported object in DROP statement",
    "drop materialized view v": "unsupported object in DROP statement",
    "drop policy p on t": "unsupported object in DROP statement",
    "drop extension x": "unsupported object in DROP statement",
    "drop procedure p": "unsupported object in DROP statement",
    "drop domain d cascade": "DROP DOMAIN with CASCADE unsupported",
    "alter trigger g on t rename to h": "unsupported object in RENAME statement",
    "alter database a rename to b": "unsupported object in RENAME statement",
    "alter type a owner to b": "unsupported object in OWNER statement",
    "alter type a set schema b": "unsupported object in SET SCHEMA statement",
    "alter type a add value 'x'": "ALTER TYPE not supported",
    "alter domain d set not null": "unsupported ALTER DOMAIN SET NOT NULL statement",
    "alter domain d add check (value > 0)": "unsupported ALTER DOMAIN ADD CONSTRAINT statement",
    "grant usage on schema s, public to r": "feature not supported on system entity",
    **dict.fromkeys(
        [
            "create table sys.t (a int)",
            "create view sys.v as select 1",
            "create sequence sys.s cache 1",
            "create index async on sys.jobs (status)",
            "create function sys.f() returns int language sql as 'select 1'",
            "alter table sys.jobs add column a int",
            "alter table sys.jobs rename to j",
            "alter table t set schema sys",
            "drop table t, sys.jobs",
            "drop view sys.v",
            "drop function pg_dsql.counts()",
            "drop schema pg_dsql cascade",
            "drop schema if exists s, sys",
        ],
        "feature not supported on system entity",
    ),
    "insert into sys.jobs values ('x')": "42501 permission denied for table jobs",
    "update sys.jobs set status = 'x'": "42501 permission denied for table jobs",
    "delete from pg_catalog.pg_class": "42501 permission denied for table pg_class",
    "copy sys.jobs from stdin": "42501 permission denied for table jobs",
    "select pg_read_file('/etc/passwd')": "42501 permission denied for function pg_read_file",
    "select * from pg_catalog.pg_ls_dir('.')": "42501 permission denied for function pg_ls_dir",
    "select pg_dsql.counts()": "42501 permission denied for schema pg_dsql",
    # Transactions and settings.
    "savepoint a": "unsupported transaction statement: SAVEPOINT",
    "release a": "unsupported transaction statement: RELEASE",
    "rollback to a": "unsupported transaction statement: ROLLBACK TO",
    "prepare transaction 'a'": "unsupported transaction statement: PREPARE TRANSACTION",
    "commit prepared 'a'": "unsupported transaction statement: COMMIT PREPARED",
    "rollback prepared 'a'": "unsupported transaction statement: ROLLBACK PREPARED",
    "begin isolation level read committed": "Unsupported isolation level: READ COMMITTED",
    "start transaction isolation level read uncommitted": "Unsupported isolation level: READ UNCOMMITTED",
    "begin read only, isolation level serializable": "Unsupported isolation level: SERIALIZABLE",
    "set session characteristics as transaction isolation level serializable": (
        "Unsupported isolation level: SERIALIZABLE"
    ),
    "set transaction isolation level repeatable read": (
        'setting configuration parameter "TRANSACTION" not supported'
    ),
    "set local statement_timeout = '5s'": (
        'setting configuration parameter "statement_timeout" not supported'
    ),
    "set lock_timeout to default": 'setting configuration parameter "lock_timeout" not supported',
    "reset work_mem": 'setting configuration parameter "work_mem" not supported',
    "set client_min_messages = warning": (
        'setting configuration parameter "client_min_messages" not supported'
    ),
    "set role checkout": 'setting configuration parameter "role" not supported',
    "set local role checkout": 'setting configuration parameter "role" not supported',
    "set session authorization x": 'setting configuration parameter "session_authorization" not supported',
    "set shop.customer = 'x'": 'setting configuration parameter "shop.customer" not supported',
    "select set_config('shop.customer', 'x', true)": (
        'setting configuration parameter "shop.customer" not supported'
    ),
    "show lc_collate": '42704 unrecognized configuration parameter "lc_collate"',
    # Tables.
    "create temporary table t (a int)": "TEMPORARY or TEMP table not supported for CREATE TABLE",
    "create local temp table t (a int)": "TEMPORARY or TEMP table not supported for CREATE TABLE",
    "create unlogged table t (a int)": "UNLOGGED table not supported for CREATE TABLE",
    "create temp view v as select 1": "TEMPORARY or TEMP view not supported for CREATE VIEW",
    "create temp sequence s cache 1": "TEMPORARY or TEMP sequence not supported for CREATE SEQUENCE",
    "create table t (a int) partition by hash (a)": "PARTITION BY clause not supported for CREATE TABLE",
    "create table t partition of s default": "PARTITION OF clause not supported for CREATE TABLE",
    "create table t () inherits (s)": "INHERITS clause not supported for CREATE TABLE",
    "create table t of s": "OF clause not supported for CREATE TABLE",
    "create table t (a int) on commit drop": "ON COMMIT clause not supported for CREATE TABLE",
    "create table t (a int) tablespace x": "TABLESPACE clause not supported for CREATE TABLE",
    "create table t (a int) with (fillfactor = 70)": "WITH clause not supported for CREATE TABLE",
    "create table t (a int) using heap": "USING clause not supported for CREATE TABLE",
    'create table t (a text collate "de_DE")': "COLLATE clause not supported for CREATE TABLE",
    "create table t (a text compression lz4)": "COMPRESSION clause not supported for CREATE TABLE",
    "create table t (a int, exclude using gist (a with =))": "EXCLUDE constraint not supported",
    f"create table t ({columns(TABLE_COLUMNS + 1)})": "54011 tables can have at most 255 columns",
    f"create table t ({uniques(TABLE_INDEXES + 1)})": (
        "54000 more than 24 indexes per table are not allowed"
    ),
    # Types.
    "create table t (a bigserial)": '42704 type "bigserial" does not exist',
    "create table t (a serial2 primary key)": '42704 type "serial2" does not exist',
    "create table t (a double precision[])": "datatype double precision[] not supported",
    "create table t (a varchar(3)[])": "datatype character varying[] not supported",
    "create table t (a timestamptz array)": "datatype timestamp with time zone[] not supported",
    "create table t (a int[][])": "datatype integer[] not supported",
    "create table t (a jsonb[])": "datatype jsonb[] not supported",
    "create table t (a nummultirange)": "datatype nummultirange not supported",
    "create table t (a macaddr8)": "datatype macaddr8 not supported",
    "create table t (a name)": "datatype name not supported",
    'create table t (a "char")': 'datatype "char" not supported',
    "create table t (a regclass)": "datatype regclass not supported",
    "create table t (a jsonpath)": "datatype jsonpath not supported",
    "create table s.t (b int, a pg_catalog.money)": "datatype money not supported",
    f"create table t (a char({CHAR_LENGTH + 1}))": (
        "54000 Datatype limit greater than 4096 bytes not supported for char"
    ),
    f"create table t (a bpchar({CHAR_LENGTH + 1}))": (
        "54000 Datatype limit greater than 4096 bytes not supported for char"
    ),
    f"create table t (a varchar({VARCHAR_LENGTH + 1}))": (
        "54000 Datatype limit greater than 65535 bytes not supported for varchar"
    ),
    f"alter table t add column a varchar({VARCHAR_LENGTH + 1})": (
        "54000 Datatype limit greater than 65535 bytes not supported for varchar"
    ),
    "create table t (a numeric(1001, 2))": "22023 NUMERIC precision 1001 must be between 1 and 1000",
    "alter table t add a decimal(0)": "22023 NUMERIC precision 0 must be between 1 and 1000",
    # Sequences and identity.
    "create sequence s": f"CREATE SEQUENCE {CACHE}",
    "create sequence s cache 65535": f"CREATE SEQUENCE {CACHE}",
    "create sequence s increment 2 cache 2": f"CREATE SEQUENCE {CACHE}",
    "create sequence s as int cache 1": "datatype integer not supported, sequence type must be bigint",
    "alter sequence s cache 20": f"ALTER SEQUENCE {CACHE}",
    "create table t (a bigint generated always as identity)": f"identity column {CACHE}",
    "create table t (a bigint generated by default as identity (cache 100))": f"identity column {CACHE}",
    "create table t (a int generated always as identity (cache 1))": (
        "datatype integer not supported, identity column type must be bigint"
    ),
    "create table t (a smallint generated always as identity (cache 65536))": (
        "datatype smallint not supported, identity column type must be bigint"
    ),
    "alter table t alter a add generated always as identity": f"identity column {CACHE}",
    # Keys.
    "create table t (a bytea primary key)": "datatype bytea is not supported in a key",
    "create table t (a jsonb unique)": "datatype jsonb is not supported in a key",
    "create table t (a int, b json, primary key (a, b))": "datatype json is not supported in a key",
    "create table t (a timetz, unique (a))": "datatype time with time zone is not supported in a key",
    "create table t (a interval primary key)": "datatype interval is not supported in a key",
    f"create table t ({columns(9)}, primary key (c0, c1, c2, c3, c4, c5, c6, c7, c8))": (
        "54011 more than 8 column keys in an index are not supported"
    ),
    f"create table t (a varchar({DECLARED_KEY_BYTES + 1}) primary key)": (
        "54000 key size greater than 2000 bytes not supported"
    ),
    "create table t (a varchar(1990), b uuid, unique (a, b))": (
        "54000 key size greater than 2000 bytes not supported"
    ),
    # Indexes.
    "create index i on t (a)": "unsupported mode. please use CREATE INDEX ASYNC.",
    "create unique index i on t (a)": "unsupported mode. please use CREATE INDEX ASYNC.",
    "create index concurrently i on t (a)": "CONCURRENTLY not supported for CREATE INDEX",
    "create index i on t using btree (a)": "USING not supported for CREATE INDEX",
    "create index async i on t using btree (a)": "USING not supported for CREATE INDEX",
    "create index async i on t using gin (a)": "USING not supported for CREATE INDEX",
    "create index async i on t (a desc)": "specifying sort order not supported for index keys",
    "create index async i on t (b, a asc)": "specifying sort order not supported for index keys",
    "create index async i on t (a text_pattern_ops)": "opclass not supported for index keys",
    "create index async i on t (lower(a) varchar_pattern_ops)": "opclass not supported for index keys",
    "create index async i on t (a) with (fillfactor = 70)": "WITH not supported for CREATE INDEX",
    "create index async i on t (a) tablespace x": "TABLESPACE not supported for CREATE INDEX",
    "create index async i on t (a, b, c, d, e, f, g, h, i)": (
        "54011 more than 8 column keys in an index are not supported"
    ),
    "alter statistics s set statistics 101": (
        "22023 statistics target 101 exceeds maximum allowed value of 100"
    ),
    # ALTER TABLE.
    "alter table t add column a int not null": "ALTER TABLE ADD COLUMN with constraint not supported",
    "alter table t add column a int check (a > 0)": "ALTER TABLE ADD COLUMN with constraint not supported",
    "alter table t add column a int references s": "ALTER TABLE ADD COLUMN with constraint not supported",
    "alter table t add a int generated always as (b + 1) stored": (
        "ALTER TABLE ADD COLUMN with constraint not supported"
    ),
    "alter table t add a int primary key": "ALTER TABLE ADD COLUMN with constraint not supported",
    "alter table t add b int, add a text[]": "datatype text[] not supported",
    'alter table t add a text collate "C"': "COLLATE clause not supported for ALTER TABLE",
    "alter table t alter a type bigint": ("unsupported ALTER TABLE ALTER COLUMN ... SET DATA TYPE statement"),
    "alter table t alter a set not null": ("unsupported ALTER TABLE ALTER COLUMN ... SET NOT NULL statement"),
    "alter table t alter a set statistics 10": (
        "unsupported ALTER TABLE ALTER COLUMN ... SET STATISTICS statement"
    ),
    "alter table t add check (a > 0)": "unsupported ALTER TABLE ADD CONSTRAINT statement",
    "alter table t add foreign key (a) references s": "unsupported ALTER TABLE ADD CONSTRAINT statement",
    "alter table t add unique (a)": "unsupported ALTER TABLE ADD CONSTRAINT statement",
    "alter table t add primary key using index i": "unsupported ALTER TABLE ADD CONSTRAINT statement",
    "alter table t validate constraint c": "unsupported ALTER TABLE VALIDATE CONSTRAINT statement",
    "alter table async t drop constraint c": "unsupported ALTER TABLE ASYNC statement",
    "alter table t enable row level security": "unsupported ALTER TABLE ENABLE ROW SECURITY statement",
    "alter table t disable trigger all": "unsupported ALTER TABLE DISABLE TRIGGER ALL statement",
    "alter table t replica identity full": "unsupported ALTER TABLE REPLICA IDENTITY statement",
    "alter table t set (fillfactor = 70)": "unsupported ALTER TABLE SET statement",
    "alter table t set unlogged": "unsupported ALTER TABLE SET UNLOGGED statement",
    "alter table t inherit s": "unsupported ALTER TABLE INHERIT statement",
    "alter table t attach partition s default": "unsupported ALTER TABLE ATTACH PARTITION statement",
    "alter table t drop column b, alter a set not null": (
        "unsupported ALTER TABLE ALTER COLUMN ... SET NOT NULL statement"
    ),
    "create schema s create table t (a money)": "datatype money not supported",
    # Inside of queries.
    "select id from t for no key update": (
        "locking clauses other than FOR UPDATE/FOR KEY SHARE are not supported"
    ),
    "with x as (select id from t for share) select * from x": (
        "locking clauses other than FOR UPDATE/FOR KEY SHARE are not supported"
    ),
    "select * from t tablesample system (10)": "TABLESAMPLE clause not supported",
    "select * from (select 1 from t tablesample bernoulli (1)) s": "TABLESAMPLE clause not supported",
    "select to_tsvector('german', a) @@ to_tsquery('german', 'b') from t": (
        '42704 text search configuration "german" does not exist'
    ),
    "insert into t select plainto_tsquery('english'::regconfig, 'a')::text": (
        '42704 text search configuration "english" does not exist'
    ),
    "select line(point(1, 2), point(3, 4))": "datatype line not supported",
    "select pg_advisory_xact_lock(1)": "function pg_advisory_xact_lock not supported",
    "select pg_catalog.pg_try_advisory_lock(1)": "function pg_try_advisory_lock not supported",
    "select * from sys.wait_for_job('x')": "42809 sys.wait_for_job(text) is a procedure",
    "call f((select 1))": "cannot use subquery in CALL argument",
    "select 1 from t a left join lateral (select b.x, a.id + 1 from s b) c on true": (
        "42804 attribute 2 of type s has wrong type"
    ),
}

#: What DSQL takes, next to what it refuses.
TAKEN = [
    "create view v as select * from sys.jobs",
    "copy sys.jobs to stdout",
    "insert into t select job_id from sys.jobs",
    "drop table jobs",
    "create schema systems",
    "deallocate all",
    "explain analyze select 1",
    "analyze t",
    "copy t from stdin",
    "copy (select 1) to stdout",
    "create statistics s (ndistinct) on a, b from t",
    "alter statistics s set statistics 100",
    "create domain d as text check (value <> '')",
    "alter domain d drop not null",
    "drop domain d",
    "create or replace function f(a int[]) returns text language SQL as 'select 1'",
    "create function f() returns int begin atomic select 1; end",
    "alter function f() rename to g",
    "alter function f() owner to x",
    "alter index i rename to j",
    "alter view v rename to w",
    "alter sequence s restart",
    "alter sequence s owned by none",
    "alter table t rename a to b",
    "alter table t rename constraint a to b",
    "alter table t set schema s",
    "alter table t owner to x",
    "alter table t drop column a, drop column if exists b cascade",
    "alter table t add column a int null",
    "alter table t add a text storage external, add b jsonb",
    "alter table t alter a set default 1, alter b drop default",
    "alter table t alter a drop not null",
    "alter table t alter a drop expression",
    "alter table t alter a set storage plain",
    "alter table t alter a add generated by default as identity (cache 65536)",
    "alter table t alter a restart with 5, alter b drop identity",
    "alter table t alter constraint c deferrable initially deferred",
    "alter table t add constraint c check (a > 0) not valid",
    "alter table t add constraint c foreign key (a) references s on delete cascade not valid",
    "alter table t add constraint c unique using index i",
    "alter table t drop constraint c",
    "alter table async t validate constraint c",
    "alter table async add column a int",
    "create index async i on t (a nulls first) include (b)",
    "create index async on t ((a ->> 'x')) where a is not null",
    'create index async i on t (a collate "C")',
    "create unique index async if not exists i on t (lower(a), b) nulls not distinct",
    f"create table t ({columns(TABLE_COLUMNS)})",
    f"create table t ({uniques(TABLE_INDEXES)})",
    f"create table t (a char({CHAR_LENGTH}), b varchar({VARCHAR_LENGTH}), c varchar, d bpchar)",
    f"create table t (a varchar({DECLARED_KEY_BYTES}) primary key)",
    "create table t (a numeric(1000, -3) primary key, b text unique)",
    "create table t (a int, b d, c s.d, primary key (a) include (b))",
    "create table t (like s including all)",
    "create table if not exists t (a int generated always as (b + 1) stored, b int not null default 1)",
    "create table t (a int references s match full on update set null deferrable)",
    "create table t (a bigint generated always as identity (start 5 cache 1) primary key)",
    "create sequence s as bigint minvalue 5 cache 3000000000",
    "create role r with login",
    "create schema s authorization r",
    "grant r to q",
    "grant usage on schema s to r",
    "alter default privileges in schema s grant select on tables to r",
    "comment on table t is 'x'",
    "comment on column t.a is 'x'",
    "create recursive view v (a) as select 1",
    "create or replace view v as select 1",
    "set constraints all deferred",
    "set application_name = 'x'",
    "set names 'utf8'",
    "set time zone 'utc'",
    "set schema 'x'",
    "set local search_path = x, y",
    "set enable_seqscan = off",
    "reset all",
    "reset timezone",
    "show transaction_isolation",
    "select set_config('search_path', '', false), set_config($1, '', true)",
    "set session characteristics as transaction isolation level repeatable read",
    "begin read only",
    "start transaction isolation level repeatable read read write",
    "rollback and chain",
    "select id from t for update of t skip locked",
    "select id from t for key share nowait",
    "select $1::text[], '{1,2}'::int[], '1.2.3.4'::inet, '[1,2]'::int4range, '(1,2)'::point",
    "select * from json_to_recordset('[]') as x (a int[], b money)",
    "select to_tsvector('simple', a) @@ to_tsquery('pg_catalog.simple', 'b'), to_tsvector(a) from t",
    "select point(1, 2)",
    "call sys.wait_for_job('x')",
    "select 1 from t a left join lateral (select b.x from s b where b.id = a.id) c on true",
    "select 1 from t a cross join lateral (select a.id from s b) c",
    "select count(*) from t group by distinct rollup (a, b)",
    "with x as (delete from t returning *) insert into s select * from x on conflict do nothing",
    "table t",
]


def refusal_of(text: str) -> Refusal | None:
    (statement,) = parse(text)
    return find_in(statement)


@pytest.mark.parametrize("text", REFUSED)
def test_dsql_refuses_it_in_these_words(text: str) -> None:
    words = REFUSED[text] if REFUSED[text][:2].isdigit() else f"0A000 {REFUSED[text]}"
    found = refusal_of(text)
    assert found is not None
    assert f"{found.sqlstate} {found.message}" == words


@pytest.mark.parametrize("text", TAKEN)
def test_dsql_takes_it(text: str) -> None:
    assert refusal_of(text) is None


def test_every_statement_that_there_is_not_is_one_of_postgresqls() -> None:
    assert [name for name in refusals.UNSUPPORTED if not hasattr(ast, f"{name}Stmt")] == []


def is_error(answer: str) -> bool:
    return answer[0].isdigit()


@pytest.fixture(scope="module")
def findings() -> dict[int, dict[str, str]]:
    """What the static check finds in all that the cluster was sent: words by rule, by statement."""
    texts = ANSWERS["setup"] + [step["sql"] for case in ANSWERS["cases"] for step in case["steps"]]
    statements = [Statement(text, f"{place}") for place, text in enumerate(texts)]
    found: dict[int, dict[str, str]] = {place: {} for place in range(len(texts))}
    for each in find_all(statements, []):
        found[int(each.source)][each.rule] = each.refused
    return found


def steps() -> list[Any]:
    every = [{"sql": sql, "answer": "ok"} for sql in ANSWERS["setup"]]
    every += [step | {"simple": "simple" in case} for case in ANSWERS["cases"] for step in case["steps"]]
    return [pytest.param(place, step, id=step["sql"][:60]) for place, step in enumerate(every)]


@pytest.mark.parametrize(("place", "step"), steps())
def test_the_static_check_says_what_the_cluster_answered(
    findings: dict[int, dict[str, str]], place: int, step: dict[str, Any]
) -> None:
    found = {rule: words for rule, words in findings[place].items() if rule not in PROJECT_RULES}
    answer = step["answer"]
    if step.get("simple"):
        assert list(found) == ["unreadable"]  # the project sends none
    elif step.get("run") or not is_error(answer):
        assert found == {}
    elif answer.startswith("42601"):
        assert found == {"unreadable": answer.removeprefix("42601 ")}
    else:
        assert found == {f"dsql {answer[:5]}": answer[6:]}


def test_the_table_alone_says_what_the_cluster_answered_of_most() -> None:
    """What tables, transactions and data decide is left: all the rest is found in the statement itself."""
    texts = [step for case in ANSWERS["cases"] for step in case["steps"] if is_error(step["answer"])]
    missed = [step["sql"] for step in texts if not step.get("run") and _found(step["sql"]) != step["answer"]]
    assert [text.split()[:3] for text in missed] == [
        ["CREATE", "TABLE", "probe_txn_b"],
        ["INSERT", "INTO", "probe_txn_c"],
        ["ALTER", "TABLE", "probe_alter_pk"],
        ["CREATE", "TABLE", "probe_multi_a"],
    ]


def _found(text: str) -> str:
    try:
        found = [find_in(statement) for statement in parse(text)]
    except UnreadableError as error:
        return f"42601 {error}"
    return next((f"{each.sqlstate} {each.message}" for each in found if each is not None), "")


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ([KeyColumn("bytea")], "datatype bytea is not supported in a key"),
        ([KeyColumn("tsvector")], "datatype tsvector is not supported in a key"),
        ([KeyColumn("int4")] * (KEY_COLUMNS + 1), "more than 8 column keys in an index are not supported"),
        ([KeyColumn("varchar", (1000,))] * 2 + [KeyColumn("bool")], "key size greater than 2000 bytes not"),
        ([KeyColumn("bpchar", (1500,)), KeyColumn("numeric", (1000, 2))], "key size greater than 2000 bytes"),
    ],
)
def test_a_key_is_refused_for_its_types_its_columns_and_its_declared_size(
    key: list[KeyColumn], words: str
) -> None:
    found = find_in_key(key)
    assert found is not None
    assert found.message.startswith(words)
    assert find_in_key([KeyColumn("varchar", (1000,))] * 2 + [KeyColumn("text")]) is None
    assert find_in_key([KeyColumn("uuid")] * KEY_COLUMNS) is None


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("create index async i on t (a)", "create index       i on t (a)"),
        ("CREATE UNIQUE INDEX /* é */ ASYNC ON t (a)", "CREATE UNIQUE INDEX /* é */       ON t (a)"),
        ("alter table async only t validate constraint c", "alter table       only t validate constraint c"),
        ("alter table async.t add a int", "alter table async.t add a int"),
        ("create table t (a numeric, b dec(3))", "create table t (a numeric(18,6), b dec(3))"),
        ("alter table t add é pg_catalog.numeric", "alter table t add é pg_catalog.numeric(18,6)"),
        ("select 1::numeric", "select 1::numeric"),
    ],
)
def test_postgresql_is_sent_its_own_words(text: str, plain: str) -> None:
    (statement,) = parse(text)
    assert statement.plain == plain


def test_a_text_is_read_into_its_statements_with_their_places() -> None:
    text = """-- é; a comment
        select ';é' ; ; AWS IAM GRANT "A""b" TO 'arn:aws:iam::1:role/it''s';
        create index async i on t (a); aws iam revoke Relay from 'arn'"""
    statements = parse(text)
    assert [text[each.start : each.end] for each in statements] == [each.text for each in statements]
    assert [each.text.split()[0] for each in statements] == ["select", "AWS", "create", "aws"]
    assert [each.asynchronous for each in statements] == [False, False, True, False]
    assert [each.role_link for each in statements] == [
        None,
        RoleLink("GRANT", 'A"b', "arn:aws:iam::1:role/it's"),
        None,
        RoleLink("REVOKE", "relay", "arn"),
    ]
    assert parse("  -- nothing\n ;;") == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("select from from", 'syntax error at or near "from"'),
        ("aws iam grant a to b", 'syntax error at or near "aws"'),
        ("aws iam grant a from 'b'", 'syntax error at or near "aws"'),
        ("aws iam grant a to 'b' with admin option", 'syntax error at or near "aws"'),
        ("create index async s.i on t (a)", 'syntax error at or near "."'),
        ("select 'open", 'unterminated quoted string at or near "\'open"'),
    ],
)
def test_what_postgresqls_parser_cannot_read_is_an_error_with_its_sentence(text: str, message: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        parse(text)
    assert str(caught.value) == message
