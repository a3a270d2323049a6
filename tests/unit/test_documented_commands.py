"""Every command that a page prints: what becomes of it in the tests, and that its programs know its words.

tests/system/test_documented_commands.py runs those that want a Region.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import takewhile
from pathlib import Path

import botocore.session
import pglast
import pytest
from botocore import xform_name
from botocore.exceptions import UnknownServiceError

from operations.command import parser
from tests.documented import ALONE, EVERYTHING, NEEDS_AN_ACCOUNT, NOT_RUN
from tests.documents import PAGES, ROOT, blocks, commands, indented, prose, spans
from tools.template import template

#: Languages of the pages' blocks; `http` is what came back, `text` what was printed or is drawn.
LANGUAGES = {"sh", "sql", "http", "json", "markdown", "mermaid", "python", "text", "yaml"}

#: The page of which a test types everything in one shell: tests/system/test_documented_commands.py.
TOUR = "docs/api.md"

_PROGRAM = re.compile(r"(make|\./rewards|\.local/\w+/bin/\w+|aws|sam|curl|psql|python3?|pytest|rewards) \S")
_SQL = re.compile(r"(select|insert into|delete from|update) \S+ .*(from|set|where)? ", re.IGNORECASE)

#: Words in sentences that begin like a command and are none.
NOT_COMMANDS = {"sam build failed", "sam deploy failed"}

_ANY_SERVICE = {
    "--cli-binary-format",
    "--region",
    "--profile",
    "--output",
    "--query",
    "--endpoint-url",
    "--cli-input-json",
}

_ASK_PARSERS = """
import contextlib, io, json, runpy, sys, warnings
warnings.simplefilter("ignore")
answers = []
for module, words in json.load(sys.stdin):
    said = io.StringIO()
    sys.argv = [module, *words, "--no-such-option"]
    status = None
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=False)
        except SystemExit as end:
            status = end.code
    last = said.getvalue().strip().splitlines()[-1:]
    answers.append([status, last[0] if last else ""])
print(json.dumps(answers))
"""


#: What a shell makes of a variable.
_IN_A_SHELL = {"$DATABASE_URL": "postgresql://admin@127.0.0.1:5432/postgres"}


def printed() -> dict[str, list[str]]:
    """Give every command of a block for the shell with where it stands, but for the tour's."""
    found: dict[str, list[str]] = {}
    for page in PAGES:
        for block in blocks(page):
            if block.language == "sh" and block.page != TOUR:
                for command in commands(block):
                    found.setdefault(command, []).append(block.place)
    return found


def mentioned() -> dict[str, list[str]]:
    """Give every command inside sentences and tables with its page."""
    found: dict[str, list[str]] = {}
    for page in PAGES:
        for span in spans(page):
            if _PROGRAM.match(span) and span not in NOT_COMMANDS:
                found.setdefault(span, []).append(str(page.relative_to(ROOT)))
    return found


def everything() -> dict[str, list[str]]:
    """Give all commands with where they stand."""
    found = mentioned()
    for command, places in printed().items():
        found.setdefault(command, []).extend(places)
    return found


def calls(command: str) -> Iterator[list[str]]:
    """Give the words of each program's call of a command line; what is optional is taken as given."""
    plain = re.sub(r"<[^<>]*>", "VALUE", command.replace("[", "").replace("]", ""))
    plain = re.sub(r"\bPORT\b", "4566", plain)
    for part in re.split(r" && | \| | > \S+", plain):
        words = shlex.split(part)
        while words and "=" in words[0] and not words[0].startswith("-"):
            words = words[1:]
        if words:
            yield words


