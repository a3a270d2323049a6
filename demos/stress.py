"""The developer's talk's stress test: transfers of 1 between accounts chosen at random, many in parallel.

    make stress                                          10,000 transfers, 1,000 in parallel
    make stress ARGS="--transfers 1000 --parallel 50"
    make stress ARGS=--live                              in a browser as well

The same transfers are made without retries, then with them. A transfer is this shop's own: idempotent, with
two ledger entries and an event. They run on real connections, with tokens, to a local Aurora DSQL; a call
waits until one is free, and its time counts from there, as a function's does. At 908 calls a second of
20.12 ms the talk's 1,000 in parallel were 18 at the database at once: so many connections are open.
"""

import argparse
import queue
import random
import sys
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID, uuid4

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from demos.live import Live, Snapshot, add_options
from demos.shop_database import ShopDatabase, open_database
from domain.events import Origin, event_of
from domain.idempotency import Request
from domain.refusals import Refusal
from local_dsql.arguments import whole_number
from local_dsql.console import run_command
from local_dsql.guard import StartError
from sql.connection import Connection, Database
from sql.errors import RetriesExhaustedError
from sql.transaction import RetryPolicy
from sql.transactions.move_points import Transfer, transfer_points

OPENING_POINTS = 1_000

ONCE = RetryPolicy(attempts=1)
PATIENT = RetryPolicy(attempts=100, base_s=0.01, deadline_s=600)
#: 908 calls a second x 20.12 ms, the talk's figures.
CONNECTIONS = 18

#: Rows that one statement of the setting up makes; DSQL takes 3,000 a transaction.
_BATCH = 1_000
#: Connections that are not the calls': to set up and to count, and PostgreSQL's own.
_SPARE_CONNECTIONS = 30
_OPENED_AT_ONCE = 16


#: The histogram's bars: up to so many milliseconds, and one for all above.
BUCKETS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)


class Stress(NamedTuple):
    """How a run went, or goes. Times are milliseconds a call, retries included."""

    calls: int
    succeeded: int
    errors: Counter[str]
    calls_per_s: float
    min_ms: float
    max_ms: float
    mean_ms: float
    retries: int
    most_retries: int
    calls_with_retries: int


#: The talk's table: how each line is made of a run, and what the talk showed, without and with retries.
LINES: tuple[tuple[str, Callable[[Stress], str], str, str], ...] = (
    ("success", lambda s: f"{s.succeeded / s.calls:.1%}", "93.4%", "100%"),
    ("errors by kind", lambda s: _errors(s), "conflict: 656", "none"),
    ("calls a second", lambda s: f"{s.calls_per_s:,.0f}", "908", "931"),
    ("min, ms", lambda s: f"{s.min_ms:.1f}", "", "12"),
    ("max, ms", lambda s: f"{s.max_ms:,.0f}", "", "555"),
    ("mean, ms", lambda s: f"{s.mean_ms:,.2f}", "20.12", "19.29"),
    ("retries in all", lambda s: f"{s.retries:,}", "", "735"),
    ("retries a call", lambda s: f"{s.retries / s.calls:.2f}", "", "0.07"),
    ("retries of a call, at most", lambda s: f"{s.most_retries}", "", "4"),
    ("share of calls with a retry", lambda s: f"{s.calls_with_retries / s.calls:.2%}", "", "6.42%"),
)


class Line(NamedTuple):
    """One line of the talk's table, as it is shown; empty for no figure yet, and for none published."""

    name: str
    without_retries: str
    talk_without: str
    with_retries: str
    talk_with: str


def table(without: Stress | None, with_retries: Stress | None) -> tuple[Line, ...]:
    """Make the talk's table of both runs, as far as they are."""
    return tuple(
        Line(
            name,
            value(without) if without and without.calls else "",
            talk_without,
            value(with_retries) if with_retries and with_retries.calls else "",
            talk_with,
        )
        for name, value, talk_without, talk_with in LINES
    )


