"""Connections on which the seed decides what fails: the code under test sees a psycopg connection.

Errors are the server's own wherever it can be made to raise them: a statement that raises takes the place of
another, a deferred trigger fails COMMIT, a server process ends itself. DSQL has no locks to wait for, but
PostgreSQL has: a wait (lock_timeout 1 ms) counts as the conflict that DSQL would report.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import psycopg
from psycopg import errors, pq

from sql.connection import Connection, Database, DatabaseSettings, RetryPolicy
from sql.pipeline import Written
from sql.queries import Query, Statement
from tests.chaos.scheduler import Crash, Endless, Scheduler

SCHEMA = """
create schema chaos;
create table chaos.trip (state text, message text);
create function chaos.fall() returns trigger language plpgsql as
    $$ begin raise exception using errcode = new.state, message = new.message; end $$;
create constraint trigger fall after insert on chaos.trip deferrable initially deferred
    for each row execute function chaos.fall();
-- These ids are the server's to choose. Jobs scan in the order of keys, which a seed has to bring again.
create sequence chaos.numbers;
create function chaos.count() returns trigger language plpgsql as
    $$ begin perform nextval('chaos.numbers'); return null; end $$;
create function chaos.number() returns trigger language plpgsql as
    $$ begin new.id := md5(currval('chaos.numbers')::text || new.customer_id)::uuid; return new; end $$;
create trigger count before insert on xpoints.notifications execute function chaos.count();
create trigger number before insert on xpoints.notifications for each row
    when (new.kind = 'item-retired') execute function chaos.number();
-- A clock that goes on when a seed says so, and not with the time that a busy machine takes.
create schema clock;
create table chaos.clock (now timestamptz not null);
insert into chaos.clock values (now());
create function clock.now() returns timestamptz stable language sql as $$ select now from chaos.clock $$;
-- Of each call its own, later than all before: the machine's comes before this clock in the morning.
create sequence chaos.ticks;
create function clock.clock_timestamp() returns timestamptz volatile language sql as
    $$ select now + nextval('chaos.ticks') * interval '1 microsecond' from chaos.clock $$;
do $$ declare found record; begin
    for found in
        select table_name, column_name, replace(column_default, 'now()', 'clock.now()') as by_the_clock
        from information_schema.columns where table_schema = 'xpoints' and column_default like '%now()%'
    loop
        execute format(
            'alter table xpoints.%I alter column %I set default %s',
            found.table_name, found.column_name, found.by_the_clock
        );
    end loop;
