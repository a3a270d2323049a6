"""A container engine on this machine, and a way for its containers to reach this machine.

Database and emulator listen on 127.0.0.1, where no container gets to. An engine in a virtual machine of its
own (Docker Desktop and its like) leads `host.docker.internal` there. One that shares this machine's kernel
has a bridge: while a container needs it, a forwarder listens at its address, to its containers alone.
"""

import ipaddress
import json
import os
import platform
import selectors
import shutil
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, NamedTuple

from local_dsql.guard import Guarded, StartError
from local_dsql.ports import HOST

#: What a container calls this machine.
NAME_OF_HOST = "host.docker.internal"

NO_ENGINE = (
    "No container engine answers on this machine (looked at DOCKER_HOST and the usual sockets of Docker, "
    "Podman, Colima, OrbStack and Rancher). Start one, or leave CONTAINER=1 out: it needs none."
)

_START_TIMEOUT_S = 20.0
_CHUNK_BYTES = 65536
#: Linux's: bind to an address that is not there yet. A bridge comes with its first container.
_IP_FREEBIND = 15


class Engine(NamedTuple):
    """An engine that answers: its socket, its processor as Lambda calls it, and its bridge.

    `bridge` is the address of this machine on the network of its containers; None where their
    `host.docker.internal` is this machine's 127.0.0.1 already.
    """

    socket: Path
    architecture: str
    bridge: ipaddress.IPv4Interface | None

    @property
    def url(self) -> str:
        """What DOCKER_HOST has to be."""
        return f"unix://{self.socket}"


@contextmanager
def engine(directory: Path) -> Iterator[Engine]:
    """Give the engine that is there; start Podman's service where there is Podman and nothing that answers.

    `directory` is for what that writes. Raises StartError.
    """
    with ExitStack() as stack:
        found = next(filter(_answers, _sockets()), None)
        if found is None and "DOCKER_HOST" not in os.environ and shutil.which("podman"):
            found = directory / "podman.sock"
            command = ["podman", "system", "service", "--time=0", f"unix://{found}"]
            environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
            service = Guarded(command, environment, directory / "podman.log")
            stack.callback(service.stop)
            deadline = time.monotonic() + _START_TIMEOUT_S
            while not _answers(found):
                if service.ended() or time.monotonic() > deadline:
                    raise StartError(f"Podman's service did not start. It said last:\n{service.last_lines()}")
                time.sleep(0.05)
        if found is None:
            raise StartError(NO_ENGINE)
        yield _described(found)


def _sockets() -> list[Path]:
    given = os.environ.get("DOCKER_HOST", "")
    if given:
        if not given.startswith("unix://"):
            raise StartError(
                f"DOCKER_HOST is {given}: that engine's containers cannot reach this machine's 127.0.0.1. "
                "Point it at the socket of an engine on this machine, unix:///..."
            )
        return [Path(given.removeprefix("unix://"))]
    home, runtime = Path.home(), Path(os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}"))
    return [
        Path("/var/run/docker.sock"),
        home / ".docker" / "run" / "docker.sock",
        home / ".orbstack" / "run" / "docker.sock",
        home / ".colima" / "default" / "docker.sock",
        home / ".rd" / "docker.sock",
        Path("/run/podman/podman.sock"),
        runtime / "docker.sock",
        runtime / "podman" / "podman.sock",
    ]


class _OverSocket(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _ask(path: Path, what: str) -> Any:
    connection = _OverSocket(path)
    try:
        connection.request("GET", what)
        answer = connection.getresponse()
        return json.loads(answer.read()) if answer.status == 200 else None
    finally:
        connection.close()


def _answers(path: Path) -> bool:
    with suppress(OSError, HTTPException, ValueError):
        return _ask(path, "/info") is not None
    return False


def _described(path: Path) -> Engine:
    information = _ask(path, "/info")
    machine = information.get("Architecture") or platform.machine()
    architecture = "arm64" if machine in ("aarch64", "arm64") else "x86_64"
    if sys.platform != "linux" or "Docker Desktop" in str(information.get("OperatingSystem")):
        return Engine(path, architecture, None)
    if any("rootless" in str(option) for option in information.get("SecurityOptions") or ()):
        raise StartError(
            f"The engine at {path} runs rootless: its containers have no way to this machine's 127.0.0.1. "
            "Use one that runs as root or Docker Desktop, or leave CONTAINER=1 out: it needs none."
        )
    for network in ("bridge", "podman"):
        described = _ask(path, f"/networks/{network}") or {}
        for config in described.get("IPAM", {}).get("Config") or ():
            subnet = ipaddress.ip_network(config["Subnet"], strict=False)
            if subnet.version == 4:
                gateway = config.get("Gateway") or next(subnet.hosts())
                return Engine(path, architecture, ipaddress.IPv4Interface(f"{gateway}/{subnet.prefixlen}"))
    raise StartError(f"The engine at {path} has no network named bridge or podman with an address.")


@contextmanager
def reachable(bridge: ipaddress.IPv4Interface | None, ports: Iterable[int]) -> Iterator[dict[int, int]]:
    """Have containers reach these ports of this machine's 127.0.0.1; give the ports that they reach them by.

    Where there is a bridge, a forwarder listens at free ports of its address. Raises StartError.
    """
    if bridge is None:
        yield {port: port for port in ports}
        return
    forwarder = _Forwarder(bridge)
    try:
        reached_by = {port: forwarder.listen(port) for port in ports}
        forwarder.start()
        yield reached_by
    finally:
        forwarder.stop()


class _Forwarder:
    """Takes connections from the bridge's own network and passes their bytes on to 127.0.0.1."""

    def __init__(self, bridge: ipaddress.IPv4Interface) -> None:
        self._bridge = bridge
        self._targets: dict[socket.socket, int] = {}
        self._open: set[socket.socket] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def listen(self, target: int) -> int:
        listener = socket.socket()
        self._targets[listener] = target
        listener.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        try:
            listener.bind((str(self._bridge.ip), 0))
        except OSError as error:
            raise StartError(
                f"Nothing can listen at the bridge, {self._bridge.ip}: {error.strerror}."
            ) from None
        listener.listen()
        port: int = listener.getsockname()[1]
        return port

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        for each in (*self._targets, *self._open):
            each.close()

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            for listener in self._targets:
                selector.register(listener, selectors.EVENT_READ)
            while not self._stopping.is_set():
                for key, _ in selector.select(timeout=0.2):
                    assert isinstance(key.fileobj, socket.socket)
                    self._serve(key.fileobj)

    def _serve(self, listener: socket.socket) -> None:
        near, (address, _) = listener.accept()
        # guard: only the bridge's containers get through, not whoever routes to its address
        if ipaddress.ip_address(address) not in self._bridge.network:
            near.close()
            return
        far = socket.socket()
        try:
            far.connect((HOST, self._targets[listener]))
        except OSError:
            near.close()
            far.close()
            return
        self._open |= {near, far}
        for source, target in ((near, far), (far, near)):
            threading.Thread(target=_pass_on, args=(source, target), daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(_CHUNK_BYTES):
            target.sendall(chunk)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