class Course(NamedTuple):
    """A run so far: calls done of `wanted`, calls by the second, calls by time (BUCKETS_MS and above)."""

    name: str
    wanted: int
    done: int
    errors: dict[str, int]
    by_second: tuple[int, ...]
    by_time: tuple[int, ...]


class Figures(NamedTuple):
    """Both runs so far, and what all accounts hold: the points before, and after the last call."""

    connections: int
    connections_wanted: int
    runs: tuple[Course, ...]
    buckets_ms: tuple[int, ...]
    table: tuple[Line, ...]
    points_before: int | None
    points_after: int | None


class Tally:
    """Counts the calls of a run while they are made, from `begin` on."""

    def __init__(self, name: str = "", wanted: int = 0) -> None:
        self.name, self.wanted = name, wanted
        self._lock = threading.Lock()
        self._outcomes = Counter[str]()
        self._by_second = Counter[int]()
        self._by_time = [0] * (len(BUCKETS_MS) + 1)
        self._calls = self._retries = self._most_retries = self._calls_with_retries = 0
        self._sum_ms = self._max_ms = 0.0
        self._min_ms = float("inf")
        self._start_s = self._last_s = time.perf_counter()

    def begin(self) -> None:
        """Take the time from now on."""
        self._start_s = self._last_s = time.perf_counter()

    def count(self, outcome: str, retries: int, ms: float) -> None:
        """Count a call that is done."""
        with self._lock:
            self._last_s = time.perf_counter()
            self._calls += 1
            self._outcomes[outcome] += 1
            self._retries += retries
            self._most_retries = max(self._most_retries, retries)
            self._calls_with_retries += retries > 0
            self._sum_ms += ms
            self._min_ms, self._max_ms = min(self._min_ms, ms), max(self._max_ms, ms)
            self._by_second[int(self._last_s - self._start_s)] += 1
            self._by_time[bisect_left(BUCKETS_MS, ms)] += 1

    def stress(self) -> Stress:
        """Give how the run went so far."""
        with self._lock:
            errors, calls = Counter(self._outcomes), self._calls
            return Stress(
                calls=calls,
                succeeded=errors.pop("ok", 0),
                errors=errors,
                calls_per_s=calls / max(self._last_s - self._start_s, 1e-9),
                min_ms=self._min_ms if calls else 0.0,
                max_ms=self._max_ms,
                mean_ms=self._sum_ms / max(calls, 1),
                retries=self._retries,
                most_retries=self._most_retries,
                calls_with_retries=self._calls_with_retries,
            )

    def course(self) -> Course:
        """Give what a plot and a bar show."""
        with self._lock:
            seconds = max(self._by_second, default=-1) + 1
            return Course(
                self.name,
                self.wanted,
                self._calls,
                {kind: number for kind, number in self._outcomes.items() if kind != "ok"},
                tuple(self._by_second[second] for second in range(seconds)),
                tuple(self._by_time),
            )


def _errors(stress: Stress) -> str:
    return ", ".join(f"{kind}: {number:,}" for kind, number in stress.errors.most_common()) or "none"


def make_accounts(admin: Connection, number: int) -> dict[UUID, str]:
    """Make members with a points account each; give their usernames by their ids."""
    ids = [uuid4() for _ in range(number)]
    members = {each: f"payee_{each}" for each in ids}
    for first in range(0, number, _BATCH):
        some = ids[first : first + _BATCH]
        with admin.transaction():
            admin.execute(
                "insert into xpoints.customers (id, username) select * from unnest(%s::uuid[], %s::text[])",
                [some, [members[each] for each in some]],
            )
        with admin.transaction():
            admin.execute(
                "insert into xpoints.points_balances select id, %s from unnest(%s::uuid[]) id",
                [OPENING_POINTS, some],
            )
            admin.execute(
                "insert into xpoints.transactions (customer_id, tx_type, points) "
                "select id, 'OPENING', %s from unnest(%s::uuid[]) id",
                [OPENING_POINTS, some],
            )
    return members


def total(admin: Connection) -> int:
    """Give the points of all accounts together."""
    row = admin.execute("select coalesce(sum(points_balance), 0) from xpoints.points_balances").fetchone()
    assert row is not None
    return int(row[0])


