"""The developer's talk's stress test: transfers of 1 between accounts chosen at random, many in parallel.

    make stress                                          10,000 transfers, 1,000 in parallel
    make stress ARGS="--transfers 1000 --parallel 50"

The same transfers are made without retries, then with them. A transfer is this shop's own: idempotent, with
two ledger entries and an event. They run on real connections, with tokens, to a local Aurora DSQL; a call
waits until one is free, and its time counts from there, as a function's does. At 908 calls a second of
20.12 ms the talk's 1,000 in parallel were 18 at the database at once: so many connections are open.
"""

import argparse
import queue
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID, uuid4

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from demos.shop_database import ShopDatabase, open_database
from domain.events import Origin, event_of
from domain.idempotency import Request
from domain.refusals import Refusal
from local_dsql.console import run_command
from local_dsql.guard import StartError
from sql.connection import Connection, Database
from sql.errors import RetriesExhaustedError
from sql.transaction import RetryPolicy
from sql.transactions.move_points import Transfer, transfer_points
from tools.arguments import whole_number

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


class Stress(NamedTuple):
    """How a run went. Times are milliseconds a call, retries included."""

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
    done: Callable[[str], None] = lambda _outcome: None,
    seed: int = 0,
) -> Stress:
    """Make `calls` transfers, as many in parallel as there are callers; `done` is told of each."""
    choose = random.Random(seed)
    ids = list(members)
    pairs = [choose.sample(ids, 2) for _ in range(calls)]

    def call(pair: list[UUID]) -> tuple[str, int, float]:
        result = callers.transfer(pair[0], members[pair[1]], policy)
        done(result[0])
        return result

    start = time.perf_counter()
    with ThreadPoolExecutor(callers.parallel) as workers:
        results = list(workers.map(call, pairs))
    elapsed_s = time.perf_counter() - start
    outcomes = Counter(outcome for outcome, _, _ in results)
    retries = [number for _, number, _ in results]
    times = [ms for _, _, ms in results]
    return Stress(
        calls=calls,
        succeeded=outcomes.pop("ok", 0),
        errors=outcomes,
        calls_per_s=calls / elapsed_s,
        min_ms=min(times),
        max_ms=max(times),
        mean_ms=statistics.fmean(times),
        retries=sum(retries),
        most_retries=max(retries),
        calls_with_retries=sum(map(bool, retries)),
    )


def show(console: Console, without: Stress, with_retries: Stress) -> None:
    """Print the talk's table, with its published figures beside."""
    table = Table(
        title="Transfers, beside the talk's published figures (Aurora DSQL, Lambda)", title_justify="left"
    )
    table.add_column()
    for column in ("without retries", "the talk", "with retries", "the talk"):
        table.add_column(column, justify="right", style="dim" if column == "the talk" else None)
    for name, value, published_without, published_with in LINES:
        table.add_row(name, value(without), published_without, value(with_retries), published_with)
    console.print(table)


def stress(
    shop: ShopDatabase, console: Console, calls: int, parallel: int, connections: int, accounts: int
) -> bool:
    """Run both ways and show them; tell whether the points still add up."""
    with console.status("making the shop's schema, and accounts"):
        shop.migrate()
        admin = shop.session()
        members = make_accounts(admin, accounts)
    before = total(admin)
    callers = Callers(lambda: shop.database("checkout"), parallel, connections)
    columns = (TextColumn("{task.description:28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[told]}"), console=console) as progress:
        opening = progress.add_task("connections", total=connections, told="")
        callers.open(lambda: progress.advance(opening))
        runs = []
        for name, policy in (("without retries", ONCE), ("with retries", PATIENT)):
            task = progress.add_task(f"transfers {name}", total=calls, told="")
            failed = Counter[str]()

            def done(
                outcome: str, task: TaskID = task, name: str = name, failed: Counter[str] = failed
            ) -> None:
                if outcome != "ok":
                    failed[outcome] += 1
                told = ", ".join(f"{kind}: {number:,}" for kind, number in failed.items())
                progress.update(task, advance=1, told=told)
                # Where nobody sees a bar move, a line for each tenth.
                at = progress.tasks[task].completed
                if not console.is_terminal and at % max(1, calls // 10) == 0:
                    console.print(f"{at:,.0f} of {calls:,} transfers {name}. {told}")

            runs.append(run(callers, members, calls, policy, done))
    callers.close()
    show(console, *runs)
    after = total(admin)
    admin.close()
    console.print(f"All accounts together: {before:,} points before, {after:,} after.")
    return before == after


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
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    try:
        with (
            console.status("starting a local DSQL") as status,
            open_database(
                options.connections + _SPARE_CONNECTIONS,
                # The burst of a cluster is 1,000: with more at once its rate would be what is measured.
                {"connection_burst": options.connections + _SPARE_CONNECTIONS},
            ) as shop,
        ):
            status.stop()
            adds_up = stress(
                shop, console, options.transfers, options.parallel, options.connections, options.accounts
            )
    except StartError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    if not adds_up:
        sys.exit("Points were made or lost: that must not be.")


if __name__ == "__main__":
    run_command(main)
