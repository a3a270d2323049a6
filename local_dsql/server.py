"""The server: its port, its sessions, and the monitor that has nobody wait for an idle transaction's lock."""

import asyncio
import logging
import re
import ssl
import time
from collections import Counter
from collections.abc import Mapping
from importlib.resources import files
from typing import NamedTuple

from local_dsql import limits, refusals, wire
from local_dsql.faults import Chance, Faults
from local_dsql.login import Verification, open_session
from local_dsql.refusals import Refusal
from local_dsql.session.conversation import Session
from local_dsql.session.state import SessionState
from local_dsql.state import Database
from local_dsql.wire import ConnectionLostError, Link

log = logging.getLogger(__name__)

DATABASE = "postgres"
"""The one database of a cluster."""

SUPERUSER = "admin"

_LOOK_S = 0.002
"""How often is looked who waits for whom, while somebody may."""

#: Who is waited for, and whether by DDL: who waits for a row waits for its transaction, and not for a table.
_WAITERS = (
    "select distinct blocker, l.mode = 'AccessExclusiveLock' or (l.locktype = 'relation' "
    "and l.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock')) "
    "from pg_locks l, unnest(pg_blocking_pids(l.pid)) blocker where not l.granted"
)


class QueryFailedError(RuntimeError):
    """PostgreSQL refuses what the server asks it for itself."""


class Limits(NamedTuple):
    """What is limited, as on DSQL; tests take less."""

    transaction_rows: int = limits.TRANSACTION_ROWS
    transaction_bytes: int = limits.TRANSACTION_BYTES
    transaction_age_s: float = limits.TRANSACTION_AGE_S
    connection_age_s: float = limits.CONNECTION_AGE_S
    connections: int = limits.CONNECTIONS
    connections_per_second: float = limits.CONNECTIONS_PER_SECOND
    connection_burst: int = limits.CONNECTION_BURST
    index_build_s: float = 0.2
    """How long an asynchronous job takes; DSQL's take seconds."""


