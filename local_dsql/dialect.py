"""What Aurora DSQL writes that PostgreSQL's grammar does not know, read into PostgreSQL's parse tree.

The word ASYNC (CREATE INDEX ASYNC, ALTER TABLE ASYNC), `AWS IAM GRANT role TO 'arn'` with its REVOKE, and a
bare `numeric` column, which DSQL makes numeric(18,6). A statement's `plain` text is what a PostgreSQL is to
be sent: blanks stand where ASYNC stood, so that a position in an error is right for the client's text too.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import pglast
from pglast import ast, parser

from local_dsql.limits import NUMERIC_DEFAULT

Node = Any
"""A node of pglast's tree; the package has no types of its own."""


def words(text: str) -> frozenset[str]:
    """Give the words of a text: a set that reads well in a table."""
    return frozenset(text.split())


# What may follow ALTER TABLE x: there, `async` is the table's name.
_ACTIONS = words(
    """
    ADD_P DROP ALTER RENAME SET VALIDATE OWNER ENABLE_P DISABLE_P FORCE NO ATTACH DETACH CLUSTER RESET INHERIT
    OF NOT REPLICA OPTIONS ASCII_46 ASCII_42
    """
)


class UnreadableError(ValueError):
    """PostgreSQL's parser cannot read the text (SQLSTATE 42601); the message is the parser's."""


class RoleLink(NamedTuple):
    """`AWS IAM GRANT role TO 'arn'`, or REVOKE ... FROM."""

    action: Literal["GRANT", "REVOKE"]
    role: str
    arn: str


class Statement(NamedTuple):
    """One statement of a text, and its place there: characters, from `start` up to before `end`."""

    text: str
    plain: str
    """For PostgreSQL; of a role link, which has no such form, the text itself."""
    tree: Node
    """pglast's node of the statement itself; None for a role link."""
    asynchronous: bool
    """Whether it has the word ASYNC."""
    using: bool
    """Whether a CREATE INDEX names its access method: the tree says btree either way."""
    role_link: RoleLink | None
    start: int
    end: int


class _Token(NamedTuple):
    name: str
    start: int
    end: int
    text: str

    @property
    def word(self) -> str:
        return self.text.upper() if self.name == "IDENT" and not self.text.startswith('"') else ""


def parse(text: str) -> tuple[Statement, ...]:
    """Read a text of any number of statements; raises UnreadableError."""
    try:
        tokens = [_Token(t.name, t.start, t.end + 1, text[t.start : t.end + 1]) for t in parser.scan(text)]
    except pglast.Error as error:
        raise UnreadableError(str(error.args[0])) from error
    tokens = [token for token in tokens if token.name not in ("SQL_COMMENT", "C_COMMENT")]
    asyncs: list[_Token] = []
    links: list[Statement] = []
    plain = list(text)
    for first in _statement_starts(tokens):
        following = tokens[first : first + 9]
        if (found := _async_word(following)) is not None:
            asyncs.append(found)
            plain[found.start : found.end] = " " * (found.end - found.start)
        elif (link := _role_link(following)) is not None:
            start, end = following[0].start, following[5].end
            links.append(Statement(text[start:end], text[start:end], None, False, False, link, start, end))
            plain[start:end] = " " * (end - start)
    return tuple(sorted([*links, *_parsed(text, "".join(plain), tokens, asyncs)], key=lambda s: s.start))


def _statement_starts(tokens: Sequence[_Token]) -> Iterator[int]:
    at_start = True
    for number, token in enumerate(tokens):
        if token.name == "ASCII_59":
            at_start = True
        elif at_start:
            at_start = False
            yield number


def _async_word(tokens: Sequence[_Token]) -> _Token | None:
    """Give the ASYNC of a statement that begins with these tokens, if it has one."""
    names = [token.name for token in tokens]
    place = 3 if names[:3] == ["CREATE", "UNIQUE", "INDEX"] else 2
    if place == 2 and names[:2] not in (["CREATE", "INDEX"], ["ALTER", "TABLE"]):
        return None
    if len(tokens) <= place + 1 or tokens[place].word != "ASYNC":
        return None
    return None if names[0] == "ALTER" and names[place + 1] in _ACTIONS else tokens[place]


