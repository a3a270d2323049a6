"""The recipes of docs/extend.md, followed on a copy of the project; and each step left out, one at a time."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tools.template import ROOT

PAGE = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")

#: A recipe, and the module of the function that it adds.
RECIPES = {"A consumer": "count_refund", "A scheduled job": "measure_regions"}

#: How many places a change by hand may have; an event and its consumer share a row of docs/events.md.
MOST_PLACES = {"A consumer": 6, "A scheduled job": 5, "An event": 3, "A route": 4, "A column": 8}

#: The tests that look at what the recipes add.
HELD_BY = ("wiring", "template_rights", "template_alarms", "template_change")


class Step(NamedTuple):
    """One place that a recipe changes, and how: the words before the colon, and the block after it."""

    file: str
    how: str
    block: str


def steps(recipe: str) -> list[Step]:
    """Read a recipe's numbered steps."""
    section = PAGE.split(f"\n## {recipe}\n", 1)[1].split("\n## ", 1)[0]
    found = re.findall(
        r"^\*\*(\d)\. `([^`]+)`\*\*, ((?:.+\n)+)(?:\n```\w+\n((?:.*\n)*?)```\n)?", section, re.MULTILINE
    )
    assert [int(number) for number, *_ in found] == list(range(1, len(found) + 1))
    return [Step(file, how.replace("\n", " "), block) for _, file, how, block in found]


def follow(step: Step, project: Path) -> None:
    """Do what a step says."""
    path = project / step.file
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    in_quotes = re.findall(r"`([^`]+)`", step.how.partition(": ")[0])
    renamed = re.findall(r"`([^`]+)` for `([^`]+)`", step.how)
    if step.how.startswith("a new file"):
        assert not path.exists()
        text = step.block
    elif step.how.startswith("at the end"):
        text += step.block
    elif step.how.startswith("after"):
        before, line, after = text.partition(f"{in_quotes[0]}\n")
        assert line
        text = f"{before}{line}{step.block}{after}"
    elif step.how.startswith("copied"):
        start, end = (text.index(f"\n{line}\n") + 1 for line in re.findall(r"`(  \w+:)`", step.how))
        stanzas = text[start:end]
        for new, old in renamed:
            stanzas = stanzas.replace(old, new)
        text = f"{text[:end]}{stanzas}{text[end:]}"
    else:
        ((new, old),) = renamed
        assert text.count(old) == 1
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Give a copy of what the checks read."""
    copied = tmp_path / "project"
    # With the bytecode, which fits as long as a file is not changed; what is being written is another name's.
    half = shutil.ignore_patterns("*.pyc.*")
    for folder in ("domain", "sql", "events", "handlers", "api", "tools", "bench", "tests", "docs"):
        shutil.copytree(ROOT / folder, copied / folder, ignore=half)
    for file in ("template.yaml", "cluster.yaml", "pipeline.yaml", "samconfig.toml", "pyproject.toml"):
        shutil.copy(ROOT / file, copied / file)
    for folder in (".local", "local", "local_dsql", "demos", "operations"):
        (copied / folder).symlink_to(ROOT / folder)
    return copied


def run(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the copy."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, *command],
        cwd=project,
        env={**environment, "PYTHONPATH": str(project), "AWS_REGION": "us-east-1"},
        capture_output=True,
        text=True,
        check=False,
    )


def complaints(project: Path, module: str) -> str:
    """Give what is wrong with the copy by the two shortest checks: its wiring, and the function's start."""
    code = (
        "import os, sys\n"
        "from bench.coldstart import ENVIRONMENT\n"
        "from tools.wiring import main\n"
        "os.environ.update(ENVIRONMENT)\n"
        f"import handlers.{module}\n"
        "sys.exit(main())\n"
    )
    done = run(project, "-c", code)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def followed(project: Path, recipe: Sequence[Step]) -> None:
    for step in recipe:
        follow(step, project)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_that_is_followed_leaves_nothing_missing(recipe: str, project: Path) -> None:
    followed(project, steps(recipe))
    assert complaints(project, RECIPES[recipe]) == ""
    pytest_quietly = ("-m", "pytest", "-q", "-n0", "-x", "-p", "no:cacheprovider")
    done = run(project, *pytest_quietly, *(f"tests/unit/test_{name}.py" for name in HELD_BY))
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize(
    ("recipe", "number"), [(recipe, number) for recipe in RECIPES for number in range(len(steps(recipe)))]
)
def test_a_step_that_is_left_out_is_missed(recipe: str, number: int, project: Path) -> None:
    of_recipe = steps(recipe)
    followed(project, [*of_recipe[:number], *of_recipe[number + 1 :]])
    assert complaints(project, RECIPES[recipe])


@pytest.mark.parametrize("recipe", MOST_PLACES)
def test_a_change_by_hand_has_few_places(recipe: str) -> None:
    section = PAGE.split(f"\n## {recipe}\n", 1)[1].split("\n## ", 1)[0]
    numbered = re.findall(r"^(?:\*\*)?\d\. (.*)", section, re.MULTILINE)
    by_hand = [step for step in numbered if not step.startswith("`.local/dev/bin/python -m ")]
    assert 3 <= len(by_hand) <= MOST_PLACES[recipe]


def test_the_example_of_the_page_on_consumers_is_the_code() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "consumers.md").read_text(), re.DOTALL)
    assert example == (ROOT / "handlers" / "clean_cart.py").read_text()
