"""Wrong values on a command line end in a sentence that names them, before anything is started."""

import os
import re
import subprocess
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools import arguments

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
]


@pytest.mark.parametrize("command", WRONG, ids=" ".join)
def test_a_command_refuses_a_wrong_value_with_its_usage_and_starts_nothing(command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={"PATH": os.defpath, "HOME": os.devnull},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("usage: ")
    assert repr(command[-1]) in done.stderr
    assert not done.stdout


#: What is started by other programs alone, or has to be what it starts: psql reads what psql prints.
NO_COMMANDS = {
    "local.emulator_process",
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

    assert source.endswith("    run_command(main)\n"), (
        "end it so: local_dsql/console.py has what makes a closed pipe and an odd terminal harmless"
    )


#: Commands that say something at once, with and without what ASCII has.
_SAYS = (
    ("operations", "--help"),
    ("local_dsql", "--help"),
    ("bench.checkout", "--help"),
    ("demos.exercises", "--list"),
    ("local.sample_data", "csv", "--directory", "/nowhere"),
    ("tools.dsql_check",),
    ("local", "--help"),
)


@pytest.mark.parametrize("command", _SAYS, ids=" ".join)
def test_nobody_who_reads_and_a_terminal_of_ascii_are_no_traceback(command: tuple[str, ...]) -> None:
    line = " ".join((sys.executable, "-m", *command))
    environment = {"PATH": os.defpath, "PYTHONIOENCODING": "ascii", "LANG": "C"}
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
