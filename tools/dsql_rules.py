"""Look at one SQL statement before it is deployed: what DSQL refuses, and what this project does not want.

What DSQL refuses stands in local_dsql/refusals.py, for the local server too. Here are the remedies, and the
rules that are this project's own although DSQL takes the statement ("project rule").
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from pglast import ast
from pglast.enums import parsenodes as p
from pglast.enums.lockoptions import LockWaitPolicy

from local_dsql import dialect
from local_dsql.dialect import Node, UnreadableError, columns, is_a, type_name, walk
from local_dsql.refusals import Refusal, find_in

_PLACEHOLDER = re.compile(r"%(?:\((\w+)\)[sb]|(s)|(%))")

#: What to do instead, by how DSQL's message begins or what is in it; the first that fits.
REMEDIES = (
    (
        "locking clauses",
        "Use FOR UPDATE where a decision depends on the row, FOR KEY SHARE for its key.",
    ),
    ("MERGE", "Use INSERT ... ON CONFLICT."),
    ("transaction statement", "Run the whole transaction again, or split it."),
    ("isolation level", "Leave it out: it is repeatable read. Use FOR UPDATE against write skew."),
    ('parameter "TRANSACTION"', "Leave it out: the level is fixed. BEGIN READ ONLY is taken."),
    ('parameter "role"', "Connect as that role."),
    ('parameter "session_authorization"', "Connect as that role."),
    ("_timeout", "Give the client a deadline."),
    ("setting configuration parameter", "Leave it out, or send the value as a parameter of each statement."),
    ("Listen", "Leave a row in the outbox."),
    ("Notify", "Leave a row in the outbox."),
    ("Truncate", "Delete in bounded batches."),
    ("TEMPORARY or TEMP", "Use a CTE, or send the values as array parameters to unnest()."),
    ("CREATE TRIGGER", "Write what follows in the same transaction, or leave a row in the outbox."),
    ("CREATE FUNCTION with language", "Write the logic in Python."),
    ("unsupported statement: Do", "Write the logic in Python."),
    ("CREATE TYPE", "Use a varchar with a CHECK, or a domain."),
    ("CompositeType", "Use columns, or jsonb."),
    ("CreateTableAs", "Create the table, then INSERT ... SELECT; for a view of the data, CREATE VIEW."),
    ("RefreshMatView", "Keep a table, brought up to date by events or by a scheduled job."),
    ("Prepare", "Let the driver prepare statements."),
    ("Execute", "Let the driver prepare statements."),
    ("Deallocate", "Let the driver prepare statements; DEALLOCATE ALL is taken."),
    ("DeclareCursor", "Page by key: WHERE key > last ORDER BY key LIMIT n."),
    ("Fetch", "Page by key: WHERE key > last ORDER BY key LIMIT n."),
    ("ClosePortal", "Page by key: WHERE key > last ORDER BY key LIMIT n."),
    ("pg_advisory", "Use a lease row with a token and an expiry."),
    ("pg_try_advisory", "Use a lease row with a token and an expiry."),
    ("unsupported statement: Lock", "Let transactions conflict, and run the loser again."),
    ("Policy", "Put the customer's id into each statement, from the verified token."),
    ("ROW SECURITY", "Put the customer's id into each statement, from the verified token."),
    ('type "', "Use a uuid with gen_random_uuid(): it also spreads the keys."),
    ("cache size", "Say CACHE 65536, or CACHE 1 where the order counts."),
    ("must be bigint", "Declare it bigint."),
    ("[] not supported", "Use a table of its own, or jsonb. (Array parameters of a statement are fine.)"),
    (
        "not supported in a key",
        "Index an expression of it, or keep what is looked for in a column of its own.",
    ),
    ("key size greater than", "Declare shorter columns, or index a hash."),
    ("Datatype limit", "Declare it shorter, or text for up to 1 MiB."),
    ("text search configuration", "Use the configuration 'simple', or search outside of the database."),
    ("datatype ", "Use one of the types that DSQL stores: text, jsonb, numeric, or columns."),
    ("CREATE INDEX ASYNC", "Write CREATE INDEX ASYNC, and wait for the job."),
    ("sort order", "Leave the direction out: an index is read both ways."),
    ("opclass", "Leave it out: the collation is C, LIKE 'x%' uses the index as it is."),
    ("for CREATE INDEX", "Leave it out."),
    ("VALIDATE CONSTRAINT", "Write ALTER TABLE ASYNC ... VALIDATE CONSTRAINT, and wait for the job."),
    (
        "ADD COLUMN with constraint",
        "Add the bare column, SET DEFAULT in the next statement, fill old rows in batches.",
    ),
    ("SET DATA TYPE", "Add a column of the new type, fill it in batches, and move the readers over."),
    ("SET NOT NULL", "Add CHECK (x is not null) NOT VALID, then ALTER TABLE ASYNC ... VALIDATE CONSTRAINT."),
    (
        "ADD CONSTRAINT",
        "CHECK and FOREIGN KEY: NOT VALID, then validate. UNIQUE: build the index, then USING INDEX.",
    ),
    ("primary key column", "Make a new table with the key that is wanted, and move the rows in batches."),
    ("DROP CONSTRAINT", "Make a new table with the key that is wanted, and move the rows in batches."),
    ("wrong type", "Use a scalar subquery, a CTE, or CROSS JOIN LATERAL."),
    ("TABLESAMPLE", "Take rows by a random key: WHERE id > gen_random_uuid() ORDER BY id LIMIT n."),
    ("is a procedure", "CALL sys.wait_for_job('id')."),
    ("subquery in CALL", "Read the job's id first, and send it as a value."),
    ("column keys", "Shorten the key; INCLUDE takes columns that are only read."),
    ("at most", "Split the table."),
    ("indexes per table", "Drop one."),
    ("transaction", "Make each DDL statement a transaction of its own."),
)
_NO_REMEDY = "Leave it out: DSQL has nothing in its place."


class UnreadableStatementError(ValueError):
    """PostgreSQL's parser cannot read the statement; the message says where it stopped."""


