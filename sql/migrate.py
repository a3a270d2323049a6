"""Bring a database's schema up to date with `sql/migrations/*.sql`: a step of the deployment.

Every statement is a transaction of its own, as DSQL asks for DDL, and is recorded by file, number and
checksum in `xpoints.schema_migrations`. A run that was cut off is simply run again; two runs at once do no
harm, since every statement is safe to repeat and "already exists" counts as done.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from psycopg import sql
from psycopg.rows import namedtuple_row

from sql.chance import CHANCE
from sql.connection import Database
from sql.errors import classify
from sql.queries import Statement, load

DIRECTORY = Path(__file__).parent / "migrations"

#: Attempts at one statement and the longest pause between two, in seconds. Any DDL of another session makes
#: ours fail once (OC001), and an index build that ends counts as DDL.
ATTEMPTS = 10
_PAUSE_BASE_S = 0.05
_PAUSE_CAP_S = 2.0

_QUERIES = load("migrations")

_ALREADY_EXISTS = frozenset({"42P06", "42P07", "42701", "42710"})  # schema, relation, column, object

_TOKEN = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?\*/)
    |(?P<end>;)
    |(?P<text>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|\w+|.)""",
    re.DOTALL | re.VERBOSE,
)
_ASYNC = re.compile(r"(?i)\A(create\s+(?:unique\s+)?index|alter\s+table)\s+async\b")
_INDEX = re.compile(
    r"(?i)\Acreate\s+(?:unique\s+)?index\s+async\s+(?:if\s+not\s+exists\s+)?(?P<name>\w+)\s+on\s+(?P<schema>\w+)\."
)
_VALIDATION = re.compile(
    r"(?i)\Aalter\s+table\s+async\s+(?P<schema>\w+)\.(?P<table>\w+)\s+validate\s+constraint\s+(?P<name>\w+)"
)

# DSQL's own grammar; names cannot be sent as parameters there.
_IAM_GRANT = sql.SQL("AWS IAM GRANT {} TO {}")
_IAM_REVOKE = sql.SQL("AWS IAM REVOKE {} FROM {}")

RoleArns = Mapping[str, Sequence[str]]
Link = tuple[str, str]
"""A database role and an IAM role that may connect as it."""

Report = Callable[[str], None]
#: Named tuples of the statement's columns.
Rows = list[Any]


class MigrationChangedError(Exception):
    """A statement that this database already has was edited in its file.

    Put the statement back as it was and write the change as a new statement, at the end of the last file or
    in a new one. (A database that holds nothing of value can be thrown away instead.)
    """


class MigrationFailedError(Exception):
    """The database refused a statement.

    Correct it and deploy again: what was applied before stays and is not run again.
    """


class BackgroundJobFailedError(Exception):
    """An index build or a constraint's validation ended badly, and what it left behind is not in use.

    Remove the cause that the details name; for an index also drop it (`drop index xpoints.<name>`), because
    `if not exists` would keep the broken one. Then deploy again.
    """


class Migration(NamedTuple):
    """One statement of a migration file, without comments. `number` counts from 1 in its file."""

    file: str
    number: int
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 in hex over the statement's words: comments and line breaks may change, SQL may not."""
        return sha256(" ".join(self.text.split()).encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.file}, statement {self.number} ({' '.join(self.text.split())[:60]})"


def split(source: str) -> Iterator[str]:
    """Cut a file into statements at semicolons, without comments; text in quotes is left as it is."""
    statement = ""
    for token in _TOKEN.finditer(source):
        if token["comment"]:
            statement += " "
        elif token["text"]:
            statement += token["text"]
        elif statement.strip():
            yield statement.strip()
            statement = ""
    if statement.strip():
        yield statement.strip()


def read_migrations(directory: Path = DIRECTORY) -> list[Migration]:
    """Read all statements of a directory's files, in the order of the files' names."""
    return [
        Migration(path.name, number, text)
        for path in sorted(directory.glob("*.sql"))
        for number, text in enumerate(split(path.read_text(encoding="utf-8")), start=1)
    ]


