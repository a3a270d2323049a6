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


@pytest.mark.parametrize(
    "path",
    [
        *(
            "LICENSE",
            "CONTRIBUTING.md",
            "SECURITY.md",
            "CHANGELOG.md",
            ".editorconfig",
            ".pre-commit-config.yaml",
        ),
        *(".devcontainer/devcontainer.json", ".github/dependabot.yml", ".github/PULL_REQUEST_TEMPLATE.md"),
        *(".github/ISSUE_TEMPLATE/bug.yml", ".github/ISSUE_TEMPLATE/idea.yml"),
    ],
)
def test_what_people_look_for_is_there(path: str) -> None:
    assert (ROOT / path).stat().st_size > 100


def test_the_readme_leads_to_what_concerns_who_takes_part() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")

    for page in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "LICENSE"):
        assert f"]({page})" in readme


def test_the_hooks_before_a_commit_run_what_make_check_runs() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    makefile = (ROOT / "Makefile").read_text()

    for hook in hooks:
        for module in re.findall(r"python -m ([\w.]+)", hook["entry"]):
            assert f"$(PY) -m {module}" in makefile


def test_a_container_to_develop_in_sets_itself_up() -> None:
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    (target,) = re.findall(r"make ([a-z]+)", container["onCreateCommand"])

    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M)
