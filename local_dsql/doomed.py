"""Statements of a doomed transaction, as they run on its own copies of the tables that it writes.

Another transaction has committed a change to one of its rows, so that COMMIT will fail. DSQL says so at
COMMIT and not before; PostgreSQL would end the transaction at the statement. From there on each table that
the transaction writes has a copy (see `own_copy` in catalogue.sql) that takes the writes: before each of them
the rows that it may change are brought there. Reads are sent to a view of both. Only the names of tables
change in a statement, at their places in its text, and locking clauses go.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from pglast import ast, parser

from local_dsql.dialect import Node, walk
from local_dsql.statements import Query, Reference, Table, Write, is_a, without_locks
from local_dsql.tables import Facts

Copies = Mapping[Table, int]
"""The tables that have a copy, as statements name them, with their oids."""

_ALL_ROWS = "select ctid as place from {table}"


def copy_name(oid: int) -> str:
    """Give the copy that takes the writes."""
    return f'pg_temp."dsql_{oid}"'


def _view_name(oid: int) -> str:
    return f'pg_temp."dsql_{oid}_all"'


def on_copies(query: Query, copies: Copies) -> str:
    """Give a statement's text for the copies."""
    return _on_copies(query.text, query.sent, _Text(query), tuple(copies.items()))


class _Text:
    """A statement to be cut up. Equal to any other, so that it is no part of a cache's key."""

    def __init__(self, query: Query) -> None:
        self.query = query
        self.text = without_locks(query)
        self.targets = {write.location for write in query.writes}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Text)

    def __hash__(self) -> int:
        return 0

    def piece(self, start: int, end: int, copies: Copies, *, target_too: bool = False) -> str:
        """Give a part of the text with the names of copied tables replaced."""
        parts, position = [], start
        for reference in self.query.references:
            if start <= reference.start < end and reference.table in copies:
                is_target = reference.start in self.targets or self.is_copy_statement
                if is_target and not target_too:
                    continue
                parts += [self.text[position : reference.start], self._name(reference, is_target, copies)]
                position = reference.end
        parts.append(self.text[position:end])
        return "".join(parts)

    @property
    def is_copy_statement(self) -> bool:
        return is_a(self.query.tree, ast.CopyStmt) and bool(self.query.tree.is_from)

    def _name(self, reference: Reference, is_target: bool, copies: Copies) -> str:
        oid = copies[reference.table]
        name = copy_name(oid) if is_target else _view_name(oid)
        if reference.has_alias or is_a(self.query.tree, ast.CopyStmt):
            return name
        return f"{name} as {Table('', reference.table.name).sql}"


@lru_cache(1024)
def _on_copies(_text: str, _sent: str, cut: _Text, copies: tuple[tuple[Table, int], ...]) -> str:
    return cut.piece(0, len(cut.text), dict(copies), target_too=True)


def rows_to_bring(query: Query, table: Table, facts: Facts | None, copies: Copies) -> Iterator[str]:
    """Give queries for the places of the rows of a table that a statement may change, or collide with."""
    everything = _ALL_ROWS.format(table=table.sql)
    writes = [write for write in query.writes if write.table == table]
    if not writes and not _Text(query).is_copy_statement:
        return
    if len(writes) != 1 or not writes[0].is_whole or facts is None or query.takes_sequence:
        yield everything
    elif writes[0].action == "insert":
        candidates = list(same_keys(query, facts))
        if facts.has_odd_key or None in candidates:
            yield everything
        else:
            cut = _Text(query)
            for keys, source, alias in filter(None, candidates):
                start, end = source
                yield (
                    f"select t.ctid as place from {table.sql} t where ({_columns('t', keys)}) in "
                    f"(select {_casts(keys, facts, query)} from ({cut.piece(start, end, copies)}) as {alias})"
                )
    elif query.is_random or query.reads_clock or _changes_key(query, facts):
        yield everything
    else:
        yield _matched_rows(query, writes[0], copies)


def _changes_key(query: Query, facts: Facts) -> bool:
    """Tell whether an UPDATE may collide with rows that it does not name."""
    if not is_a(query.tree, ast.UpdateStmt):
        return False
    changed = {str(target.name) for target in query.tree.targetList}
    return facts.has_odd_key or any(changed & set(key) for key in facts.keys)