end $$;
grant select on chaos.clock to public;
grant usage on schema chaos, clock to public;
grant usage on sequence chaos.numbers, chaos.ticks to public;
grant insert on chaos.trip to public;
"""

#: With `now()` by the seed's clock.
_OPTIONS = "-c lock_timeout=1 -c search_path=clock,pg_catalog"

#: At the same hour each time, as some things are counted by the hour and by the day.
SET_CLOCK = b"update chaos.clock set now = date_trunc('day', pg_catalog.now()) + interval '12 hours'"

_CONFLICT = "change conflicts with another transaction, please retry: (OC000)"
_AFTER_COMMIT = "server unavailable, but what was committed stays"

#: Errors that the server raises at a statement or, where the statement is COMMIT, at COMMIT, undoing it.
_RAISED = {
    "conflict": ("40001", _CONFLICT),
    "schema-changed": ("40001", "schema has been updated by another transaction, please retry: (OC001)"),
    "unavailable": ("XX000", "server unavailable"),
}

#: What may go wrong with an exchange. "in": at one of its statements; "done": COMMIT is done and says no.
FAULTS = (
    *_RAISED,
    "unavailable-done",
    "lost-before",
    "lost-in",
    "lost-after",
    "crash-before",
    "crash-after",
)

_LOST = "server closed the connection unexpectedly"
_FURTHEST_STATEMENT = 9
_MOST_EXCHANGES = 20_000


class Plan(NamedTuple):
    """A fault for an exchange: its kind, and the statement at which it strikes, if it strikes at one."""

    kind: str
    at: int


class Links:
    """Real connections, kept from run to run because opening one takes longer than using it."""

    def __init__(self, conninfo: Callable[[str], str]) -> None:
        self._conninfo = conninfo
        self._idle: dict[str, deque[Connection]] = {}
        self.admin = psycopg.connect(
            conninfo("admin"), autocommit=True, application_name="chaos-admin", options="-c lock_timeout=1"
        )
        self._observer = psycopg.connect(conninfo("admin"), autocommit=True)

    def begin_afresh(self, tables: str) -> None:
        """Empty the tables, and keep all that is written from now on until the next time.

        Where no order is asked for, rows come as they lie. What may be pruned depends on what other runs on
        the same server do meanwhile: with nothing pruned a seed finds the same each time.
        """
        if self._observer.pgconn.transaction_status != pq.TransactionStatus.IDLE:
            self._observer.execute(b"rollback")
        self.admin.execute(f"truncate {tables}".encode())
        self.admin.execute(SET_CLOCK)
        self._observer.execute(b"begin isolation level repeatable read")
        self._observer.execute(b"select 1")

    def take(self, role: str) -> Connection:
        """Give an idle connection of a role, or a new one."""
        idle = self._idle.setdefault(role, deque())
        while idle:
            link = idle.popleft()
            if not link.closed:
                return link
        return Connection.connect(
            self._conninfo(role), autocommit=True, application_name="chaos", options=_OPTIONS
        )

    def put_back(self, role: str, link: Connection) -> None:
        """Have whatever the connection was at undone, as the server does when a connection ends."""
        status = link.pgconn.transaction_status
        if status in (pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR):
            link.pgconn.exec_(b"ROLLBACK")
        if link.pgconn.transaction_status == pq.TransactionStatus.IDLE:
            self._idle.setdefault(role, deque()).append(link)
            return
        pid = link.info.backend_pid if not link.closed else None
        link.close()
        self.await_end(pid)

    def await_end(self, pid: int | None) -> None:
        """Wait until a server process that is ending holds no lock any more."""
        query = b"select 1 from pg_stat_activity where pid = %s"
        while pid is not None and self.admin.execute(query, [pid]).fetchone():
            pass

    def close(self) -> None:
        """Close all of them."""
        for links in self._idle.values():
            for link in links:
                link.close()
        self._observer.close()
        self.admin.close()


class Exchanges:
    """What a run decides about exchanges and learns from them. `committed` is told of each done COMMIT."""

    def __init__(
        self, scheduler: Scheduler, links: Links, choose: Callable[[tuple[str, ...]], str | None]
    ) -> None:
        self.scheduler = scheduler
        self.links = links
        self.choose = choose
        self.count = 0
        self.committed: Callable[[Wire, list[str]], None] = lambda *_: None
        self.problems: list[str] = []

    def plan(self) -> Plan | None:
        """Decide what happens to the next exchange."""
        kind = self.choose(FAULTS)
        return None if kind is None else Plan(kind, self.scheduler.random.randrange(_FURTHEST_STATEMENT))


class _Gone:
    """The libpq connection of a connection that has ended."""

    transaction_status = pq.TransactionStatus.UNKNOWN


class Wire:
    """One connection, as far as sql/transaction.py uses one."""

    def __init__(self, exchanges: Exchanges, role: str) -> None:
        self.role = role
        #: Exchange numbers: when this transaction's snapshot was taken, and the present one.
        self.snapshot = 0
        self._exchanges = exchanges
        self._link: Connection | None = exchanges.links.take(role)
        self._names: list[str] = []
        self._transaction: list[str] = []
        #: Whether the server said that this session should not go on.
        self._spent = False

    @property
    def closed(self) -> bool:
        """Whether it can no longer be used."""
        return self._link is None or self._link.closed

    @property
    def pgconn(self) -> Any:
        """libpq's connection: its status."""
        return _Gone() if self._link is None or self._link.closed else self

    @property
    def transaction_status(self) -> pq.TransactionStatus:
        """libpq's view of the transaction."""
        return pq.TransactionStatus(self._live().pgconn.transaction_status)

    def _roll_back(self, statement: Statement[Any], until: float) -> Written[Any]:
        """Send ROLLBACK; now and then into a connection that is about to end."""
        link = self._live()
        self._transaction = []
        if self._exchanges.choose(("rollback-lost",)):
            pid = link.info.backend_pid
            self._exchanges.links.admin.execute(b"select pg_terminate_backend(%s)", [pid])
            self._exchanges.links.await_end(pid)
        return link.alone(statement, until)

    def close(self) -> None:
        """End it; the server rolls back what was under way."""
        link, self._link = self._link, None
        if link is not None:
            self._exchanges.links.put_back(self.role, link)

    def alone(self, statement: Statement[Any], until: float) -> Written[Any]:
        """Send a statement, which is an exchange of its own."""
        name = statement.query.name
        if name == "rollback":
            return self._roll_back(statement, until)
        with self._exchange(name) as plan:
            link = self._live()
            self._names = [name]
            idle = link.pgconn.transaction_status == pq.TransactionStatus.IDLE
            ends = name == "commit" or (idle and name != "begin")
            before, instead, after = _disturb(plan, 0, name == "commit", ends, last=True)
            for put_in in before:
                link.alone(put_in, until)
            written = link.alone(instead or statement, until)
            for put_in in after:
                link.alone(put_in, until)
            return written

    def exchange(self, statements: Sequence[Statement[Any]], until: float) -> list[Written[Any]]:
        """Send statements together."""
        with self._exchange(f"exchange of {len(statements)}") as plan:
            sent: list[Statement[Any]] = []
            for position, statement in enumerate(statements):
                name = statement.query.name
                self._names.append(name)
                last = position == len(statements) - 1
                before, instead, after = _disturb(plan, position, name == "commit", name == "commit", last)
                sent += (*before, instead or statement, *after)
            # Whatever was put in raises, so that no further answer is given than was asked for.
            return self._live().exchange(sent, until)

    @contextmanager
    def _exchange(self, name: str) -> Iterator[Plan | None]:
        exchanges = self._exchanges
        exchanges.scheduler.pause(name)
        exchanges.count += 1
        if exchanges.count > _MOST_EXCHANGES:
            raise Endless(f"no end after {_MOST_EXCHANGES} exchanges with the database, the last: {name}")
        plan = exchanges.plan()
        if self._spent:
            exchanges.problems.append(f"a session went on as {self.role} after the server had failed in it")
        self._names = []
        kind = "" if plan is None else plan.kind
        if kind.endswith("before"):
            self._end(kind)
        link = self._live()
        pid = link.info.backend_pid
        began = link.pgconn.transaction_status == pq.TransactionStatus.IDLE
        if began or self._transaction == ["begin"]:
            self.snapshot = exchanges.count
        try:
            yield plan
        except errors.LockNotAvailable as error:
            exchanges.scheduler.note("  waited for a lock: OC000")
            raise errors.SerializationFailure(_CONFLICT) from error
        except psycopg.Error as error:
            exchanges.scheduler.note(f"  {kind}: {error.sqlstate} {str(error).splitlines()[0]}")
            self._spent = error.sqlstate == "XX000" or "OC001" in str(error)
            if str(error).startswith(_AFTER_COMMIT):
                self._transaction += self._names
                self._note_commit()
            if link.closed or link.pgconn.status == pq.ConnStatus.BAD:
                link.close()
                exchanges.links.await_end(pid)
            elif link.pgconn.transaction_status == pq.TransactionStatus.IDLE:
                self._transaction = []  # what comes next is no part of it
            raise
        finally:
            exchanges.scheduler.note(f"  {self.role}: {' '.join(self._names)}")
        self._transaction += self._names
        if "commit" in self._names or link.pgconn.transaction_status == pq.TransactionStatus.IDLE:
            self._note_commit()
        if kind.endswith("after"):
            self._end(kind)

    def _note_commit(self) -> None:
        names, self._transaction = self._transaction, []
        self._exchanges.committed(self, names)

    def _end(self, kind: str) -> None:
        self._exchanges.scheduler.note(f"  {kind}")
        self.close()
        if kind.startswith("crash"):
            raise Crash
        raise psycopg.OperationalError(_LOST)

    def _live(self) -> Connection:
        if self._link is None:
            raise psycopg.OperationalError("the connection is closed")
        return self._link


