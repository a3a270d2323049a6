"""A function's process that is forked has what one has that is started, and ends as one does."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from local import function_starter
from local.function_starter import LIBRARIES, READ_BY_LIBRARIES, Forked, start
from tools.template import ROOT

pytestmark = pytest.mark.skipif(not function_starter._can_fork(), reason="functions are not forked here")

_SCRIPT = f"""
import json, os, random, sys
print("on stderr", file=sys.stderr, flush=True)
print(json.dumps({{
    "variables": dict(os.environ), "directory": os.getcwd(), "arguments": sys.argv, "path": sys.path,
    "name": __name__, "libraries": [name for name in {LIBRARIES} if name in sys.modules],
    "draw": random.random(), "descriptors": len(os.listdir("/proc/self/fd")),
}}), flush=True)
for line in sys.stdin:
    print(line.strip().upper(), flush=True)
"""

Start = Callable[..., Any]


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    site = tmp_path / "layer" / "python" / "lib" / "python3" / "site-packages"
    site.mkdir(parents=True)
    (site / "dependencies.pth").write_text(f"# {tmp_path}\n")  # the libraries are this environment's
    return tmp_path / "layer"


@pytest.fixture
def begin(tmp_path: Path, layer: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.delenv("PYTHONPATH", raising=False)  # the emulator's environment has none
    script, directory = tmp_path / "_worker.py", tmp_path / "code"
    script.write_text(_SCRIPT)
    directory.mkdir()
    begun: list[Any] = []

    def begin(**variables: str) -> Any:
        process = start(
            [sys.executable, str(script)],
            cwd=str(directory),
            env={"PATH": os.environ["PATH"], "_LAMBDA_LAYERS_DIRS": str(layer), **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        process.kill()
        process.wait(60)
        for file in (process.stdin, process.stdout, process.stderr):
            file.close()
    for starter in function_starter._starters.values():
        starter.stop()
    function_starter._starters.clear()


def test_a_fork_has_what_a_process_has_that_is_started(begin: Start, tmp_path: Path) -> None:
    forked, other = begin(OWN="one"), begin(OWN="other")
    started = begin(OWN="one", POWERTOOLS_DEBUG="false")
    said, of_other, of_started = (json.loads(each.stdout.readline()) for each in (forked, other, started))

    assert isinstance(forked, Forked)
    assert isinstance(started, subprocess.Popen)
    assert said["libraries"] == list(LIBRARIES)
    assert of_started["libraries"] == []
    assert of_started["variables"].pop("POWERTOOLS_DEBUG")
    for name in ("directory", "arguments", "path", "name", "descriptors"):
        assert said[name] == of_started[name], name
    # What an interpreter sets for itself where the locale is C.
    assert said["variables"] == {k: v for k, v in of_started["variables"].items() if k != "LC_CTYPE"}
    assert of_other["variables"]["OWN"] == "other"
    assert said["draw"] != of_other["draw"]
    assert forked.stderr.readline() == "on stderr\n"
    forked.stdin.write("gr\u00fc\u00df dich\n")
    assert forked.stdout.readline() == "GR\u00dcSS DICH\n"
    assert forked.poll() is None

    forked.stdin.close()

    assert forked.wait(60) is not None
    assert forked.poll() is not None


@pytest.mark.parametrize(
    "end", [Forked.terminate, Forked.kill, lambda each: os.kill(each.pid, signal.SIGKILL)]
)
def test_a_fork_that_is_ended_is_noticed(begin: Start, end: Callable[[Forked], None]) -> None:
    forked = begin()
    forked.stdout.readline()
    with pytest.raises(subprocess.TimeoutExpired):
        forked.wait(0)

    end(forked)

    assert forked.wait(60) is not None
    assert forked.stdout.readline() == ""
    forked.terminate()  # to nobody


def test_forks_end_with_what_they_were_forked_from_and_another_is_started(begin: Start) -> None:
    forked = begin()
    forked.stdout.readline()
    parent = psutil.Process(forked.pid).parent()
    assert parent is not None

    parent.kill()

    assert forked.wait(60) is not None
    again = begin()
    assert json.loads(again.stdout.readline())["libraries"] == list(LIBRARIES)
    assert psutil.Process(again.pid).parent() != parent


@pytest.mark.parametrize("name", ["none", "two", "with a module"])
def test_a_function_with_another_layer_imports_its_own(begin: Start, layer: Path, name: str) -> None:
    directories = str(layer)
    if name == "none":
        directories = ""
    elif name == "two":
        directories = os.pathsep.join([directories, directories])
    else:
        (layer / "python" / "pydantic.py").touch()

    started = begin(_LAMBDA_LAYERS_DIRS=directories)

    assert isinstance(started, subprocess.Popen)
    assert started.stdout is not None
    assert json.loads(started.stdout.readline())["libraries"] == []


def refuse(*_: object) -> None:
    raise OSError("ENOSYS")


@pytest.mark.parametrize("lacks", [(os, "pidfd_open"), (signal, "pidfd_send_signal")])
@pytest.mark.parametrize("by_python", [True, False])
def test_where_a_process_cannot_be_held_a_function_is_started(
    begin: Start, monkeypatch: pytest.MonkeyPatch, lacks: tuple[Any, str], by_python: bool
) -> None:
    if by_python:
        monkeypatch.delattr(*lacks)
    else:
        monkeypatch.setattr(*lacks, refuse)
    function_starter._can_fork.cache_clear()

    started = begin()
    function_starter._can_fork.cache_clear()

    assert isinstance(started, subprocess.Popen)
    assert started.stdout is not None
    assert json.loads(started.stdout.readline())["libraries"] == []


_READ = """
import importlib.util, json, os, sys
read = set()
class Noted(os._Environ):
    def __getitem__(self, name):
        read.add(name)
        return super().__getitem__(name)
was = os.environ
os.environ = Noted(was._data, was.encodekey, was.decodekey, was.encodevalue, was.decodevalue)
os.getenv.__globals__["environ"] = os.environ
sys.path.insert(0, sys.argv[1])
from local.function_starter import LIBRARIES
for name in LIBRARIES:
    if importlib.util.find_spec(name.partition(".")[0]):
        importlib.import_module(name)
print(json.dumps(sorted(read)))
"""

#: Read by Python itself, for all of an emulator's processes the same.
_PYTHONS_OWN = ("HOME", "PATH", "_PYTHON", "PYTHON")


def test_what_libraries_read_while_they_are_imported_is_known() -> None:
    read: set[str] = set()
    # The emulator's has boto3 alone, of another version; the rest is the layer's.
    for environment in ("dev", "emulator"):
        python = ROOT / ".local" / environment / "bin" / "python"
        done = subprocess.run(
            [python, "-c", _READ, str(ROOT)], capture_output=True, text=True, check=True, env={}
        )
        read |= set(json.loads(done.stdout))

    assert {name for name in read if not name.startswith(_PYTHONS_OWN)} == READ_BY_LIBRARIES
