"""What a command finds of whatever its user has set up: accounts, libpq's variables, proxies, encodings.

The same on a running Region: tests/system/test_make_up.py.
"""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.developer import developer, planted
from tests.documents import ROOT
from tests.unit.test_arguments import NO_COMMANDS, commands

#: What may be for an account, or for somebody's database, and what of it stays.
KEEPS = {
    "operations": {"AWS_", "BOTO_CONFIG"},
    "local.sample_data": {"AWS_", "BOTO_CONFIG", "PGPASSWORD", "PGPASSFILE"},
}

#: These want a browser's environment to be imported; each is run by it alone.
_WANT_A_BROWSER = ("tests.browser.",)

#: Runs every command up to its main, and says what is found there, by AWS's own library, too.
_IN_PLACE_OF_MAIN = """
import contextlib, io, json, os, runpy, sys, warnings
import botocore.loaders, botocore.session
from local_dsql import console

warnings.simplefilter("ignore")
before, run_command, found = dict(os.environ), console.run_command, {}
models = botocore.loaders.create_loader()  # reads each once for all

def look():
    session = botocore.session.Session()
    session.register_component("data_loader", models)
    keys = {"aws_access_key_id": "k", "aws_secret_access_key": "s"}
    client = session.create_client("s3", region_name="us-east-1", **keys)
    try:
        credentials = session.get_credentials()
        has = None if credentials is None else credentials.method
    except Exception as error:
        has = repr(error)
    found[module] = {
        "environment": dict(os.environ), "credentials": has, "endpoint": client.meta.endpoint_url,
        "region": session.get_config_variable("region"), "profile": session.profile,
    }

console.run_command = lambda main, **more: run_command(look, **more)
for module in json.load(sys.stdin):
    os.environ.clear()
    os.environ.update(before)
    sys.argv = [module]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        runpy.run_module(module, run_name="__main__")
print(json.dumps(found))
"""


@cache
def run_here() -> tuple[str, ...]:
    """Give the commands that can be imported here."""
    return tuple(each for each in commands() if not each.startswith(_WANT_A_BROWSER))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Give what each command's main finds of a developer's: environment, credentials, addresses."""
    home = tmp_path_factory.mktemp("home")
    # Nobody listens there: who asks is told by the credentials' chain.
    variables = {**developer(home, "http://127.0.0.1:9"), "PGPASSWORD": "theirs", "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", _IN_PLACE_OF_MAIN],
        input=json.dumps(run_here()),
        cwd=ROOT,
        env={**variables, "AWS_METADATA_SERVICE_NUM_ATTEMPTS": "1", "AWS_METADATA_SERVICE_TIMEOUT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not (home / "asked").exists(), "somebody's credential_process was run"
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize("command", run_here())
def test_a_commands_main_finds_nothing_of_its_users_but_what_it_is_for(
    command: str, found: dict[str, Any]
) -> None:
    keeps = KEEPS.get(command, set())
    left = found[command]
    names = planted(left["environment"]) | {name for name in left["environment"] if name.startswith("PG")}
    assert {name for name in names if not name.startswith(tuple(keeps) or ("-",))} == set()
    if "AWS_" not in keeps:
        assert (left["credentials"], left["region"], left["profile"]) == (None, None, None)
        assert left["endpoint"].endswith(".amazonaws.com"), left["endpoint"]
    else:
        assert "AWS_PROFILE" in names, "it may be meant for an account"


def test_what_make_runs_and_the_pages_name_is_such_a_command() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]
    texts = [makefile, (ROOT / "rewards").read_text("utf-8"), *(page.read_text("utf-8") for page in pages)]
    called = {
        name.rstrip(".") for text in texts for name in re.findall(r"(?:PY\)|python\"?) -m ([\w.]+)", text)
    }
    ours = {name for name in called if (ROOT / name.split(".")[0]).is_dir()}

    assert len(ours) > 15
    # The latter takes this project's code and statements, and starts nothing.
    assert ours - {*commands(), "tests.former_release"} == set()
    assert {"tests.former_release.__main__"} < NO_COMMANDS


def test_tests_begin_without_the_users_account_too() -> None:
    assert "forget_account()" in (ROOT / "tests" / "conftest.py").read_text(encoding="utf-8")
    assert os.environ["AWS_CONFIG_FILE"] == os.devnull


# --- Each place that goes out says all that it needs ----------------------------------------------------

#: What runs here or on AWS; tests begin like commands (tests/conftest.py).
CODE = [
    path
    for path in sorted(ROOT.glob("[a-z]*/**/*.py"))
    if path.relative_to(ROOT).parts[0] != "tests" and ".local" not in path.parts
]

#: What the functions on AWS are made of: no command begins them, so what connects says everything itself.
_ON_AWS = {"domain", "sql", "events", "handlers"}

#: Connects with everything named, after taking libpq's variables away.
_THE_DATABASE = "sql/connection.py"

#: Leaves the machine with the account's own settings, a proxy among them: what it is for.
_GOES_OUT = {
    "handlers/edge/custom_resource.py": "CloudFormation's URL",
    "local/sample_data/__main__.py": "somebody's bucket",
    "operations/site.py": "somebody's account; an endpoint of this machine is spared the proxy",
    "operations/region_command.py": "somebody's account",
    "local_dsql/__main__.py": "printed for its user",
}


class Place(NamedTuple):
    """A call: where it stands, what is called, and the names that it is given."""

    file: str
    line: int
    called: str
    named: dict[str, str]
    first: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.called}"


def calls(path: Path) -> Iterator[Place]:
    """Give a file's calls."""
    file = str(path.relative_to(ROOT))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            named = {each.arg or "**": ast.unparse(each.value) for each in node.keywords}
            first = ast.unparse(node.args[0]) if node.args else ""
            yield Place(file, node.lineno, ast.unparse(node.func), named, first)


