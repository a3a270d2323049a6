"""What Aurora DSQL refuses, as a table of rules over PostgreSQL's parse tree.

The facts are those of the Aurora DSQL user guide and release notes as of November 2026. A rule that is this
project's own and not the database's says so in its remedy ("house rule").
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import pglast
from pglast import ast
from pglast.enums import parsenodes as p
from pglast.enums.lockoptions import LockClauseStrength, LockWaitPolicy
from pglast.enums.nodes import JoinType

Node = Any  # pglast has no types

MAX_KEY_COLUMNS = 8
MAX_COLUMNS = 255
MAX_INDEXES = 24

_ASYNC = re.compile(r"(?i)\A(\s*(?:create\s+(?:unique\s+)?index|alter\s+table))\s+async\b")
_ROLE_LINK = re.compile(
    r"(?i)\A\s*aws\s+iam\s+(?:grant\s+[\w\"]+\s+to|revoke\s+[\w\"]+\s+from)\s+'[^']+'\s*;?\s*\Z"
)
_PLACEHOLDER = re.compile(r"%(?:\((\w+)\)[sb]|(s)|(%))")

SERIAL_TYPES = frozenset({"serial", "bigserial", "smallserial", "serial2", "serial4", "serial8"})
_TIMEOUTS = frozenset(
    {"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "transaction_timeout"}
)
_SAVEPOINTS = frozenset(
    {
        p.TransactionStmtKind.TRANS_STMT_SAVEPOINT,
        p.TransactionStmtKind.TRANS_STMT_RELEASE,
        p.TransactionStmtKind.TRANS_STMT_ROLLBACK_TO,
    }
)
_ROW_SECURITY = frozenset(
    {
        p.AlterTableType.AT_EnableRowSecurity,
        p.AlterTableType.AT_DisableRowSecurity,
        p.AlterTableType.AT_ForceRowSecurity,
        p.AlterTableType.AT_NoForceRowSecurity,
    }
)
_KEYS = frozenset({p.ConstrType.CONSTR_PRIMARY, p.ConstrType.CONSTR_UNIQUE})


class UnreadableStatementError(ValueError):
    """PostgreSQL's parser cannot read the statement; the message says where it stopped."""


@dataclass(frozen=True)
class Statement:
    """One SQL statement (psycopg's placeholders allowed), where it stands, and the comment above it."""

    text: str
    source: str = ""
    comment: str = ""

    @property
    def is_async(self) -> bool:
        """Whether it has DSQL's word ASYNC."""
        return _ASYNC.match(self.text) is not None

    @cached_property
    def tree(self) -> Node:
        """The parse tree, or None for DSQL's own AWS IAM grammar. Raises UnreadableStatementError."""
        if _ROLE_LINK.match(self.text):
            return None
        try:
            statements = pglast.parse_sql(_ASYNC.sub(r"\1", numbered(self.text)))
        except pglast.Error as error:
            raise UnreadableStatementError(f"{error.args[0]}") from error
        if len(statements) != 1:
            raise UnreadableStatementError(f"{len(statements)} statements in one: send each by itself")
        return statements[0].stmt

    @cached_property
    def kind(self) -> str:
        """What a transaction makes of it: begin, end, ddl, dml, or other (reads and settings)."""
        if self.tree is None:
            return "ddl"
        if isinstance(self.tree, ast.TransactionStmt):
            starts = (p.TransactionStmtKind.TRANS_STMT_BEGIN, p.TransactionStmtKind.TRANS_STMT_START)
            return "begin" if self.tree.kind in starts else "end"
        if isinstance(self.tree, _DDL):
            return "ddl"
        writes = (ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt)
        return "dml" if any(isinstance(node, writes) for node in walk(self.tree)) else "other"


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


def walk(node: Node) -> Iterator[Node]:
    """Give a node and everything below it."""
    if isinstance(node, tuple | list):
        for each in node:
            yield from walk(each)
    elif isinstance(node, ast.Node):
        yield node
        for name in node:
            yield from walk(getattr(node, name))


def is_a(node: Node, *kinds: type) -> bool:
    """Tell whether a node is of one of these types, without narrowing it to what pglast declares there.

    Those declarations make every part optional; a tree that was parsed has the parts that its kind needs.
    """
    return isinstance(node, kinds)


