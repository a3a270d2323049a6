"""Start functions' processes as forks of one that has imported the libraries which their layer holds.

Most of a start is importing them: half a second of processor time, and a Region starts a dozen processes
before its first order is through. The process that is forked imports them once, from the same layer; a
function's own modules, its variables and its clients are its own, as before. How long a start takes in Lambda
is measured with Lambda's runtime, which knows nothing of this (`bench/coldstart.py`).

The emulator asks with `start`; run as a program, by its path and in the emulator's environment, this is the
process that is forked. Where the system is not Linux, or older than 5.3, and where a function has another
layer or a variable that changes what is imported, its process starts as MiniStack starts it.
"""

import ctypes
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import site
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NoReturn

#: What functions import of their layer and of Lambda's runtime.
LIBRARIES = (
    "aws_lambda_powertools.logging.formatter",
    "aws_lambda_powertools.metrics",
    "boto3",
    "botocore.config",
    "psycopg",
    "pydantic",
)

#: Variables that the libraries read while they are imported: a function that sets one imports them itself.
READ_BY_LIBRARIES = frozenset(
    {
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_NEW_RETRIES_2026",
        "POWERTOOLS_DEBUG",
        "PSYCOPG_IMPL",
        "PSYCOPG_WAIT_FUNC",
    }
)

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_MOST_BYTES = 1 << 17


# --- The emulator's side --------------------------------------------------------------------------------


class Forked:
    """A function's process, with what MiniStack uses of subprocess.Popen."""

    def __init__(self, pid: int, stdin: IO[str], stdout: IO[str], stderr: IO[str]) -> None:
        self.pid = pid
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self._handle: int | None = None
        with suppress(ProcessLookupError):  # it has ended by now
            self._handle = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Give None while it runs; how it ended is not known, nor asked for."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises subprocess.TimeoutExpired."""
        code = self._ended(None if timeout is None else timeout * 1000)
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return code

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self._send(signal.SIGKILL)

    def _ended(self, timeout_ms: float | None) -> int | None:
        if self._handle is not None:
            poll = select.poll()
            poll.register(self._handle, select.POLLIN)
            if not poll.poll(timeout_ms):
                return None
        return -1

    def _send(self, number: signal.Signals) -> None:
        if self._handle is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)

    def __del__(self) -> None:
        if self._handle is not None:
            os.close(self._handle)


class _Starter:
    """The process that is forked for functions of one layer."""

    def __init__(self, layers: str) -> None:
        self._socket, its_own = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its_own:
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(its_own.fileno()), layers],
                stdin=subprocess.DEVNULL,
                pass_fds=[its_own.fileno()],
            )

    def fork(self, request: bytes, files: Sequence[int]) -> int | None:
        """Give the process id of a fork, None when there is no forking any more."""
        with suppress(OSError):
            socket.send_fds(self._socket, [request], files)
            if answer := self._socket.recv(64):
                return int(answer)
        self.stop()
        return None

    def stop(self) -> None:
        self._socket.close()
        self._process.kill()
        self._process.wait()


_starters: dict[str, _Starter] = {}
_asking = threading.Lock()


def start(
    command: Sequence[str], *, cwd: str, env: Mapping[str, str], **options: Any
) -> Forked | subprocess.Popen[str]:
    """Start the process of a function, whose `command` is the interpreter and MiniStack's script."""
    layer = _layer(env.get("_LAMBDA_LAYERS_DIRS", ""))
    request = json.dumps({"script": command[-1], "directory": cwd, "variables": dict(env)}).encode()
    its_own = READ_BY_LIBRARIES & env.keys() or len(request) >= _MOST_BYTES
    if layer and not its_own and _can_fork():
        forked = _fork(layer, env["_LAMBDA_LAYERS_DIRS"], request)
        if forked is not None:
            return forked
    return subprocess.Popen(command, cwd=cwd, env=env, **options)


@functools.cache
def _can_fork() -> bool:
    """Tell whether a process can be held by a handle: on Linux 5.3, by a Python that was built for it."""
    try:
        handle = os.pidfd_open(os.getpid())
    except (AttributeError, OSError):
        return False
    try:
        signal.pidfd_send_signal(handle, 0)
    except (AttributeError, OSError):
        return False
    finally:
        os.close(handle)
    return True


def _layer(directories: str) -> str:
    """Give what tells the one layer of a function from others, nothing where it is not as built for here.

    `tools/bundle.py` makes it a path file, which leads to the libraries.
    """
    files = [path for path in Path(directories).rglob("*") if path.is_file()] if directories else []
    return files[0].read_text(encoding="utf-8") if [file.suffix for file in files] == [".pth"] else ""


def _fork(layer: str, directories: str, request: bytes) -> Forked | None:
    stdin, ours_in = os.pipe()
    ours_out, stdout = os.pipe()
    ours_err, stderr = os.pipe()
    try:
        with _asking:
            pid = None
            # One that has been killed, as everything of a Region that is lost, is started again.
            for _attempt in range(2):
                starter = _starters.get(layer) or _starters.setdefault(layer, _Starter(directories))
                pid = starter.fork(request, (stdin, stdout, stderr))
                if pid is not None:
                    break
                del _starters[layer]
    finally:
        for file in (stdin, stdout, stderr):
            os.close(file)
    if pid is None:
        for file in (ours_in, ours_out, ours_err):
            os.close(file)
        return None
    return Forked(
        pid,
        os.fdopen(ours_in, "w", buffering=1, encoding="utf-8"),
        os.fdopen(ours_out, encoding="utf-8"),
        os.fdopen(ours_err, encoding="utf-8"),
    )


# --- The process that is forked -------------------------------------------------------------------------


def _serve(asking: socket.socket, layers: str) -> None:
    """Import the libraries, then fork for each request until the emulator has gone."""
    path = list(sys.path)
    for directory in Path(layers).glob("python/lib/*/site-packages"):
        site.addsitedir(str(directory))
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that end
    own_pid = os.getpid()
    while True:
        said, files, _flags, _address = socket.recv_fds(asking, _MOST_BYTES, 3)
        if not said:
            return
        pid = os.fork()
        if not pid:
            asking.close()
            _become_function(json.loads(said), files, path, own_pid)
        for file in files:
            os.close(file)
        asking.send(str(pid).encode())


def _become_function(request: dict[str, Any], files: Sequence[int], path: list[str], parent: int) -> NoReturn:
    """Go on as a process would that had been started with the request's script, and end as it ends."""
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:  # which was killed before
        os._exit(1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["variables"])
    time.tzset()
    script = request["script"]
    sys.argv = [script]
    # The layer is found again by the script itself.
    sys.path[:] = [str(Path(script).parent), *path]
    runpy.run_path(script, run_name="__main__")
    sys.exit()


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
