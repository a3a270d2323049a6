"""Find writes whose form does not bound the number of rows that they change.

DSQL lets a transaction change 3,000 rows. A statement is bounded by its form when each row that it changes is
found by its whole primary key, the values coming from parameters, from a bounded source (unnest of an array
parameter, VALUES) or from a subquery with a LIMIT. Where a rule of the shop is the bound instead, the query's
comment says so: `-- bounded by: a cart has at most 100 lines`.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from pglast import ast
from pglast.enums.nodes import JoinType
from pglast.enums.parsenodes import A_Expr_Kind, ConstrType
from pglast.enums.primnodes import BoolExprType, SubLinkType

from local_dsql.dialect import Node, is_a, walk
from tools.dsql_rules import Finding, Statement, finding

Keys = Mapping[str, frozenset[str]]
"""Primary keys: table name without schema -> its columns."""

_WRITES = (ast.UpdateStmt, ast.DeleteStmt, ast.InsertStmt)


class _Equation(NamedTuple):
    """`alias.column = something`, where the something is made of columns of the aliases `needs`."""

    alias: str | None
    column: str
    needs: frozenset[str | None]


def primary_keys(statements: Iterable[Statement]) -> dict[str, frozenset[str]]:
    """Read the tables' primary keys out of CREATE TABLE statements."""
    keys: dict[str, frozenset[str]] = {}
    for statement in statements:
        if not is_a(statement.tree, ast.CreateStmt):
            continue
        columns: set[str] = set()
        for element in statement.tree.tableElts or ():
            constraints = [element] if is_a(element, ast.Constraint) else element.constraints or ()
            for constraint in constraints:
                if constraint.contype == ConstrType.CONSTR_PRIMARY:
                    columns |= {key.sval for key in constraint.keys or ()} or {element.colname}
        keys[statement.tree.relation.relname] = frozenset(columns)
    return keys


def check_bounds(statement: Statement, keys: Keys) -> list[Finding]:
    """Give a finding if the statement, or a CTE of it, writes an unbounded number of rows."""
    if "bounded by:" in statement.comment or statement.tree is None:
        return []
    if all(_is_bounded_write(node, keys, _ctes(statement.tree)) for node in _writes(statement.tree)):
        return []
    return [
        finding(
            statement,
            "unbounded-write",
            "Nothing bounds the number of rows that this writes, and a transaction may change 3,000",
            "Project rule: find rows by their whole primary key, from parameters, unnest() or a subquery "
            "with a LIMIT; or say `-- bounded by: <reason>` in the query's comment.",
        )
    ]


def _writes(tree: Node) -> Iterator[Node]:
    return (node for node in walk(tree) if is_a(node, *_WRITES))


def _ctes(tree: Node) -> dict[str, Node]:
    return {node.ctename: node.ctequery for node in walk(tree) if is_a(node, ast.CommonTableExpr)}


def _is_bounded_write(node: Node, keys: Keys, ctes: Mapping[str, Node]) -> bool:
    if is_a(node, ast.InsertStmt):
        return node.selectStmt is None or _is_bounded_select(node.selectStmt, keys, ctes)
    others = node.fromClause if is_a(node, ast.UpdateStmt) else node.usingClause
    target = _name(node.relation)
    return target in _bounded((node.relation, *(others or ())), node.whereClause, keys, ctes)


def _is_bounded_select(node: Node, keys: Keys, ctes: Mapping[str, Node]) -> bool:
    if is_a(node, *_WRITES):
        return _is_bounded_write(node, keys, ctes)
    if node.valuesLists or node.limitCount is not None or not (node.fromClause or node.larg):
        return True
    if node.larg is not None:
        return all(_is_bounded_select(arm, keys, ctes) for arm in (node.larg, node.rarg))
    names = {_name(item) for item in _items(node.fromClause)}
    return names <= _bounded(node.fromClause, node.whereClause, keys, ctes)