def doubles(query: Query, table: Table, facts: Facts) -> str | None:
    """Give a query that tells whether a write left two visible rows of one key; None where it cannot."""
    everywhere = " or ".join(_doubled(table, key, "") for key in facts.keys) or None
    if not is_a(query.tree, ast.InsertStmt):
        return everywhere if _changes_key(query, facts) else None
    cut = _Text(query)
    parts = []
    for each in same_keys(query, facts):
        if each is None:
            return everywhere
        keys, (start, end), alias = each
        source = f"select {_casts(keys, facts, query)} from ({cut.text[start:end]}) as {alias}"
        parts.append(_doubled(table, keys, f"where ({_columns('t', keys)}) in ({source})"))
    return " or ".join(parts) or None


def _doubled(table: Table, keys: Sequence[str], where: str) -> str:
    columns = _columns("t", keys)
    present = " and ".join(f"{column} is not null" for column in columns.split(", "))
    return (
        f"exists (select from {table.sql} t {where} group by {columns} "
        f"having count(*) filter (where {present}) > 1)"
    )


Candidate = tuple[tuple[str, ...], tuple[int, int], str]
"""A unique key's columns, where the rows to be inserted stand in the text, and names for their columns."""


def same_keys(query: Query, facts: Facts) -> Iterator[Candidate | None]:
    """Give for each unique key what an INSERT would put there; None where the text does not tell."""
    tree = query.tree
    names = [str(column.name) for column in tree.cols] if tree.cols else list(facts.columns)
    source = _source(query)
    width = _width(tree)
    for key in facts.keys:
        missing = [column for column in key if column not in names[: width or None]]
        if missing and (facts.has_random_default or facts.takes_sequence):
            continue  # a value that nobody had before
        if missing or source is None or width is None:
            yield None
        else:
            yield key, source, f"s({', '.join(f'c{number}' for number in range(1, width + 1))})"


def _casts(keys: Sequence[str], facts: Facts, query: Query) -> str:
    tree = query.tree
    names = [str(column.name) for column in tree.cols] if tree.cols else list(facts.columns)
    return ", ".join(f"s.c{names.index(key) + 1}::{facts.columns[key]}" for key in keys)


def _columns(alias: str, keys: Sequence[str]) -> str:
    return ", ".join(f"{alias}.{Table('', key).sql}" for key in keys)


def _width(tree: object) -> int | None:
    """Give how many columns an INSERT's rows have; None where its text does not tell."""
    source = getattr(tree, "selectStmt", None)
    if source is None or any(is_a(each, ast.SetToDefault) for each in walk(source.valuesLists)):
        return None
    if source.valuesLists:
        return len(source.valuesLists[0])
    if source.targetList is None or any(is_a(each, ast.A_Star) for each in walk(source.targetList)):
        return None
    return len(source.targetList)


class _Word:
    __slots__ = ("end", "name", "start")

    def __init__(self, name: str, start: int, end: int) -> None:
        self.name, self.start, self.end = name, start, end


def _top_words(text: str) -> list[_Word]:
    """Give the words that stand in no brackets; a bracketed stretch is one word, `()`."""
    words: list[_Word] = []
    depth = 0
    for token in parser.scan(text):
        if token.name in ("SQL_COMMENT", "C_COMMENT"):
            continue
        if token.name in ("ASCII_40", "ASCII_91"):
            if depth == 0:
                words.append(_Word("()", token.start, token.end + 1))
            depth += 1
        elif token.name in ("ASCII_41", "ASCII_93"):
            depth -= 1
            if depth == 0:
                words[-1].end = token.end + 1
        elif depth == 0:
            if token.name == "FROM" and words and words[-1].name == "DISTINCT":
                words.append(_Word("DISTINCT FROM", token.start, token.end + 1))
            else:
                words.append(_Word(token.name, token.start, token.end + 1))
    return words


def _find(words: Sequence[_Word], names: Sequence[str], start: int = 0) -> int | None:
    return next((n for n in range(start, len(words)) if words[n].name in names), None)


