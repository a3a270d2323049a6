"""The exercises of the systems that this project covers, each on one machine: `python -m demos.exercises`.

Write conflicts, snapshots and retries (A); money transfers under load (B); write skew (C); the last seat (D).
The server is a PostgreSQL at repeatable read. It reports a conflict at the statement where DSQL reports it at
COMMIT (OC000); the SQLSTATE is the same, 40001.
"""

import argparse
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import psycopg

from demos.sale import hold_sale
from domain.events import Origin, event_of
from domain.idempotency import Answer, Request
from domain.refusals import Refusal
from local_dsql.postgres import EmbeddedPostgres
from sql.connection import Connection, Database, DatabaseSettings
from sql.errors import RetriesExhaustedError
from sql.migrate import migrate
from sql.transaction import RetryPolicy
from sql.transactions.move_points import Transfer, transfer_points

Say = Callable[[str], None]


class Workshop:
    """A migrated database with one customer, and sessions in it."""

    def __init__(self, conninfo: Callable[[str], str], connect: Callable[[str, str], Database]) -> None:
        self._conninfo = conninfo
        self._stack = ExitStack()
        self.connect = connect
        self.admin = self.session()
        self.customer = uuid4()
        self.admin.execute("insert into xpoints.customers (id, username) values (%s, 'ana')", [self.customer])
        self.account(self.customer, 100)

    def session(self) -> Connection:
        """Open a session as a person with psql has it: every statement is a transaction unless begun."""
        session = Connection.connect(self._conninfo("admin"), autocommit=True)
        self._stack.callback(session.close)
        return session

    def account(self, customer_id: UUID, points: int) -> None:
        """Open a points account."""
        self.admin.execute("insert into xpoints.points_balances values (%s, %s)", [customer_id, points])
        self.admin.execute(
            "insert into xpoints.transactions (customer_id, tx_type, points) values (%s, 'OPENING', %s)",
            [customer_id, points],
        )

    def balance(self, customer_id: UUID, session: Connection | None = None) -> int:
        """Read a balance."""
        row = (
            (session or self.admin)
            .execute(
                "select points_balance from xpoints.points_balances where customer_id = %s", [customer_id]
            )
            .fetchone()
        )
        assert row is not None
        return int(row[0])

    def close(self) -> None:
        """Close every session."""
        self._stack.close()


_ADD = "update xpoints.points_balances set points_balance = points_balance + %s where customer_id = %s"


def conflicting_updates(shop: Workshop, say: Say) -> str:
    """A1: two sessions update the same row; the first commit wins. Give the loser's SQLSTATE."""
    first, second = shop.session(), shop.session()
    for session in (first, second):
        session.execute("begin")
        shop.balance(shop.customer, session)
    first.execute(_ADD, [1, shop.customer])
    first.execute("commit")
    try:
        second.execute(_ADD, [1, shop.customer])
        second.execute("commit")
    except psycopg.Error as error:
        second.execute("rollback")
        say(
            f"A1  the second session's update failed: SQLSTATE {error.sqlstate}, {error.diag.message_primary}"
        )
        return error.sqlstate or ""
    raise AssertionError("both sessions committed: the isolation level is not repeatable read")


def updates_in_turn(shop: Workshop, say: Say) -> int:
    """A2: the same updates one after the other both succeed. Give the change."""
    before = shop.balance(shop.customer)
    for session in (shop.session(), shop.session()):
        session.execute("begin")
        session.execute(_ADD, [1, shop.customer])
        session.execute("commit")
    change = shop.balance(shop.customer) - before
    say(f"A2  one after the other, both updates committed: the balance grew by {change}")
    return change


def a_snapshot(shop: Workshop, say: Say) -> tuple[int, int]:
    """A3: a read-only transaction keeps its snapshot and commits. Give what it saw before and after."""
    reader = shop.session()
    reader.execute("begin read only")
    before = shop.balance(shop.customer, reader)
    shop.admin.execute(_ADD, [10, shop.customer])
    after = shop.balance(shop.customer, reader)
    reader.execute("commit")
    say(f"A3  a reader saw {before}, then, after another session's commit, still {after}; it committed")
    return before, after


def retry_loop(
    shop: Workshop, say: Say, conflicts: int, sleep: Callable[[float], None] = time.sleep
) -> tuple[int, str | None]:
    """A4: update in a retry loop of 5 attempts against a writer who comes first `conflicts` times.

    The pause is min(5 s, 20 ms x 2^attempt) x random. Give the attempts, and the SQLSTATE of the last.
    """
    session = shop.session()
    for attempt in range(1, 6):
        try:
            session.execute("begin")
            shop.balance(shop.customer, session)
            if attempt <= conflicts:
                shop.admin.execute(_ADD, [1, shop.customer])
            session.execute(_ADD, [1, shop.customer])
            session.execute("commit")
        except psycopg.errors.SerializationFailure as error:
            session.execute("rollback")
            if attempt == 5:
                say(
                    f"A4  after {attempt} conflicts the client gives up and reports SQLSTATE {error.sqlstate}"
                )
                return attempt, error.sqlstate
            sleep(min(5.0, 0.02 * 2**attempt) * random.random())
        else:
            say(f"A4  against {conflicts} conflicting commits the update succeeded at attempt {attempt}")
            return attempt, None
    raise AssertionError("unreachable: the fifth attempt returns")


