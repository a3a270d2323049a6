"""Lambda's real runtime without a container: AWS's interface emulator around AWS's runtime client.

The emulator comes with the SAM CLI, the client is the package `awslambdaric`. A function runs from its built
artifacts, with nothing else to import but what Lambda's runtime carries, so a module missing in an artifact
is missing here as well.
"""

import json
import os
import platform
import re
import socket
import time
from collections.abc import Mapping
from http.client import HTTPConnection
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from local_dsql.guard import Guarded, StartError
from local_dsql.ports import HOST
from tools import bundle

START_TIMEOUT_S = 30.0
#: Longer than any function may run.
INVOKE_TIMEOUT_S = 1000.0

#: What Lambda's Python runtime brings along; what these need follows from their metadata.
CARRIED = ("awslambdaric", "boto3")

#: The interpreter of the one environment without any package of ours, made by the one that made the others.
PYTHON = bundle.ROOT / ".local" / "tools" / "bin" / "python"

_INVOKE = "/2015-03-31/functions/function/invocations"
_INIT_REPORT = re.compile(r"INIT REPORT\(durationMs: ([0-9.]+)\)")
_STARTED = "INIT RTDONE(status: success)"
#: Lines of the emulator's own, and those that Lambda writes around an invocation.
_NOT_THE_FUNCTIONS = re.compile(r"\d\d \w{3} \d{4} [\d:,]+ \[\w+\] \(rapid\) |(START|END|REPORT) RequestId: ")
_REQUIRED = re.compile(r"^[A-Za-z0-9._-]+")


class Artifacts:
    """Artifacts built for this machine, below a directory: the layer, and each function when asked for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        #: Where the layer's packages are: on AWS /opt/python.
        self.layer = bundle.layer(for_host=True) / "python"
        _link_carried(self.carried)

    @property
    def carried(self) -> Path:
        """Where the packages are that Lambda's runtime carries."""
        return self._directory / "runtime"

    def function(self, name: str) -> Path:
        """Give the directory of a function's artifact, built when it is asked for first."""
        directory = self._directory / name
        if not directory.exists():
            directory.mkdir(parents=True)
            bundle.function(name, directory, for_host=True)
        return directory


