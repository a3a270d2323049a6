"""The list of guards and the marks in the code: one for one, and each guard can be taken out."""

import ast
import builtins
import re
import threading
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml

from sql.migrate import split
from tests.chaos import mutations
from tests.chaos.guards import GUARDS
from tests.chaos.marks import ALWAYS, DROP, FIRST, LAST, NEVER, How, Mark, find_marks, instead, mutate, value
from tests.chaos.mutations import ROOT, Finding, places_of
from tools.dsql_rules import Statement, numbered
from tools.template import read

MARKS = [*find_marks(ROOT)]
BY_NAME = {mark.name: mark for mark in MARKS}


def test_each_mark_is_listed_and_each_guard_of_the_list_is_marked() -> None:
    assert {name: times for name, times in Counter(mark.name for mark in MARKS).items() if times > 1} == {}
    assert GUARDS.keys() == BY_NAME.keys()


@pytest.mark.parametrize("name", GUARDS)
def test_each_guard_can_be_taken_out_and_what_must_fail_then_exists(name: str) -> None:
    mark = BY_NAME[name]
    source = (ROOT / mark.file).read_text(encoding="utf-8")
    without = mutate(source, mark, GUARDS[name].how)

    assert without.split() != source.split()
    read_again(without, mark.file)
    if GUARDS[name].test:
        places_of(GUARDS[name].test, ROOT)


@pytest.mark.parametrize("name", [name for name, guard in GUARDS.items() if guard.how.code])
def test_a_mutations_code_speaks_of_nothing_that_its_file_does_not(name: str) -> None:
    # A name that was changed there would fail every test, and say nothing of the guard.
    source = (ROOT / BY_NAME[name].file).read_text(encoding="utf-8")
    words = set(re.findall(r"\b[A-Za-z_]\w*", re.sub(r"'[^']*'", "", GUARDS[name].how.code)))
    assert (
        words - set(re.findall(r"\w+", source)) - set(dir(builtins)) - {"true", "false", "setdefault"}
        == set()
    )


def read_again(source: str, file: str) -> None:
    """Read a file's text with the grammar of its language. Raises what that raises."""
    if file.endswith(".py"):
        ast.parse(source)
    elif file.endswith(".yaml"):
        read(source)
    elif "migrations" in file:
        for statement in split(source):
            assert Statement(statement, file).tree is not None
    else:
        for body in re.split(r"^-- name: .*$", source, flags=re.MULTILINE)[1:]:
            text = re.sub(r"^\s*--.*$", "", re.sub(r"\{\w+\}", "names", body), flags=re.MULTILINE).strip()
            # A template holds parts of statements, too.
            whole = text if re.match(r"(?:select|insert|update|delete|with)\b", text) else f"select {text}"
            assert Statement(numbered(whole), file).tree is not None


def test_the_table_of_the_page_has_each_guard_as_it_is() -> None:
    page = (ROOT / "docs" / "proof.md").read_text(encoding="utf-8")
    table = page.partition("<!-- mutations -->")[2].partition("<!-- /mutations -->")[0]
    rows = re.findall(r"^\| (.+?) \| `(.+?)` \| (.+?) \|", table, re.MULTILINE)
    wanted = [
        (name, BY_NAME[name].file, guard.test.removeprefix("test_").replace("_", " ") or "chaos")
        for name, guard in GUARDS.items()
    ]
    assert rows == wanted, 'run `make mutations ONLY="words of its name"` for each that is new or was moved'


# --- The mutations --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "marked", "expected"),
    [
        (DROP, "f(1)", "pass"),
        (DROP, "if a:\n    f(1)", "pass"),
        (DROP, "@cached\ndef f():\n    return 1", "pass"),
        (ALWAYS, "if a and b:\n    f(1)", "if True:\n    f(1)"),
        (NEVER, "if a and b:\n    f(1)", "if False:\n    f(1)"),
        (NEVER, "x = 1 if a else 2", "x = 1 if False else 2"),
        (ALWAYS, "x = {y for y in z if y}", "x = {y for y in z if True}"),
        (FIRST, "if a or b:\n    f(1)", "if a:\n    f(1)"),
        (LAST, "x = 1 if a else 2", "x = 2"),
        (FIRST, "x = f(a - b - c)", "x = f(a - b)"),
        (value("9"), "x = 1", "x = 9"),
        (value("9"), "return 1", "return 9"),
        (value("b()"), "with a():\n    f(1)", "with b():\n    f(1)"),
        (value("b"), "while a:\n    f(1)", "while b:\n    f(1)"),
        (instead("raise"), "x = 1", "raise"),
    ],
)
def test_a_marked_statement_is_taken_out(how: How, marked: str, expected: str) -> None:
    source = f"before = 1\n# guard: it\n# why it is there\n{marked}\n"
    expected = f"before = 1\n{expected}\n"

    assert mutate(source, Mark("it", "a.py", 4), how) == expected


