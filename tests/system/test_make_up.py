"""A copy of the project and a Region of its own, as `make up` starts it, by somebody who has an AWS account.

The account's keys, tokens, profiles and endpoints stand wherever AWS's libraries look for them. Nothing that
runs locally may see them, or call what they lead to. And what is edited in the copy is used by its Region.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import psutil
import pytest

from local import region_file
from local.container import sam_local
from local.emulator import NO_CERTIFICATES
from local.engine import Engine
from local.invoke import prepare
from local_dsql.places import own_directory
from tests.developer import PLANTED, planted
from tests.developer import developer as as_developer
from tools.template import ROOT, read

#: Longer than what starts a Region gives itself (local/region.py): what is late there says so itself.
TIMEOUT_S = 600.0

FOLDERS = (
    *("domain", "sql", "events", "handlers", "web", "api"),
    *("local", "local_dsql", "tools", "demos", "operations", "requirements"),
)
FILES = ("template.yaml", "cluster.yaml", "samconfig.toml", "pyproject.toml", "Makefile", "rewards")


#: Headers of an answer that its sender writes itself.
OWN_HEADERS = {"content-length", "transfer-encoding", "connection", "date", "server"}


class Server(NamedTuple):
    """An HTTP server of this test's: where it is, and what was asked of it."""

    url: str
    requests: list[tuple[str, dict[str, str]]]


@contextmanager
def serve(forward_to: str = "") -> Iterator[Server]:
    """Record requests; answer each from elsewhere, or as a service that gives credentials away would."""
    requests: list[tuple[str, dict[str, str]]] = []
    given = {"AccessKeyId": PLANTED, "SecretAccessKey": PLANTED, "Token": PLANTED}

    class Recorder(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # which S3's clients ask whether to go on

        def _answer(self) -> None:
            requests.append((f"{self.command} {self.path}", dict(self.headers)))
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers, content = 200, {}, json.dumps(given).encode()
            if forward_to:
                place = urlsplit(forward_to)
                connection = HTTPConnection(str(place.hostname), place.port or 80)
                passed = {name: value for name, value in self.headers.items() if name != "Expect"}
                connection.request(self.command, self.path, body, passed)
                answer = connection.getresponse()
                content, status = answer.read(), answer.status
                headers = dict(answer.headers.items())
                connection.close()
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in OWN_HEADERS:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _answer  # noqa: N815

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Recorder) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield Server(f"http://127.0.0.1:{server.server_port}", requests)
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def account() -> Iterator[Server]:
    """Stand for everything that the developer's credentials lead to, and that gives some away."""
    with serve() as server:
        yield server


