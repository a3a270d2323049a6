"""Wrong values on a command line end in a sentence that names them, before anything is started."""

import json
import os
import re
import subprocess
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local_dsql import arguments
from operations import command
from tests.started import run_commands
from tools.pages import PARSERS
from tools.pages import commands as with_options

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (arguments.port, "65535", 65535),
        (arguments.whole_number(1, 10), "10", 10),
        (arguments.region_name, "us-gov-west-1", "us-gov-west-1"),
        (arguments.seconds, "0.5", 0.5),
    ],
)
def test_a_right_value_is_taken(kind: Callable[[str], Any], text: str, value: object) -> None:
    assert kind(text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (arguments.port, "99999"),
        (arguments.port, "-1"),
        (arguments.port, "http"),
        (arguments.whole_number(1), "0"),
        (arguments.whole_number(1), "1.5"),
        (arguments.whole_number(1, 10), "11"),
        (arguments.region_name, "mars"),
        (arguments.region_name, "us-east-1 "),
        (arguments.seconds, "0"),
        (arguments.seconds, "nan"),
        (arguments.seconds, "inf"),
        (arguments.seconds, "soon"),
        (arguments.output_file, "/nowhere/at/all.json"),
        (arguments.output_file, "/"),
    ],
)
def test_a_wrong_value_is_named(kind: Callable[[str], Any], text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=repr(text)):
        kind(text)


#: Each command of a person's with a value that it must refuse.
WRONG = [
    ("local", "--customers", "0"),
    ("local", "--users", "-1"),
    ("local", "--port", "99999"),
    ("local", "--database-port", "x"),
    ("local", "--region", "mars"),
    ("local.sample_data", "csv", "--directory", "x", "--items", "0"),
    ("demos.demo", "--orders", "-5"),
    ("demos.demo", "--in-flight", "0"),
    ("demos.regions", "--shoppers", "0"),
    ("demos.regions", "--load-s", "nan"),
    ("tests.chaos", "--seeds", "0"),
    ("tests.chaos", "--jobs", "0"),
    ("tests.chaos", "--json", "/nowhere/at/all.json"),
    ("bench", "--json", "/nowhere/at/all.json"),
    ("tools.proxy", "--target", "99999"),
    ("tests.local_dsql.model", "--seeds", "0"),
    ("local_dsql", "--port", "99999"),
    ("local_dsql", "--region", "mars"),
    ("local_dsql", "--index-build-s", "nan"),
    ("local", "--customers", "4"),
    ("local.sample_data", "csv", "--directory", "README.md"),
    ("local.sample_data", "load", "--dsn", "mars"),
    ("operations", "seed", "--customers", "999999999"),
    ("operations", "seed", "--catalogue", "/nowhere"),
    ("operations", "region", "single", "--region", "mars"),
    ("operations", "replay", "notify", "--since", "999999999d"),
    ("operations", "outbox", "dead", "--older-than", "999999999d"),
]


@pytest.fixture(scope="module")
def answers() -> dict[tuple[str, ...], subprocess.CompletedProcess[str]]:
    """Give what became of each of them."""
    return run_commands(WRONG, {"PATH": os.defpath, "HOME": os.devnull})


@pytest.mark.parametrize("command", WRONG, ids=" ".join)
def test_a_command_refuses_a_wrong_value_with_its_usage_and_starts_nothing(
    command: tuple[str, ...], answers: dict[tuple[str, ...], subprocess.CompletedProcess[str]]
) -> None:
    done = answers[command]

    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("usage: ")
    assert repr(command[-1]) in done.stderr
    assert not done.stdout


_FIND_OPTIONS = (
    PARSERS
    + """
def became(parser, action, text):
    try:
        return ["taken", str(parser._get_value(action, text))]
    except argparse.ArgumentError as error:
        return ["refused", str(error)]
    except Exception as error:
        return ["failed", repr(error)]

given = json.load(sys.stdin)
found = []
for module, command in parsers(given["modules"]):
    for parser, words, action in actions(command):
        if action.nargs == 0:
            continue
        name = action.option_strings[-1] if action.option_strings else action.dest
        is_free = action.type is None and action.choices is None
        tried = {text: became(parser, action, text) for text in given["texts"]} if action.type else {}
        found.append([" ".join([module, *words, name]), is_free, tried])
print(json.dumps(found))
"""
)