@pytest.mark.parametrize(
    ("how", "source", "expected"),
    [
        (DROP, "f(\n    a,\n    # guard: it\n    b,\n    c,\n)", "f(a, c)"),
        (DROP, "f(\n    a,\n    # guard: it\n    key=1,\n)", "f(a)"),
        (value("2"), "f(\n    a,\n    # guard: it\n    key=1,\n)", "f(a, key=2)"),
        (DROP, "x = {\n    'a': 1,\n    # guard: it\n    'b': 2,\n}", "x = {'a': 1}"),
        (value("3"), "x = {\n    'a': 1,\n    # guard: it\n    'b': 2,\n}", "x = {'a': 1, 'b': 3}"),
        (DROP, "x = (\n    a\n    or\n    # guard: it\n    b\n)", "x = a or a"),
        (NEVER, "x = [\n    y\n    for y in z\n    # guard: it\n    if y\n]", "x = [y for y in z if False]"),
        (
            value("ZeroDivisionError"),
            "try:\n    f()\n# guard: it\nexcept OSError:\n    pass",
            "try:\n    f()\nexcept ZeroDivisionError:\n    pass",
        ),
    ],
)
def test_a_marked_part_of_a_statement_is_taken_out(how: How, source: str, expected: str) -> None:
    line = source.split("\n").index(next(each for each in source.split("\n") if "# guard" in each)) + 2

    assert mutate(source, Mark("it", "a.py", line), how) == f"{expected}\n"


@pytest.mark.parametrize(
    ("how", "line", "expected"),
    [
        (DROP, "    and b = 1", None),
        (ALWAYS, "    and b = 1", "    and true"),
        (NEVER, "where b = 1", "where false"),
        (ALWAYS, "    constraint c check (a >= 0 and f(b)),", "    constraint c check (true),"),
        (instead("limit 9"), "  limit 1", "  limit 9"),
    ],
)
def test_a_marked_line_of_sql_is_taken_out(how: How, line: str, expected: str | None) -> None:
    source = f"select a\n-- guard: it\n{line}\norder by a\n"

    without = mutate(source, Mark("it", "a.sql", 3), how).splitlines()

    assert without == ["select a", "-- guard: it", *([] if expected is None else [expected]), "order by a"]


@pytest.mark.parametrize(
    ("how", "expected"),
    [(DROP, {"A": 1}), (value("5"), {"A": 1, "B": 5})],
)
def test_a_marked_part_of_a_template_is_taken_out_with_all_below_it(how: How, expected: object) -> None:
    source = "A: 1\n# guard: it\nB:\n  - C: 2\n    D: 3\n" if how == DROP else "A: 1\n# guard: it\nB: 2\n"

    assert yaml.safe_load(mutate(source, Mark("it", "a.yaml", 3), how)) == expected


@pytest.mark.parametrize(
    ("how", "source"),
    [(NEVER, "x = 1"), (FIRST, "x = 1"), (ALWAYS, "if True:\n    pass"), (value("1"), "x = 1")],
)
def test_a_mutation_that_changes_nothing_is_refused(how: How, source: str) -> None:
    with pytest.raises(ValueError, match="'it'"):
        mutate(source, Mark("it", "a.py", 1), how)


def test_a_mark_means_the_next_line_that_is_no_comment(tmp_path: Path) -> None:
    (tmp_path / "domain").mkdir()
    (tmp_path / "domain" / "a.py").write_text(
        "# guard: one\n# guard: two\n# why\n\nx = 1\n", encoding="utf-8"
    )
    for name in ("api", "sql", "events", "handlers", "operations"):
        (tmp_path / name).mkdir()
    (tmp_path / "template.yaml").write_text("", encoding="utf-8")

    assert [*find_marks(tmp_path)] == [Mark("one", "domain/a.py", 5), Mark("two", "domain/a.py", 5)]


# --- A whole run ------------------------------------------------------------------------------------------


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have `main` take nothing out; give the guards that it would have, as it comes to them."""
    names: list[str] = []

    def find(_runs: object, name: str, _tree: object, _before: object) -> Finding:
        names.append(name)
        return Finding(1, "found", 0)

    monkeypatch.setattr(mutations, "_try", find)
    monkeypatch.setattr(mutations.Runs, "run", lambda *_: Finding(0, "passed", 0))
    monkeypatch.setattr(mutations, "copied", nullcontext)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    return names


def test_a_run_that_is_interrupted_says_where_to_go_on(
    tried: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second, *_ = GUARDS
    page = tmp_path / "page.md"
    page.write_text("<!-- mutations -->\n<!-- /mutations -->\n")
    take, written, write = mutations._try, threading.Event(), mutations.update

    def update(*of: object) -> None:
        write(*of)  # type: ignore[arg-type]
        written.set()

    def stop_at_the_second(runs: object, name: str, *of: object) -> Finding:
        if name == second:
            written.wait(60)
            raise KeyboardInterrupt
        return take(runs, name, *of)  # type: ignore[arg-type]

    monkeypatch.setattr(mutations, "update", update)
    monkeypatch.setattr(mutations, "_try", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        mutations.main(["--jobs", "1", "--markdown", str(page)])

    assert f"| {first} | " in page.read_text()
    assert f"| {second} | " not in page.read_text()
    assert f'To go on: --from "{second}"' in capsys.readouterr().out
    assert tried[0] == first


def test_a_run_that_goes_on_begins_there_and_says_nothing_of_it_at_its_end(
    tried: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    *_, last_but_one, last = GUARDS

    assert mutations.main(["--jobs", "1", "--from", last_but_one]) == 0
    assert tried == [last_but_one, last]
    assert "To go on" not in capsys.readouterr().out
    with pytest.raises(SystemExit):
        mutations.main(["--from", "no such guard"])
    assert "no guard is named 'no such guard'" in capsys.readouterr().err
