"""The server as a process of its own, for `LocalDsql`: python -m local_dsql.process SETTINGS.json.

It writes the port that it listens on next to the settings, once it does, and stops at SIGTERM.
"""

import asyncio
import json
import logging
import signal
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from local_dsql.faults import Faults
from local_dsql.login import Verification
from local_dsql.ports import HOST
from local_dsql.server import Limits, Server
from local_dsql.tokens import Key


class Settings(NamedTuple):
    """What a server process is told."""

    postgres_port: int
    port: int = 0
    certificate: str = ""
    """A file with certificate and key; empty for a server without TLS."""
    token_host: str = ""
    """The host that tokens are for; empty where anybody may come in."""
    token_region: str = ""
    keys: Mapping[str, Mapping[str, Any]] = {}
    """What is known of access keys, by their id: the fields of tokens.Key."""
    limits: Mapping[str, Any] = {}
    """What differs from the limits of DSQL."""
    faults: Mapping[str, float] = {}
    """What goes wrong by chance."""
    any_database: bool = False
    requires_tls: bool = False

    def write(self, path: Path) -> None:
        """Write a file for a process to read; it holds secrets."""
        path.touch(mode=0o600)
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
        verification = None
        if self.token_host:
            keys = {
                name: Key(
                    **{**known, "actions": frozenset(known.get("actions") or Key._field_defaults["actions"])}
                )
                for name, known in self.keys.items()
            }
            verification = Verification(self.token_host, self.token_region, keys)
        return Server(
            HOST,
            self.postgres_port,
            given_limits=Limits(**self.limits),
            faults=Faults(**self.faults),
            tls=tls,
            verification=verification,
            any_database=self.any_database,
            requires_tls=self.requires_tls,
        )


def ready_file(settings: Path) -> Path:
    """Give the file that a server process writes its port to."""
    return settings.with_suffix(".port")


async def serve(settings: Settings, ready: Path) -> None:
    """Serve until SIGTERM or SIGINT."""
    server = settings.server()
    port = await server.start(HOST, settings.port)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    # Renamed: never half a number, however early somebody reads it.
    written = ready.with_suffix(".new")
    written.write_text(str(port), encoding="utf-8")
    written.rename(ready)
    await stopping.wait()
    await server.stop()


def main() -> None:
    """Run the process."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    path = Path(sys.argv[1])
    asyncio.run(serve(Settings.read(path), ready_file(path)))


if __name__ == "__main__":
    main()
