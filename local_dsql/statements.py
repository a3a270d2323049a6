"""What a statement is to the server: its kind, what it reads and writes, and where that stands in its text.

All of it comes from the text alone, once a text; what depends on a table's definition is in tables.py.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import NamedTuple

from pglast import ast, parser
from pglast.enums import parsenodes as p
from pglast.enums.lockoptions import LockClauseStrength

from local_dsql import dialect, refusals
from local_dsql.dialect import Node, RoleLink, UnreadableError, walk
from local_dsql.refusals import Refusal

_CACHED_TEXTS = 4096


class Kind(Enum):
    """How the server treats a statement."""

    READ = auto()
    LOCK = auto()
    """SELECT ... FOR UPDATE or FOR KEY SHARE."""
    WRITE = auto()
    """INSERT, UPDATE, DELETE, on its own or in a WITH clause."""
    COPY_IN = auto()
    SET = auto()
    SCHEMA = auto()
    """DDL, GRANT, REVOKE."""
    FORGET = auto()
    """DEALLOCATE ALL, which must leave the server's own statements alone."""
    CALL = auto()
    BEGIN = auto()
    COMMIT = auto()
    ROLLBACK = auto()
    UNREADABLE = auto()
    """No statement: PostgreSQL says what is wrong."""


EFFECTS = frozenset({Kind.LOCK, Kind.WRITE, Kind.COPY_IN, Kind.SET, Kind.SCHEMA})
"""Kinds that are gone when the frame is rolled back, and have to be run again then."""


class Table(NamedTuple):
    """A table as a statement names it; the schema is empty where the search path decides."""

    schema: str
    name: str

    @property
    def sql(self) -> str:
        """The name, quoted."""
        return ".".join('"' + part.replace('"', '""') + '"' for part in self if part)


class Reference(NamedTuple):
    """Where a table's name stands in the text (characters), and whether an alias follows."""

    table: Table
    start: int
    end: int
    has_alias: bool


class Write(NamedTuple):
    """One INSERT, UPDATE or DELETE of a statement."""

    table: Table
    action: str
    is_whole: bool
    """Whether it is the statement itself, not one in a WITH clause."""
    location: int
    """Where the table's name begins."""


class Rows(Enum):
    """How many rows a write may touch, as far as the text tells."""

    FIXED = auto()
    """`Query.row_count` at most."""
    BY_VALUES = auto()
    """One a value that it was given."""
    BY_KEY = auto()
    """One, where `Query.equated` holds a unique key; one a value with `Query.listed`."""
    UNKNOWN = auto()


@dataclass(slots=True)
class Query:
    """A statement's text and what the server has to know of it."""

    text: str
    sent: str
    """What PostgreSQL gets."""
    kind: Kind = Kind.READ
    refusal: Refusal | None = None
    tree: Node = None
    references: tuple[Reference, ...] = ()
    writes: tuple[Write, ...] = ()
    names: frozenset[str] = frozenset()
    """The names of all tables that it reads, writes or changes, without their schemas."""
    changes: frozenset[Table] = frozenset()
    """The tables whose definition or rights DDL changes; one without a name stands for a schema's all."""
    role_link: RoleLink | None = None
    is_asynchronous: bool = False
    returns_rows: bool = False
    row_bound: Rows = Rows.UNKNOWN
    row_count: int = 0
    equated: frozenset[str] = frozenset()
    listed: frozenset[str] = frozenset()
    enlarges: bool = False
    """Whether it may write more bytes than it was given."""
    is_random: bool = False
    reads_clock: bool = False
    takes_sequence: bool = False
    lock_mode: str = ""
    """`U` of FOR UPDATE, `K` of FOR KEY SHARE."""
    lock_spans: tuple[tuple[int, int], ...] = ()
    """Where its locking clauses stand in the text."""
    locked_names: frozenset[str] = frozenset()
    """What FOR ... OF names; empty for all."""
    functions: frozenset[str] = frozenset()
    is_plain: bool = False
    """Whether it begins, reads, writes or commits, and PostgreSQL's answer needs no change."""

    @property
    def touches_data(self) -> bool:
        """Whether it counts as DML beside DDL in one transaction."""
        return self.kind in (Kind.WRITE, Kind.LOCK, Kind.COPY_IN)

    @property
    def may_be_altered(self) -> bool:
        """Whether DSQL's answer may differ from PostgreSQL's in form."""
        return self.kind is not Kind.READ or is_a(self.tree, ast.VariableShowStmt)

    @property
    def job_type(self) -> str:
        """What `sys.jobs` calls the job that it starts; empty for none."""
        if not self.is_asynchronous:
            return ""
        return "INDEX_BUILD" if is_a(self.tree, ast.IndexStmt) else "VALIDATE_CONSTRAINT"