def side_effects(shop: Workshop, say: Say) -> tuple[int, int]:
    """A5: what is sent inside a retried transaction is sent again with each attempt; a message is not.

    Give the number of messages sent from inside, and of messages that the outbox holds.
    """
    sent_inside: list[str] = []
    session = shop.session()
    for attempt in (1, 2):
        session.execute("begin")
        shop.balance(shop.customer, session)
        sent_inside.append("points were added")  # the mistake
        if attempt == 1:
            shop.admin.execute(_ADD, [1, shop.customer])
        with suppress(psycopg.errors.SerializationFailure):
            session.execute(
                "insert into xpoints.outbox (region, shard, id, event_type, detail) "
                "values ('exercise', 0, gen_random_uuid(), 'Exercise.v1', '{}')"
            )
            session.execute(_ADD, [1, shop.customer])
        session.execute("commit" if attempt == 2 else "rollback")
    row = shop.admin.execute("select count(*) from xpoints.outbox where region = 'exercise'").fetchone()
    assert row is not None
    say(
        f"A5  one change, two attempts: {len(sent_inside)} messages sent from inside, "
        f"{row[0]} message committed"
    )
    return len(sent_inside), int(row[0])


class Stress(NamedTuple):
    """How a run of transfers went. Times are milliseconds a call."""

    calls: int
    succeeded: int
    errors: Counter[str]
    retries: int
    most_retries: int
    calls_with_retries: int
    calls_per_s: float
    min_ms: float
    mean_ms: float
    max_ms: float