@dataclass(frozen=True)
class Statement:
    """One SQL statement as it is sent, where it stands, and the comment above it."""

    text: str
    source: str = ""
    comment: str = ""

    @cached_property
    def parsed(self) -> dialect.Statement:
        """The statement as DSQL's dialect has it. Raises UnreadableStatementError."""
        try:
            statements = dialect.parse(self.text)
        except UnreadableError as error:
            raise UnreadableStatementError(str(error)) from error
        if len(statements) != 1:
            raise UnreadableStatementError(f"{len(statements)} statements in one: send each by itself")
        return statements[0]

    @property
    def tree(self) -> Node:
        """The parse tree, or None for DSQL's own AWS IAM grammar. Raises UnreadableStatementError."""
        return self.parsed.tree

    @property
    def is_readable(self) -> bool:
        """Whether PostgreSQL's parser can read it."""
        try:
            return self.parsed is not None
        except UnreadableStatementError:
            return False

    @property
    def refusal(self) -> Refusal | None:
        """What DSQL says to it, if it refuses it whatever the tables are. Raises UnreadableStatementError."""
        return find_in(self.parsed)

    @cached_property
    def kind(self) -> str:
        """What a transaction makes of it: begin, end, ddl, dml, or other (reads and settings)."""
        if self.tree is None:
            return "ddl"
        if is_a(self.tree, ast.TransactionStmt):
            starts = (p.TransactionStmtKind.TRANS_STMT_BEGIN, p.TransactionStmtKind.TRANS_STMT_START)
            return "begin" if self.tree.kind in starts else "end"
        if is_a(self.tree, *_DDL):
            return "ddl"
        writes = (ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt)
        return "dml" if any(is_a(node, *writes) for node in walk(self.tree)) else "other"