_WITHOUT_ROWS = (ast.TransactionStmt, ast.VariableSetStmt)
_SCHEMA_STATEMENTS = tuple(
    kind
    for name, kind in vars(ast).items()
    if name.endswith("Stmt")
    and name.startswith(
        (
            "Alter",
            "Create",
            "Drop",
            "Grant",
            "Index",
            "View",
            "Comment",
            "Rename",
            "Define",
            "Composite",
            "Rule",
        )
    )
)
_RANDOM = frozenset({"random", "gen_random_uuid", "random_normal"})
_CLOCK = frozenset({"clock_timestamp", "timeofday", "statement_timestamp"})
_SEQUENCE = frozenset({"nextval"})
_ENLARGING = frozenset(
    [
        "repeat",
        "lpad",
        "rpad",
        "concat",
        "concat_ws",
        "format",
        "replace",
        "regexp_replace",
        "string_agg",
        "array_agg",
        "json_agg",
        "jsonb_agg",
        "json_object_agg",
        "jsonb_object_agg",
        "encode",
        "overlay",
        "translate",
        "to_json",
        "to_jsonb",
        "row_to_json",
    ]
)
_FROM_VALUES = frozenset(
    [
        "unnest",
        "json_array_elements",
        "jsonb_array_elements",
        "json_array_elements_text",
        "jsonb_array_elements_text",
        "json_to_recordset",
        "jsonb_to_recordset",
        "json_populate_recordset",
        "jsonb_populate_recordset",
        "regexp_split_to_table",
        "string_to_table",
    ]
)
"""Functions that give at most one row a value, and every value takes two bytes in what they are given."""


def is_a(node: Node, *kinds: type) -> bool:
    """Tell what a node is, without a type checker learning of it: pglast's types allow None everywhere."""
    return isinstance(node, kinds)


def split(text: str) -> list[str]:
    """Give the statements of a simple query; one that cannot be read comes back whole."""
    try:
        return [statement.text for statement in dialect.parse(text)]
    except UnreadableError:
        return [text]


@lru_cache(_CACHED_TEXTS)
def read(text: str) -> Query:
    """Read a statement. One that nobody can read is UNREADABLE: PostgreSQL has the words for it."""
    try:
        statements = dialect.parse(text)
    except UnreadableError:
        return Query(text, _without_async(text), Kind.UNREADABLE)
    if len(statements) != 1:
        return Query(text, text, Kind.UNREADABLE)
    statement = statements[0]
    query = Query(text, statement.plain, tree=statement.tree)
    query.refusal = refusals.find_in(statement)
    query.is_asynchronous = statement.asynchronous
    if statement.role_link is not None:
        query.kind, query.role_link = Kind.SCHEMA, statement.role_link
        return query
    _Reader(query, statement.start).read()
    query.is_plain = _is_plain(query)
    return query


def _is_plain(query: Query) -> bool:
    tree = query.tree
    if is_a(tree, ast.TransactionStmt):
        return query.kind in (Kind.BEGIN, Kind.COMMIT) and not tree.chain
    return query.kind is Kind.WRITE or (query.kind is Kind.READ and not is_a(tree, ast.VariableShowStmt))


def _without_async(text: str) -> str:
    return re.sub(r"(?i)\b(index|table)\s+async\b", lambda m: m[1] + " " * (len(m[0]) - len(m[1])), text)


