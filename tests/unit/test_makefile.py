"""The Makefile says what it needs before it makes anything, and takes away all that is made."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Give a copy of what make reads, in which nothing was made yet."""
    copied = tmp_path / "a clone"
    copied.mkdir()
    shutil.copy(ROOT / "Makefile", copied)
    shutil.copytree(ROOT / "requirements", copied / "requirements")
    return copied


def make(clone: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run make with nothing in its environment."""
    return subprocess.run(
        ["make", *words],
        cwd=clone,
        env={"HOME": str(clone), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def program(clone: Path, name: str, text: str) -> Path:
    """Write a program."""
    path = clone / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "exit 1",  # too old: it says so of itself
        "echo 'Python 2.7.18' >&2; exit 2",
        "exec /no/such/program",
    ],
)
def test_a_python_that_is_too_old_or_broken_is_named_and_nothing_is_made_by_it(
    clone: Path, text: str
) -> None:
    python = program(clone, "python-of-old", text)

    refused = make(clone, "tools", f"PYTHON={python}")

    assert refused.returncode != 0
    assert f"Python 3.11 or newer is needed and {python} is not" in refused.stderr
    assert not (clone / ".local").exists(), "the next try with a good one would find it"


def test_a_python_that_is_not_there_is_named(clone: Path) -> None:
    refused = make(clone, "demo", "PYTHON=/no/such/python3")

    assert refused.returncode != 0
    assert "/no/such/python3 is not" in refused.stderr
    assert not (clone / ".local").exists()


def test_what_changes_how_python_runs_reaches_no_target_and_not_the_operators_command(clone: Path) -> None:
    changes = ("PYTHONHOME", "PYTHONWARNINGS", "PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONOPTIMIZE")
    users = dict.fromkeys((*changes, "PYTHONDONTWRITEBYTECODE"), "1")
    (clone / "more.mk").write_text("include Makefile\n.PHONY: say\nsay:\n\t@env\n")
    shutil.copy(ROOT / "rewards", clone)
    (clone / ".local" / "dev" / "bin").mkdir(parents=True)
    program(clone, ".local/dev/bin/python", "env")
    environment = {"PATH": "/usr/bin:/bin", **users}

    for command in (["make", "-f", "more.mk", "say"], ["./rewards"]):
        done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=True)
        assert {line.partition("=")[0] for line in done.stdout.splitlines()} & {*users} == set()
        assert "PATH=" in done.stdout


def test_make_clean_takes_all_that_git_does_not_keep(clone: Path) -> None:
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().split() if line.endswith("/")]
    for name in ignored:
        (clone / name / "below").mkdir(parents=True)
    (clone / "domain" / "__pycache__").mkdir(parents=True)

    done = make(clone, "clean")

    assert done.returncode == 0, done.stderr
    assert len(ignored) > 5
    assert [name for name in ignored if (clone / name).exists()] == []
    assert not (clone / "domain" / "__pycache__").exists()


def test_every_target_says_what_it_does() -> None:
    text = (ROOT / "Makefile").read_text()
    phony = {name for line in re.findall(r"^\.PHONY: (.*)$", text, re.M) for name in line.split()}
    explained = set(re.findall(r"^([a-z-]+):.*## ", text, re.M))

    assert {name for name in phony if "$" not in name} == explained