_DDL = tuple(
    kind
    for name, kind in vars(ast).items()
    if name.endswith("Stmt")
    and name.startswith(("Alter", "Create", "Drop", "Grant", "Index", "View", "Comment", "Rename"))
)


def numbered(text: str) -> str:
    """Put PostgreSQL's $1, $2... in the place of psycopg's placeholders, one number a name."""
    names: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        if found[3]:
            return "%"
        return f"${names.setdefault(found[1] or str(found.start()), len(names) + 1)}"

    return _PLACEHOLDER.sub(number, text)


class Rule(NamedTuple):
    """One thing that this project does not want. It looks at nodes of one type; `when` tells which offend."""

    name: str
    refused: str
    remedy: str
    node: type
    when: Callable[[Node], bool]


class Finding(NamedTuple):
    """A statement that breaks a rule: DSQL's ("dsql" and its SQLSTATE), dsql-lint's, or this project's."""

    source: str
    rule: str
    refused: str
    remedy: str
    statement: str

    def __str__(self) -> str:
        return f"{self.source}: {self.rule}: {self.refused}. {self.remedy}\n    {self.statement}"


def _without_primary_key(node: Node) -> bool:
    parts = [part for part in walk(node.tableElts) if is_a(part, ast.Constraint)]
    return not any(part.contype == p.ConstrType.CONSTR_PRIMARY for part in parts)


def _has_bare_numeric(node: Node) -> bool:
    return any(type_name(each.typeName) == "numeric" and not each.typeName.typmods for each in columns(node))


_BARE_NUMERIC = Rule(
    "bare-numeric",
    "A column of bare numeric is numeric(18,6) on DSQL, and rounds without a word",
    "Project rule: say precision and scale.",
    ast.CreateStmt,
    _has_bare_numeric,
)

RULES: tuple[Rule, ...] = (
    Rule(
        "skip-locked",
        "SKIP LOCKED is accepted but there are no locks to skip: pollers collide at COMMIT",
        "Project rule: give each poller rows of its own, by a lease row a shard.",
        ast.LockingClause,
        lambda node: node.waitPolicy == LockWaitPolicy.LockWaitSkip,
    ),
    Rule(
        "foreign-key",
        "Foreign keys are not used here, though DSQL has them",
        "Project rule: a cascade counts against its transaction's 3,000 rows; clean up by events in batches.",
        ast.Constraint,
        lambda node: node.contype == p.ConstrType.CONSTR_FOREIGN,
    ),
    Rule(
        "primary-key",
        "A table without a primary key",
        "Project rule: give it a key whose values are spread at random.",
        ast.CreateStmt,
        _without_primary_key,
    ),
    _BARE_NUMERIC,
    _BARE_NUMERIC._replace(node=ast.AlterTableStmt),
)


def check(statement: Statement) -> list[Finding]:
    """Give what is wrong with a statement by itself: DSQL's refusal, and each project rule once."""
    try:
        refusal = statement.refusal
    except UnreadableStatementError as error:
        return [finding(statement, "unreadable", str(error), "Correct the SQL.")]
    nodes = list(walk(statement.tree))
    findings = [refused(statement, refusal)] if refusal is not None else []
    return findings + [
        finding(statement, rule.name, rule.refused, rule.remedy)
        for rule in RULES
        if any(is_a(node, rule.node) and rule.when(node) for node in nodes)
    ]


def refused(statement: Statement, refusal: Refusal) -> Finding:
    """Make a finding of what DSQL says to a statement, with the remedy."""
    remedy = next((remedy for words, remedy in REMEDIES if words in refusal.message), _NO_REMEDY)
    return finding(statement, f"dsql {refusal.sqlstate}", refusal.message.rstrip("."), remedy)


def finding(statement: Statement, rule: str, refused: str, remedy: str) -> Finding:
    """Make a finding about a statement."""
    return Finding(statement.source, rule, refused, remedy, " ".join(statement.text.split())[:300])
