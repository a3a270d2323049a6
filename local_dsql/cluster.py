"""A local Aurora DSQL for the length of a `with` block: PostgreSQL, and the server before it."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from psycopg.conninfo import make_conninfo

from local_dsql.guard import Guarded, StartError
from local_dsql.key_files import write_keys
from local_dsql.limits import QUERY_MEMORY_KIB
from local_dsql.places import own_directory
from local_dsql.ports import HOST, require_port
from local_dsql.postgres import EmbeddedPostgres
from local_dsql.process import Settings, ready_file
from local_dsql.server import DATABASE, SUPERUSER
from local_dsql.tls import Authority
from local_dsql.tokens import Key

_START_TIMEOUT_S = 30.0
_PACKAGE_PARENT = Path(__file__).resolve().parents[1]

POSTGRES_SETTINGS = {
    # Who parks others finds out soon that both wait.
    "deadlock_timeout": "20ms",
    "temp_file_limit": f"{QUERY_MEMORY_KIB}kB",
}
"""What the PostgreSQL behind has to be told."""


class LocalDsql:
    """An Aurora DSQL on this machine; it ends with the block, and with this process however that ends.

    `postgres` is the PostgreSQL behind it, a running one of the caller's or its own, for what DSQL does not
    let through: looking on, making databases. `keys` are the access keys whose tokens are taken, by their id;
    with None whoever connects is let in, as whatever role they say. `key_files` hold more, also such as are
    written later: see `take_keys`. `names` are what the server is called beside its host. `limits` are those
    of `server.Limits` that are to differ, `faults` those of `faults.Faults` that are to come by chance. With
    `tls` connections may be encrypted, with `requires_tls` they must be, as on DSQL: the psql that comes with
    the PostgreSQL behind knows no TLS. `any_database` serves every database of the PostgreSQL behind, where
    DSQL has one.
    """

    def __init__(
        self,
        directory: Path,
        *,
        postgres: EmbeddedPostgres | None = None,
        port: int | None = None,
        tls: bool = True,
        region: str = "us-east-1",
        keys: Mapping[str, Key] | None = None,
        key_files: Iterable[Path] = (),
        names: Iterable[str] = (),
        limits: Mapping[str, Any] | None = None,
        faults: Mapping[str, float] | None = None,
        any_database: bool = False,
        requires_tls: bool = False,
        log_statements: bool = False,
        fsync: bool = True,
        connections: int = 300,
    ) -> None:
        self.host = HOST if not tls else "localhost"
        self.port = port or 0
        self.region = region
        self._given_port = port
        self._directory = directory
        self._tls = tls
        self._keys = keys
        self._key_files = list(key_files)
        self._names = tuple(names)
        self._limits = dict(limits or {})
        self._faults = dict(faults or {})
        self._any_database = any_database
        self._requires_tls = requires_tls
        self._own_postgres = postgres is None
        self.postgres = postgres or EmbeddedPostgres(
            directory / "data",
            log_statements=log_statements,
            fsync=fsync,
            settings={**POSTGRES_SETTINGS, "max_connections": str(connections)},
        )
        self.ca_file: Path | None = None
        """The certificate to verify the server's with; None without TLS."""
        self._process: Guarded | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start, in some 2 s. Raises StartError."""
        require_port(self._given_port)
        with ExitStack() as stack:
            if self._own_postgres:
                stack.enter_context(self.postgres)
            # Of our own alone: it holds the secrets of access keys.
            place = stack.enter_context(own_directory("local-dsql"))
            self._start(place, stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server, then its PostgreSQL."""
        self._stack.close()

    def is_running(self) -> bool:
        """Tell whether neither the server nor its PostgreSQL has been stopped or has ended by itself."""
        return self._process is not None and not self._process.ended() and self.postgres.is_running()

    def conninfo(self, database: str = DATABASE, role: str = SUPERUSER) -> str:
        """Give what `psycopg.connect` needs but for a token."""
        options: dict[str, Any] = {"host": self.host, "port": self.port, "dbname": database, "user": role}
        if self.ca_file is not None:
            options |= {"sslmode": "verify-full", "sslrootcert": str(self.ca_file)}
        return make_conninfo(**options)

    def endpoint(self, region: str) -> int:
        """Give the port of the cluster's endpoint in a Region, which is opened when it is asked for first.

        Where anybody is let in, one endpoint does for all. Raises StartError.
        """
        if self._keys is None:
            return self.port
        settings = Settings.read(self._settings)
        if region not in settings.endpoints:
            settings._replace(endpoints={**settings.endpoints, region: 0}).write(self._settings)
            os.kill(self.process_id, signal.SIGHUP)
        return self._wait_for(region)

    def take_keys(self, path: Path) -> None:
        """Take the tokens of the access keys in a file, too, as it is at each login (`local_dsql.key_files`).

        Whoever adds to it has to have done so before the key is used. Keys of a file that goes are gone.
        """
        if self._keys is not None:
            number = len(list(self._keys_directory.iterdir()))
            (self._keys_directory / f"{number:04}.json").symlink_to(path.absolute())

    @property
    def process_id(self) -> int:
        """The server's process, for measurements. Raises RuntimeError before it is started."""
        if self._process is None:
            raise RuntimeError("the server is not started")
        return self._process.child_pid()

    def _start(self, place: Path, stack: ExitStack) -> None:
        self._keys_directory = place / "keys"
        self._keys_directory.mkdir()
        if self._keys is not None:
            write_keys(self._keys_directory / "0000.json", self._keys)
            for each in self._key_files:
                self.take_keys(each)
        certificate = ""
        if self._tls:
            authority = Authority(place)
            certificate, self.ca_file = str(authority.server_certificate(self.host)), authority.ca_file
        path = self._settings = place / "settings.json"
        Settings(
            postgres_port=self.postgres.port,
            postgres_socket=str(self.postgres.socket or ""),
            endpoints={self.region: self._given_port or 0},
            certificate=certificate,
            token_hosts=[self.host, *self._names],
            keys="" if self._keys is None else str(self._keys_directory),
            limits=self._limits,
            faults=self._faults,
            any_database=self._any_database,
            requires_tls=self._requires_tls,
        ).write(path)
        environment = {**os.environ, "PYTHONPATH": str(_PACKAGE_PARENT)}
        command = [sys.executable, "-m", "local_dsql.process", str(path)]
        self._process = Guarded(command, environment, place / "server.log")
        stack.callback(self._process.stop)
        self.port = self._wait_for(self.region)

    def _wait_for(self, region: str) -> int:
        """Give the port of an endpoint as soon as it is open. Raises StartError."""
        assert self._process is not None
        ready = ready_file(self._settings)
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            ports = json.loads(ready.read_text(encoding="utf-8")) if ready.exists() else {}
            if region in ports:
                return int(ports[region])
            if self._process.ended() or time.monotonic() > deadline:
                raise StartError(f"the local DSQL did not start: {self._process.last_lines()}")
            time.sleep(0.01)
