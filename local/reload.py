"""What is edited while `make up` runs is used by the next request: `sam sync`, on this machine.

Files are looked at a few times a second, by their times and sizes. When they have come to rest, the functions
whose artifacts hold a changed one are built, started once to see whether they start, and deployed. What does
not parse or start is named with file and line, and the code before goes on serving.
"""

import io
import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.functions import Function
from local.region import LocalRegion
from local_dsql.places import own_directory
from tools import bundle
from tools.bundle import ROOT, BundleError
from tools.template import functions

FOLDERS = ("domain", "sql", "events", "handlers", "web")

#: What only a deployment can apply.
DEPLOYED = ("template.yaml", "requirements/runtime.txt")

#: Functions to name in a line; of more it says how many.
_NAMED = 4

_RELAY = "RelayFunction"

_NOT_RELOADED = "not reloaded, the code before goes on serving"

#: Imports handlers in the environments of their functions. Gives the first failure, innermost place last.
_START = """
import importlib, json, os, sys, traceback
for module, variables in json.load(sys.stdin):
    os.environ.update(variables)
    try:
        importlib.import_module(module)
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        if isinstance(error, SyntaxError):
            frames.append(traceback.FrameSummary(error.filename, error.lineno, ""))
        print(json.dumps({
            "module": module,
            "error": f"{type(error).__name__}: {error}",
            "places": [[frame.filename, frame.lineno] for frame in frames],
        }))
        break
"""

#: A file's time and size.
_State = tuple[int, int]


class BrokenError(Exception):
    """The edited code cannot be deployed; the message says where and why."""


class Reloader:
    """Deploys what changes in the sources, from now on. `say` gets a line for each thing done or not done."""

    def __init__(self, region: LocalRegion, say: Callable[[str], None]) -> None:
        self._region = region
        self._say = say
        self._functions = region.functions()
        self._known = self._last = _states()
        self._waiting: set[Path] = set()
        self._replaced: dict[str, str] = {}

    def look(self) -> None:
        """Look once; deploy what has changed and is the same as at the look before."""
        now = _states()
        # An editor may be in the middle of writing: then it is not over yet.
        at_rest, self._last = now == self._last, now
        if now == self._known or not at_rest:
            return
        paths = self._known.keys() | now.keys()
        self._waiting |= {path for path in paths if self._known.get(path) != now.get(path)}
        self._known = now
        try:
            self._apply()
        except SyntaxError as error:
            place = f"{_name(Path(error.filename or '?'))}:{error.lineno}"
            self._say(f"{_NOT_RELOADED}: {place}: {error.msg}")
        except (BrokenError, BundleError, ClientError, BotoCoreError, OSError, ValueError) as error:
            self._say(f"{_NOT_RELOADED}: {error}")

    def _apply(self) -> None:
        for path in sorted(self._waiting):
            name = _name(path)
            if name in DEPLOYED:
                self._say(f"{name} has changed: stop `make up` and start it again to have it deployed")
                self._waiting.discard(path)
        holders = [name for name in functions() if self._waiting & _files(name)]
        with own_directory("rewards-reload") as directory:
            built = {name: _build(name, Path(directory)) for name in holders if name in self._functions}
            if built:
                self._check_start(built, Path(directory))
            for name, artifact in built.items():
                self._deploy(self._functions[name], artifact)
        changed, self._waiting = self._waiting, set()
        self._publish(path for path in changed if path.is_relative_to(ROOT / "web"))
        if built:
            named = ", ".join(built) if len(built) <= _NAMED else f"{len(built)} functions"
            self._say(f"reloaded {named}: {', '.join(sorted(map(_name, changed)))}")
        if any(path.is_relative_to(ROOT / "sql" / "migrations") for path in changed):
            self._say("a migration has changed: make invoke FUNCTION=MigrateFunction applies what is new")

    def _check_start(self, built: dict[str, Path], directory: Path) -> None:
        """Import the handlers as their functions would. Raises BrokenError."""
        together = directory / "together"
        for artifact in built.values():
            shutil.copytree(artifact, together, dirs_exist_ok=True)
        starts = [[bundle.handler_module(name), self._functions[name].variables] for name in built]
        layer = bundle.layer(for_host=True) / "python"
        done = subprocess.run(
            [ROOT / ".local" / "emulator" / "bin" / "python", "-B", "-P", "-c", _START],
            input=json.dumps(starts),
            env={**self._region.environment, "PYTHONPATH": f"{together}:{layer}"},
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        if done.stdout.strip():
            failure = json.loads(done.stdout.strip().splitlines()[-1])
            raise BrokenError(_told(failure, together))
        if done.returncode:
            raise BrokenError(done.stderr.strip()[-1000:])

    def _deploy(self, function: Function, artifact: Path) -> None:
        client = self._region.client("lambda")
        has_alias = "AutoPublishAlias" in functions()[function.id]
        made = client.update_function_code(
            FunctionName=function.name, ZipFile=_zipped(artifact), Publish=has_alias
        )
        if has_alias:
            version = made["Version"]
            client.update_alias(FunctionName=function.name, Name="live", FunctionVersion=version)
            # Requests that the version before is serving end there; its processes go with the next reload.
            before = self._replaced.get(function.id)
            if before:
                client.delete_function(FunctionName=function.name, Qualifier=before)
            self._replaced[function.id] = version
        if function.id == _RELAY:
            # Its run has ended with its code, and the schedule's next one is up to a minute away.
            client.invoke(FunctionName=function.name, InvocationType="Event")

    def _publish(self, paths: Iterable[Path]) -> None:
        from handlers.publish_pages import CONTENT_TYPES, write

        bucket, client = self._region.resources["PagesBucket"], self._region.client("s3")
        for path in sorted(paths):
            key = path.relative_to(ROOT / "web").as_posix()
            if not path.exists():
                client.delete_object(Bucket=bucket, Key=key)
            elif path.suffix in CONTENT_TYPES:
                write(client, bucket, key, path.read_bytes(), CONTENT_TYPES[path.suffix])
            else:
                self._say(f"{_name(path)} is not published: pages have no files of this kind")


def _states() -> dict[Path, _State]:
    return dict(_state_of_each())


def _state_of_each() -> Iterator[tuple[Path, _State]]:
    files = [ROOT / name for name in DEPLOYED]
    files += [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.*")]
    for path in files:
        # Nor what an editor keeps beside the file that it has open.
        if path.suffix == ".pyc" or path.name.startswith((".", "#")) or path.name.endswith("~"):
            continue
        try:
            stat = path.stat()
        except FileNotFoundError:  # removed meanwhile
            continue
        yield path, (stat.st_mtime_ns, stat.st_size)


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _files(function: str) -> set[Path]:
    modules = bundle.modules_of(function)
    return {*modules.values(), *bundle.sql_of(modules), *bundle.files_of(modules)}


def _build(function: str, directory: Path) -> Path:
    artifact = directory / function
    artifact.mkdir()
    bundle.function(function, artifact, for_host=True, bytecode=False)
    return artifact


def _told(failure: dict[str, Any], directory: Path) -> str:
    """Say where in the sources a start failed: the innermost place that is ours."""
    ours = [
        f"{Path(file).relative_to(directory).as_posix()}:{line}"
        for file, line in failure["places"]
        if Path(file).is_relative_to(directory)
    ]
    return f"{ours[-1] if ours else failure['module']}: {failure['error']}"


def _zipped(artifact: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(artifact.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(artifact))
    return buffer.getvalue()