def transfers(
    shop: Workshop, say: Say, calls: int, accounts: int, parallel: int, policy: RetryPolicy, seed: int = 0
) -> Stress:
    """B: transfers of 1 between accounts chosen at random, many in parallel, with live progress."""
    members = [uuid4() for _ in range(accounts)]
    names = {member: f"payee_{member}" for member in members}
    with shop.admin.cursor() as cursor:
        cursor.executemany(
            "insert into xpoints.customers (id, username) values (%s, %s)", list(names.items())
        )
    for statement in (
        "insert into xpoints.points_balances select id, 100 from unnest(%s::uuid[]) id",
        "insert into xpoints.transactions (customer_id, tx_type, points) "
        "select id, 'OPENING', 100 from unnest(%s::uuid[]) id",
    ):
        shop.admin.execute(statement.encode(), [members])
    choose = random.Random(seed)
    pairs = [choose.sample(members, 2) for _ in range(calls)]
    local = threading.local()

    def move(payer: UUID, payee: UUID) -> tuple[str, int, float]:
        if not hasattr(local, "database"):
            local.database = shop.connect("checkout", "us-east-1").differing(retries=policy)
        start = time.perf_counter()
        request = Request(payer, str(uuid4()), "exercise", uuid4())
        command = Transfer(
            request=request,
            origin=Origin(event_of(request.result_id), datetime.now(UTC), "us-east-1", "exercise"),
            payee_username=names[payee],
            points=1,
            payee_entry_id=uuid4(),
        )
        try:
            completed = transfer_points(local.database, command, lambda *_: (201, "{}"))
        except RetriesExhaustedError as error:
            return error.fault.value, error.attempts - 1, (time.perf_counter() - start) * 1000
        value: Answer | Refusal = completed.value
        outcome = value.code if isinstance(value, Refusal) else "ok"
        return outcome, completed.attempts - 1, (time.perf_counter() - start) * 1000

    start = time.perf_counter()
    results: list[tuple[str, int, float]] = []
    with ThreadPoolExecutor(parallel) as workers:
        for number, result in enumerate(workers.map(lambda pair: move(*pair), pairs), 1):
            results.append(result)
            if number % max(1, calls // 10) == 0:
                say(f"B   {number:,} of {calls:,} transfers")
    elapsed_s = time.perf_counter() - start
    retries = [retried for _, retried, _ in results]
    times = [ms for _, _, ms in results]
    outcomes = Counter(outcome for outcome, _, _ in results)
    succeeded = outcomes.pop("ok", 0)
    stress = Stress(
        calls, succeeded, outcomes, sum(retries), max(retries), sum(map(bool, retries)), calls / elapsed_s,
        min(times), statistics.fmean(times), max(times),
    )  # fmt: skip
    say(
        f"B   {succeeded / calls:.1%} succeeded, errors {dict(outcomes) or 'none'}, "
        f"{stress.calls_per_s:,.0f} calls/s, min {stress.min_ms:.1f} mean {stress.mean_ms:.1f} "
        f"max {stress.max_ms:.1f} ms; retries: {stress.retries} in all, {stress.retries / calls:.2f} a call, "
        f"at most {stress.most_retries}, "
        f"{stress.calls_with_retries / calls:.2%} of calls with one"
    )
    return stress


def write_skew(shop: Workshop, say: Say, locked: bool) -> tuple[int, int]:
    """C: a household of 283 and 288 points; two sessions each boost another member. Give the balances.

    Each session reads both balances, finds their sum under 1,000 and adds 429 to one. With `for update` the
    second is refused and reads again.
    """
    members = (uuid4(), uuid4())
    for member, points in zip(members, (283, 288), strict=True):
        shop.account(member, points)
    sessions = (shop.session(), shop.session())
    read = (
        "select points_balance from xpoints.points_balances where customer_id = any(%s) order by customer_id"
    )

    def together(session: Connection, lock: bool) -> int:
        rows = session.execute((read + (" for update" if lock else "")).encode(), [list(members)]).fetchall()
        return sum(points for (points,) in rows)

    for session in sessions:
        session.execute("begin")
        # Both snapshots are taken before either commits.
        session.execute("select 1 from xpoints.points_balances limit 1")
    for session, member in zip(sessions, members, strict=True):
        try:
            if together(session, locked) < 1000:
                session.execute(_ADD, [429, member])
            session.execute("commit")
        except psycopg.errors.SerializationFailure as error:
            session.execute("rollback")
            say(f"C   with for update the second session is refused: SQLSTATE {error.sqlstate}")
    balances = (shop.balance(members[0]), shop.balance(members[1]))
    say(f"C   {'with' if locked else 'without'} for update the household ends at {balances[0]}/{balances[1]}")
    return balances


def last_seat(shop: Workshop, say: Say, units: int = 1, buyers: int = 60, slots: int = 1) -> Counter[str]:
    """D: a sale of `units` to `buyers` of two Regions, every attempt logged. Give the buyers by outcome."""
    sale = hold_sale(
        shop.admin,
        lambda region: shop.connect("checkout", region),
        units,
        buyers,
        slots=slots,
        at_once=min(60, buyers),
    )
    for score in sale.scores:
        say(
            f"D   {units} unit(s) in {slots} slot(s), {buyers} buyers: {score.buyers} {score.outcome}, "
            f"{score.conflicts} conflicts, at most {score.most_attempts} attempts"
        )
    return Counter({score.outcome: score.buyers for score in sale.scores})


def run_all(shop: Workshop, say: Say, calls: int, parallel: int, drop_buyers: int) -> Iterator[Any]:
    """Run every exercise; give what each came to."""
    yield conflicting_updates(shop, say)
    yield updates_in_turn(shop, say)
    yield a_snapshot(shop, say)
    for conflicts in (3, 5):
        yield retry_loop(shop, say, conflicts)
    yield side_effects(shop, say)
    for policy in (RetryPolicy(attempts=1), RetryPolicy(attempts=12)):
        say(f"B   with {policy.attempts - 1} retries allowed")
        yield transfers(shop, say, calls, 1000, parallel, policy)
    for locked in (False, True):
        yield write_skew(shop, say, locked)
    yield last_seat(shop, say)
    yield last_seat(shop, say, units=max(1, drop_buyers // 10), buyers=drop_buyers, slots=100)


def main() -> None:
    """Start a database, run every exercise, and stop it."""
    parser = argparse.ArgumentParser(prog="python -m demos.exercises", description=__doc__)
    parser.add_argument("--transfers", type=int, default=2000, help="transfers of exercise B (default: 2000)")
    parser.add_argument("--parallel", type=int, default=32, help="how many at once (default: 32)")
    parser.add_argument("--buyers", type=int, default=1000, help="buyers of the hot drop (default: 1000)")
    options = parser.parse_args()

    def connect(server: EmbeddedPostgres, role: str, region: str) -> Database:
        settings = DatabaseSettings(server.host, role, region, port=server.port, tls="disable")
        return Database(settings, mint=lambda _: "any password will do")

    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o711)
        with EmbeddedPostgres(Path(directory) / "data", fsync=False) as server:
            print("starting; migrating the schema", file=sys.stderr, flush=True)
            migrate(connect(server, "admin", "us-east-1"))
            shop = Workshop(
                lambda role: server.conninfo(role=role), lambda role, region: connect(server, role, region)
            )
            with suppress(KeyboardInterrupt):
                for _ in run_all(
                    shop,
                    lambda line: print(line, flush=True),
                    options.transfers,
                    options.parallel,
                    options.buyers,
                ):
                    pass
            shop.close()


if __name__ == "__main__":
    main()
