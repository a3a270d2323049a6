"""The marks of guards in the code, and the mechanical mutations that take a guard out.

A guard is marked by a comment in a line of its own, right above what it is; several marks may stand above one
line. A mark names the guard and nothing else: the table in tests/chaos/guards.py says by the same name how it
is taken out, and what must fail then.

    # guard: a key stands for one content          Python, YAML
    -- guard: a lease ends                         SQL

What a mark means is the statement that begins in the next line; where none does, the part of one that begins
there (an argument, an element, an operand, a condition). In SQL it is the line, in YAML the line and what is
indented below it.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

#: Where guards may stand.
FOLDERS = ("api", "domain", "sql", "events", "handlers", "operations", "template.yaml")

_MARK = re.compile(r"^\s*(?:#|--) guard: (?P<name>.*\S)\s*$")
_COMMENT = re.compile(r"^\s*(?:#|--)")


class How(NamedTuple):
    """A mutation: what is done to what is marked, with this code where it takes some."""

    kind: str
    code: str = ""


#: It goes: a statement, an argument, an element, an operand, a line.
DROP = How("drop")
#: The condition in it is taken to hold, or not to.
ALWAYS = How("always")
NEVER = How("never")
#: Of the alternatives in it (`a or b`, `a if x else b`, `a - b`), the first, or the last, is all.
FIRST = How("first")
LAST = How("last")


def value(code: str) -> How:
    """Have what is assigned, returned, passed, caught, entered or asked be something else."""
    return How("value", code)


def instead(code: str) -> How:
    """Have another statement, or line, in its place."""
    return How("instead", code)


class Mark(NamedTuple):
    """Where a guard stands: the line, from 1, is that of what is marked; the file is named from the root."""

    name: str
    file: str
    line: int


def find_marks(root: Path) -> Iterator[Mark]:
    """Read all marks of a tree."""
    for name in FOLDERS:
        place = root / name
        paths = sorted(place.rglob("*")) if place.is_dir() else [place]
        for path in paths:
            if path.suffix in (".py", ".sql", ".yaml"):
                lines = path.read_text(encoding="utf-8").splitlines()
                for number, line in enumerate(lines):
                    if found := _MARK.match(line):
                        yield Mark(found["name"], str(path.relative_to(root)), _marked(lines, number))


def _marked(lines: list[str], number: int) -> int:
    """Give the line below a mark that is neither empty nor a comment."""
    return next(
        (
            later + 1
            for later in range(number, len(lines))
            if lines[later].strip() and not _COMMENT.match(lines[later])
        ),
        len(lines),
    )


def mutate(source: str, mark: Mark, how: How) -> str:
    """Give a file's text without a guard. Raises ValueError where the mutation finds nothing to change."""
    try:
        changed = (_in_python if mark.file.endswith(".py") else _in_lines)(source, mark, how)
    except (LookupError, StopIteration) as error:
        raise ValueError(f"{mark.file}:{mark.line}: {mark.name!r} has nothing to {how.kind}") from error
    if changed == source:
        raise ValueError(f"{mark.file}:{mark.line}: to {how.kind} {mark.name!r} changes nothing")
    return changed


# --- Python ---------------------------------------------------------------------------------------------

_PARTS = (ast.expr, ast.keyword, ast.comprehension, ast.ExceptHandler)
#: What holds the value of a node, by the node's kind.
_VALUES: Mapping[type[ast.AST], str] = {
    ast.Assign: "value",
    ast.AnnAssign: "value",
    ast.AugAssign: "value",
    ast.Return: "value",
    ast.Expr: "value",
    ast.keyword: "value",
    ast.ExceptHandler: "type",
    ast.For: "iter",
    ast.If: "test",
    ast.While: "test",
    ast.Assert: "test",
}


def _in_python(source: str, mark: Mark, how: How) -> str:
    tree = ast.parse(source)
    before = ast.dump(tree)
    _CHANGES[how.kind](_Place.find(tree, mark.line), how.code)
    if ast.dump(tree) == before:
        return source
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"