def _query(name: str, text: str) -> Statement[Any]:
    return Query(f"chaos_{name}", text.encode(), "")()


def _raising(state: str, message: str) -> str:
    return f"do $$ begin raise exception using errcode = '{state}', message = '{message}'; end $$"


_AT_STATEMENT = {kind: _query(f"raise_{kind}", _raising(*error)) for kind, error in _RAISED.items()}
_AT_COMMIT = {
    kind: _query(f"trip_{kind}", f"insert into chaos.trip values ('{state}', '{message}')")
    for kind, (state, message) in _RAISED.items()
}
_AFTERWARDS = _query("afterwards", _raising("XX000", _AFTER_COMMIT))
_SUICIDE = _query("suicide", "select pg_terminate_backend(pg_backend_pid())")

_Sent = Sequence[Statement[Any]]


def _disturb(
    plan: Plan | None, position: int, is_commit: bool, commits: bool, last: bool
) -> tuple[_Sent, Statement[Any] | None, _Sent]:
    """Give what is sent before a statement, in its place, and after it. `commits`: it ends a transaction.

    A plan strikes at its statement, at the latest at the exchange's last.
    """
    if plan is None or (plan.at != position and not (last and plan.at > position)):
        kind = "unavailable-done" if commits and plan is not None and plan.kind == "unavailable-done" else ""
    else:
        kind = plan.kind
    if kind == "unavailable-done" and commits:
        return (), None, (_AFTERWARDS,)
    if kind == "lost-in":
        return (), _SUICIDE, ()
    if kind in _RAISED:
        return ((_AT_COMMIT[kind],), None, ()) if is_commit else ((), _AT_STATEMENT[kind], ())
    return (), None, ()


class ChaosDatabase(Database):
    """The way to the database of one execution environment; connecting may fail, too."""

    def __init__(
        self, exchanges: Exchanges, role: str, region: str, pipelined: bool, retries: RetryPolicy
    ) -> None:
        settings = DatabaseSettings("127.0.0.1", role, region, pipelined=pipelined, retries=retries)
        super().__init__(settings, mint=lambda _: "", clock=lambda: 0.0)
        self._exchanges = exchanges

    def _open(self) -> Connection:
        self._exchanges.scheduler.pause("connect")
        fault = self._exchanges.choose(("connect-refused", "connect-crash"))
        if fault == "connect-crash":
            raise Crash
        if fault:
            raise psycopg.OperationalError("connection refused")
        return cast(Connection, Wire(self._exchanges, self.settings.role))