def _source(query: Query) -> tuple[int, int] | None:
    """Give where an INSERT's VALUES or SELECT stands."""
    text = without_locks(query)
    words = _top_words(text)
    into = _find(words, ["INTO"])
    if into is None or query.tree.override.name != "OVERRIDING_NOT_SET":
        return None
    begins = _find(words, ["VALUES", "SELECT", "WITH", "TABLE"], into)
    if query.tree.cols:
        columns = _find(words, ["()"], into)
        if columns is None:
            return None
        begins = columns + 1
    if begins is None or words[begins].name == "DEFAULT":
        return None
    ends = next(
        (
            words[n].start
            for n in range(begins, len(words))
            if words[n].name == "RETURNING"
            or (words[n].name == "ON" and n + 1 < len(words) and words[n + 1].name == "CONFLICT")
        ),
        len(text),
    )
    return words[begins].start, ends


def _matched_rows(query: Query, write: Write, copies: Copies) -> str:
    """Give the places of the rows that an UPDATE or DELETE would touch, of those that are not copied yet."""
    cut = _Text(query)
    words = _top_words(cut.text)
    is_update = write.action == "update"
    verb = _find(words, ["UPDATE" if is_update else "DELETE_P"])
    assert verb is not None, query.text
    head_end = _find(words, ["SET"], verb) if is_update else None
    items = _find(words, ["FROM" if is_update else "USING"], (head_end or verb + 1) + 1)
    where = _find(words, ["WHERE"], verb)
    returning = _find(words, ["RETURNING"], verb)
    ends = [words[n].start for n in (items, where, returning) if n is not None] + [len(cut.text)]
    target_end = words[head_end].start if head_end is not None else min(ends)
    target = cut.text[write.location : target_end]
    alias = query.tree.relation.alias
    name = Table("", str(alias.aliasname) if alias else write.table.name).sql
    rest_end = words[returning].start if returning is not None else len(cut.text)
    parts = [cut.piece(0, words[verb].start, copies), f"select {name}.ctid as place from {target}"]
    if items is not None:
        end = words[where].start if where is not None else rest_end
        parts.append(", " + cut.piece(words[items].end, end, copies))
    if where is not None:
        parts.append(" " + cut.piece(words[where].start, rest_end, copies))
    return "".join(parts).rstrip().rstrip(";")


def with_arguments(text: str, types: Sequence[str]) -> str:
    """Give a query that takes one array of texts in place of its parameters."""
    parts, position = [], 0
    for token in parser.scan(text):
        if token.name == "PARAM":
            number = int(text[token.start + 1 : token.end + 1])
            parts += [text[position : token.start], f"(($1)[{number}])::{types[number - 1]}"]
            position = token.end + 1
    return "".join((*parts, text[position:]))


def lock_trace(query: Query) -> str | None:
    """Give a query for the rows that a locking SELECT locks, a row of traces each; None where it has none."""
    text = without_locks(query)
    words = _top_words(text)
    select = _find(words, ["SELECT"])
    if select is None or not is_a(query.tree, ast.SelectStmt):
        return None
    start = _find(words, ["FROM"], select)
    if start is None:
        return None
    names = [
        str(each.alias.aliasname if each.alias else each.relname)
        for each in _own_tables(query.tree.fromClause)
        if each.schemaname or each.relname in query.names
    ]
    names = [name for name in names if not query.locked_names or name in query.locked_names]
    quoted = [Table("", name).sql for name in names]
    columns = "".join(f", pg_dsql.locked({name}.tableoid, {name}.ctid)" for name in quoted)
    if not columns:
        return None
    # At the end of the list: ORDER BY 1 still means what it meant.
    return f"{text[: words[start].start]}{columns} {text[words[start].start :]}"


def _own_tables(items: Node) -> Iterator[Node]:
    """Give the tables of a FROM clause itself, those in joins too, without those of subqueries."""
    if isinstance(items, tuple | list):
        for each in items:
            yield from _own_tables(each)
    elif is_a(items, ast.RangeVar):
        yield items
    elif is_a(items, ast.JoinExpr):
        yield from _own_tables((items.larg, items.rarg))
