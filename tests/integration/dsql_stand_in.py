"""A PostgreSQL database dressed up as DSQL, as far as the migration runner looks at it.

What it has is written down from the Aurora DSQL user guide and from recordings of real clusters: a schema
`sys` with `jobs`, `iam_pg_role_mappings` and the procedure `wait_for_job`; `CREATE INDEX ASYNC` and
`ALTER TABLE ASYNC` that answer with a job's id at once and leave an index that is not valid, or a constraint
that is not validated, until the job has ended; `AWS IAM GRANT` and `AWS IAM REVOKE`.

What tests on it prove is that the runner asks in the right order, waits, and judges by the catalogue. They do
not prove that DSQL's own words and answers are the ones written down here; only a cluster can.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any, LiteralString, cast

import psycopg

from sql.connection import Connection, Database

Cursor = psycopg.Cursor[tuple[Any, ...]]
Execute = Callable[..., Cursor]

DSQL_SCHEMA: LiteralString = """
create schema sys;
create table sys.jobs (
    job_id text primary key, status text not null, details text,
    job_type text not null, object_name text not null,
    -- not DSQL's: how this job is to end, and the statement that ends it
    outcome text not null, effect text not null
);
create table sys.iam_pg_role_mappings (arn text not null, pg_role_name text not null);
create procedure sys.wait_for_job(id text) language plpgsql as $$
declare job sys.jobs;
begin
    select * into strict job from sys.jobs j where j.job_id = id;
    if job.status <> 'processing' then
        return;
    end if;
    if job.outcome = 'completed' then
        execute job.effect;
    end if;
    update sys.jobs j set status = job.outcome where j.job_id = id;
end $$;
"""

_INDEX = re.compile(
    r"(?is)\A(create\s+(?:unique\s+)?index)\s+async(\s+(?:if\s+not\s+exists\s+)?)(\w+)(\s+on\s+)(\w+)\.(.*)\Z"
)
_VALIDATE = re.compile(r"(?is)\A(alter\s+table)\s+async\s+((\w+\.\w+)\s+validate\s+constraint\s+\w+)\Z")
_LINK = re.compile(r"""(?is)\Aaws\s+iam\s+(?:grant|(revoke))\s+"?(\w+)"?\s+(?(1)from|to)\s+'([^']+)'\Z""")
_REVOKE_LINK: LiteralString = "delete from sys.iam_pg_role_mappings where arn = %s and pg_role_name = %s"


class Intercepted(Database):
    """The real database, with each statement shown to `intercept` first, which may answer in its place."""

    def __init__(
        self, database: Database, intercept: Callable[[Execute, bytes, Any], Cursor | None] | None = None
    ) -> None:
        super().__init__(database.settings)
        self.real = database
        self.statements: list[str] = []
        self._intercept = intercept or self.intercept

    def connection(self) -> Connection:
        """Give something that executes like a connection; it has nothing else of one."""
        return cast("Connection", self)

    def discard(self) -> None:
        """Close the real connection."""
        self.real.discard()

    def execute(self, query: bytes, parameters: Any = None, *, prepare: bool | None = None) -> Cursor:
        """Execute as the runner asks to."""
        self.statements.append(" ".join(query.decode().split()))
        execute = partial(self.real.connection().execute, prepare=prepare)
        return self._intercept(execute, query, parameters) or execute(query, parameters)

    def intercept(self, _execute: Execute, _query: bytes, _parameters: Any) -> Cursor | None:
        """Let every statement through."""
        return None


class DsqlStandIn(Intercepted):
    """See the module. `next_outcome` and `next_details` say how jobs end that start from now on."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.next_outcome = "completed"
        self.next_details: str | None = None

    def intercept(self, execute: Execute, query: bytes, parameters: Any) -> Cursor | None:
        """Answer what only DSQL understands."""
        text = query.decode()
        if index := _INDEX.match(text):
            create, maybe, name, on, schema, rest = index.groups()
            valid = f"select indisvalid from pg_index where indexrelid = to_regclass('{schema}.{name}')"
            existed = execute(valid).fetchall()
            created = execute(f"{create}{maybe}{name}{on}{schema}.{rest}")
            if existed:
                return created
            mark = f"update pg_index set indisvalid = %s where indexrelid = '{schema}.{name}'::regclass"
            execute(mark % "false")
            return self._job(execute, "INDEX_BUILD", f"{schema}.{name}", mark % "true")
        if validation := _VALIDATE.match(text):
            alter, what, table = validation.groups()
            return self._job(execute, "VALIDATE_CONSTRAINT", table, f"{alter} {what}")
        if link := _LINK.match(text):
            revoke, role, arn = link.groups()
            change = _REVOKE_LINK if revoke else "insert into sys.iam_pg_role_mappings values (%s, %s)"
            return execute(change, [arn, role])
        return None

    def _job(self, execute: Execute, kind: str, about: str, effect: str) -> Cursor:
        job = (f"job{len(self.statements):023}", self.next_details, kind, about, self.next_outcome, effect)
        return execute(
            "insert into sys.jobs values (%s, 'processing', %s, %s, %s, %s, %s) returning job_id", job
        )