def _role_link(tokens: Sequence[_Token]) -> RoleLink | None:
    """Read the statement that begins with these tokens as a role link, if it is one."""
    if len(tokens) < 6 or [tokens[0].word, tokens[1].word] != ["AWS", "IAM"]:
        return None
    actions: dict[tuple[str, str], Literal["GRANT", "REVOKE"]] = {
        ("GRANT", "TO"): "GRANT",
        ("REVOKE", "FROM"): "REVOKE",
    }
    action = actions.get((tokens[2].name, tokens[4].name))
    is_over = len(tokens) == 6 or tokens[6].name == "ASCII_59"
    if action is None or tokens[5].name != "SCONST" or not is_over:
        return None
    role = tokens[3].text
    role = role[1:-1].replace('""', '"') if role.startswith('"') else role.lower()
    return RoleLink(action, role, tokens[5].text[1:-1].replace("''", "'"))


def _parsed(text: str, plain: str, tokens: Sequence[_Token], asyncs: Sequence[_Token]) -> Iterator[Statement]:
    try:
        statements = pglast.parse_sql(plain)
    except pglast.Error as error:
        raise UnreadableError(str(error.args[0])) from error
    for raw in statements:
        start = raw.stmt_location or 0
        end = start + raw.stmt_len if raw.stmt_len else len(plain)
        own = [token for token in tokens if start <= token.start < end]
        # The parser counts what stood before the first token, and blanks where a role link stood.
        start, end = own[0].start, own[-1].end
        yield Statement(
            text[start:end],
            _with_numeric_default(plain[start:end], start, own, raw.stmt),
            raw.stmt,
            any(start <= token.start < end for token in asyncs),
            is_a(raw.stmt, ast.IndexStmt) and _names_access_method(own),
            None,
            start,
            end,
        )


def _names_access_method(tokens: Sequence[_Token]) -> bool:
    """Tell whether USING stands between a CREATE INDEX's table and its keys."""
    names = [token.name for token in tokens]
    return "USING" in names[: names.index("ASCII_40")]


def _with_numeric_default(plain: str, offset: int, tokens: Sequence[_Token], tree: Node) -> str:
    """Declare precision and scale where a column of CREATE TABLE or ADD COLUMN is a bare numeric."""
    ends = {token.start: token.end for token in tokens}
    bare = [
        ends[column.typeName.location] - offset
        for column in columns(tree)
        if type_name(column.typeName) == "numeric" and not column.typeName.typmods
    ]
    # A type written pg_catalog.numeric: its location is that of the schema's name.
    for end in sorted(bare, reverse=True):
        while plain[end : end + 1] == ".":
            end = next(token.end for token in tokens if token.start - offset > end) - offset
        plain = f"{plain[:end]}({NUMERIC_DEFAULT[0]},{NUMERIC_DEFAULT[1]}){plain[end:]}"
    return plain


def columns(tree: Node) -> Iterator[Node]:
    """Give the columns that a CREATE TABLE or an ALTER TABLE declares, as ColumnDef nodes."""
    if is_a(tree, ast.CreateStmt):
        yield from (part for part in tree.tableElts or () if is_a(part, ast.ColumnDef))
    elif is_a(tree, ast.AlterTableStmt):
        yield from (part.def_ for part in tree.cmds if is_a(part.def_, ast.ColumnDef) and part.def_.colname)


def type_name(node: Node) -> str:
    """Give a TypeName's last name, as PostgreSQL's catalogue has it: int4 for integer."""
    return str(node.names[-1].sval)


def is_a(node: Node, *kinds: type) -> bool:
    """Tell whether a node is of one of these types, without narrowing it to what pglast declares there.

    Those declarations make every part optional; a tree that was parsed has the parts that its kind needs.
    """
    return isinstance(node, kinds)


def walk(node: Node) -> Iterator[Node]:
    """Give a node and everything below it, parents first."""
    if isinstance(node, tuple | list):
        for each in node:
            yield from walk(each)
    elif isinstance(node, ast.Node):
        yield node
        for name in node:
            yield from walk(getattr(node, name))
