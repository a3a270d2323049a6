"""What people expect of a repository is there, and says one version."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def test_one_version_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    newest = re.search(r"^## (\S+?),? ", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert newest is not None
    assert newest[1] == version
    assert json.loads((ROOT / "api" / "openapi.json").read_text())["info"]["version"] == version


def test_the_workflow_runs_what_the_readme_calls_the_test_command() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    commands = [step["run"] for step in workflow["jobs"]["test"]["steps"] if "run" in step]

    assert commands == ["sh .ci/run"]
    assert "exec make test" in (ROOT / ".ci" / "run").read_text()
    assert "make test" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("path", sorted(ROOT.glob(".github/**/*.yml")), ids=str)
def test_each_setting_of_the_repository_is_yaml(path: Path) -> None:
    assert yaml.safe_load(path.read_text())