class Server:
    """An Aurora DSQL before a PostgreSQL."""

    def __init__(
        self,
        postgres_host: str,
        postgres_port: int,
        *,
        postgres_socket: str = "",
        given_limits: Limits | None = None,
        faults: Faults | None = None,
        tls: ssl.SSLContext | None = None,
        any_database: bool = False,
        requires_tls: bool = False,
    ) -> None:
        self._postgres = (postgres_host, postgres_port, postgres_socket)
        self.limits = given_limits or Limits()
        self.chance = Chance(faults or Faults())
        self.tls = tls
        self.requires_tls = requires_tls
        self.dooms = 0
        self.told: Counter[str] = Counter()
        self._any_database = any_database
        self._sessions: dict[int, Session] = {}
        self._databases: dict[str, Database] = {}
        self._working: set[Session] = set()
        self._holding: set[Session] = set()
        """Idle ones whose transaction has done what others may have to wait for."""
        self._may_wait = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections = 0
        self._bucket = float(self.limits.connection_burst)
        self._bucket_filled_at = time.monotonic()
        self._listening: list[asyncio.Server] = []
        self._monitor_link: Link | None = None

    async def start(self) -> None:
        """Prepare the databases that there are. Raises OSError and QueryFailedError."""
        await self._install()
        self._monitor_link = await self._superuser_link(DATABASE)
        self._start_task(self._monitor())

    async def listen(self, host: str, port: int, verification: Verification | None) -> int:
        """Open an endpoint, and give its port; without a `verification` to anybody. Raises OSError."""

        def connected(client: Link) -> None:
            self._start_task(self._serve(client, verification))

        loop = asyncio.get_running_loop()
        listening = await loop.create_server(lambda: Link(connected), host, port, backlog=1024)
        self._listening.append(listening)
        address = listening.sockets[0].getsockname()
        return int(address[1])

    async def stop(self) -> None:
        """Take no more clients, and leave those that there are."""
        for listening in self._listening:
            listening.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- Clients -----------------------------------------------------------------------------------------

    def _start_task(self, work: object) -> None:
        assert asyncio.iscoroutine(work)
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, client: Link, verification: Verification | None) -> None:
        self._connections += 1
        session: Session | None = None
        try:
            if (refusal := self._refused_connection()) is not None:
                await self._refuse_connection(client, refusal)
                return
            session = await open_session(self, client, verification)
            if session is not None:
                self._enter(session)
                await session.converse()
        except (ConnectionError, OSError, asyncio.CancelledError):
            pass
        except Exception:
            log.exception("a session ended")
        finally:
            self._connections -= 1
            client.close()
            if session is not None:
                self._exit(session)

    def _refused_connection(self) -> Refusal | None:
        if self._connections > self.limits.connections:
            return refusals.TOO_MANY_CONNECTIONS
        now = time.monotonic()
        refill = (now - self._bucket_filled_at) * self.limits.connections_per_second
        self._bucket = min(self._bucket + refill, float(self.limits.connection_burst))
        self._bucket_filled_at = now
        if self._bucket < 1:
            return refusals.CONNECTION_RATE
        self._bucket -= 1
        return None

    async def _refuse_connection(self, client: Link, refusal: Refusal) -> None:
        # The client says first whether it wants TLS; an error before would not be understood.
        while (code := int.from_bytes((await client.exactly(8))[4:], "big")) in (
            wire.SSL_REQUEST,
            wire.GSS_REQUEST,
        ):
            if code == wire.SSL_REQUEST and self.tls is not None:
                client.write(b"S")
                await client.encrypt(self.tls)
            else:
                client.write(b"N")
        client.write(wire.error(*refusal, severity="FATAL"))

    def _enter(self, session: Session) -> None:
        session.database.sessions += 1
        self._sessions[session.process_id] = session
        age_s = self.limits.connection_age_s
        session.retirement = asyncio.get_running_loop().call_later(age_s, session.retire)

    def _exit(self, session: Session) -> None:
        self._sessions.pop(session.process_id, None)
        session.leave()
        self._holding.discard(session)
        database = session.database
        database.sessions -= 1
        if database.sessions == 0 and database.name != DATABASE:
            # It may be dropped and made again before anybody comes back.
            self._databases.pop(database.name, None)

    async def cancel(self, request: bytes) -> None:
        """Pass a cancel request on: the client has the key of its session of PostgreSQL. Raises OSError."""
        link = await self.connect()
        link.write((len(request) + 4).to_bytes(4, "big") + request)
        try:
            while True:
                await link.more()
        except ConnectionLostError:
            link.close()

    async def connect(self) -> Link:
        """Open a connection to PostgreSQL. Raises OSError."""
        return await wire.connect(*self._postgres)

    # --- Databases ---------------------------------------------------------------------------------------

    def has_database(self, name: str) -> bool:
        """Tell whether clients may ask for a database: for one alone, but for tests that want several."""
        return self._any_database or name == DATABASE

    def database(self, name: str) -> Database:
        """Give what is known of a database."""
        found = self._databases.get(name)
        if found is None:
            found = self._databases[name] = Database(name)
        return found

    async def _superuser_link(self, database: str) -> Link:
        link = await self.connect()
        names = {
            b"user": SUPERUSER.encode(),
            b"database": database.encode(),
            b"application_name": b"local_dsql",
        }
        link.write(wire.startup(names))
        while not any(answer[:1] == b"Z" for answer in await link.messages()):
            pass
        return link

    async def _install(self) -> None:
        """Add to each database what the server needs there; new ones are copies of template1."""
        text = files("local_dsql").joinpath("catalogue.sql").read_text(encoding="utf-8")
        text = re.sub(r":([A-Z_]+)\b", lambda name: str(getattr(limits, name[1])), text)
        rows = await self._ask_once(DATABASE, "select datname from pg_database where datallowconn")
        for database in ((row[0] or b"").decode() for row in rows):
            try:
                await self._ask_once(database, text)
            except QueryFailedError as error:
                raise QueryFailedError(
                    f"database {database} cannot be prepared: {error}. Give another directory."
                ) from error

    async def _ask_once(self, database: str, text: str) -> list[list[bytes | None]]:
        link = await self._superuser_link(database)
        try:
            return await _ask(link, text)
        finally:
            link.write(wire.message(b"X"))
            link.close()

    def schedule_job(self, database: Database, job: str) -> None:
        """Finish an asynchronous job once it has taken its time."""
        self._start_task(self._finish_job(database, job))

    async def _finish_job(self, database: Database, job: str) -> None:
        await asyncio.sleep(self.limits.index_build_s)
        try:
            await self._ask_once(database.name, f"select pg_dsql.finish_job('{job}')")
        except OSError:
            log.warning("job %s is not finished: the database is gone", job)
        except QueryFailedError:
            log.exception("job %s is not finished", job)

    # --- Who waits for whom ------------------------------------------------------------------------------

    def begins_work(self, session: Session) -> None:
        """Note that a session's batch runs."""
        session.busy_since = time.monotonic()
        self._working.add(session)
        self._holding.discard(session)
        if self._holding:
            self._may_wait.set()

    def ends_work(self, session: Session) -> None:
        """Note that a session waits for its client."""
        session.busy_since = 0.0
        self._working.discard(session)
        transaction = session.transaction
        if transaction is not None and transaction.runs and transaction.may_be_parked:
            self._holding.add(session)
            if self._working:
                self._may_wait.set()

    def begins_ddl(self) -> None:
        """Note that a session's batch has DDL, which waits for whoever has read a table, too."""
        self._may_wait.set()

    def oldest(self, database: Database, but: SessionState) -> int:
        """Give when the oldest open transaction of a database began, not counting one session's."""
        return min(
            (
                session.transaction.started
                for session in self._sessions.values()
                if session.database is database and session is not but and session.transaction is not None
            ),
            default=database.moment,
        )

    def count(self, refusal: Refusal) -> None:
        """Count what clients are told."""
        self.told[refusal.message] += 1

    async def _monitor(self) -> None:
        """Park whoever is idle and holds a lock that somebody waits for."""
        while True:
            await asyncio.sleep(_LOOK_S)
            if not self._working or not (self._holding or self._ddl_works()):
                # Nothing wakes the server for this, as long as there is nothing to look for.
                self._may_wait.clear()
                await self._may_wait.wait()
                continue
            late = time.monotonic() - _LOOK_S
            if self._somebody_can_yield() and any(session.busy_since < late for session in self._working):
                await self._free_waiters()

    def _ddl_works(self) -> bool:
        return any(
            session.transaction is not None and session.transaction.schema_statements
            for session in self._working
        )

    def _somebody_can_yield(self) -> bool:
        """Tell whether an idle transaction holds what is waited for: rows, or, for DDL, what it has read."""
        return bool(self._holding) or any(
            not session.busy_since and session.transaction is not None and session.transaction.is_block
            for session in self._sessions.values()
        )

    async def _free_waiters(self) -> None:
        assert self._monitor_link is not None
        try:
            waiters = await _ask(self._monitor_link, _WAITERS)
        except QueryFailedError:
            log.exception("nobody was freed")
            return
        for process_id, is_for_ddl in waiters:
            session = self._sessions.get(int(process_id or 0))
            if session is None or session.busy_since or session.turn.locked():
                continue
            async with session.turn:
                try:
                    if not await session.park() and is_for_ddl == b"t":
                        await session.lose()
                    self._holding.discard(session)
                except ConnectionError:
                    continue


async def _ask(link: Link, text: str) -> list[list[bytes | None]]:
    """Run a simple query and give its rows. Raises ConnectionLostError and QueryFailedError."""
    link.write(wire.message(b"Q", wire.text(text)))
    rows: list[list[bytes | None]] = []
    failure = ""
    while True:
        for answer in await link.messages():
            if answer[:1] == b"D":
                rows.append(wire.row_values(answer))
            elif answer[:1] == b"E":
                failure = wire.error_fields(answer)["M"]
            elif answer[:1] == b"Z" and failure:
                raise QueryFailedError(failure)
            elif answer[:1] == b"Z":
                return rows


def counted(server: Server) -> Mapping[str, int]:
    """Give what clients were told, and how often."""
    return dict(server.told)