class _Reader:
    """Fills a Query in. Locations in the tree count from the start of a text, ours from its statement's."""

    def __init__(self, query: Query, offset: int) -> None:
        self.query, self.tree, self.offset = query, query.tree, offset

    def read(self) -> None:
        query, tree = self.query, self.tree
        if is_a(tree, ast.TransactionStmt):
            query.kind = self._transaction_kind()
        elif is_a(tree, ast.CopyStmt):
            query.kind = Kind.COPY_IN if tree.is_from else Kind.READ
            self._read_tables()
        elif is_a(tree, ast.VariableSetStmt, ast.ConstraintsSetStmt):
            query.kind = Kind.SET
        elif is_a(tree, ast.CallStmt):
            query.kind = Kind.CALL
        elif is_a(tree, ast.DeallocateStmt):
            query.kind, query.sent = Kind.FORGET, "set dsql.nothing = ''"
        elif is_a(tree, *_SCHEMA_STATEMENTS):
            query.kind = Kind.SCHEMA
            query.returns_rows = bool(query.job_type)
            query.changes = frozenset(_changed(tree))
            query.names = frozenset(table.name for table in query.changes)
        else:
            self._read_data_statement()

    def _transaction_kind(self) -> Kind:
        kinds = p.TransactionStmtKind
        if self.query.refusal is not None and self.tree.kind not in (
            kinds.TRANS_STMT_BEGIN,
            kinds.TRANS_STMT_START,
        ):
            return Kind.READ
        return {
            kinds.TRANS_STMT_BEGIN: Kind.BEGIN,
            kinds.TRANS_STMT_START: Kind.BEGIN,
            kinds.TRANS_STMT_COMMIT: Kind.COMMIT,
        }.get(self.tree.kind, Kind.ROLLBACK)

    def _read_data_statement(self) -> None:
        query, tree = self.query, self.tree
        self._read_tables()
        # PostgreSQL 18's grammar, which pglast reads with, has a clause where 16's had a list.
        query.returns_rows = type(tree) not in _ACTIONS or tree.returningClause is not None
        query.functions = frozenset(
            str(node.funcname[-1].sval) for node in walk(tree) if is_a(node, ast.FuncCall)
        )
        query.is_random = bool(query.functions & _RANDOM)
        query.reads_clock = bool(query.functions & _CLOCK)
        query.takes_sequence = bool(query.functions & _SEQUENCE)
        query.writes = tuple(self._writes())
        if query.writes:
            query.kind = Kind.WRITE
            self._bound_rows()
            query.enlarges = (
                bool(query.functions & _ENLARGING)
                or query.row_bound is Rows.UNKNOWN
                or any(is_a(n, ast.A_Expr) and n.name[-1].sval == "||" for n in walk(tree))
            )
        self._read_locks()
        if query.kind is Kind.READ and "set_config" in query.functions:
            query.kind = Kind.SET

    def _read_tables(self) -> None:
        found = list(_tables(self.tree, frozenset()))
        query = self.query
        query.names = frozenset(node.relname for node in found)
        if not found:
            return
        scanned = _scan(query.sent)
        ends = {token.start: number for number, token in enumerate(scanned)}
        references = []
        for node in found:
            start = node.location - self.offset
            number = ends.get(start)
            if number is None:
                continue
            parts = 1 + bool(node.schemaname) + bool(node.catalogname)
            end = scanned[number + 2 * (parts - 1)].end
            table = Table(node.schemaname or "", node.relname)
            references.append(Reference(table, start, end, node.alias is not None))
        query.references = tuple(sorted(references, key=lambda each: each.start))

    def _writes(self) -> Iterator[Write]:
        for node in walk(self.tree):
            action = _ACTIONS.get(type(node))
            if action is not None:
                relation = node.relation
                table = Table(relation.schemaname or "", relation.relname)
                yield Write(table, action, node is self.tree, relation.location - self.offset)

    def _bound_rows(self) -> None:
        query, tree = self.query, self.tree
        if len(query.writes) > 1 or not query.writes[0].is_whole:
            return
        if is_a(tree, ast.InsertStmt):
            query.row_bound, query.row_count = _inserted_rows(tree)
        else:
            items = tree.usingClause if is_a(tree, ast.DeleteStmt) else tree.fromClause
            query.row_bound = Rows.BY_KEY
            query.equated, query.listed = _conditions(tree.whereClause, _own_name(tree), items or ())

    def _read_locks(self) -> None:
        query, tree = self.query, self.tree
        clauses = [node for node in walk(tree) if is_a(node, ast.LockingClause)]
        if not clauses:
            return
        if query.kind is Kind.READ:
            query.kind = Kind.LOCK
        for_update = any(each.strength == LockClauseStrength.LCS_FORUPDATE for each in clauses)
        query.lock_mode = "U" if for_update else "K"
        query.locked_names = frozenset(each.relname for clause in clauses for each in clause.lockedRels or ())
        query.lock_spans = tuple(_lock_spans(_scan(query.sent)))
        # Where nobody holds a lock there is nothing to skip or to wait for.
        query.sent = _blank_words(query.sent, query.lock_spans, r"nowait|skip\s+locked")