class _Place(NamedTuple):
    """A node, and where its parent holds it: in a field, or in a list there."""

    parent: ast.AST
    field: str
    position: int | None
    node: ast.AST

    @classmethod
    def find(cls, tree: ast.AST, line: int) -> "_Place":
        """Find what begins in a line: the largest, and a statement before a part of one."""
        found = [each for each in cls.all(tree) if cls._begins(each) == line]
        statements = [each for each in found if isinstance(each.node, ast.stmt)]
        return (statements or [each for each in found if isinstance(each.node, _PARTS)])[0]

    @classmethod
    def all(cls, tree: ast.AST) -> Iterator["_Place"]:
        """Give every node below another, the outer ones first."""
        waiting = [tree]
        while waiting:
            parent = waiting.pop(0)
            for field, held in ast.iter_fields(parent):
                for position, node in enumerate(held) if isinstance(held, list) else ((None, held),):
                    if isinstance(node, ast.AST):
                        waiting.append(node)
                        yield cls(parent, field, position, node)

    def _begins(self) -> int | None:
        if isinstance(self.node, ast.comprehension):
            return self.node.ifs[0].lineno if self.node.ifs else None
        if isinstance(self.node, (ast.FunctionDef, ast.ClassDef)) and self.node.decorator_list:
            return self.node.decorator_list[0].lineno
        return getattr(self.node, "lineno", None)

    def put(self, node: ast.AST | None) -> None:
        """Put something else there, or take it out of its list; a dict's keys and values go together."""
        if self.position is None:
            setattr(self.parent, self.field, node)
            return
        held = getattr(self.parent, self.field)
        if node is not None:
            held[self.position] = node
            return
        del held[self.position]
        if isinstance(self.parent, ast.Dict):
            del self.parent.values[self.position]


def _drop(place: _Place, _: str) -> None:
    place.put(ast.Pass() if isinstance(place.node, ast.stmt) else None)
    if isinstance(place.parent, ast.BoolOp) and len(place.parent.values) == 1:
        place.parent.values.append(place.parent.values[0])


def _decide(place: _Place, holds: bool) -> None:
    for node in [place.node, *(each.node for each in _Place.all(place.node))]:
        if isinstance(node, (ast.If, ast.While, ast.Assert, ast.IfExp)):
            node.test = ast.Constant(holds)
            return
        if isinstance(node, ast.comprehension) and node.ifs:
            node.ifs = [ast.Constant(holds)]
            return
    raise LookupError


def _choose(place: _Place, which: int) -> None:
    inside = [place, *_Place.all(place.node)]
    chosen = next(each for each in inside if isinstance(each.node, (ast.BoolOp, ast.IfExp, ast.BinOp)))
    node = chosen.node
    if isinstance(node, ast.BoolOp):
        chosen.put(node.values[which])
    elif isinstance(node, ast.IfExp):
        chosen.put((node.body, node.orelse)[which])
    elif isinstance(node, ast.BinOp):
        chosen.put((node.left, node.right)[which])


def _give(place: _Place, code: str) -> None:
    expression = ast.parse(code, mode="eval").body
    if isinstance(place.node, ast.With):
        place.node.items[0].context_expr = expression
    elif type(place.node) in _VALUES:
        setattr(place.node, _VALUES[type(place.node)], expression)
    elif isinstance(place.parent, ast.Dict) and place.field == "keys":
        place.parent.values[place.position or 0] = expression
    else:
        place.put(expression)


def _put(place: _Place, code: str) -> None:
    (statement,) = ast.parse(code).body
    place.put(statement)


_CHANGES = {
    "drop": _drop,
    "always": lambda place, _: _decide(place, True),
    "never": lambda place, _: _decide(place, False),
    "first": lambda place, _: _choose(place, 0),
    "last": lambda place, _: _choose(place, -1),
    "value": _give,
    "instead": _put,
}

# --- SQL and YAML ---------------------------------------------------------------------------------------

_CHECK = re.compile(r"\bcheck \((?:[^()]|\([^()]*\))*\)")
_LEADING = re.compile(r"^(?P<word>(?:where|and|or|on|when|having)\b )?(?P<condition>.*?)(?P<end>[,;]?)$")
_KEY = re.compile(r"^(?P<key>(?:- )?[\w.:'\"]+:|-) ")


def _in_lines(source: str, mark: Mark, how: How) -> str:
    lines = source.splitlines(keepends=True)
    line = lines[mark.line - 1]
    text, indent = line.strip(), line[: len(line) - len(line.lstrip())]
    end = mark.line
    if mark.file.endswith(".yaml"):
        while end < len(lines) and (not lines[end].strip() or lines[end].startswith(f"{indent} ")):
            end += 1
    if how.kind == "drop":
        kept = []
    elif how.kind == "instead":
        kept = [f"{indent}{how.code}\n"]
    elif how.kind == "value" and (key := _KEY.match(text)):
        kept = [f"{indent}{key['key']} {how.code}\n"]
    elif how.kind in ("always", "never"):
        truth = "true" if how.kind == "always" else "false"
        changed = _CHECK.sub(f"check ({truth})", text)
        if changed == text:
            changed = _LEADING.sub(rf"\g<word>{truth}\g<end>", text)
        kept = [f"{indent}{changed}\n"]
    else:
        raise LookupError
    return "".join([*lines[: mark.line - 1], *kept, *lines[end:]])
