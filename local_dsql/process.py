"""The server as a process of its own, for `LocalDsql`: python -m local_dsql.process SETTINGS.json.

It writes the ports that it listens on next to the settings, once it does. At SIGHUP it opens the endpoints
that the settings have more by then; it stops at SIGTERM.
"""

import asyncio
import json
import logging
import signal
import ssl
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from local_dsql.faults import Faults
from local_dsql.key_files import KeyFiles
from local_dsql.login import Verification
from local_dsql.ports import HOST
from local_dsql.server import Limits, QueryFailedError, Server


class Settings(NamedTuple):
    """What a server process is told."""

    postgres_port: int
    endpoints: Mapping[str, int]
    """The ports to listen on by their Regions; 0 is a free one."""
    postgres_socket: str = ""
    """PostgreSQL's Unix socket, which takes less time than its port; empty for none."""
    certificate: str = ""
    """A file with certificate and key; empty for a server without TLS."""
    token_hosts: Collection[str] = ()
    """The endpoints' names, which tokens are for."""
    keys: str = ""
    """The directory with the files of access keys; empty where anybody may come in."""
    limits: Mapping[str, Any] = {}
    """What differs from the limits of DSQL."""
    faults: Mapping[str, float] = {}
    """What goes wrong by chance."""
    any_database: bool = False
    requires_tls: bool = False

    def write(self, path: Path) -> None:
        """Write a file for a process to read."""
        path.write_text(json.dumps(self._asdict()), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Settings":
        """Read the file."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def server(self) -> Server:
        """Make the server."""
        tls = None
        if self.certificate:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(self.certificate)
        return Server(
            HOST,
            self.postgres_port,
            postgres_socket=self.postgres_socket,
            given_limits=Limits(**self.limits),
            faults=Faults(**self.faults),
            tls=tls,
            any_database=self.any_database,
            requires_tls=self.requires_tls,
        )


def ready_file(settings: Path) -> Path:
    """Give the file that a server process writes its ports to, as JSON by their Regions."""
    return settings.with_suffix(".ports")


async def serve(path: Path) -> None:
    """Serve until SIGTERM or SIGINT."""
    settings = Settings.read(path)
    server = settings.server()
    keys = KeyFiles(Path(settings.keys)) if settings.keys else None
    await server.start()
    told: asyncio.Queue[bool] = asyncio.Queue()  # whether to go on
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, told.put_nowait, number == signal.SIGHUP)
    ports: dict[str, int] = {}
    goes_on = True
    while goes_on:
        for region, port in Settings.read(path).endpoints.items():
            if region not in ports:
                verification = None if keys is None else Verification(settings.token_hosts, region, keys)
                ports[region] = await server.listen(HOST, port, verification)
        _write(ready_file(path), ports)
        goes_on = await told.get()
    await server.stop()


def _write(ready: Path, ports: Mapping[str, int]) -> None:
    # Renamed: never half of it, however early somebody reads it.
    written = ready.with_suffix(".new")
    written.write_text(json.dumps(ports), encoding="utf-8")
    written.rename(ready)


def _new_event_loop() -> asyncio.AbstractEventLoop:
    """Make uvloop's event loop, which takes less time for a message, where that is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def main() -> None:
    """Run the process."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    with asyncio.Runner(loop_factory=_new_event_loop) as runner:
        try:
            runner.run(serve(Path(sys.argv[1])))
        except QueryFailedError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