def _bounded(sources: Iterable[Node], where: Node, keys: Keys, ctes: Mapping[str, Node]) -> set[str | None]:
    """Give the aliases among `sources` of which only a bounded number of rows takes part."""
    items = list(_items(sources))
    alone = _name(items[0]) if len(items) == 1 else None
    equations = list(_equations(where, keys, ctes))
    for condition, names in _join_conditions(sources):
        equations += [each for each in _equations(condition, keys, ctes) if each.alias in names]
    bounded = {_name(item) for item in items if _is_bounded_source(item, keys, ctes)}
    while True:
        # A table is bounded once its whole key is equal to things that are.
        more = {
            _name(item)
            for item in items
            if is_a(item, ast.RangeVar)
            and (key := keys.get(item.relname))
            and key
            <= {
                each.column
                for each in equations
                if (each.alias or alone) == _name(item) and {n or alone for n in each.needs} <= bounded
            }
        }
        if more <= bounded:
            return bounded
        bounded |= more


def _is_bounded_source(item: Node, keys: Keys, ctes: Mapping[str, Node]) -> bool:
    if is_a(item, ast.RangeFunction):
        return True
    if is_a(item, ast.RangeSubselect):
        return _is_bounded_select(item.subquery, keys, ctes)
    query = ctes.get(item.relname) if item.schemaname is None else None
    # A CTE is looked at without itself: a recursive one is not bounded by what it says of itself.
    return query is not None and _is_bounded_select(
        query, keys, {name: other for name, other in ctes.items() if name != item.relname}
    )


def _items(sources: Iterable[Node]) -> Iterator[Node]:
    for source in sources:
        if is_a(source, ast.JoinExpr):
            yield from _items((source.larg, source.rarg))
        else:
            yield source


def _join_conditions(sources: Iterable[Node]) -> Iterator[tuple[Node, set[str | None]]]:
    """Give each join's condition with the aliases whose rows it can keep out of the result."""
    for source in sources:
        if is_a(source, ast.JoinExpr):
            if source.jointype == JoinType.JOIN_INNER:
                yield source.quals, {_name(item) for item in _items((source.larg, source.rarg))}
            elif source.jointype == JoinType.JOIN_LEFT:
                yield source.quals, {_name(item) for item in _items((source.rarg,))}
            yield from _join_conditions((source.larg, source.rarg))


def _name(item: Node) -> str | None:
    if item.alias is not None:
        return str(item.alias.aliasname)
    return str(item.relname) if is_a(item, ast.RangeVar) else f"unnamed {id(item)}"


def _equations(condition: Node, keys: Keys, ctes: Mapping[str, Node]) -> Iterator[_Equation]:
    if is_a(condition, ast.BoolExpr) and condition.boolop == BoolExprType.AND_EXPR:
        for part in condition.args:
            yield from _equations(part, keys, ctes)
    elif is_a(condition, ast.SubLink) and condition.subLinkType == SubLinkType.ANY_SUBLINK:
        if condition.operName is None and _is_bounded_select(condition.subselect, keys, ctes):
            yield from _equal(condition.testexpr, None)
    elif is_a(condition, ast.A_Expr) and condition.name[-1].sval == "=":
        if condition.kind == A_Expr_Kind.AEXPR_OP:
            yield from _equal(condition.lexpr, condition.rexpr)
            yield from _equal(condition.rexpr, condition.lexpr)
        elif condition.kind in (A_Expr_Kind.AEXPR_OP_ANY, A_Expr_Kind.AEXPR_IN):
            yield from _equal(condition.lexpr, condition.rexpr)


def _equal(left: Node, right: Node) -> Iterator[_Equation]:
    needs = frozenset(_column(node)[0] for node in walk(right) if is_a(node, ast.ColumnRef))
    for part in left.args if is_a(left, ast.RowExpr) else (left,):
        if is_a(part, ast.ColumnRef):
            yield _Equation(*_column(part), needs)


def _column(node: Node) -> tuple[str | None, str]:
    names = [getattr(field, "sval", "*") for field in node.fields]
    return (names[-2] if len(names) > 1 else None), names[-1]
