"""The words of docs/glossary.md: none that only this project's authors know, and one name for one thing."""

import ast
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _word(*words: str) -> str:
    """Give the expression of whole words, in a sentence or between the underscores of a name."""
    return f"(?<![a-z])({'|'.join(words)})(?![a-z])"


#: Words of the project's beginnings, by what is said instead.
PRIVATE = {
    "outbox message": r"(?<!dead)(?<!dead[ _-])letters?(?!-spacing)",
    "dead-letter": "buri(ed|es)|hopeless|" + _word("bury(ing)?", "giants?", "set(s|ting)? aside"),
    "slice": _word(r"(an?|one|each|every|the|its|next|this|whole|another)[ _]turns?", "turn by turn")
    + r"|(?<![a-z])turn_|_turns?(?![a-z])",
    "resumed, partial": "continued",
    "scan": _word("walk(s|ed|ing)?"),
    "batch of a scan": _word("windows?"),
    "relay worker": r"relays?[ _]lines?|lines? of relays|(?<![a-z_])line=\d|[`'{]\"line\":",
    "request, command, input": _word("wish(es|ed)?") + "|wish(?=[,:(]|line)",
    "folder, package": _word("(the|an?|this|each|every|its|own|which|what) room", "rooms"),
    "entry point, function": _word("doors?"),
    "project": _word("house"),
    "fix": _word("mend(s|ed|ing)?"),
    "duplicate request": _word("twins?"),
    "operations": _word("operate[sd]?", "operations_log", "rewards-operator"),
}

#: Where such a word is the ordinary one: in phrases, and in files by the beginning of their paths.
ORDINARY: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "outbox message": (
        (
            *("capital letters", "letters[ _]of[ _]every[ _]script", "Letters beyond ASCII", "Arabic letter"),
            *("letter[_ ]by[_ ]letter", r"\d+ letters", "small letters?", "one[-_]letter", "ascii_letters"),
            *("with a letter", "capital letter", r"re\.search\(letters", "for rule, letters"),
        ),
        (
            *(
                "domain/search.py",
                "domain/usernames.py",
                "tests/unit/test_usernames.py",
                "domain/names.py",
                "tests/unit/test_mail_rules.py",
                "local/sample_data/",
                "local_dsql/",
                "web/",
            ),
            *("tests/integration/test_schema.py", "tests/unit/test_search.py"),
        ),
    ),
    "slice": (
        (r"in[ _]turns?(?![a-z])", r"tak(e|es|ing)[ _]turns"),
        ("local/sample_data/", "tests/chaos/scheduler.py", "tools/proxy.py"),
    ),
    # Syntax trees are walked, and one of the customers is a Walker.
    "scan": (
        (r"\bast\.walk", "walk_packages", "walk away"),
        ("local_dsql/", "local/sample_data/", "tools/dsql_"),
    ),
    "batch of a scan": ((), ("cluster.yaml", "local/sample_data/", "tests/dsql_answers.json")),
    "request, command, input": (("if they wish",), ()),
    "folder, package": ((), ("local/sample_data/",)),
    "entry point, function": ((), ("local/sample_data/",)),
}

#: Files that are not this project's words: other programs' locks and the former release, this test.
NOT_OURS = ("requirements/", "tests/former_release/senders.txt", "tests/unit/test_words.py")

#: Folders that are one program: a name in one of them may be met in all.
ONE_PROGRAM = ("domain", "sql", "events", "handlers", "operations")


