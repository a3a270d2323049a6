"""What people expect of a repository is there, and says one version."""

import json
import re
import subprocess
import sys
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


# --- What GitHub reads ------------------------------------------------------------------------------------

WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))

#: The schemas that check-jsonschema carries, by the files that they are of.
SCHEMAS = {
    "github-workflows": WORKFLOWS,
    "dependabot": [ROOT / ".github" / "dependabot.yml"],
    "github-issue-forms": [ROOT / ".github" / "ISSUE_TEMPLATE" / name for name in ("bug.yml", "idea.yml")],
    "github-issue-config": [ROOT / ".github" / "ISSUE_TEMPLATE" / "config.yml"],
}


def fits_schema(schema: str, *paths: Path) -> bool:
    """Tell whether files are what GitHub's schema of them says."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
    return subprocess.run([*command, *map(str, paths)], capture_output=True, check=False).returncode == 0


def audit(*paths: Path) -> subprocess.CompletedProcess[str]:
    """Have zizmor look for what makes workflows dangerous; it asks nobody."""
    command = [
        str(Path(sys.executable).with_name("zizmor")),
        "--offline",
        "--no-progress",
        "--format",
        "plain",
    ]
    return subprocess.run([*command, *map(str, paths)], capture_output=True, text=True, check=False)


def test_each_setting_of_the_repository_is_what_github_reads() -> None:
    listed = [path for paths in SCHEMAS.values() for path in paths]
    assert sorted(listed) == sorted(ROOT.glob(".github/**/*.yml"))
    assert [schema for schema, paths in SCHEMAS.items() if not fits_schema(schema, *paths)] == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("runs-on: ubuntu-24.04", "runs_on: ubuntu-24.04"),
        ("timeout-minutes: 20", "timeout_minutes: 20"),
        ("needs: build", "needs: {a: b}"),
        ("id-token: write", "id-token: writes"),
        ("cancel-in-progress: false", "cancel-in-progress: maybe"),
    ],
)
def test_a_workflow_that_github_would_not_read_is_found(old: str, new: str, tmp_path: Path) -> None:
    text = (ROOT / ".github" / "workflows" / "deploy.yml").read_text()
    assert old in text
    (tmp_path / "deploy.yml").write_text(text.replace(old, new))
    assert not fits_schema("github-workflows", tmp_path / "deploy.yml")


def test_no_workflow_has_what_makes_it_dangerous() -> None:
    done = audit(ROOT / ".github")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683", "somebody/checkout@main"),
        ("run: make build sbom", "run: make build ${{ github.event.head_commit.message }}"),
        ("permissions:\n  contents: read", "permissions: write-all"),
    ],
)
def test_a_workflow_that_is_dangerous_is_found(old: str, new: str, tmp_path: Path) -> None:
    text = (ROOT / ".github" / "workflows" / "deploy.yml").read_text()
    assert old in text
    workflow = tmp_path / ".github" / "workflows" / "deploy.yml"
    workflow.parent.mkdir(parents=True)
    workflow.write_text(text.replace(old, new))
    assert audit(workflow).returncode >= 10, "findings begin there"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_runs_what_a_commit_pins_one_at_a_time_with_an_end_and_the_least_rights(
    path: Path,
) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    assert {"group", "cancel-in-progress"} == set(workflow["concurrency"])
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 60, name
        assert re.fullmatch(r"ubuntu-\d\d\.\d\d", job["runs-on"]), "of a version"
        for step in job["steps"]:
            if "uses" in step:
                assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"]), step["uses"]
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, name
    # A deployment that is under way is not cut off, a test that is out of date is.
    assert workflow["concurrency"]["cancel-in-progress"] is (path.name == "ci.yml")


def test_a_pin_says_its_version_and_an_action_has_one_pin() -> None:
    pins = {
        (action, commit, version)
        for path in WORKFLOWS
        for action, commit, version in re.findall(r"uses: (\S+)@(\w+)(.*)", path.read_text())
    }
    assert all(re.fullmatch(r" # v\d+\.\d+\.\d+", version) for _, _, version in pins)
    assert len(pins) == len({action for action, _, _ in pins})


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_a_workflow_takes_from_another_step_or_job_is_given_there(path: Path) -> None:
    """GitHub reads what nobody gives as an empty text."""
    text, jobs = path.read_text(), yaml.safe_load(path.read_text())["jobs"]
    for job, output in re.findall(r"needs\.([\w-]+)\.outputs\.([\w-]+)", text):
        assert output in jobs[job]["outputs"], (job, output)
    for name, job in jobs.items():
        for step, output in re.findall(r"steps\.([\w-]+)\.outputs\.([\w-]+)", str(job.get("outputs", ""))):
            assert step in {each.get("id") for each in job["steps"]}, (name, step)
            (script,) = (each["run"] for each in job["steps"] if each.get("id") == step)
            assert f'echo "{output}<<' in (ROOT / script.split()[-1]).read_text()
