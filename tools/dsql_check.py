"""Check every SQL statement of this project against what Aurora DSQL refuses.

    python -m tools.dsql_check [--json] [FILE.sql ...]

Looked at are the statements of sql/migrations, sql/queries and demos/queries, or those of the files given:
each by itself, then what they make of tables (keys, columns, indexes) and of transactions, in their order.
`dsql-lint`, which AWS publishes, is the second opinion on what passes. Exit status 1 when there are findings,
2 for bad usage.
"""

import argparse
import json
import subprocess
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pglast import ast
from pglast.enums import parsenodes as p

from local_dsql import dialect, refusals
from local_dsql.console import run_command
from local_dsql.dialect import Node, UnreadableError, is_a
from local_dsql.places import own_directory
from local_dsql.refusals import KeyColumn, Refusal
from local_dsql.table_refusals import TableState, find_with_table
from sql import queries
from sql.migrate import DIRECTORY as MIGRATIONS
from sql.migrate import read_migrations, split
from sql.reads.catalogue import CATEGORY_LISTS, LISTS
from sql.references import REFERENCES, TABLES
from sql.scan import fill
from sql.transactions.sweep_orphans import orphans
from tools.dsql_bounds import check_bounds, primary_keys
from tools.dsql_rules import Finding, Statement, check, finding, numbered, refused
from tools.template import ROOT

#: Statements of the demos, which run on DSQL as the shop's do.
DEMOS = ROOT / "demos" / "queries"

#: What dsql-lint reports although DSQL accepts it, with the reason.
LINT_EXCEPTIONS = {
    "parse_error": "what PostgreSQL's own parser reads, DSQL's reads: GROUP BY DISTINCT, FOR KEY SHARE, $1",
    "unsupported_alter_index": "ALTER INDEX ... RENAME TO was taken by a cluster in October 2026",
}


def migration_statements() -> list[Statement]:
    """Read the statements of sql/migrations."""
    return [Statement(each.text, f"{each.file}:{each.number}") for each in read_migrations(MIGRATIONS)]


def query_statements() -> list[Statement]:
    """Read the named statements of sql/queries and demos/queries, and the templates as tables fill them."""
    named: list[tuple[str, queries.Query[Any]]] = [
        (path.name, query)
        for directory in (queries.DIRECTORY, DEMOS)
        for path in sorted(directory.glob("*.sql"))
        for query in queries.load(str(path.with_suffix(""))).values()
    ]
    named += [("scan.sql", fill("read_batch_end", table)) for table in TABLES.values()]
    named += [("scan.sql", orphans(reference)) for reference in REFERENCES]
    named += [("catalog.sql", query) for query in (*LISTS.values(), *CATEGORY_LISTS.values())]
    return [
        Statement(numbered(query.text.decode()), f"{file}:{query.name}", query.comment)
        for file, query in named
    ]


def file_statements(path: Path) -> list[Statement]:
    """Read a file's statements. Raises OSError, and UnicodeDecodeError for one that is not UTF-8."""
    source = path.read_text(encoding="utf-8")
    try:
        texts = [statement.text for statement in dialect.parse(source)]
    except UnreadableError:
        texts = list(split(source))  # then each is read by itself, to tell which it is
    return [Statement(text, f"{path.name}:{number}") for number, text in enumerate(texts, start=1)]


def find(migrations: list[Statement], queries: list[Statement]) -> list[Finding]:
    """Check statements with every checker there is: `migrations` are sent in their order, `queries` not."""
    every = migrations + queries
    readable = [statement for statement in every if statement.is_readable]
    keys = primary_keys(readable)
    return [
        *(found for statement in every for found in check(statement)),
        *(found for query in queries if query.is_readable for found in check_bounds(query, keys)),
        *table_findings(readable),
        *transaction_findings((statement, "") for statement in migrations if statement.is_readable),
        *lint([statement for statement in readable if statement.refusal is None]),
    ]


def lint(statements: list[Statement]) -> list[Finding]:
    """Run dsql-lint over statements, each as a file of its own. Raises RuntimeError where it cannot."""
    if not statements:
        return []
    with own_directory("rewards-check") as directory:
        by_file = {}
        for number, statement in enumerate(statements):
            path = Path(directory) / f"{number}.sql"
            path.write_text(f"{statement.text};\n", encoding="utf-8")
            by_file[str(path)] = statement
        command = [f"{sysconfig.get_path('scripts')}/dsql-lint", "--format", "json", *by_file]
        try:
            done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
        except FileNotFoundError as error:
            raise RuntimeError("dsql-lint is not installed; run `make tools`") from error
    if done.returncode not in (0, 1):
        raise RuntimeError(f"dsql-lint ended with status {done.returncode}: {done.stderr}")
    return [
        finding(by_file[file["file"]], f"dsql-lint {found['rule']}", found["message"], found["suggestion"])
        for file in json.loads(done.stdout)["files"]
        for found in file["diagnostics"]
        if found["rule"] not in LINT_EXCEPTIONS
    ]