class Runtime:
    """One execution environment for the length of a `with` block; its first invocation is its cold start.

    `path` is where modules are looked for before what the runtime carries; `environment` is what a function
    finds beside what Lambda itself sets. `output` gets what the function and the emulator print.
    """

    def __init__(
        self,
        handler: str,
        task: Path,
        path: list[Path],
        environment: Mapping[str, str],
        output: Path,
        options: tuple[str, ...] = (),
    ) -> None:
        self._handler = handler
        self._task = task
        self._path = path
        self._environment = environment
        self._output = output
        self._options = options
        self._address = ""
        self._process: Guarded | None = None

    @classmethod
    def of(cls, function: str, artifacts: Artifacts, environment: Mapping[str, str], output: Path) -> Self:
        """Give the environment of a function of the template, by its logical id."""
        task = artifacts.function(function)
        handler = f"{bundle.handler_module(function)}.handler"
        variables = {"AWS_LAMBDA_FUNCTION_NAME": function, **environment}
        return cls(handler, task, [task, artifacts.layer, artifacts.carried], variables, output)

    def __enter__(self) -> Self:
        """Start the emulator; the function starts with its first event. Raises StartError."""
        emulator = _emulator()
        # Two ports at once, so that they differ.
        with socket.socket() as one, socket.socket() as two:
            for probe in (one, two):
                probe.bind((HOST, 0))
            addresses = [f"{HOST}:{probe.getsockname()[1]}" for probe in (one, two)]
        self._address = addresses[0]
        environment = {
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            "TZ": ":UTC",
            "PYTHONPATH": os.pathsep.join(map(str, self._path)),
            "LAMBDA_TASK_ROOT": str(self._task),
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            # Nothing but these keys is to be found, whoever starts this: no profile, no role of a machine.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": HOST,
            "no_proxy": HOST,
            **self._environment,
        }
        command: list[str | Path] = [emulator, "--runtime-interface-emulator-address", addresses[0]]
        command += ["--runtime-api-address", addresses[1]]
        # -P: this project's folder must not be looked into before the artifacts.
        command += [PYTHON, "-P", *self._options, "-m", "awslambdaric", self._handler]
        self._process = Guarded(command, environment, self._output)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _listens(self._address):
            if self._process.ended() or time.monotonic() > deadline:
                said = self._process.last_lines()
                self.__exit__(None, None, None)
                raise StartError(f"Lambda's interface emulator did not start. It said last:\n{said}")
            time.sleep(0.005)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill the function and the emulator."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def invoke(self, event: object) -> Any:
        """Send an event and give the function's answer; one that failed answers with an `errorType`."""
        connection = HTTPConnection(self._address, timeout=INVOKE_TIMEOUT_S)
        connection.request("POST", _INVOKE, json.dumps(event).encode())
        text = connection.getresponse().read().decode()
        connection.close()
        try:
            return json.loads(text)
        except ValueError:
            return text

    def start(self) -> None:
        """Have the function start without waiting for what it makes of its first event, which is empty.

        Raises StartError for a function that does not start.
        """
        connection = HTTPConnection(self._address)
        connection.request("POST", _INVOKE, b"{}")
        deadline = time.monotonic() + START_TIMEOUT_S
        while _INIT_REPORT.search(self.log()) is None and time.monotonic() < deadline:
            time.sleep(0.002)
        connection.close()
        if _STARTED not in self.log():
            raise StartError(f"The function did not start. It said last:\n{self.log()[-3000:]}")

    @property
    def init_ms(self) -> float:
        """How long the start took: from the process to the client's first request for an event.

        Raises StartError before the first invocation and for a function that does not start.
        """
        found = _INIT_REPORT.search(self.log())
        if found is None:
            raise StartError(f"The function did not start. It said last:\n{self.log()[-3000:]}")
        return float(found[1])

    def cpu_ms(self) -> float:
        """Give the processor time that the function has taken so far, which a busy machine changes less."""
        assert self._process is not None
        for process in psutil.Process(self._process.pid).children(recursive=True):
            if process.cmdline()[:1] == [str(PYTHON)]:
                schedstat = Path(f"/proc/{process.pid}/schedstat")
                if schedstat.exists():
                    return int(schedstat.read_text(encoding="utf-8").split()[0]) / 1e6
                spent = process.cpu_times()
                return 1000 * (spent.user + spent.system)
        raise StartError("The function is not running. Invoke it first.")

    def log(self) -> str:
        """Give what was printed so far, the emulator's own lines included."""
        return self._output.read_text(encoding="utf-8", errors="replace")


def _emulator() -> Path:
    machine = {"aarch64": "arm64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())
    name = f"*/site-packages/samcli/local/rapid/aws-lambda-rie-{machine}"
    emulator = next((bundle.ROOT / ".local" / "sam" / "lib").glob(name), None)
    if emulator is None or not PYTHON.exists():
        raise StartError("the SAM CLI, which brings the interface emulator, is missing; run `make tools`")
    return emulator


def _link_carried(directory: Path) -> None:
    directory.mkdir(parents=True)
    waiting, seen = list(CARRIED), set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        found = metadata.distribution(name)
        for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            link = directory / top
            if not link.exists():
                link.symlink_to(Path(str(found.locate_file(top))))
        for requirement in found.requires or ():
            needed = _REQUIRED.match(requirement)
            if needed is not None and "extra ==" not in requirement:
                waiting.append(needed[0])


def _listens(address: str) -> bool:
    host, _, port = address.partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def function_lines(log: str) -> list[str]:
    """Give the lines of a log that the function itself wrote."""
    return [line for line in log.splitlines() if line and not _NOT_THE_FUNCTIONS.match(line)]