@cache
def texts() -> dict[str, str]:
    """Give the text of each file under version control, by its path; pictures and archives have none."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout
    found = {}
    for name in listed.split("\0"):
        path = ROOT / name
        if name and not name.startswith(NOT_OURS) and path.is_file():
            try:
                found[name] = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue
    assert len(found) > 300, "git lists the project's files"
    return found


def private_words(say: str, name: str, text: str) -> Iterator[str]:
    """Give the lines of a file that have a private word for what one should `say`."""
    phrases, places = ORDINARY.get(say, ((), ()))
    if name.startswith(places) or not re.search(PRIVATE[say], f"{name}\n{text}", re.IGNORECASE):
        return
    for number, line in enumerate((name, *text.splitlines())):
        rest = re.sub("|".join(phrases), "", line, flags=re.IGNORECASE) if phrases else line
        if found := re.search(PRIVATE[say], rest, re.IGNORECASE):
            yield f"{name}:{number}: say {say}, not {found[0]!r}: {line.strip()[:100]}"


def test_no_file_holds_both_sides_of_a_merge() -> None:
    sides = re.compile(r"^(?:<{7}|={7}|>{7})(?: |$)", re.MULTILINE)
    assert [name for name, text in texts().items() if sides.search(text)] == []


@pytest.mark.parametrize("say", PRIVATE)
def test_no_file_says_a_private_word(say: str) -> None:
    assert [each for name, text in texts().items() for each in private_words(say, name, text)] == []


@pytest.mark.parametrize(
    ("say", "line"),
    [
        ("outbox message", "from sql.outbox import letter"),
        ("outbox message", "-- Letters that wait for the bus."),
        ("outbox message", "def test_a_letter_is_published_once() -> None:"),
        ("dead-letter", "What is hopeless is set aside."),
        ("dead-letter", "-- name: bury_outbox_rows"),
        ("dead-letter", "MetricName: EventsBuried"),
        ("slice", "Takes a turn of a cascade."),
        ("slice", "next_turn(event)"),
        ("resumed, partial", "detail-type: [CustomerErasureContinued.v1]"),
        ("scan", "sql.walk.walk(database)"),
        ("batch of a scan", "WINDOW_ROWS = 200"),
        ("relay worker", "Input: '{\"line\": 1}'"),
        ("relay worker", "a second line of relays"),
        ("request, command, input", "class OrderWish(Body):"),
        ("request, command, input", "if wished_units(wish):"),
        ("folder, package", "a room of its own"),
        ("entry point, function", "the doors: one module a Lambda function"),
        ("project", "House rule: give it a key"),
        ("fix", "deploy the mend"),
        ("fix", "what_no_repetition_mends_is_counted"),
        ("duplicate request", "a twin's record"),
        ("operations", "from sql.transactions import operate"),
    ],
)
def test_a_private_word_is_found(say: str, line: str) -> None:
    assert [*private_words(say, "sql/x.py", line)] != []


@pytest.mark.parametrize(
    ("say", "line"),
    [
        ("outbox message", "OutboxDeadLetters: dead letters, a dead-letter queue, requeue_dead_letters"),
        ("outbox message", "8 to 64 letters, digits"),
        ("slice", "returns_before, the return, functions in turn"),
        ("scan", "for node in ast.walk(tree)"),
        ("project", "the household boost"),
        ("fix", "recommended, amend"),
    ],
)
def test_an_ordinary_word_is_not(say: str, line: str) -> None:
    assert [*private_words(say, "sql/x.py", line)] == []


def test_no_exception_is_left_over() -> None:
    unused, everything = [], "\n".join(texts().values())
    for say, (phrases, places) in ORDINARY.items():
        said = [name for name, text in texts().items() if re.search(PRIVATE[say], text, re.IGNORECASE)]
        unused += [(say, place) for place in places if not any(name.startswith(place) for name in said)]
        unused += [(say, each) for each in phrases if not re.search(each, everything, re.IGNORECASE)]
    assert unused == []


def names_of(source: str) -> Iterator[str]:
    """Give what a module calls by a name of its own with a capital: classes and types."""
    for node in ast.parse(source).body:
        match node:
            case ast.ClassDef(name=name) | ast.Assign(targets=[ast.Name(id=name)]):
                if re.fullmatch(r"[A-Z]\w*[a-z]\w*", name):
                    yield name


def meanings(sources: dict[str, str]) -> dict[str, list[str]]:
    """Give each name that is given in more than one module, with the modules."""
    found = defaultdict(list)
    for name, source in sources.items():
        for given in names_of(source):
            found[given].append(name)
    return {given: modules for given, modules in found.items() if len(modules) > 1}


def test_a_name_means_one_thing() -> None:
    modules = {
        name: text
        for name, text in texts().items()
        if name.endswith(".py") and name.split("/")[0] in ONE_PROGRAM
    }
    assert len(modules) > 80
    assert meanings(modules) == {}


def test_a_second_meaning_is_found() -> None:
    sources = {
        "domain/a.py": "class Refusal: ...",
        "sql/b.py": "Refusal = str",
        "sql/c.py": "class Other: ...",
    }
    assert meanings(sources) == {"Refusal": ["domain/a.py", "sql/b.py"]}