class Rule(NamedTuple):
    """One thing that is refused. It looks at nodes of the given types; `when` tells which of them offend."""

    name: str
    refused: str
    remedy: str
    nodes: tuple[type, ...]
    when: Callable[[Node, Statement], bool] = lambda _node, _statement: True


class Finding(NamedTuple):
    """A statement that breaks a rule."""

    source: str
    rule: str
    refused: str
    remedy: str
    statement: str

    def __str__(self) -> str:
        return f"{self.source}: {self.rule}: {self.refused}. {self.remedy}\n    {self.statement}"


def _option(statement: Node, name: str) -> str:
    return next((str(o.arg.sval).lower() for o in statement.options or () if o.defname == name), "")


def _sets_isolation(node: Node, _statement: Statement) -> bool:
    if isinstance(node, ast.VariableSetStmt):
        return node.name in ("TRANSACTION", "SESSION CHARACTERISTICS") or "isolation" in (node.name or "")
    levels = [o.arg.val.sval for o in node.options or () if o.defname == "transaction_isolation"]
    return any(level != "repeatable read" for level in levels)


def _calls(node: Node, *prefixes: str) -> bool:
    return str(node.funcname[-1].sval).startswith(prefixes)


def _adds(node: Node, *kinds: p.ConstrType) -> bool:
    return node.subtype == p.AlterTableType.AT_AddConstraint and node.def_.contype in kinds


def _without_primary_key(node: Node, _statement: Statement) -> bool:
    parts = [part for part in walk(node.tableElts) if isinstance(part, ast.Constraint)]
    return not any(part.contype == p.ConstrType.CONSTR_PRIMARY for part in parts)


def _key_length(node: Node) -> int:
    if isinstance(node, ast.IndexStmt):
        return len(node.indexParams or ())
    return len(node.keys or ()) if node.contype in _KEYS else 0