#: What people type for a number, a time, a path, a name of a Region, and is none of them.
NONSENSE = (
    *(
        "",
        " ",
        "-",
        "--",
        "-1",
        "-0.5",
        "nonsense",
        "nan",
        "-nan",
        "inf",
        "-inf",
        "1e999",
        "1e30",
        "0x10",
        "1_0",
    ),
    *(
        "9" * 18,
        "9" * 30,
        "9" * 5000,
        "9" * 18 + "d",
        "9" * 30 + "s",
        "\u0663d",
        "\u0663",
        "1.5.1",
        "true",
        "None",
    ),
    *("0001-01-01", "9999-12-31T23:59:59-23:00", "0001-01-01T00:00:00+23:00", "10000-01-01", "9999-12-31"),
    *(
        "/nowhere/at/all",
        "README.md/x",
        "/dev/null/x",
        "mars",
        "us-east-1 ",
        "a@b",
        "arn:aws:kms",
        "{}",
        "'",
        "\n",
    ),
)

#: Words of a person's own, each with who says what is wrong with them: a table of names, or what was asked.
FREE = {
    "demos.exercises names": "demos/exercises.py has the names",
    "local.invoke function": "local/invoke.py has the Region's names",
    "local.invoke --event": "local/invoke.py reads it, or standard input",
    "local.invoke --sam": "`sam local invoke` reads it",
    "local.sample_data pictures --bucket": "S3",
    "local.sign_in username": "the user pool",
    "tests.chaos.mutations --only": "tests/chaos/mutations.py has the names",
    "tests.chaos.mutations --from": "tests/chaos/mutations.py has the names",
    "tools.vendor packages": "tools/vendor.py has the names",
    "operations --stack": "CloudFormation",
    "operations --profile": "the SDK",
    "operations --role": "the database",
    "operations --type": "nothing is found",
    "operations --error": "nothing is found",
    "operations --cluster-stack": "CloudFormation",
    "operations queue": "operations/site.py has the names",
    "operations consumer": "operations/site.py has the names",
    "operations name": "operations/invite.py",
    "operations email": "operations/invite.py",
    "operations customer": "the database",
}


def options_with_values() -> list[tuple[str, bool, dict[str, tuple[str, str]]]]:
    """Give every option and argument with a value of every command, and what becomes of nonsense for it."""
    done = subprocess.run(
        [sys.executable, "-c", _FIND_OPTIONS],
        cwd=ROOT,
        env={"PATH": os.defpath, "HOME": os.devnull},
        input=json.dumps({"modules": with_options(), "texts": NONSENSE}),
        capture_output=True,
        text=True,
        check=True,
    )
    return [
        (name, is_free, {text: (became, said) for text, (became, said) in tried.items()})
        for name, is_free, tried in json.loads(done.stdout)
    ]


def test_no_command_takes_nonsense_for_any_option_or_fails_over_it() -> None:
    found = options_with_values()

    assert len(found) > 60, "the options of all commands"
    free = {
        re.sub(r"^operations .*?(--)?([\w-]+)$", r"operations \1\2", name)
        for name, is_free, _ in found
        if is_free
    }
    assert free == set(FREE), "give an option a type, or say here who tells what is wrong with it"
    for name, _, tried in found:
        for text, (became, said) in tried.items():
            assert became != "failed", f"{name} {text[:40]!r}: {said}"
        # Hidden, and read by what says what is wrong with it.
        if name in ("local.invoke --region-file", "tools.dsql_check files"):
            continue
        taken = {text for text, (became, _) in tried.items() if became == "taken"}
        if {"mars", "{}"} <= taken:  # a path may be called as it likes, nearly
            taken -= {"nan", "inf", "-inf", "-1", "9" * 18, "9" * 30, "1_0", "\u0663"}
        refused = {
            "",
            " ",
            "nan",
            "inf",
            "-inf",
            "-1",
            "9" * 18,
            "9" * 30,
            "9" * 5000,
            "README.md/x",
            "1_0",
            "\u0663",
        }
        assert not taken & refused, f"{name} takes {taken & refused}"