_ACTIONS = {ast.InsertStmt: "insert", ast.UpdateStmt: "update", ast.DeleteStmt: "delete"}


class _Token(NamedTuple):
    name: str
    start: int
    end: int


def _scan(text: str) -> list[_Token]:
    return [
        _Token(token.name, token.start, token.end + 1)
        for token in parser.scan(text)
        if token.name not in ("SQL_COMMENT", "C_COMMENT")
    ]


def _tables(node: Node, names: frozenset[str]) -> Iterator[Node]:
    """Give the RangeVar nodes that are tables, not names of a WITH clause in force where they stand."""
    if isinstance(node, tuple | list):
        for each in node:
            yield from _tables(each, names)
        return
    if not is_a(node, ast.Node):
        return
    if is_a(node, ast.RangeVar):
        if node.schemaname or node.relname not in names:
            yield node
        return
    clause = getattr(node, "withClause", None)
    if clause is not None:
        if clause.recursive:
            names |= {each.ctename for each in clause.ctes}
        for each in clause.ctes:
            yield from _tables(each.ctequery, names)
            names |= {each.ctename}
    for attribute in node:
        # What FOR UPDATE OF names are aliases, not tables.
        if attribute not in ("withClause", "lockedRels"):
            value = getattr(node, attribute)
            # A target is a table, whatever a WITH clause calls its own.
            is_target = attribute == "relation" and type(node) in _ACTIONS
            yield from _tables(value, frozenset() if is_target else names)


def _own_name(tree: Node) -> str:
    return str(tree.relation.alias.aliasname if tree.relation.alias else tree.relation.relname)


def _inserted_rows(tree: Node) -> tuple[Rows, int]:
    source = tree.selectStmt
    if source is None:
        return Rows.FIXED, 1
    if source.valuesLists:
        return Rows.FIXED, len(source.valuesLists)
    if source.op != p.SetOperation.SETOP_NONE:
        return Rows.UNKNOWN, 0
    targets = [n for n in walk(source.targetList) if is_a(n, ast.FuncCall)]
    if any(n.funcname[-1].sval == "generate_series" for n in targets):
        return Rows.UNKNOWN, 0
    if not source.fromClause:
        by_values = any(n.funcname[-1].sval in _FROM_VALUES for n in targets)
        return (Rows.BY_VALUES, 0) if by_values else (Rows.FIXED, 1)
    if len(source.fromClause) == 1 and _gives_values(source.fromClause[0]):
        return Rows.BY_VALUES, 0
    return Rows.UNKNOWN, 0


def _gives_values(item: Node) -> bool:
    """Tell whether a FROM item gives at most a row a value that the statement was given."""
    if is_a(item, ast.RangeSubselect):
        return bool(item.subquery.valuesLists)
    if not is_a(item, ast.RangeFunction):
        return False
    calls = [n for n in walk(item) if is_a(n, ast.FuncCall)]
    return all(n.funcname[-1].sval in _FROM_VALUES for n in calls) and not any(
        is_a(n, ast.SubLink) for n in walk(item)
    )


_EQUATING = (p.A_Expr_Kind.AEXPR_OP, p.A_Expr_Kind.AEXPR_OP_ANY, p.A_Expr_Kind.AEXPR_IN)


def _conditions(where: Node, name: str, items: tuple[Node, ...]) -> tuple[frozenset[str], frozenset[str]]:
    """Give the written table's columns that a WHERE clause equates with one value, and with a list's."""
    equated: set[str] = set()
    listed: set[str] = set()
    values = {_item_name(item) for item in items if _gives_values(item)}
    plain_items = all(_gives_values(item) for item in items)
    for condition in _conjuncts(where):
        if not is_a(condition, ast.A_Expr) or condition.name[-1].sval != "=":
            continue
        for one, other in ((condition.lexpr, condition.rexpr), (condition.rexpr, condition.lexpr)):
            column = _column_of(one, name, bool(items))
            kind = condition.kind
            if column is None or kind not in _EQUATING:
                continue
            is_plain = kind == p.A_Expr_Kind.AEXPR_OP
            if _is_value(other):
                (equated if is_plain else listed).add(column)
            elif is_plain and plain_items and _column_of(other, None, False) in values:
                listed.add(column)
    return frozenset(equated), frozenset(listed)