class Callers:
    """Calls in flight, and the connections that they take turns at."""

    def __init__(self, connect: Callable[[], Database], parallel: int, connections: int) -> None:
        self._databases: queue.SimpleQueue[Database] = queue.SimpleQueue()
        self.parallel, self.connections = parallel, connections
        self._connect = connect

    def open(self, opened: Callable[[], None] = lambda: None) -> None:
        """Open the connections."""

        def connection(_number: int) -> None:
            database = self._connect()
            database.connection()
            self._databases.put(database)
            opened()

        with ThreadPoolExecutor(_OPENED_AT_ONCE) as workers:
            list(workers.map(connection, range(self.connections)))

    def close(self) -> None:
        """Close all that are open."""
        while not self._databases.empty():
            self._databases.get().discard()

    def transfer(self, payer: UUID, payee_username: str, policy: RetryPolicy) -> tuple[str, int, float]:
        """Give one point to another; tell how it ended, after how many retries and milliseconds."""
        database = self._databases.get()
        # The connection stays: only how patient the next call is.
        database.settings = database.settings._replace(retries=policy)
        start = time.perf_counter()
        request = Request(payer, str(uuid4()), "stress", uuid4())
        command = Transfer(
            request=request,
            origin=Origin(event_of(request.result_id), datetime.now(UTC), database.settings.region, "stress"),
            payee_username=payee_username,
            points=1,
            payee_entry_id=uuid4(),
        )
        try:
            completed = transfer_points(database, command, lambda *_: (201, "{}"))
            value = completed.value
            outcome, attempts = value.code if isinstance(value, Refusal) else "ok", completed.attempts
        except RetriesExhaustedError as error:
            outcome, attempts = error.fault.value, error.attempts
        finally:
            self._databases.put(database)
        return outcome, attempts - 1, (time.perf_counter() - start) * 1000


def run(
    callers: Callers,
    members: dict[UUID, str],
    calls: int,
    policy: RetryPolicy,
    tally: Tally | None = None,
    seed: int = 0,
) -> Stress:
    """Make `calls` transfers, as many in parallel as there are callers; `tally` counts each at its end."""
    tally = tally or Tally()
    choose = random.Random(seed)
    ids = list(members)
    pairs = [choose.sample(ids, 2) for _ in range(calls)]

    def call(pair: list[UUID]) -> None:
        tally.count(*callers.transfer(pair[0], members[pair[1]], policy))

    tally.begin()
    with ThreadPoolExecutor(callers.parallel) as workers:
        for _ in workers.map(call, pairs):
            pass
    return tally.stress()


def show(console: Console, lines: Sequence[Line]) -> None:
    """Print the talk's table, with its published figures beside."""
    shown = Table(
        title="Transfers, beside the talk's published figures (Aurora DSQL, Lambda)", title_justify="left"
    )
    shown.add_column()
    for column in ("without retries", "the talk", "with retries", "the talk"):
        shown.add_column(column, justify="right", style="dim" if column == "the talk" else None)
    for line in lines:
        shown.add_row(*line)
    console.print(shown)