@pytest.fixture(scope="module")
def developer(account: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Give the environment of a developer with an account, signed in in every way that there is."""
    return {"PATH": os.environ["PATH"], **as_developer(tmp_path_factory.mktemp("developer"), account.url)}


class Watch:
    """Looks at the environments of a process's children while a `with` block lasts."""

    def __init__(self, process_id: int) -> None:
        self.seen: set[str] = set()
        self.found: dict[str, set[str]] = {}
        self._root = process_id
        #: What each process was at the last look: it becomes another when it starts another program.
        self._known: dict[int, tuple[bytes, bytes]] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            last = self._over.is_set()
            for parent, child in descendants(self._root):
                self._look(parent, child)
            if last:
                return
            time.sleep(0.02)

    def _look(self, parent: int, child: int) -> None:
        try:
            now = _image(child)
            # What has been forked and has not started its program yet is its parent once more.
            if self._known.get(child) == now or _image(parent) == now:
                return
        except OSError:  # it has ended
            return
        self._known[child] = now
        variables, words = (part.decode(errors="replace").split("\0") for part in now)
        environment = {name: value for name, _, value in (each.partition("=") for each in variables)}
        command = " ".join(words[:-1])
        self.seen.add(command)
        if environment.get("PWD") != "" and planted(environment):
            self.found[command] = planted(environment)


def descendants(process_id: int) -> Iterator[tuple[int, int]]:
    """Give a process's children and theirs, after their parents; psutil reads all processes for that."""
    with suppress(FileNotFoundError), os.scandir(f"/proc/{process_id}/task") as threads:
        for thread in threads:
            with suppress(OSError):  # it has ended
                for child in _read(f"{thread.path}/children").split():
                    yield process_id, int(child)
                    yield from descendants(int(child))


def _image(process_id: int) -> tuple[bytes, bytes]:
    """Give the environment and the command of what a process runs."""
    return _read(f"/proc/{process_id}/environ"), _read(f"/proc/{process_id}/cmdline")


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123  # a hundred a look
        return file.read()


class Up(NamedTuple):
    """A running `python -m local` of a copy, and what its children had in their environments."""

    project: Path
    process: subprocess.Popen[bytes]
    output: Path
    watch: Watch

    def variables(self) -> dict[str, str]:
        """Give what its file says."""
        return region_file.read(self.project / ".local" / "region.env")

    def said(self) -> str:
        """Give what it has printed."""
        return self.output.read_text()

    def wait_for(self, words: str, after: int = 0) -> str:
        """Wait until it has printed these words; give what it has printed since `after`."""
        return str(wait_for(lambda: self._since(after, words), repr(words), self.said))

    def _since(self, after: int, words: str) -> str:
        said = self.said()[after:]
        return said if words in said else ""


def wait_for(ask: Callable[[], Any], what: str, said: Callable[[], str]) -> Any:
    deadline = time.monotonic() + TIMEOUT_S
    while not (found := ask()):
        assert time.monotonic() < deadline, f"no sign of {what} in:\n{said()}"
        time.sleep(0.1)
    return found


@pytest.fixture(scope="module")
def up(developer: dict[str, str]) -> Iterator[Up]:
    if sys.platform != "linux":
        pytest.skip("reads the environments of processes, which other systems keep to themselves")
    # Others may pass through, which they may not in pytest's: run as root, PostgreSQL drops to another user.
    with own_directory("rewards-copy") as directory:
        Path(directory).chmod(0o711)
        yield from _run_a_copy(Path(directory) / "project", developer)


def _run_a_copy(project: Path, developer: dict[str, str]) -> Iterator[Up]:
    project.mkdir()
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, project / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in FILES:
        shutil.copy2(ROOT / file, project / file)
    (project / ".local").mkdir()
    for environment in ("dev", "emulator", "sam", "tools", "layers"):
        (project / ".local" / environment).symlink_to(ROOT / ".local" / environment)
    output = project.parent / "output"
    # Everything is built here, by somebody whose new files nobody else may read, whose Python and language
    # are others, and whose proxy is dead.
    shadow = project.parent / "shadow"
    shadow.mkdir()
    for module in ("samcli", "aws_lambda_builders", "ministack"):
        (shadow / f"{module}.py").write_text("raise SystemExit('another one of this name')")
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    poor = {
        **dict.fromkeys((*proxies, *map(str.lower, proxies)), "http://127.0.0.1:9"),
        "PYTHONPATH": str(shadow),
        "PYTHONIOENCODING": "ascii",
        "LC_ALL": "C",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONUTF8": "0",
    }
    with output.open("wb") as sink:
        process = subprocess.Popen(
            [".local/dev/bin/python", "-m", "local", "--customers", "10", "--users", "2"],
            cwd=project,
            env={**developer, **poor},
            umask=0o077,
            stdout=sink,
            stderr=sink,
        )
    try:
        with Watch(process.pid) as watch:
            started = Up(project, process, output, watch)
            wait_for(lambda: process.poll() is not None or "Ctrl-C" in started.said(), "an end", started.said)
            assert process.poll() is None, started.said()
            yield started
    finally:
        process.terminate()
        process.wait()


class Done(NamedTuple):
    """A command that has ended: its status, what it printed, and its children's environments."""

    status: int
    out: str
    error: str
    watch: Watch


def run(up: Up, environment: Mapping[str, str], *command: str) -> Done:
    """Run a command in the copy."""
    process = subprocess.Popen(
        command,
        cwd=up.project,
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with Watch(process.pid) as watch:
        out, error = process.communicate(timeout=TIMEOUT_S)
    return Done(process.returncode, out, error, watch)


@pytest.fixture
def recorded(up: Up, tmp_path: Path) -> Iterator[tuple[Server, Path]]:
    """Give the Region behind a server that records what is asked of it, and its file."""
    own = (up.project / ".local" / "region.env").resolve()
    endpoint = up.variables()["AWS_ENDPOINT_URL"]
    with serve(forward_to=endpoint) as server:
        path = tmp_path / "region.env"
        text = own.read_text().replace(f"AWS_ENDPOINT_URL={endpoint}", f"AWS_ENDPOINT_URL={server.url}")
        assert text != own.read_text()
        path.write_text(text)
        shutil.copy(own.with_suffix(".json"), path.with_suffix(".json"))
        yield server, path


def assert_calls_carry_the_regions_keys(server: Server) -> None:
    assert server.requests
    for request, headers in server.requests:
        assert PLANTED not in f"{request} {headers}", request
        signed = re.search(r"Credential=([^/]+)/", headers.get("Authorization", ""))
        assert signed is not None, (request, headers)
        assert signed[1] == "test", request


def assert_nothing_asked_the_account(account: Server, developer: Mapping[str, str]) -> None:
    assert account.requests == []
    assert not Path(developer["HOME"], "asked").exists()


# --- The developer's account stays out -----------------------------------------------------------------


def test_a_region_and_its_functions_see_nothing_of_the_developers_account(
    up: Up, account: Server, developer: dict[str, str]
) -> None:
    assert any("ministack" in command for command in up.watch.seen)
    assert any("function_starter" in each or "_worker" in each for each in up.watch.seen), (
        "a function has run"
    )
    assert any("bundle.py" in command for command in up.watch.seen), "sam build has run"

    assert up.watch.found == {}
    # A function is a fork: it has the emulator's environment, its role's keys and these.
    functions = region_file.functions(up.project / ".local" / "region.env")
    assert [name for name, function in functions.items() if planted(function.variables)] == []
    assert_nothing_asked_the_account(account, developer)


def test_a_function_invoked_by_hand_sees_nothing_of_it(
    up: Up, recorded: tuple[Server, Path], account: Server, developer: dict[str, str]
) -> None:
    server, path = recorded
    arguments = ("FUNCTION=PublishPagesFunction", f"ARGS=--region-file {path}")
    done = run(up, developer, "make", "invoke", *arguments)

    assert (done.status, json.loads(done.out.splitlines()[-1])["Status"]) == (0, "SUCCESS"), done.error
    functions = {command for command in done.watch.seen if "awslambdaric" in command}
    assert functions
    assert not functions & done.watch.found.keys()
    assert_calls_carry_the_regions_keys(server)
    assert_nothing_asked_the_account(account, developer)


def test_the_operators_command_in_a_shell_with_the_regions_file_sees_nothing_of_it(
    up: Up, recorded: tuple[Server, Path], account: Server, developer: dict[str, str]
) -> None:
    server, path = recorded
    done = run(up, developer, "sh", "-c", f". {path}; ./rewards queues list")

    assert done.status == 0, done.error
    assert any("-m operations" in command for command in done.watch.seen)
    found = next((names for command, names in done.watch.found.items() if "-m operations" in command), set())
    assert {name for name in found if name.startswith("AWS_")} == set()
    assert_calls_carry_the_regions_keys(server)
    assert_nothing_asked_the_account(account, developer)


#: What runs beside a Region, or by itself: with what of its own its first process starts nothing else.
_ALSO_RUN = (
    ("token",),
    ("psql", "ARGS=-Atc 'select count(*) from customers'"),
    ("sale", "ARGS=--buyers 5 --units 2"),
    ("exercises", "ARGS=in-turn"),
)


@pytest.mark.parametrize("words", _ALSO_RUN, ids=lambda words: words[0])
def test_a_target_of_make_starts_nothing_that_sees_it(
    words: tuple[str, ...], up: Up, account: Server, developer: dict[str, str]
) -> None:
    done = run(up, developer, "make", *words)

    assert done.status == 0, done.error
    begun = re.compile(r"^(\S*/)?(sh|make)\b|^\.local/dev/bin/python -m ")
    assert {command: names for command, names in done.watch.found.items() if not begun.match(command)} == {}
    assert_nothing_asked_the_account(account, developer)


def test_sam_local_invoke_is_given_the_regions_keys_alone(
    up: Up,
    account: Server,
    developer: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SAM's own code, in the environment that it is run in, is asked which credentials it would hand on."""
    for name, value in developer.items():
        monkeypatch.setenv(name, value)

    @contextmanager
    def found(_: Path) -> Iterator[Engine]:
        yield Engine(Path("/nowhere.sock"), "x86_64", None)

    monkeypatch.setattr("local.container.engine", found)
    function = region_file.functions(up.project / ".local" / "region.env")["StorefrontFunction"]
    event = json.loads((ROOT / function.sample).read_text())
    invocation, _ = prepare(function, event, up.variables(), {})
    ask = (
        "from samcli.commands.local.lib.local_lambda import LocalLambdaRunner as R; import json;"
        "print(json.dumps(R(None, None, None, None).get_aws_creds()))"
    )
    with sam_local(function, invocation.environment, invocation.event) as ready:
        assert planted(ready.environment) == set()
        done = subprocess.run(
            [ROOT / ".local" / "sam" / "bin" / "python", "-c", ask],
            env=ready.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        directory = Path(ready.command[ready.command.index("--template-file") + 1]).parent
        written = {path.name: path.read_text() for path in directory.glob("*.*") if path.is_file()}

    assert json.loads(done.stdout) == {"region": "us-east-1", "key": "test", "secret": "test"}
    assert PLANTED not in "".join(written.values())
    (made,) = read(written["template.yaml"])["Resources"].values()
    declared = made["Properties"]["Environment"]["Variables"]
    # What its template does not declare, SAM drops; what its own environment says, it takes instead.
    assert invocation.environment.keys() <= declared.keys()
    assert {name: ready.environment[name] for name in declared.keys() & ready.environment.keys()} == {
        name: declared[name] for name in declared.keys() & ready.environment.keys()
    }
    assert declared["AWS_ENDPOINT_URL"].startswith("http://host.docker.internal:")
    assert_nothing_asked_the_account(account, developer)


# --- What is edited is used -----------------------------------------------------------------------------


def get(up: Up, path: str) -> httpx.Response:
    variables = up.variables()
    headers = {"Authorization": variables["TOKEN"]}
    return httpx.get(
        f"{variables['API']}{path}", headers=headers, timeout=60, trust_env=False, verify=NO_CERTIFICATES
    )


def edit(up: Up, file: str, old: str, new: str) -> int:
    """Replace a text in the copy; give how much had been printed before."""
    before = len(up.said())
    path = up.project / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return before


def test_an_edited_handler_is_used_by_the_next_request(up: Up) -> None:
    before = edit(up, "handlers/fallback.py", "NO_OPERATION), request_id", "'Edited.'), request_id")

    assert "handlers/fallback.py" in up.wait_for("reloaded FallbackFunction", before)
    assert get(up, "/nothing").json()["detail"] == "Edited."


def test_an_edited_rule_is_used_by_the_next_request(up: Up) -> None:
    before = edit(up, "domain/refusals.py", "There is no item {item_id} for sale.", "Edited: no {item_id}.")
    up.wait_for("domain/refusals.py", before)

    answer = get(up, f"/catalog/{UUID(int=1)}").json()
    assert answer["detail"].startswith(f"Edited: no {UUID(int=1)}."), answer


def test_an_edited_statement_is_used_by_the_next_request(up: Up) -> None:
    name = get(up, "/catalog?limit=1").json()["items"][0]["name"]
    lists = "sql/queries/templates/catalog.sql"
    before = edit(up, lists, " i.name, i.desc", " upper(i.name) as name, i.desc")
    up.wait_for(lists, before)

    assert get(up, "/catalog?limit=1").json()["items"][0]["name"] == name.upper()


def test_an_edited_page_is_used_by_the_next_request(up: Up) -> None:
    before = edit(up, "web/index.html", "<title>", "<title>Edited ")
    up.wait_for("web/index.html", before)
    shop = urlsplit(re.findall(r"http://\S+\.cloudfront\.localhost:\d+/", up.said())[0])

    page = httpx.get(
        f"http://127.0.0.1:{shop.port}/",
        headers={"Host": f"{shop.hostname}:{shop.port}"},
        trust_env=False,
        verify=NO_CERTIFICATES,
    )

    assert "<title>Edited " in page.text


def test_code_that_does_not_parse_or_start_is_named_and_what_was_there_goes_on_serving(up: Up) -> None:
    text = (up.project / "handlers" / "account.py").read_text()
    last = len(text.splitlines()) + 1

    before = edit(up, "handlers/account.py", text, f"{text}def broken(:\n")
    up.wait_for(f"goes on serving: handlers/account.py:{last}: invalid syntax", before)
    assert get(up, "/points").status_code == 200

    before = edit(up, "handlers/account.py", "def broken(:", "undefined")
    up.wait_for(f"handlers/account.py:{last}: NameError: name 'undefined' is not defined", before)
    assert get(up, "/points").status_code == 200

    before = edit(up, "handlers/account.py", "undefined\n", "")
    up.wait_for("reloaded AccountFunction", before)
    assert get(up, "/points").status_code == 200


def test_an_edited_template_asks_for_a_new_start(up: Up) -> None:
    before = edit(up, "template.yaml", "Description: An event", "Description: Another event")

    up.wait_for("template.yaml has changed: stop `make up` and start it again", before)
    up.process.poll()
    assert up.process.returncode is None


# --- What it stands on dies -----------------------------------------------------------------------------


def postmaster(root: psutil.Process) -> psutil.Process:
    """Give the process that is the PostgreSQL server."""
    (found,) = (each for each in root.children() if each.name() == "postgres")
    return found


def test_it_says_that_its_database_was_killed_and_ends_with_everything(up: Up) -> None:
    root = psutil.Process(up.process.pid)
    family = root.children(recursive=True)
    before = len(up.said())

    postmaster(root).kill()

    up.wait_for("The database has ended, and with it the Region. Start it again: make up.", before)
    assert up.process.wait(TIMEOUT_S) == 1
    assert "Traceback" not in up.said()[before:]
    _, alive = psutil.wait_procs(family, timeout=30)
    assert alive == []
    assert not (up.project / ".local" / "region.env").exists()


#: Runs `make up` without deploying: its emulator, its database, and what it does about them.
_UP_WITHOUT_A_SHOP = """
import sys
from contextlib import nullcontext
from local import __main__ as up, region, region_file

class Region(region.LocalRegion):
    def _start(self, stack):
        directory = region._run_directory(self.region_name, stack)
        self._emulator = region.Emulator(directory, self.region_name)
        self._emulator.start()
        stack.callback(self._emulator.stop)
        self.database = self._own_database(directory, stack)
        self._emulator.wait()
        self.outputs = {"PicturesBucketName": ""}
    def enrol(self, users): pass
    def functions(self): return {}

up.LocalRegion = Region
up.load = up.upload_pictures = up.publish = region_file.write = lambda *_, **__: None
up._variables, up._how_to_use = (lambda region: {}), (lambda *_: "ready")
up.metrics_reader = lambda region: nullcontext()
sys.argv = ["local", "--no-reload", "--customers", "10", "--users", "1"]
up.main()
"""


@pytest.mark.parametrize(
    ("killed", "said"),
    [
        ("local_dsql.process", "The database has ended"),
        ("emulator_process.py", "The AWS emulator has ended"),
    ],
)
def test_it_says_what_was_killed_and_ends(killed: str, said: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _UP_WITHOUT_A_SHOP],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
        family = psutil.Process(process.pid).children(recursive=True)
        # The guard before a command has the command's words, too.
        *_, found = (each for each in family if killed in " ".join(each.cmdline()))
        found.kill()

        _, error = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 1
    assert f"{said}, and with it the Region. Start it again: make up." in error, error
    assert "Traceback" not in error
    _, alive = psutil.wait_procs(family, timeout=30)
    assert alive == []
