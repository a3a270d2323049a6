"""The former release's statements, and the schema that they were written for.

While a deployment is under way, and after it was taken back, the former release's functions run on the new
schema. So what they send is kept here, word for word, and tried on it: see
tests/integration/test_former_release.py.
`python -m tests.former_release` takes a new snapshot: do it when a release is out everywhere.
"""

import re
import shutil
from pathlib import Path
from typing import NamedTuple

import pglast
from pglast import ast, enums

from sql import queries
from sql.migrate import DIRECTORY, read_migrations

HERE = Path(__file__).parent
STATEMENTS = HERE / "queries"
APPLIED = HERE / "migrations.txt"

CONTRACT = "-- contract: "

_ASYNC = re.compile(r"\basync\b", re.IGNORECASE)

#: What adds to a schema and takes nothing from it; whoever does not know of it is not disturbed.
_EXPANDING = (
    ast.CreateSchemaStmt,
    ast.CreateStmt,
    ast.IndexStmt,
    ast.ViewStmt,
    ast.CreateRoleStmt,
    ast.CommentStmt,
)


class Step(NamedTuple):
    """A statement of a migration as it stands in its file, comments before it included."""

    file: str
    number: int
    text: str


def take_snapshot() -> int:
    """Keep the statements and the schema of what is checked out; give how many files of statements."""
    shutil.rmtree(STATEMENTS, ignore_errors=True)
    STATEMENTS.mkdir()
    files = sorted(queries.DIRECTORY.glob("*.sql"))
    for file in files:
        shutil.copyfile(file, STATEMENTS / file.name)
    applied = [f"{each.file} {each.number} {each.checksum}\n" for each in read_migrations()]
    APPLIED.write_text("".join(applied))
    return len(files)


def new_steps() -> list[Step]:
    """Give the statements of migrations that the former release did not have."""
    known = set(APPLIED.read_text().splitlines())
    fresh = {
        (each.file, each.number)
        for each in read_migrations()
        if f"{each.file} {each.number} {each.checksum}" not in known
    }
    return [
        step
        for path in sorted(DIRECTORY.glob("*.sql"))
        for step in steps(path.name, path.read_text())
        if (step.file, step.number) in fresh
    ]


def steps(file: str, source: str) -> list[Step]:
    """Cut a migration's file into its statements; each keeps the comment before it."""
    source = _ASYNC.sub("     ", source)  # DSQL's word; of the same length, so that places stay
    cut, start = [], 0
    for number, raw in enumerate(pglast.parse_sql(source), start=1):
        end = (raw.stmt_location or 0) + raw.stmt_len if raw.stmt_len else len(source)
        cut.append(Step(file, number, source[start:end]))
        start = end + len(";")
    return cut


def takes_away(step: Step) -> bool:
    """Tell whether a statement may disturb code that does not know of it."""
    (raw,) = pglast.parse_sql(step.text)
    statement = raw.stmt
    if isinstance(statement, ast.GrantStmt):
        return not statement.is_grant
    if isinstance(statement, ast.IndexStmt) and statement.unique:
        return True
    if isinstance(statement, ast.ViewStmt) and statement.replace:
        return True
    if isinstance(statement, ast.AlterTableStmt):
        return not all(_adds_a_column(command) for command in statement.cmds or ())
    return not isinstance(statement, _EXPANDING)


def _adds_a_column(command: ast.AlterTableCmd) -> bool:
    column = command.def_
    adds = command.subtype == enums.AlterTableType.AT_AddColumn
    return adds and isinstance(column, ast.ColumnDef) and not column.constraints