def _item_name(item: Node) -> str:
    return str(item.alias.aliasname) if item.alias else ""


def _conjuncts(where: Node) -> Iterator[Node]:
    if is_a(where, ast.BoolExpr) and where.boolop.name == "AND_EXPR":
        for each in where.args:
            yield from _conjuncts(each)
    elif where is not None:
        yield where


def _column_of(node: Node, name: str | None, must_be_qualified: bool) -> str | None:
    """Give the column of table `name` that a node is; with `name` None the qualifier of whatever column."""
    if is_a(node, ast.TypeCast):
        return _column_of(node.arg, name, must_be_qualified) if name is None else None
    if not is_a(node, ast.ColumnRef) or not all(is_a(f, ast.String) for f in node.fields):
        return None
    fields = [str(field.sval) for field in node.fields]
    if name is None:
        return fields[0] if len(fields) == 2 else None
    if len(fields) == 1:
        return None if must_be_qualified else fields[0]
    return fields[1] if len(fields) == 2 and fields[0] == name else None


def _is_value(node: Node) -> bool:
    return not any(is_a(each, ast.ColumnRef, ast.SubLink) for each in walk(node))


def _lock_spans(tokens: list[_Token]) -> Iterator[tuple[int, int]]:
    number = 0
    names = [token.name for token in tokens]
    while number < len(tokens):
        if names[number] != "FOR" or names[number + 1 : number + 2] not in (["UPDATE"], ["KEY"]):
            number += 1
            continue
        first = number
        number += 3 if names[number + 1] == "KEY" else 2
        if names[number : number + 1] == ["OF"]:
            number += 2
            while names[number : number + 1] in (["ASCII_44"], ["ASCII_46"]):
                number += 2
        if names[number : number + 1] == ["NOWAIT"]:
            number += 1
        elif names[number : number + 2] == ["SKIP", "LOCKED"]:
            number += 2
        yield tokens[first].start, tokens[number - 1].end


def _blank_words(text: str, spans: tuple[tuple[int, int], ...], words: str) -> str:
    for start, end in spans:
        clause = re.sub(rf"(?i)\b({words})\s*\Z", lambda m: " " * len(m[0]), text[start:end])
        text = text[:start] + clause + text[end:]
    return text


def without_locks(query: Query) -> str:
    """Give the statement without its locking clauses; every character keeps its place."""
    text = query.sent
    for start, end in query.lock_spans:
        text = text[:start] + " " * (end - start) + text[end:]
    return text


_PARTS_OF_TABLES = ("OBJECT_COLUMN", "OBJECT_TABCONSTRAINT")


def _changed(tree: Node) -> Iterator[Table]:
    """Give the tables that DDL makes, alters or drops, or whose rights it changes."""
    for name in ("relation", "view", "sequence"):
        node: Node = getattr(tree, name, None)
        if is_a(node, ast.RangeVar):
            yield Table(node.schemaname or "", node.relname)
    if is_a(tree, ast.DropStmt):
        for each in tree.objects:
            parts = [str(part.sval) for part in (each if isinstance(each, tuple) else ()) if part is not None]
            if parts:
                yield Table(parts[-2] if len(parts) > 1 else "", parts[-1])
    elif is_a(tree, ast.GrantStmt):
        for each in tree.objects or ():
            if is_a(each, ast.RangeVar):
                yield Table(each.schemaname or "", each.relname)
            elif is_a(each, ast.String):
                yield Table(str(each.sval), "")
    elif is_a(tree, ast.CommentStmt):
        named = tree.object if isinstance(tree.object, tuple) else ()
        parts = [str(part.sval) for part in named if is_a(part, ast.String)]
        if tree.objtype.name in _PARTS_OF_TABLES:
            parts = parts[:-1]
        elif tree.objtype.name not in ("OBJECT_TABLE", "OBJECT_VIEW"):
            parts = []
        if parts:
            yield Table(parts[-2] if len(parts) > 1 else "", parts[-1])
    elif is_a(tree, ast.GrantRoleStmt):
        yield Table("", "")
