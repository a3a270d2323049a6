"""Wrong values on a command line end in a sentence that names them, before anything is started."""

import os
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


def test_a_reader_that_has_enough_and_a_terminal_without_letters_end_no_command_with_a_traceback() -> None:
    command = f"{sys.executable} -m operations --help"
    environment = {"PATH": os.defpath, "PYTHONIOENCODING": "ascii"}
    for line in (f"{command} | true", f"{command} | head -c 1 >/dev/null"):
        done = subprocess.run(
            ["sh", "-c", line], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert done.stderr == ""