def migrate(
    database: Database,
    role_arns: RoleArns | None = None,
    *,
    former_role_arns: RoleArns | None = None,
    migrations: Sequence[Migration] | None = None,
    report: Report = lambda _message: None,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Apply what is missing, as the role `admin`; give the number of statements that were applied.

    `role_arns` names, for each database role, the IAM roles that may connect as it. `former_role_arns` are
    those of the deployment before, whose functions run until this one is through, and again if it is taken
    back: their links stay. Any other link of an IAM role in `role_arns` is revoked; IAM roles that are not in
    it are left alone. `report` is called with a line of progress for each statement. Raises
    MigrationChangedError before anything is applied, MigrationFailedError or BackgroundJobFailedError at the
    statement that failed.
    """
    return _Run(database, report, sleep).migrate(
        read_migrations() if migrations is None else migrations, role_arns or {}, former_role_arns or {}
    )


def _links(role_arns: RoleArns) -> set[Link]:
    return {(role, arn) for role, arns in role_arns.items() for arn in arns}


def _message(migration: Migration, kind: type[Exception], detail: str = "") -> str:
    return " ".join(f"{migration}: {detail} {kind.__doc__}".split())


class _Run:
    def __init__(self, database: Database, report: Report, sleep: Callable[[float], None]) -> None:
        self._database = database
        self._report = report
        self._sleep = sleep

    def migrate(self, migrations: Sequence[Migration], role_arns: RoleArns, former: RoleArns) -> int:
        self._make(_QUERIES["create_schema"].text)
        self._make(_QUERIES["create_record"].text)
        applied = {(row.file, row.statement): row.checksum for row in self._ask("read_applied")}
        for migration in migrations:
            if applied.get((migration.file, migration.number), migration.checksum) != migration.checksum:
                raise MigrationChangedError(_message(migration, MigrationChangedError))
        missing = [each for each in migrations if (each.file, each.number) not in applied]
        for position, migration in enumerate(missing, start=1):
            started = time.monotonic()
            self._apply(migration)
            self._ask(
                "record_applied",
                file=migration.file,
                statement=migration.number,
                checksum=migration.checksum,
            )
            self._report(f"[{position}/{len(missing)}] {migration}: {time.monotonic() - started:.1f} s")
        if role_arns:
            self._link(_links(role_arns), _links(former))
        return len(missing)

    def _apply(self, migration: Migration) -> None:
        try:
            rows = self._make(migration.text.encode())
        except psycopg.Error as error:
            detail = f"{error} [{error.sqlstate}]"
            raise MigrationFailedError(_message(migration, MigrationFailedError, detail)) from error
        if _ASYNC.match(migration.text):
            (job_id,) = rows[0] if rows else (None,)
            self._finish(migration, job_id)

    def _finish(self, migration: Migration, job_id: str | None) -> None:
        """Wait until what a statement started in the background is in effect."""
        if index := _INDEX.match(migration.text):
            check, about, names = "is_index_valid", index["name"], index.groupdict()
        elif validation := _VALIDATION.match(migration.text):
            check, about, names = "is_constraint_valid", validation["table"], validation.groupdict()
        else:
            unnamed = "a background job needs the schema and the name of its index or table"
            raise MigrationFailedError(_message(migration, MigrationFailedError, unnamed))
        while True:
            # No id: it was there already, perhaps being built by a deployment that was cut off or runs now.
            job_id = job_id or self._running_job(f"{names['schema']}.{about}")
            if job_id:
                self._report(f"{migration}: waiting for job {job_id}")
                try:
                    self._ask("wait_for_job", job_id=job_id)
                except psycopg.Error as error:
                    # A long build outlives the 300 s of a transaction: the job says itself how it stands.
                    self._report(f"{migration}: still waiting ({error})")
                    self._database.discard()
            if self._ask(check, **names) == [(True,)]:
                return
            ended = self._ask("read_job", job_id=job_id) if job_id else []
            if not ended or ended[0].status not in ("submitted", "processing"):
                outcome = f"job {job_id}: {': '.join(map(str, ended[0])) if ended else 'no such job'}"
                raise BackgroundJobFailedError(_message(migration, BackgroundJobFailedError, outcome))
            self._sleep(1.0)

    def _running_job(self, object_name: str) -> str | None:
        rows = self._ask("find_running_job", object_name=object_name)
        return rows[0].job_id if rows else None

    def _link(self, wanted: set[Link], former: set[Link]) -> None:
        linked = {(row.pg_role_name, row.arn) for row in self._ask("read_role_links")}
        arns = {arn for _, arn in wanted}
        # guard: the links of functions that still run stay
        # guard: links of others are left alone
        unwanted = {(role, arn) for role, arn in linked - wanted - former if arn in arns}
        for links, statement, may in (
            (wanted - linked, _IAM_GRANT, "may"),
            (unwanted, _IAM_REVOKE, "may no longer"),
        ):
            for role, arn in sorted(links):
                self._execute(statement.format(sql.Identifier(role), sql.Literal(arn)).as_bytes(None))
                self._report(f"{arn} {may} connect as {role}")

    def _make(self, ddl: bytes) -> Rows:
        try:
            return self._execute(ddl)
        except psycopg.Error as error:
            # Even `if not exists` says so when another deployment was a moment faster.
            if error.sqlstate not in _ALREADY_EXISTS:
                raise
            return []

    def _ask(self, query: str, /, **parameters: Any) -> Rows:
        statement: Statement[Any] = _QUERIES[query](**parameters)
        return self._execute(statement.query.text, statement.parameters)

    def _execute(self, text: bytes, parameters: Mapping[str, Any] | None = None) -> Rows:
        """Run one statement as a transaction, again after a passing fault; give its rows, if it has any."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                # Not prepared: psycopg would follow DDL with DEALLOCATE ALL, which DSQL refuses.
                cursor = self._database.connection().cursor(row_factory=namedtuple_row)
                cursor.execute(text, parameters or None, prepare=False)
                return cursor.fetchall() if cursor.description else []
            except psycopg.Error as error:
                if attempt == ATTEMPTS or not classify(error, commit_sent=False):
                    raise
                if isinstance(error, psycopg.OperationalError):
                    self._database.discard()
            self._sleep(CHANCE.uniform(0, min(_PAUSE_CAP_S, _PAUSE_BASE_S * 2**attempt)))
        raise AssertionError("unreachable: the last attempt returns or raises")
