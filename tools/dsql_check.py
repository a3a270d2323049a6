"""Check every SQL statement of this project against what Aurora DSQL refuses.

    python -m tools.dsql_check [--json] [FILE.sql ...]

Two checkers look at every statement of sql/migrations and sql/queries (or of the files given): `dsql-lint`,
which AWS publishes, and the rules of tools/dsql_rules.py for what that one lets pass. Exit status 1 when
there are findings. `executed_findings` has both look at the statements that a server's log shows.
"""

import argparse
import json
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from pglast import ast

from local_dsql.postgres import ExecutedStatement
from sql import queries
from sql.migrate import DIRECTORY as MIGRATIONS
from sql.migrate import read_migrations, split
from sql.references import REFERENCES, TABLES
from sql.scan import fill
from sql.transactions.sweep_orphans import orphans
from tools.dsql_bounds import check_bounds, primary_keys
from tools.dsql_rules import (
    MAX_COLUMNS,
    MAX_INDEXES,
    Finding,
    Statement,
    UnreadableStatementError,
    check,
    check_transaction,
    finding,
    is_a,
    numbered,
)

#: What dsql-lint reports although DSQL accepts it, with the reason.
LINT_EXCEPTIONS: dict[str, str] = {}

#: Rules that a server which is not DSQL cannot show: the migration leaves the word ASYNC out there.
_NOT_VISIBLE_ELSEWHERE = frozenset(
    {"index-async", "validate-async", "dsql-lint index_async", "dsql-lint validate_constraint_async"}
)

#: The application names that the project's own connections begin with.
PROJECT_PREFIX = "rewards"


def migration_statements() -> list[Statement]:
    """Read the statements of sql/migrations."""
    return [Statement(each.text, f"{each.file}:{each.number}") for each in read_migrations(MIGRATIONS)]


def query_statements() -> list[Statement]:
    """Read the named statements of sql/queries, and its templates as the tables' names fill them."""
    named = [
        (path.name, query)
        for path in sorted(queries.DIRECTORY.glob("*.sql"))
        for query in queries.load(path.stem).values()
    ]
    named += [("scan.sql", fill("read_batch_end", table)) for table in TABLES.values()]
    named += [("scan.sql", orphans(reference)) for reference in REFERENCES]
    return [Statement(query.text.decode(), f"{file}:{query.name}", query.comment) for file, query in named]


def find(migrations: list[Statement], queries: list[Statement]) -> list[Finding]:
    """Check statements with every checker there is."""
    every = migrations + queries
    readable = [statement for statement in every if _is_readable(statement)]
    keys = primary_keys(readable)
    return [
        *(found for statement in every for found in check(statement)),
        *(found for query in queries if _is_readable(query) for found in check_bounds(query, keys)),
        *_table_totals(readable),
        *lint(every),
    ]


def lint(statements: list[Statement]) -> list[Finding]:
    """Run dsql-lint over statements, each as a file of its own."""
    if not statements:
        return []
    with tempfile.TemporaryDirectory() as directory:
        by_file = {}
        for number, statement in enumerate(statements):
            path = Path(directory) / f"{number}.sql"
            path.write_text(f"{numbered(statement.text)};\n", encoding="utf-8")
            by_file[str(path)] = statement
        command = [f"{sysconfig.get_path('scripts')}/dsql-lint", "--format", "json", *by_file]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"dsql-lint ended with status {done.returncode}: {done.stderr}")
    return [
        finding(by_file[file["file"]], f"dsql-lint {found['rule']}", found["message"], found["suggestion"])
        for file in json.loads(done.stdout)["files"]
        for found in file["diagnostics"]
        if found["rule"] not in LINT_EXCEPTIONS
    ]


def executed_findings(executed: Iterable[ExecutedStatement]) -> list[Finding]:
    """Check the statements that the project's own connections executed, and the transactions they formed."""
    known: dict[str, Statement] = {}
    transactions: dict[str, list[str]] = {}
    findings: dict[tuple[str, str], Finding] = {}
    for entry in executed:
        if not entry.application_name.startswith(PROJECT_PREFIX):
            continue
        statement = known.get(entry.text)
        if statement is None:
            statement = Statement(entry.text, f"executed by {entry.role} ({entry.application_name})")
            known[entry.text] = statement
            for found in check(statement, _NOT_VISIBLE_ELSEWHERE):
                findings[found.rule, entry.text] = found
        kind = statement.kind if _is_readable(statement) else "other"
        if kind == "begin":
            transactions[entry.session] = []
        elif kind == "end":
            transactions.pop(entry.session, None)
        elif entry.session in transactions:
            transactions[entry.session].append(kind)
            if wrong := check_transaction(transactions[entry.session]):
                found = finding(statement, "transaction", wrong, "Make each DDL statement a transaction.")
                findings[found.rule, entry.text] = found
    linted = lint([statement for statement in known.values() if _is_readable(statement)])
    return [*findings.values(), *(found for found in linted if found.rule not in _NOT_VISIBLE_ELSEWHERE)]


def _is_readable(statement: Statement) -> bool:
    try:
        return statement.tree is not None
    except UnreadableStatementError:
        return False


def _table_totals(statements: list[Statement]) -> list[Finding]:
    """Count what a table gathers over all statements: indexes (its key is one of them) and columns."""
    indexes: Counter[str] = Counter()
    columns: Counter[str] = Counter()
    findings = []
    for statement in statements:
        tree = statement.tree
        if is_a(tree, ast.CreateStmt):
            elements = tree.tableElts or ()
            columns[tree.relation.relname] += sum(is_a(each, ast.ColumnDef) for each in elements)
            indexes[tree.relation.relname] += 1
        elif is_a(tree, ast.AlterTableStmt):
            added = [each for each in tree.cmds if is_a(each.def_, ast.ColumnDef)]
            columns[tree.relation.relname] += len(added)
        elif is_a(tree, ast.IndexStmt):
            indexes[tree.relation.relname] += 1
        else:
            continue
        table = tree.relation.relname
        for what, total, most in (("indexes", indexes, MAX_INDEXES), ("columns", columns, MAX_COLUMNS)):
            if total[table] == most + 1:
                refused = f"{table} has more than {most} {what}, which is all that DSQL takes"
                findings.append(finding(statement, f"table-{what}", refused, "Drop one, or split the table."))
    return findings


def main(arguments: list[str] | None = None) -> int:
    """Print what is found; give the process's exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.dsql_check", description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument("files", nargs="*", type=Path, help="SQL files to check in place of the project's")
    options = parser.parse_args(arguments)
    if options.files:
        migrations = [
            Statement(text, f"{path.name}:{number}")
            for path in options.files
            for number, text in enumerate(split(path.read_text(encoding="utf-8")), start=1)
        ]
        named: list[Statement] = []
    else:
        migrations, named = migration_statements(), query_statements()
    findings = find(migrations, named)
    if options.json:
        print(json.dumps([found._asdict() for found in findings], indent=2))
    else:
        print(*findings, sep="\n", end="\n" if findings else "")
        print(f"{len(migrations) + len(named)} statements, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