RULES: tuple[Rule, ...] = (
    Rule(
        "skip-locked",
        "SKIP LOCKED is accepted but there are no locks to skip: pollers collide at COMMIT",
        "Give each poller rows of its own, by a lease row a shard.",
        (ast.LockingClause,),
        lambda node, _: node.waitPolicy == LockWaitPolicy.LockWaitSkip,
    ),
    Rule(
        "for-share",
        "FOR SHARE and FOR NO KEY UPDATE are refused",
        "Use FOR UPDATE where a decision depends on the row, FOR KEY SHARE where only its existence matters.",
        (ast.LockingClause,),
        lambda node, _: (
            node.strength in (LockClauseStrength.LCS_FORSHARE, LockClauseStrength.LCS_FORNOKEYUPDATE)
        ),
    ),
    Rule("merge", "MERGE is refused", "Use INSERT ... ON CONFLICT.", (ast.MergeStmt,)),
    Rule(
        "savepoint",
        "SAVEPOINT is refused",
        "Run the whole transaction again, or split it.",
        (ast.TransactionStmt,),
        lambda node, _: node.kind in _SAVEPOINTS,
    ),
    Rule(
        "listen-notify",
        "LISTEN and NOTIFY are refused",
        "Leave a row in the outbox.",
        (ast.ListenStmt, ast.NotifyStmt, ast.UnlistenStmt),
    ),
    Rule("truncate", "TRUNCATE is refused", "Delete in bounded batches.", (ast.TruncateStmt,)),
    Rule(
        "temporary-table",
        "Temporary and unlogged tables are refused",
        "Use a CTE, or send the values as array parameters to unnest().",
        (ast.RangeVar,),
        lambda node, _: node.relpersistence in ("t", "u"),
    ),
    Rule(
        "trigger",
        "Triggers and rules are refused",
        "Write what follows in the same transaction, or leave a row in the outbox.",
        (ast.CreateTrigStmt, ast.CreateEventTrigStmt, ast.RuleStmt),
    ),
    Rule(
        "function-language",
        "Functions in another language than SQL, and DO blocks, are refused",
        "Write the logic in Python.",
        (ast.CreateFunctionStmt, ast.DoStmt),
        lambda node, _: isinstance(node, ast.DoStmt) or _option(node, "language") not in ("", "sql"),
    ),
    Rule(
        "create-type",
        "CREATE TYPE is refused",
        "Use a varchar with a CHECK.",
        (ast.CompositeTypeStmt, ast.CreateEnumStmt, ast.CreateRangeStmt),
    ),
    Rule(
        "materialized-view",
        "Materialized views are refused",
        "Keep a table, brought up to date by events or by a scheduled job.",
        (ast.CreateTableAsStmt, ast.RefreshMatViewStmt),
        lambda node, _: (
            isinstance(node, ast.RefreshMatViewStmt) or node.objtype == p.ObjectType.OBJECT_MATVIEW
        ),
    ),
    Rule(
        "sql-prepare",
        "PREPARE, EXECUTE and DEALLOCATE are refused as SQL",
        "Let the driver prepare statements.",
        (ast.PrepareStmt, ast.ExecuteStmt, ast.DeallocateStmt),
    ),
    Rule(
        "cursor",
        "Cursors are refused as SQL",
        "Page by key: WHERE key > last ORDER BY key LIMIT n.",
        (ast.DeclareCursorStmt, ast.FetchStmt, ast.ClosePortalStmt),
    ),
    Rule(
        "set-role",
        "SET ROLE and SET SESSION AUTHORIZATION are refused",
        "Connect as that role.",
        (ast.VariableSetStmt,),
        lambda node, _: node.name in ("role", "session_authorization"),
    ),
    Rule(
        "set-isolation",
        "The isolation level is fixed (repeatable read); SET TRANSACTION is refused",
        "Leave it out, and use FOR UPDATE against write skew.",
        (ast.VariableSetStmt, ast.TransactionStmt),
        _sets_isolation,
    ),
    Rule(
        "set-timeout",
        "statement_timeout and its like cannot be set",
        "Give the client a deadline.",
        (ast.VariableSetStmt,),
        lambda node, _: node.name in _TIMEOUTS,
    ),
    Rule(
        "custom-setting",
        "Custom settings are refused",
        "Send the value as a parameter of each statement.",
        (ast.VariableSetStmt, ast.FuncCall),
        lambda node, _: (
            "." in (node.name or "") if isinstance(node, ast.VariableSetStmt) else _calls(node, "set_config")
        ),
    ),
    Rule(
        "advisory-lock",
        "Advisory locks are unsupported",
        "Use a lease row with a token and an expiry.",
        (ast.FuncCall,),
        lambda node, _: _calls(node, "pg_advisory_", "pg_try_advisory_"),
    ),
    Rule(
        "lock-table",
        "LOCK TABLE is refused: there are no locks",
        "Let transactions conflict, and run the loser again.",
        (ast.LockStmt,),
    ),
    Rule(
        "row-security",
        "Row-level security is refused",
        "Put the customer's id into each statement, from the verified token.",
        (ast.CreatePolicyStmt, ast.AlterTableCmd),
        lambda node, _: isinstance(node, ast.CreatePolicyStmt) or node.subtype in _ROW_SECURITY,
    ),
    Rule(
        "array-column",
        "Columns cannot be arrays",
        "Use a table of its own, or jsonb. (Array parameters of a statement are fine.)",
        (ast.ColumnDef,),
        lambda node, _: node.typeName is not None and bool(node.typeName.arrayBounds),
    ),
    Rule(
        "serial",
        "serial types are refused",
        "Use a uuid with gen_random_uuid(): it also spreads the keys.",
        (ast.ColumnDef,),
        lambda node, _: node.typeName is not None and node.typeName.names[-1].sval in SERIAL_TYPES,
    ),
    Rule(
        "index-async",
        "CREATE INDEX needs ASYNC",
        "Write CREATE INDEX ASYNC; the migration waits for the job and leaves the word out elsewhere.",
        (ast.IndexStmt,),
        lambda _, statement: not statement.is_async,
    ),
    Rule(
        "index-direction",
        "ASC and DESC are refused in index keys",
        "Leave the direction out; an index is read both ways.",
        (ast.IndexElem,),
        lambda node, _: node.ordering != p.SortByDir.SORTBY_DEFAULT,
    ),
    Rule(
        "add-column",
        "ADD COLUMN takes no DEFAULT, NOT NULL, CHECK or UNIQUE",
        "Add the bare column, SET DEFAULT in the next statement, and fill old rows in batches.",
        (ast.AlterTableCmd,),
        lambda node, _: (
            node.subtype == p.AlterTableType.AT_AddColumn
            and any(c.contype != p.ConstrType.CONSTR_NULL for c in node.def_.constraints or ())
        ),
    ),
    Rule(
        "alter-type",
        "A column's type cannot be changed",
        "Add a column of the new type, fill it in batches, and move the readers over.",
        (ast.AlterTableCmd,),
        lambda node, _: node.subtype == p.AlterTableType.AT_AlterColumnType,
    ),
    Rule(
        "set-not-null",
        "SET NOT NULL is refused",
        "Add CHECK (x is not null) NOT VALID, then ALTER TABLE ASYNC ... VALIDATE CONSTRAINT.",
        (ast.AlterTableCmd,),
        lambda node, _: node.subtype == p.AlterTableType.AT_SetNotNull,
    ),
    Rule(
        "add-check",
        "A CHECK that is added later needs NOT VALID",
        "Add it NOT VALID, then ALTER TABLE ASYNC ... VALIDATE CONSTRAINT.",
        (ast.AlterTableCmd,),
        lambda node, _: _adds(node, p.ConstrType.CONSTR_CHECK) and not node.def_.skip_validation,
    ),
    Rule(
        "validate-async",
        "VALIDATE CONSTRAINT needs ALTER TABLE ASYNC",
        "Write ALTER TABLE ASYNC ... VALIDATE CONSTRAINT; the migration waits for the job.",
        (ast.AlterTableCmd,),
        lambda node, statement: (
            node.subtype == p.AlterTableType.AT_ValidateConstraint and not statement.is_async
        ),
    ),
    Rule(
        "add-key",
        "A primary key cannot be added later, and UNIQUE only with USING INDEX",
        "Give the table its key when it is made; build a unique index ASYNC first.",
        (ast.AlterTableCmd,),
        lambda node, _: (
            _adds(node, p.ConstrType.CONSTR_PRIMARY)
            or (_adds(node, p.ConstrType.CONSTR_UNIQUE) and not node.def_.indexname)
        ),
    ),
    Rule(
        "left-join-lateral",
        "LEFT JOIN LATERAL fails when it refers to the outer row",
        "Use a scalar subquery, a CTE, or CROSS JOIN LATERAL.",
        (ast.JoinExpr,),
        lambda node, _: (
            node.jointype == JoinType.JOIN_LEFT
            and isinstance(node.rarg, ast.RangeSubselect | ast.RangeFunction)
            and bool(node.rarg.lateral)
        ),
    ),
    Rule(
        "key-columns",
        f"A key has at most {MAX_KEY_COLUMNS} columns",
        "Shorten it; INCLUDE takes columns that are only read.",
        (ast.IndexStmt, ast.Constraint),
        lambda node, _: _key_length(node) > MAX_KEY_COLUMNS,
    ),
    Rule(
        "table-columns",
        f"A table has at most {MAX_COLUMNS} columns",
        "Split it.",
        (ast.CreateStmt,),
        lambda node, _: (
            sum(isinstance(element, ast.ColumnDef) for element in node.tableElts or ()) > MAX_COLUMNS
        ),
    ),
    Rule(
        "foreign-key",
        "Foreign keys are not used here, though DSQL has them",
        "House rule: a cascade counts against its transaction's 3,000 rows; clean up by events in batches.",
        (ast.Constraint,),
        lambda node, _: node.contype == p.ConstrType.CONSTR_FOREIGN,
    ),
    Rule(
        "primary-key",
        "A table without a primary key",
        "House rule: give it a key whose values are spread at random.",
        (ast.CreateStmt,),
        _without_primary_key,
    ),
)


def check(statement: Statement, without: frozenset[str] = frozenset()) -> list[Finding]:
    """Give what a statement breaks, each rule once; rules named in `without` are left out."""
    try:
        nodes = list(walk(statement.tree))
    except UnreadableStatementError as error:
        return [finding(statement, "unreadable", str(error), "Correct the SQL.")]
    return [
        finding(statement, rule.name, rule.refused, rule.remedy)
        for rule in RULES
        if rule.name not in without
        and any(isinstance(node, rule.nodes) and rule.when(node, statement) for node in nodes)
    ]


def finding(statement: Statement, rule: str, refused: str, remedy: str) -> Finding:
    """Make a finding about a statement."""
    return Finding(statement.source, rule, refused, remedy, " ".join(statement.text.split())[:300])


def check_transaction(kinds: list[str]) -> str | None:
    """Give what is wrong with a transaction of statements of these kinds (Statement.kind), if anything."""
    ddl = kinds.count("ddl")
    if ddl > 1:
        return f"{ddl} DDL statements in one transaction: DSQL takes one"
    if ddl and "dml" in kinds:
        return "DDL and DML in one transaction: DSQL refuses the mixture"
    return None