class StressTest:
    """Both runs, one after the other, with their figures at any moment."""

    def __init__(self, calls: int, parallel: int, connections: int, accounts: int) -> None:
        self.tallies = (Tally("without retries", calls), Tally("with retries", calls))
        self._parallel, self._connections, self._accounts = parallel, connections, accounts
        self._begun: list[Tally] = []
        self._opened = 0
        self._lock = threading.Lock()
        self._before: int | None = None
        self._after: int | None = None

    @property
    def adds_up(self) -> bool:
        """Tell whether there are as many points as before."""
        return self._before is not None and self._before == self._after

    def figures(self) -> Figures:
        """Give the figures of this moment."""
        begun = tuple(self._begun)
        stresses = [tally.stress() for tally in begun]
        return Figures(
            self._opened,
            self._connections,
            tuple(tally.course() for tally in begun),
            BUCKETS_MS,
            table(*stresses, *[None] * (2 - len(stresses))),
            self._before,
            self._after,
        )

    def run(
        self,
        shop: ShopDatabase,
        at: Callable[[str], None] = lambda _says: None,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        """Do it on a database that has nothing yet; `ready` is called before the first transfer."""
        at("making the shop's schema, and accounts")
        shop.migrate()
        with shop.session() as admin:
            members = make_accounts(admin, self._accounts)
            self._before = total(admin)
            callers = Callers(lambda: shop.database("checkout"), self._parallel, self._connections)
            at("opening connections")
            callers.open(self._one_more)
            ready()
            for tally, policy in zip(self.tallies, (ONCE, PATIENT), strict=True):
                self._begun.append(tally)
                at(f"transfers {tally.name}")
                run(callers, members, tally.wanted, policy, tally)
            callers.close()
            self._after = total(admin)

    def _one_more(self) -> None:
        with self._lock:
            self._opened += 1


class _View:
    """The stress test on a terminal: bars that move, or a line for each tenth where nobody sees them move."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description:28}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self.progress = Progress(*columns, TextColumn("{task.fields[told]}"), console=console)
        self._console = console
        self._tasks: dict[str, TaskID] = {}
        self._tenths = Counter[str]()

    def __call__(self, snapshot: Snapshot[Figures]) -> None:
        """Show a snapshot."""
        figures = snapshot.figures
        if not figures.connections:
            self._bar("starting", None, 0, snapshot.says)
            return
        self._bar("starting", 1, 1, "")
        self._bar("connections", figures.connections_wanted, figures.connections, "")
        for one in figures.runs:
            told = ", ".join(f"{kind}: {number:,}" for kind, number in one.errors.items())
            self._bar(f"transfers {one.name}", one.wanted, one.done, told)
            tenths = 10 * one.done // one.wanted
            if not self._console.is_terminal and tenths > self._tenths[one.name]:
                self._tenths[one.name] = tenths
                self._console.print(f"{one.done:,} of {one.wanted:,} transfers {one.name}. {told}")

    def _bar(self, name: str, of: int | None, done: int, told: str) -> None:
        if name not in self._tasks:
            self._tasks[name] = self.progress.add_task(name, total=of, told=told)
        self.progress.update(self._tasks[name], total=of, completed=done, told=told)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stress test."""
    parser = argparse.ArgumentParser(
        prog="python -m demos.stress",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--transfers", type=whole_number(1, 1_000_000), default=10_000, help="a run (%(default)s)"
    )
    parser.add_argument(
        "--parallel", type=whole_number(1, 2_000), default=1_000, help="transfers at once (%(default)s)"
    )
    parser.add_argument(
        "--connections",
        type=whole_number(1, 2_000),
        default=CONNECTIONS,
        help="to the database (%(default)s)",
    )
    parser.add_argument(
        "--accounts", type=whole_number(2, 100_000), default=1_000, help="to choose from (%(default)s)"
    )
    add_options(parser)
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    connections = options.connections + _SPARE_CONNECTIONS
    test = StressTest(options.transfers, options.parallel, options.connections, options.accounts)
    view = _View(console)
    try:
        with view.progress, Live("stress", test.figures, view, port=options.live) as live:
            if live.url:
                console.print(f"The stress test in a browser: {live.url}")
            live.at("starting a local DSQL")
            # The burst of a cluster is 1,000: with more at once its rate would be what is measured.
            with open_database(connections, {"connection_burst": connections}) as shop:
                test.run(
                    shop,
                    lambda says: live.at(says, running=says.startswith("transfers")),
                    lambda: live.wait_for_a_browser(options.live_wait_s, console.print),
                )
            live.at("all calls are done")
        figures = live.snapshot().figures
        show(console, figures.table)
        console.print(
            f"All accounts together: {figures.points_before:,} points before, {figures.points_after:,} after."
        )
    except StartError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    if not test.adds_up:
        sys.exit("Points were made or lost: that must not be.")


if __name__ == "__main__":
    run_command(main)
