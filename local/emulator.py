"""MiniStack, the AWS emulator: a process of this one, on 127.0.0.1, that ends when this one ends."""

import os
import signal
import ssl
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
import httpx
import psutil
from botocore.config import Config

from local_dsql.guard import Guarded, StartError
from local_dsql.ports import HOST, free_port, require_port

START_TIMEOUT_S = 60.0
_LOSS_TIMEOUT_S = 60.0

#: What httpx is given as `verify` for plain HTTP: else each client reads the world's certificates, for 28 ms.
NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

# Not 12 digits: MiniStack would take those for an account, and unsigned Cognito calls would miss the pool.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
ACCOUNT = "000000000000"

#: Whose the key is.
ROOT_ARN = f"arn:aws:iam::{ACCOUNT}:root"

#: Whether what a function's role does not allow is refused, as AWS would.
ENFORCES_POLICIES = True

_ROOT = Path(__file__).resolve().parent.parent

#: Runs in the emulator's environment, by its path: MiniStack, with its policies enforced.
_PROCESS = Path(__file__).with_name("emulator_process.py")


class Emulator:
    """A MiniStack for the length of a `with` block; everything it writes goes under `directory`.

    A `durable` one can be lost and come back with what AWS keeps through an outage: queues with their
    messages, users, objects, the stack.
    """

    def __init__(
        self, directory: Path, region_name: str, port: int | None = None, *, durable: bool = False
    ) -> None:
        self.region_name = region_name
        self.port = port or 0
        self.log = directory / "emulator.log"
        #: Each kind of call that was authorized: lines of JSON with principal, action, resource, decision.
        self.authorizations = directory / "authorizations.jsonl"
        #: The access keys of roles' sessions, for the database that verifies what is signed with them.
        self.keys = directory / "keys.json"
        self._directory = directory
        self._chosen_port = port
        self._durable = durable
        self._process: Guarded | None = None
        self._session = boto3.Session(
            CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"], region_name=region_name
        )
        self._clients: dict[str, Any] = {}
        self._making_a_client = threading.Lock()

    @property
    def endpoint_url(self) -> str:
        """Where every AWS API of the emulator answers."""
        return f"http://{HOST}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What an AWS tool needs to talk to the emulator and nothing else, whatever the user has set up."""
        return {
            **CREDENTIALS,
            "AWS_REGION": self.region_name,
            "AWS_DEFAULT_REGION": self.region_name,
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "NO_PROXY": f"{HOST},localhost",
            "no_proxy": f"{HOST},localhost",
        }

    def client(self, service: str) -> Any:
        """Give the boto3 client of a service of the emulator, the same one to every thread that asks."""
        # Making one costs more than most calls, and a session makes only one at a time.
        with self._making_a_client:
            if service not in self._clients:
                self._clients[service] = self._session.client(
                    service,  # type: ignore[call-overload]  # a name known at run time only
                    endpoint_url=self.endpoint_url,
                    config=Config(proxies={}, max_pool_connections=32),
                )
            return self._clients[service]

    def start(self) -> None:
        """Start without waiting; `wait` tells when it answers. Raises StartError."""
        require_port(self._chosen_port)
        self.port = self._chosen_port or free_port()
        temporary = self._directory / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        # Those of functions that ended with a Region are good for nothing any more.
        self.keys.unlink(missing_ok=True)
        self.keys.touch(mode=0o600)
        # A clean environment: the functions that the emulator runs inherit it.
        environment = {
            **self.environment,
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(temporary),
            "BIND_HOST": HOST,
            "GATEWAY_PORT": str(self.port),
            # Browsers look for no *.localhost elsewhere: it makes names for distributions' pages.
            "MINISTACK_HOST": "localhost",
            "MINISTACK_REGION": self.region_name,
            "TMPDIR": str(temporary),
            "STATE_DIR": str(self._directory / "state"),
            "S3_DATA_DIR": str(self._directory / "s3"),
            # It would listen at a fixed port, on every address of this machine.
            "IOT_MTLS_ENABLED": "0",
            # Roles and their policies are not in the state that a durable one keeps.
            "AUTH": "true" if ENFORCES_POLICIES and not self._durable else "false",
            "AUTHORIZATION_LOG": str(self.authorizations),
            "KEYS_FILE": str(self.keys),
            # Of an endpoint, the first label is the cluster's identifier: so template.yaml has it.
            "CLUSTER_ARN": f"arn:aws:dsql:{self.region_name}:{ACCOUNT}:cluster/{HOST.partition('.')[0]}",
        }
        if self._durable:
            environment |= {"PERSIST_STATE": "1", "S3_PERSIST": "1"}
        python = _ROOT / ".local" / "emulator" / "bin" / "python"
        if not python.exists():
            raise StartError("MiniStack is not installed; run `make tools`")
        self._process = Guarded([python, _PROCESS], environment, self.log)

    def wait(self) -> None:
        """Wait until it answers. Raises StartError."""
        # A port that was free when asked for may be taken a moment later: then ask for another.
        for last_attempt in (False, False, True):
            if self._answers():
                return
            assert self._process is not None
            ended, said = self._process.ended(), self._process.last_lines()
            self.stop()
            if self._chosen_port or last_attempt or not ended:
                raise StartError(f"MiniStack did not start on port {self.port}. It said last:\n{said}")
            self.start()

    def _answers(self) -> bool:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._process.ended() and time.monotonic() < deadline:
            try:
                if _get(f"{self.endpoint_url}/_ministack/health").is_success:
                    return True
            except httpx.HTTPError:
                time.sleep(0.05)
        return False

    def is_running(self) -> bool:
        """Tell whether it has neither been stopped nor ended by itself."""
        return self._process is not None and not self._process.ended()

    def last_lines(self) -> str:
        """Give the end of its log."""
        return self._process.last_lines() if self._process is not None else ""

    def stop(self) -> None:
        """Kill it with its Lambda workers; nothing of its state is kept."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def lose(self) -> None:
        """End every function with SIGKILL, now and until a durable emulator has written its state and ended.

        Raises StartError when it does not end.
        """
        assert self._process is not None
        emulator = psutil.Process(self._process.child_pid())
        _kill_children(emulator)
        emulator.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _LOSS_TIMEOUT_S
        while not self._process.ended():
            if time.monotonic() > deadline:
                raise StartError(f"the emulator did not end. It said last:\n{self.last_lines()}")
            _kill_children(emulator)  # it starts them again for what is under way
            time.sleep(0.02)
        self.stop()

    def come_back(self) -> None:
        """Start again at the same port with the state that `lose` has left. Raises StartError."""
        self._chosen_port = self.port
        self.start()
        self.wait()

    def function_processes(self, function: str) -> list[psutil.Process]:
        """Give the processes that run a function now, by its logical id in the template."""
        if self._process is None or self._process.ended():
            return []
        found = []
        for process in psutil.Process(self._process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                # Each works in a directory of its own, which bears the function's name.
                if f"-{function}-" in process.cwd():
                    found.append(process)
        return found

    def emails(self) -> list[dict[str, Any]]:
        """Give the messages that SES was asked to send: MessageId, Source, To, Subject, BodyText and more."""
        answer = _get(f"{self.endpoint_url}/_ministack/ses/messages").raise_for_status().json()
        messages: list[dict[str, Any]] = answer["messages"].get(ACCOUNT, [])
        return messages

    def __enter__(self) -> Self:
        """Start and wait until it answers. Raises StartError."""
        self.start()
        self.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()


def _kill_children(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        for child in process.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()


def _get(url: str) -> httpx.Response:
    # Not the environment's proxies: the address is this machine's.
    return httpx.get(url, timeout=10, trust_env=False, verify=NO_CERTIFICATES)