#: What is started by other programs alone, or has to be what it starts: psql reads what psql prints.
NO_COMMANDS = {
    "local.emulator_process",
    "local.function_starter",
    "local.sam_process",
    "local_dsql.guard",
    "local_dsql.process",
    "tests.chaos.on_local_dsql",
    "tests.former_release.story",
    "tests.former_release.__main__",
    "tools.bundle",
}


def commands() -> list[str]:
    """Give each module that is a command, by the name that Python is given."""
    found = []
    for path in sorted(ROOT.glob("[a-z]*/**/*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if (
            re.search(r'^if __name__ == "__main__":', path.read_text("utf-8"), re.M)
            and name not in NO_COMMANDS
        ):
            found.append(name.removesuffix(".__main__"))
    return found


@pytest.mark.parametrize("command", commands())
def test_every_command_begins_and_ends_alike(command: str) -> None:
    path = ROOT / command.replace(".", "/")
    source = (path / "__main__.py" if path.is_dir() else path.with_suffix(".py")).read_text("utf-8")

    assert re.search(r"    run_command\(main(, keeps=.+)?\)\n\Z", source), (
        "end it so: local_dsql/console.py has what makes a closed pipe and an odd terminal harmless"
    )


#: Commands that say something at once, with and without what ASCII has.
_SAYS = (
    ("operations", "--help"),
    ("local_dsql", "--help"),
    ("bench.checkout", "--help"),
    ("demos.exercises", "--list"),
    ("local.sample_data", "csv", "--customers", "10", "--directory", "$FOLDER"),
    ("tools.dsql_check",),
    ("local", "--help"),
)


@pytest.mark.parametrize("command", _SAYS, ids=" ".join)
def test_nobody_who_reads_and_a_terminal_of_ascii_are_no_traceback(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    line = " ".join((sys.executable, "-m", *command))
    environment = {"PATH": os.defpath, "PYTHONIOENCODING": "ascii", "LANG": "C", "FOLDER": str(tmp_path)}
    for reader in ("head -c 1", "cat"):
        done = subprocess.run(
            ["sh", "-c", f"{line} 2>&1 | {reader}"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stdout + done.stderr
        assert "Exception ignored" not in done.stdout + done.stderr
        assert done.stderr == ""


def test_an_argument_that_is_not_text_is_refused_by_every_command() -> None:
    done = subprocess.run(
        [sys.executable.encode(), b"-m", b"operations", b"customer", b"caf\xe9"],
        cwd=ROOT,
        env={"PATH": os.defpath, "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, "Argument 2 is not text in utf-8.\n")


def test_an_endpoint_that_is_none_is_said() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "operations", "outbox", "status"],
        cwd=ROOT,
        env={"PATH": os.defpath, "HOME": os.devnull, "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": "mars"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "Set AWS_ENDPOINT_URL to a URL" in done.stderr


def test_a_benchmark_that_is_none_is_told_those_that_are() -> None:
    done = subprocess.run(
        ["make", "bench", "BENCH=nonsense"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "There is no benchmark 'nonsense': choose from checkout," in done.stderr


_PRINTS = """
from local_dsql.console import run_command

def main():
    {body}

run_command(main)
"""


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("print('\u2713 ' * 10)", 0),
        ("print('x' * 1_000_000)", 141),
        ("raise KeyboardInterrupt", 130),
        ("raise SystemExit('not so')", 1),
        ("return 3", 3),
    ],
)
def test_a_command_ends_with_what_it_came_to(body: str, status: int) -> None:
    script = f"'{sys.executable}' -c \"$SCRIPT\"; echo $? >&2"
    done = subprocess.run(
        ["sh", "-c", f"{{ {script}; }} | head -c 1"],
        cwd=ROOT,
        env={"PATH": os.defpath, "PYTHONIOENCODING": "ascii", "SCRIPT": _PRINTS.format(body=body)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.split()[-1] == str(status)
    assert "Traceback" not in done.stderr


def test_an_operators_command_takes_the_operators_role_and_only_what_loads_the_shop_its_owners() -> None:
    commands = {
        ("outbox", "status"): "operations",
        ("order", "d0c16a9d-a9c1-4292-8447-238416691167"): "operations",
        ("staff", "list"): "operations",
        ("invite", "ana", "ana@example.com"): "operations",
        ("seed",): "admin",
    }
    assert {words: command.parser().parse_args(words).role for words in commands} == commands