@cache
def all_calls() -> tuple[Place, ...]:
    """Give every call of the code."""
    return tuple(place for path in CODE for place in calls(path))


def test_what_connects_is_begun_by_a_command_or_names_everything() -> None:
    connects = re.compile(r"(psycopg|(Async)?Connection|asyncpg)\.(connect|create_pool)$|ConnectionPool$")
    places = [place for place in all_calls() if connects.search(place.called)]

    assert len(places) > 15
    on_aws = [place for place in places if place.file.split("/")[0] in _ON_AWS]
    assert {place.file for place in on_aws} == {_THE_DATABASE}
    _, names = (ROOT / _THE_DATABASE).read_text("utf-8").split("def _open")
    assert names.index("_forget_libpq_environment()") < names.index("Connection.connect(")
    for place in (place for place in places if place not in on_aws):
        # A server's own words for how to reach it, or what a person wrote in full.
        assert re.search(r"conninfo|arguments\.dsn", place.first), str(place)


def test_what_speaks_http_to_this_machine_asks_no_proxy() -> None:
    speaks = re.compile(r"(httpx\.(get|post|put|request|stream|Client|AsyncClient)|^requests\.\w+|urlopen)$")
    places = [place for place in all_calls() if speaks.search(place.called)]
    asks = [str(place) for place in places if place.named.get("trust_env") != "False"]

    assert places
    assert [place for place in asks if place.split(":")[0] not in _GOES_OUT] == []


def test_a_client_of_aws_on_this_machine_asks_no_proxy() -> None:
    makes = re.compile(r"(boto3|[sS]ession(\(.*\))?)\.client$", re.S)
    places = [place for place in all_calls() if makes.search(place.called)]
    here = [place for place in places if place.file.split("/")[0] not in _ON_AWS]

    assert here
    for place in here:
        assert place.file in _GOES_OUT or "proxies={}" in place.named.get("config", ""), str(place)


def test_text_is_read_and_written_in_one_encoding_whatever_the_terminals() -> None:
    def is_text(place: Place) -> bool:
        if place.called.endswith((".read_text", ".write_text")):
            return "utf-8" not in place.first and not place.first.startswith("encoding")
        if place.called.startswith("subprocess."):
            return place.named.get("text") == "True"
        return False

    places = [place for place in all_calls() if is_text(place)]

    assert len(places) > 20
    assert [str(place) for place in places if "encoding" not in place.named] == []