@cache
def recipe(words: tuple[str, ...]) -> list[list[str]]:
    """Give what `make` would run for a target, as words. Raises AssertionError where there is none."""
    done = subprocess.run(
        ["make", "--dry-run", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.replace("\\\n", " ").splitlines()
    found = []
    for line in lines:
        for call in re.findall(r"\.local/\w+/bin/python -m \w[\w.]*\w(?: [^;|&]*)?", line):
            found.append(shlex.split(call))
    return found


def modules_called() -> dict[tuple[str, ...], list[str]]:
    """Give the calls of this project's own modules, by module and words, with the commands that make them."""
    found: dict[tuple[str, ...], list[str]] = {}
    for command in everything():
        for words in calls(command):
            made = recipe(tuple(words)) if words[0] == "make" else [words]
            for call in made:
                if call[0].endswith("/python") and call[1:2] == ["-m"] and is_ours(call[2]):
                    found.setdefault(tuple(call[2:]), []).append(command)
    return found


def is_ours(module: str) -> bool:
    """Whether a module of this project reads a command line by argparse, in the environment of the tests."""
    if module.startswith("tests.browser."):
        return False
    path = ROOT / module.replace(".", "/")
    source = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__main__.py"
    return source.exists() and bool(re.search("ArgumentParser|read_options", source.read_text("utf-8")))


def flags(words: list[str]) -> list[str]:
    """Give the options among a call's words."""
    return [word.partition("=")[0] for word in words if word.startswith("--")]


_ASK_SAM = """
import json
from samcli.commands.build.command import cli as build
from samcli.commands.delete.command import cli as delete
from samcli.commands.deploy.command import cli as deploy
from samcli.commands.local.invoke.cli import cli as invoke
from samcli.commands.local.start_api.cli import cli as start_api
from samcli.commands.local.start_lambda.cli import cli as start_lambda
from samcli.commands.remote.invoke.cli import cli as remote_invoke
from samcli.commands.sync.command import cli as sync

asked = {
    "build": build, "delete": delete, "deploy": deploy, "sync": sync, "remote invoke": remote_invoke,
    "local invoke": invoke, "local start-api": start_api, "local start-lambda": start_lambda,
}
print(json.dumps({
    name: [flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)]
    for name, command in asked.items()
}))
"""


@cache
def sam_options() -> dict[str, list[str]]:
    """Give the options of the SAM CLI's commands that the pages name, as it has them."""
    environment = {**os.environ, "SAM_CLI_TELEMETRY": "0"}
    done = subprocess.run(
        [ROOT / ".local/sam/bin/python", "-c", _ASK_SAM],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


@cache
def aws_models() -> botocore.session.Session:
    """Give what has AWS's own models, each read once."""
    return botocore.session.get_session()


def unknown_to_aws(words: list[str]) -> list[str]:
    """Give what AWS's own models do not know of `aws SERVICE OPERATION --parameter`."""
    try:
        service = aws_models().get_service_model(words[1])
    except UnknownServiceError:
        return [words[1]]
    operations = {xform_name(name, "-"): name for name in service.operation_names}
    if words[2] not in operations:
        return [words[2]]
    shape = service.operation_model(operations[words[2]]).input_shape
    known = {f"--{xform_name(name, '-')}" for name in (shape.members if shape else ())}
    known |= {flag.replace("--", "--no-", 1) for flag in known} | _ANY_SERVICE
    return [flag for flag in flags(words) if flag not in known]


# --- Each has its place ---------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_block_of_code_says_what_it_is(page: Path) -> None:
    assert indented(page) == [], "set it between ``` and ```, with its language"
    assert [block.place for block in blocks(page) if block.language not in LANGUAGES] == []


def test_it_is_said_of_each_printed_command_what_becomes_of_it() -> None:
    missing = {command: places for command, places in printed().items() if command not in EVERYTHING}

    assert missing == {}, "enter it in a table of tests/documented.py: how it is run, or why it is not"


def test_the_tables_hold_no_command_that_no_page_prints() -> None:
    assert [command for command in EVERYTHING if command not in {**printed(), "make up": []}] == []
    assert len(set(EVERYTHING)) == len(EVERYTHING)


@pytest.mark.parametrize("command", NOT_RUN)
def test_what_runs_a_command_otherwise_is_there(command: str) -> None:
    assert [
        path for path in re.findall(r"tests/[\w/]+\.py", NOT_RUN[command]) if not (ROOT / path).exists()
    ] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_command_is_printed_as_it_can_be_typed(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    # Neither is on anybody's PATH.
    assert re.findall(r"(?<![\w/`])(?:python3? -m \S+|`rewards (?:outbox|queues|order|audit)\S*)", text) == []
    assert [span for span in spans(page) if re.match(r"(python3?|rewards|pytest) ", span)] == []


# --- Its programs know its words ------------------------------------------------------------------------


@pytest.mark.parametrize("command", [each for each in everything() if "./rewards" in each])
def test_the_operators_command_knows_it(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    examples = {"ID": "7d3e0b0e-53d7-4a0c-a7c3-0f6a50b8b1d4", "VALUE": "2d", "T": "1h", "QUEUE": "notify"}
    examples |= dict.fromkeys(("FILE", "own.csv"), str(Path(__file__)))  # one that is there
    for words in calls(command):
        if words[0] == "./rewards" and words[-1] != "--help":
            given = [examples.get(word, word) for word in words[1:]]
            groups = parser().format_help()
            if len(given) == 1:
                assert given[0] in groups
                continue
            try:
                parser().parse_args(given)
            except SystemExit:
                said = capsys.readouterr().err
                # A sentence may name a command without them.
                assert "arguments are required" in said, said
                assert command not in printed(), said


def test_this_projects_modules_know_it() -> None:
    asked = [(call, sources) for call, sources in modules_called().items() if "--help" not in call]
    done = subprocess.run(
        [sys.executable, "-c", _ASK_PARSERS],
        input=json.dumps(
            [[call[0], [_IN_A_SHELL.get(word, word) for word in call[1:]]] for call, _ in asked]
        ),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    assert len(asked) > 10
    for (_, sources), (status, said) in zip(asked, json.loads(done.stdout), strict=True):
        if "the following arguments are required" in said and not set(sources) & set(printed()):
            continue  # a sentence names it without them
        assert (status, said.partition("error: ")[2]) == (2, "unrecognized arguments: --no-such-option"), (
            sources
        )


@pytest.mark.parametrize(
    "command", [each for each in everything() if re.search(r"\bsam (?!local generate)", each)]
)
def test_the_sam_cli_and_the_template_know_it(command: str) -> None:
    for words in calls(command):
        if Path(words[0]).name != "sam":
            continue
        grouped = words[1] in ("local", "remote")
        known = sam_options()[" ".join(words[1:3]) if grouped else words[1]]
        assert [flag for flag in flags(words) if flag not in known] == []
        if "--config-env" in words:
            environment = words[words.index("--config-env") + 1]
            assert f"[{environment}.deploy.parameters]" in (ROOT / "samconfig.toml").read_text("utf-8")
        if "--parameter-overrides" in words:
            given = words[words.index("--parameter-overrides") + 1 :]
            overrides = " ".join(takewhile(lambda word: not word.startswith("--"), given)).split()
            file = (
                words[words.index("--template-file") + 1] if "--template-file" in words else "template.yaml"
            )
            assert {each.partition("=")[0] for each in overrides} <= set(template(file)["Parameters"])


@pytest.mark.parametrize("command", [each for each in everything() if each.startswith("aws ")])
def test_aws_knows_it(command: str) -> None:
    for words in calls(command):
        assert unknown_to_aws(words) == []


@pytest.mark.parametrize(
    ("command", "unknown"),
    [
        ("aws backups list-backup-jobs", ["backups"]),
        ("aws backup list-backups", ["list-backups"]),
        ("aws backup list-backup-jobs --by-arn x", ["--by-arn"]),
        ("aws backup list-backup-jobs --by-resource-arn x --region y", []),
    ],
)
def test_what_aws_does_not_know_is_found(command: str, unknown: list[str]) -> None:
    assert unknown_to_aws(shlex.split(command)) == unknown


def statements() -> dict[str, str]:
    """Give the pages' statements for the database with where they stand, but for a recipe's."""
    found = {
        block.text: block.place
        for page in PAGES
        for block in blocks(page)
        if block.language == "sql" and block.page != "docs/extend.md"
    }
    for page in PAGES:
        found.update({span: page.name for span in spans(page) if re.match("select .+ from ", span)})
    return found


@pytest.mark.parametrize("statement", statements())
def test_a_statement_is_one(statement: str) -> None:
    assert pglast.parse_sql(statement)


# --- Those that want nothing ----------------------------------------------------------------------------


def test_what_runs_by_itself_runs_as_it_is_printed_in_an_empty_environment(tmp_path: Path) -> None:
    for command, status in ALONE.items():
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=ROOT,
            env={"HOME": str(tmp_path), "PATH": "/usr/local/bin:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, f"{command}: {done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr

    assert list(tmp_path.iterdir()) == [], "they leave nothing at home"


def test_what_needs_an_account_is_of_a_kind_that_is_checked() -> None:
    for command in NEEDS_AN_ACCOUNT:
        assert re.search(r"^aws |\./rewards|/sam (deploy|delete)|python -m", command), command
    assert prose(ROOT / "README.md").count("`make") > 5


#: What a command that needs an account begins with or holds, and how the list on docs/deploy.md names it.
_IN_THE_LIST = {
    r"\./rewards region": "`./rewards region single`",
    r"\./rewards outbox status": "`--role admin`",
    "pipeline.yaml": "[pipeline.md](pipeline.md)",
    "--guided": "`sam deploy --guided`",
    "sam deploy": "`sam deploy`",
    "aws lambda invoke": "the smoke order",
    "sample_data pictures": "`./rewards seed`",
    "sam delete": "`sam delete`",
    "aws cloudformation": "its protection from deletion",
    "aws backup": "AWS Backup",
}


def test_the_list_of_what_the_emulator_does_not_show_has_each_command_that_needs_an_account() -> None:
    section = prose(ROOT / "docs" / "deploy.md").split("\n## What the emulator does not show\n", 1)[1]
    section = section.split("\n## ", 1)[0]
    for command in NEEDS_AN_ACCOUNT:
        named = [said for words, said in _IN_THE_LIST.items() if re.search(words, command)]
        assert named, f"enter {command} in docs/deploy.md, and here"
        assert [said for said in named if said not in section] == []
