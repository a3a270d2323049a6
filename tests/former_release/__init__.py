"""The former release: its code with its statements and schema (code.zip), and who sent what (senders.txt).

While a deployment is under way, and after it was taken back, the former release's functions run on the new
schema. So they are run on it (story.py), and each of their statements is tried in the roles that send it: see
tests/integration/test_former_release.py.
`python -m tests.former_release` takes a new snapshot: do it when a release is out everywhere.
"""

import atexit
import json
import re
import zipfile
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pglast
from pglast import ast, enums

from local_dsql.places import own_directory
from sql import queries
from sql.migrate import DIRECTORY, Migration, read_migrations
from tools import bundle
from tools.template import functions, variables

HERE = Path(__file__).parent
SENDERS = HERE / "senders.txt"

#: The functions' modules, all statements and migrations, and in ROLES each function's module's database role.
CODE = HERE / "code.zip"
ROLES = "roles.json"

#: The time of everything in the archive, so that the same code makes the same archive.
_TIME = (1980, 1, 1, 0, 0, 0)

CONTRACT = "-- contract: "

_ASYNC = re.compile(r"\basync\b", re.IGNORECASE)

#: How a module names the statements that it sends: a file's, or one of it.
_LOADED = re.compile(r'load\("(\w+)"\)(?:\["(\w+)"\])?')

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
    """Keep the code, the statements and the schema of what is checked out; give the number of files."""
    modules = [path for function in functions() for path in bundle.modules_of(function).values()]
    kept = [*modules, *queries.DIRECTORY.rglob("*.sql"), *DIRECTORY.glob("*.sql")]
    files = {path.relative_to(bundle.ROOT).as_posix(): path.read_bytes() for path in kept}
    roles = {
        bundle.handler_module(function): variables(function)["DATABASE_ROLE"]
        for function in functions()
        if "DATABASE_ROLE" in variables(function)
    }
    files[ROLES] = json.dumps(roles, indent=1).encode()
    with zipfile.ZipFile(CODE, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, _TIME), files[name], zipfile.ZIP_DEFLATED)
    SENDERS.write_text("".join(f"{role} {statement}\n" for role, statement in sorted(senders())))
    return len(files)


@cache
def unpacked() -> Path:
    """Give the directory of the former release's tree, unpacked for as long as this process lives."""
    stack = ExitStack()
    directory = stack.enter_context(own_directory("rewards-former"))
    atexit.register(stack.close)
    with zipfile.ZipFile(CODE) as archive:
        archive.extractall(directory)
    return directory


def former_migrations() -> list[Migration]:
    """Give the former release's migrations."""
    return read_migrations(unpacked() / "sql" / "migrations")


def senders() -> set[tuple[str, str]]:
    """Give what each database role may come to send, as (role, "file:statement"), by its functions' modules.

    A module is taken as a whole, so that some of it is another role's: what the role may not send on the
    schema of its own release it never sent.
    """
    found = {
        ("operations", f"{file}:{name}")
        for file in ("operations", "invitations")
        for name in queries.load(file)
    }
    for function in functions():
        role = variables(function).get("DATABASE_ROLE")
        if role in (None, "admin"):  # the migration is the new release's, always
            continue
        for path in bundle.modules_of(function).values():
            for file, one in _LOADED.findall(path.read_text()):
                found |= {(role, f"{file}:{name}") for name in ([one] if one else queries.load(file))}
    return found


def sent() -> list[tuple[str, str]]:
    """Give what the former release's roles may have sent, as `senders` does."""
    lines = (line.split() for line in SENDERS.read_text().splitlines())
    return [(role, statement) for role, statement in lines]


def new_steps() -> list[Step]:
    """Give the statements of migrations that the former release did not have."""
    known = set(former_migrations())
    fresh = {(each.file, each.number) for each in read_migrations() if each not in known}
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