def transaction_findings(statements: Iterable[tuple[Statement, str]]) -> Iterator[Finding]:
    """Find DDL that is not alone in its transaction; with each statement comes the session that sends it."""
    open_transactions: dict[str, list[str]] = {}
    for statement, session in statements:
        if statement.kind == "begin":
            open_transactions[session] = []
        elif statement.kind == "end":
            open_transactions.pop(session, None)
        elif (kinds := open_transactions.get(session)) is not None:
            kinds.append(statement.kind)
            if (refusal := check_transaction(kinds)) is not None:
                yield refused(statement, refusal)


def check_transaction(kinds: list[str]) -> Refusal | None:
    """Give what DSQL says to a transaction of statements of these kinds, if it refuses it."""
    if kinds.count("ddl") > 1:
        return refusals.TWO_DDL
    return refusals.DDL_AND_DML if "ddl" in kinds and "dml" in kinds else None


@dataclass
class _Table:
    """What statements have made of a table so far."""

    columns: dict[str, KeyColumn] = field(default_factory=dict)
    primary_key: tuple[str, ...] = ()
    primary_key_name: str = ""
    indexes: set[str] = field(default_factory=set)

    @property
    def state(self) -> TableState:
        """The table before the next statement."""
        return TableState(self.columns, self.primary_key, self.primary_key_name, len(self.indexes))


def table_findings(statements: Iterable[Statement]) -> Iterator[Finding]:
    """Find what DSQL refuses because of what a table is by then, from the statements that made it."""
    tables: dict[str, _Table] = {}
    for statement in statements:
        tree = statement.tree
        if is_a(tree, ast.CreateStmt):
            tables[tree.relation.relname] = _created(tree)
        elif is_a(tree, ast.AlterTableStmt, ast.IndexStmt):
            table = tables.setdefault(tree.relation.relname, _Table())
            refusal = find_with_table(tree, table.state)
            # What the statement says by itself was found without its table.
            if refusal is not None and statement.refusal is None:
                yield refused(statement, refusal)
            _change(table, tree)
        elif is_a(tree, ast.DropStmt):
            for name in (names[-1].sval for names in tree.objects or () if isinstance(names, tuple)):
                tables.pop(name, None)
                for table in tables.values():
                    table.indexes.discard(name)


def _created(tree: Node) -> _Table:
    table = _Table(dict(refusals.key_columns(tree)))
    constraints = [part for part in tree.tableElts or () if is_a(part, ast.Constraint)]
    for column in dialect.columns(tree):
        constraints += [part for part in column.constraints or () if is_a(part, ast.Constraint)]
        if any(part.contype == p.ConstrType.CONSTR_PRIMARY for part in column.constraints or ()):
            table.primary_key = (column.colname,)
    for number, part in enumerate(constraints):
        if part.contype == p.ConstrType.CONSTR_PRIMARY:
            table.primary_key_name = part.conname or f"{tree.relation.relname}_pkey"
            table.primary_key = tuple(key.sval for key in part.keys or ()) or table.primary_key
        if part.contype in (p.ConstrType.CONSTR_PRIMARY, p.ConstrType.CONSTR_UNIQUE):
            table.indexes.add(part.conname or f"constraint {number}")
    return table


def _change(table: _Table, tree: Node) -> None:
    if is_a(tree, ast.IndexStmt):
        table.indexes.add(tree.idxname or f"unnamed {len(table.indexes)}")
        return
    for command in tree.cmds:
        if command.subtype == p.AlterTableType.AT_DropColumn:
            table.columns.pop(command.name, None)
        elif command.subtype == p.AlterTableType.AT_DropConstraint:
            table.indexes.discard(command.name)
    table.columns |= refusals.key_columns(tree)


def main(arguments: list[str] | None = None) -> int:
    """Print what is found; give the process's exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.dsql_check", description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument("files", nargs="*", type=Path, help="SQL files to check in place of the project's")
    options = parser.parse_args(arguments)
    statements: list[Statement] = []
    for path in options.files:
        try:
            statements += file_statements(path)
        except OSError as error:
            parser.error(f"{path} cannot be read ({error.strerror}): name a file of SQL that you may read.")
        except UnicodeDecodeError as error:
            parser.error(
                f"{path} is not UTF-8 (byte {error.start + 1}): save it as UTF-8, as DSQL's data are."
            )
    named: list[Statement] = []
    if not options.files:
        statements, named = migration_statements(), query_statements()
    try:
        findings = find(statements, named)
    except RuntimeError as error:
        parser.error(str(error))
    if options.json:
        print(json.dumps([found._asdict() for found in findings], indent=2))
    else:
        print(*findings, sep="\n", end="\n" if findings else "")
        print(f"{len(statements) + len(named)} statements, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    run_command(main)
