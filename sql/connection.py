"""One connection an execution environment, opened when first needed and replaced before it is too old."""

import os
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import psycopg

from sql.chance import CHANCE
from sql.errors import Barrier, LoginRefusedError, why_refused
from sql.pipeline import Connection as Connection
from sql.token import find_credentials, presign

if TYPE_CHECKING:
    from sql.admission import Admission

#: DSQL ends a connection after 60 minutes; environments leave earlier, each at a moment of its own, so that
#: they do not all come back at once against the limit of 100 new connections a second.
MAX_CONNECTION_AGE_S = 45 * 60
_AGE_SPREAD_S = 10 * 60

#: Seconds to open a connection in, shared by the host's addresses; psycopg gives none less than two.
CONNECT_S = 6
_SHORTEST_CONNECT_S = 2

_ADMIN_ROLE = "admin"

#: The authorities of DSQL's certificates. They travel with the code, so that it does not matter what an image
#: or a machine trusts; and libpq's sslrootcert=system looks in a directory that exists nowhere.
CERTIFICATES = Path(__file__).with_name("certificates") / "amazon.pem"


class RetryPolicy(NamedTuple):
    """How often a transaction is tried and how long to wait in between, in seconds.

    The wait before retry n is random between 0 and min(cap_s, base_s * 2**n) ("full jitter"). No attempt
    starts after `deadline_s`; the last takes CONNECT_S and the settings' `attempt_s` at most. All three
    together end before the caller's function does, and that before its gateway gives up.
    """

    attempts: int = 6
    base_s: float = 0.02
    cap_s: float = 1.0
    deadline_s: float = 12.0


class DatabaseSettings(NamedTuple):
    """Where the database is, who we are there, and how patient.

    `tls` is libpq's sslmode: `verify-full` for DSQL, `disable` for an embedded server on this machine.
    `pipelined` sends the statements of one exchange together; off, each statement is a round trip of its own.
    `attempt_s` is how many seconds one attempt at a transaction waits for its answers; by default as long as
    DSQL lets a transaction last. `retries` is how often a transaction is tried.
    """

    host: str
    role: str
    region: str
    port: int = 5432
    name: str = "postgres"
    tls: str = "verify-full"
    pipelined: bool = True
    attempt_s: float = 300.0
    application_name: str = "rewards"
    retries: RetryPolicy = RetryPolicy()


class TokenMinter(Protocol):
    """Gives the password for a connection."""

    def __call__(self, settings: DatabaseSettings) -> str:
        """Return a token for the settings' host, role and Region."""
        ...


def mint_token(settings: DatabaseSettings, expires_s: int = 900) -> str:
    """Sign a DSQL authentication token with the process's credentials. Raises RuntimeError without any."""
    action = "DbConnectAdmin" if settings.role == _ADMIN_ROLE else "DbConnect"
    return presign(
        find_credentials(), settings.host, settings.region, action, expires_s, now=datetime.now(UTC)
    )


class Database:
    """The way to one database as one role: keeps a connection, and opens another when that is due.

    Not for use by several threads at once; a Lambda execution environment serves one request at a time.
    """

    def __init__(
        self,
        settings: DatabaseSettings,
        mint: TokenMinter = mint_token,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.connections_opened = 0
        #: Whom the work is done for, while it is done for a caller; None for work of the shop's own.
        self.admission: Admission | None = None
        self._mint = mint
        # Wall-clock time: a frozen execution environment ages although its monotonic clock may stand still.
        self._clock = clock
        self._connection: Connection | None = None
        self._retire_at = 0.0

    def connection(self) -> Connection:
        """Give the kept connection, or a new one where it is closed, broken or too old.

        Raises psycopg.OperationalError when the server does not answer, sql.errors.LoginRefusedError (one of
        them) when it answers and there is no login: another try would end the same way.
        """
        connection = self._connection
        if connection is not None and not connection.closed and self._clock() < self._retire_at:
            return connection
        self.discard()
        connection = self._open()
        self._connection = connection
        self._retire_at = self._clock() + MAX_CONNECTION_AGE_S - CHANCE.uniform(0, _AGE_SPREAD_S)
        self.connections_opened += 1
        return connection

    def discard(self) -> None:
        """Close the kept connection, if any; the next use opens a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _open(self) -> Connection:
        settings = self.settings
        _forget_libpq_environment()
        give_up_at = time.monotonic() + CONNECT_S
        options: dict[str, Any] = {
            "host": settings.host,
            "port": settings.port,
            "dbname": settings.name,
            "user": settings.role,
            "password": self._mint(settings),
            "sslmode": settings.tls,
            # guard: the server's certificate is verified against Amazon's authorities
            "sslrootcert": trusted_certificates() if settings.tls == "verify-full" else None,
            "application_name": settings.application_name,
            "autocommit": True,  # transactions are explicit: BEGIN and COMMIT travel with their statements
            # A frozen environment wakes up with a dead socket: say so in seconds, not after minutes.
            "tcp_user_timeout": 5000,
            "keepalives_idle": 60,
        }
        failure: psycopg.OperationalError | None = None
        addresses = _addresses(settings.host, settings.port)
        # One by one: psycopg would give each of them the whole time.
        for untried, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            left_s = give_up_at - time.monotonic()
            if failure is not None and left_s < _SHORTEST_CONNECT_S:
                break
            timeout_s = int(max(left_s / untried, _SHORTEST_CONNECT_S))
            try:
                return Connection.connect(hostaddr=address, connect_timeout=timeout_s, **options)
            except psycopg.OperationalError as error:
                barrier = why_refused(str(error))
                if barrier is not None:
                    raise LoginRefusedError(barrier) from error
                failure = error
        assert failure is not None, "a host that resolves has an address"
        raise failure


def _forget_libpq_environment() -> None:
    # PGSERVICE, PGSSLMODE and their like speak of somebody else's server, and not all can be overruled.
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]


def trusted_certificates() -> str:
    """Give the file of trusted certificates: SSL_CERT_FILE, for who is behind a proxy, else Amazon's own.

    Raises sql.errors.LoginRefusedError when it does not exist.
    """
    path = os.environ.get("SSL_CERT_FILE") or str(CERTIFICATES)
    if not Path(path).is_file():
        raise LoginRefusedError(Barrier.NO_CERTIFICATES)
    return path


def _addresses(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise psycopg.OperationalError(
            f"the database's host name has no address: {error.strerror}"
        ) from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
