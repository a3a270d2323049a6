"""One connection an execution environment, opened when first needed and replaced before it is too old."""

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from sql.pipeline import Connection as Connection
from sql.token import find_credentials, presign

#: DSQL ends a connection after 60 minutes; environments leave earlier, each at a moment of its own, so that
#: they do not all come back at once against the limit of 100 new connections a second.
MAX_CONNECTION_AGE_S = 45 * 60
_AGE_SPREAD_S = 10 * 60

_ADMIN_ROLE = "admin"


class DatabaseSettings(NamedTuple):
    """Where the database is and who we are there.

    `tls` is libpq's sslmode: `verify-full` for DSQL, `disable` for an embedded server on this machine.
    `pipelined` sends the statements of one exchange together; off, each statement is a round trip of its own.
    """

    host: str
    role: str
    region: str
    port: int = 5432
    name: str = "postgres"
    tls: str = "verify-full"
    pipelined: bool = True
    application_name: str = "rewards"


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
        self._mint = mint
        # Wall-clock time: a frozen execution environment ages although its monotonic clock may stand still.
        self._clock = clock
        self._connection: Connection | None = None
        self._retire_at = 0.0

    def connection(self) -> Connection:
        """Give the kept connection, or a new one where it is closed, broken or too old.

        Raises psycopg.OperationalError when the server does not answer or refuses the token.
        """
        connection = self._connection
        if connection is not None and not connection.closed and self._clock() < self._retire_at:
            return connection
        self.discard()
        connection = self._open()
        self._connection = connection
        self._retire_at = self._clock() + MAX_CONNECTION_AGE_S - random.uniform(0, _AGE_SPREAD_S)  # noqa: S311
        self.connections_opened += 1
        return connection

    def discard(self) -> None:
        """Close the kept connection, if any; the next use opens a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def with_role(self, role: str) -> "Database":
        """Give a second way to the same database, as another role."""
        return Database(self.settings._replace(role=role), self._mint, self._clock)

    def _open(self) -> Connection:
        settings = self.settings
        return Connection.connect(
            host=settings.host,
            port=settings.port,
            dbname=settings.name,
            user=settings.role,
            password=self._mint(settings),
            sslmode=settings.tls,
            sslrootcert="system" if settings.tls == "verify-full" else None,
            application_name=settings.application_name,
            autocommit=True,  # transactions are explicit: BEGIN and COMMIT travel with their statements
            connect_timeout=5,
            # A frozen environment wakes up with a dead socket: say so in seconds, not after minutes.
            tcp_user_timeout=5000,
            keepalives_idle=60,
        )
