"""A sale that many want at once: buyers from two Regions check out the same limited item at the same moment.

    make sale                                                     one seat, 60 buyers
    make sale ARGS="--units 100 --buyers 1000 --slots 50"         a hot drop

One seat and 60 buyers: one row, one winner. A hot drop of 1,000 units and 10,000 buyers: the same code, with
the units laid into slots, so that buyers change different rows and do not conflict. Every buyer's attempts
are in the request log, and the scoreboard is made of it. `--live` shows the sale in a browser.
"""

import argparse
import json
import random
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID, uuid4

from rich.console import Console
from rich.status import Status
from rich.table import Table

from demos.live import Live, Snapshot, add_options
from demos.log_request import GAVE_UP, Score, logged, outcome_of, scoreboard
from demos.shop_database import REGIONS, open_database
from domain.checkout import AcceptedOrder
from domain.idempotency import Request
from domain.stock import MAX_SLOTS, MAX_STOCK, spread
from local_dsql.arguments import whole_number
from local_dsql.console import run_command
from local_dsql.guard import StartError
from sql.connection import Connection, Database
from sql.errors import Fault, RetriesExhaustedError
from sql.transaction import RetryPolicy
from sql.transactions.place_order import PlaceOrder, place_order

PRICE_POINTS = 10

_BATCH = 700
#: Connections that are not the buyers': to set up and to count, and PostgreSQL's own.
_SPARE_CONNECTIONS = 30

#: A buyer who meets conflicts asks again for as long as a person would wait for an answer.
PATIENT = RetryPolicy(attempts=60, base_s=0.005, cap_s=0.25, deadline_s=60)


#: A seat for each buyer is drawn up to so many.
_MOST_SEATS = 400
WAITING, TRYING = "waiting", "trying"


class Logged(NamedTuple):
    """One line of the request log."""

    buyer: UUID
    region: str
    outcome: str
    attempts: int
    started_at: datetime
    ended_at: datetime


class Sale(NamedTuple):
    """How a sale ended. `left` is the stock afterwards, `orders` and `debits` what was written.

    `log` is of the request log the first three to end, and the last three.
    """

    item_id: UUID
    scores: list[Score]
    left: int
    orders: int
    debits: int
    slots_sold_from: int
    log: list[Logged]


class Seat(NamedTuple):
    """One buyer: the Region, and waiting, trying, or how it ended."""

    region: str
    state: str


class Figures(NamedTuple):
    """A sale so far. `seats` are the buyers, as far as they can be drawn; `sale` is there once it is over."""

    units: int
    buyers: int
    regions: tuple[str, ...]
    waiting: int
    trying: int
    outcomes: dict[str, int]
    conflicts: int
    median_ms: float
    longest_ms: float
    seats: tuple[Seat, ...]
    sale: Sale | None


class Tally:
    """Counts a sale while it is held."""

    def __init__(self, units: int, buyers: int) -> None:
        self.sale: Sale | None = None
        self._units, self._buyers = units, buyers
        self._states = [WAITING] * buyers
        self._conflicts = 0
        self._times_ms: list[float] = []
        self._lock = threading.Lock()

    def begins(self, number: int) -> None:
        """Count a buyer who tries from now on."""
        with self._lock:
            self._states[number] = TRYING

    def ends(self, number: int, outcome: str, conflicts: int, ms: float) -> None:
        """Count how a buyer's attempt ended."""
        with self._lock:
            self._states[number] = outcome
            self._conflicts += conflicts
            self._times_ms.append(ms)

    def figures(self) -> Figures:
        """Give the figures of this moment."""
        with self._lock:
            states, times_ms = list(self._states), list(self._times_ms)
            conflicts, sale = self._conflicts, self.sale
        outcomes = Counter(states)
        waiting, trying = outcomes.pop(WAITING, 0), outcomes.pop(TRYING, 0)
        shown = states if len(states) <= _MOST_SEATS else []
        return Figures(
            self._units,
            self._buyers,
            REGIONS,
            waiting,
            trying,
            dict(outcomes),
            conflicts,
            statistics.median(times_ms) if times_ms else 0.0,
            max(times_ms, default=0.0),
            tuple(Seat(REGIONS[number % 2], state) for number, state in enumerate(shown)),
            sale,
        )


def hold_sale(
    admin: Connection,
    connect: Callable[..., Database],
    units: int,
    buyers: int,
    slots: int = 1,
    at_once: int = 60,
    seed: int = 0,
    tally: Tally | None = None,
    ready: Callable[[], None] = lambda: None,
) -> Sale:
    """Put `units` of a new item on sale, let `buyers` check out one each, `at_once` at a time.

    `connect` gives a way to the database for a role and what else is set of it; `admin` sets up and counts.
    `tally` counts while it goes on; `ready` is called when everything is set up, before the first buyer.
    """
    tally = tally or Tally(units, buyers)
    item_id = uuid4()
    members = [uuid4() for _ in range(buyers)]
    _set_up(admin, item_id, members, units, slots)
    ready()
    local, opened = threading.local(), list[Database]()
    start = threading.Barrier(min(at_once, buyers))
    first = set(members[: start.parties])

    def buy(number: int) -> None:
        if not hasattr(local, "database"):
            local.database = connect("checkout", region=REGIONS[number % 2], retries=PATIENT)
            # Open before the start: it is the seat that they are to meet at.
            local.database.connection()
            opened.append(local.database)
        database: Database = local.database
        buyer = members[number]
        if buyer in first:
            start.wait(60)
        command = PlaceOrder(
            request=Request(buyer, f"sale-{item_id}", "sale", uuid4()),
            expected_points=PRICE_POINTS,
            now=datetime.now(UTC),
            region=database.settings.region,
            correlation_id=f"sale-{number}",
        )
        pick = random.Random(seed * 1_000_003 + number).randrange
        tally.begins(number)
        start_s = time.perf_counter()
        try:
            completed = logged(
                database,
                "buy",
                item_id,
                buyer,
                lambda: place_order(database, command, _render, pick),
                lambda: datetime.now(UTC),
            )
            outcome, conflicts = outcome_of(completed), completed.faults[Fault.CONFLICT]
        except RetriesExhaustedError as error:  # logged as such: the scoreboard has it
            outcome, conflicts = GAVE_UP, error.attempts
        tally.ends(number, outcome, conflicts, (time.perf_counter() - start_s) * 1000)

    try:
        with ThreadPoolExecutor(start.parties) as shoppers:
            for done in [shoppers.submit(buy, number) for number in range(buyers)]:
                done.result()
    finally:
        for database in opened:
            database.discard()
    tally.sale = _count(admin, connect("reports"), item_id, units, slots)
    return tally.sale


def _render(command: PlaceOrder, order: AcceptedOrder) -> tuple[int, str]:
    return 201, json.dumps({"order_id": str(command.request.result_id), "points": order.total_points})


def _set_up(admin: Connection, item_id: UUID, members: list[UUID], units: int, slots: int) -> None:
    laid = spread(units, slots)
    with admin.transaction():
        admin.execute(
            "insert into xpoints.catalog_items (id, name, category, points_price) "
            "values (%s, 'Seat', 'Sale', %s)",
            [item_id, PRICE_POINTS],
        )
        admin.execute(
            "insert into xpoints.stock (item_id, slot, available) "
            "select %s, * from unnest(%s::int[], %s::int[])",
            [item_id, [slot.slot for slot in laid], [slot.available for slot in laid]],
        )
    # A transaction changes 3,000 rows at most: four for each buyer.
    for first in range(0, len(members), _BATCH):
        with admin.transaction():
            for statement in (
                "insert into xpoints.customers (id, username) "
                "select id, 'buyer_' || id from unnest(%(buyers)s::uuid[]) id",
                "insert into xpoints.points_balances select id, 100 from unnest(%(buyers)s::uuid[]) id",
                "insert into xpoints.transactions (customer_id, tx_type, points) "
                "select id, 'OPENING', 100 from unnest(%(buyers)s::uuid[]) id",
                "insert into xpoints.shopping_cart_items (customer_id, item_id, quantity) "
                "select id, %(item)s, 1 from unnest(%(buyers)s::uuid[]) id",
            ):
                buyers = members[first : first + _BATCH]
                admin.execute(statement.encode(), {"buyers": buyers, "item": item_id})


def _count(admin: Connection, database: Database, item_id: UUID, units: int, slots: int) -> Sale:
    def value(statement: str) -> int:
        row = admin.execute(statement.encode(), {"item": item_id}).fetchone()
        assert row is not None
        return int(row[0])

    before = {slot.slot: slot.available for slot in spread(units, slots)}
    after = admin.execute(
        "select slot, available from xpoints.stock where item_id = %s", [item_id]
    ).fetchall()
    scores = scoreboard(database, item_id)
    database.discard()
    log = [
        Logged(*row)
        for order, step in (("ended_at", 1), ("ended_at desc", -1))
        for row in admin.execute(
            "select actor_id, region, outcome, attempts, started_at, ended_at "  # noqa: S608  # ours
            f"from xpoints.request_log where subject_id = %s order by {order} limit 3".encode(),
            [item_id],
        ).fetchall()[::step]
    ]
    return Sale(
        item_id,
        scores,
        left=value("select coalesce(sum(available), 0) from xpoints.stock where item_id = %(item)s"),
        orders=value("select count(*) from xpoints.order_items where cat_item_id = %(item)s"),
        debits=value(
            "select coalesce(-sum(t.points), 0) from xpoints.transactions t "
            "join xpoints.order_items l on l.tx_id = t.id where l.cat_item_id = %(item)s"
        ),
        slots_sold_from=sum(available < before[slot] for slot, available in after),
        log=log,
    )


def show(console: Console, sale: Sale) -> None:
    """Print the scoreboard, the attempts of those who needed most, and what was sold."""
    table = Table(title="Scoreboard: conflicts are what optimistic concurrency control told the losers")
    for column in ("outcome", "buyers", "conflicts", "most attempts of one"):
        table.add_column(column, justify="left" if column == "outcome" else "right")
    for score in sale.scores:
        table.add_row(score.outcome, f"{score.buyers:,}", f"{score.conflicts:,}", f"{score.most_attempts}")
    console.print(table)
    log = Table(title="Out of the request log: the first to end, and the last")
    for column in ("buyer", "Region", "outcome", "attempts", "start", "end"):
        log.add_column(column)
    for line in sale.log:
        times = (f"{moment:%H:%M:%S.%f}"[:-3] for moment in (line.started_at, line.ended_at))
        log.add_row(str(line.buyer)[:8], line.region, line.outcome, str(line.attempts), *times)
    console.print(log)
    slots = f"from {sale.slots_sold_from:,} slot(s)"
    console.print(f"{sale.orders:,} sold {slots} for {sale.debits:,} points, {sale.left:,} left.")


def _view(status: Status, snapshot: Snapshot[Figures]) -> None:
    """Show on the terminal what goes on."""
    figures = snapshot.figures
    tried = figures.buyers - figures.waiting
    said = f": {tried:,} have tried, {figures.conflicts:,} conflicts" if tried else ""
    status.update(f"{snapshot.says}{said}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Hold a sale on a local DSQL and show its scoreboard."""
    parser = argparse.ArgumentParser(
        prog="python -m demos.sale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--units", type=whole_number(1, MAX_STOCK), default=1, help="for sale (%(default)s)")
    parser.add_argument("--buyers", type=whole_number(1, 100_000), default=60, help="(%(default)s)")
    parser.add_argument(
        "--at-once", type=whole_number(1, 500), default=60, help="buyers at the same time (%(default)s)"
    )
    parser.add_argument(
        "--slots", type=whole_number(1, MAX_SLOTS), default=1, help="rows of the stock (%(default)s)"
    )
    add_options(parser)
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    tally = Tally(options.units, options.buyers)
    try:
        with (
            console.status("starting") as status,
            Live("sale", tally.figures, lambda snapshot: _view(status, snapshot), port=options.live) as live,
        ):
            if live.url:
                console.print(f"The sale in a browser: {live.url}")
            live.at("starting a local DSQL")
            with open_database(options.at_once + _SPARE_CONNECTIONS) as shop:
                live.at("making the shop's schema, and buyers")
                shop.migrate()

                def ready() -> None:
                    live.wait_for_a_browser(options.live_wait_s, console.print)
                    live.at(
                        f"{options.buyers:,} buyers from two Regions want {options.units:,}", running=True
                    )

                with shop.session() as admin:
                    sale = hold_sale(
                        admin,
                        shop.database,
                        options.units,
                        options.buyers,
                        options.slots,
                        options.at_once,
                        tally=tally,
                        ready=ready,
                    )
            live.at("everybody has an answer")
        show(console, sale)
    except StartError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    if (sale.orders, sale.left) != (
        min(options.units, options.buyers),
        max(0, options.units - options.buyers),
    ):
        sys.exit("Not as many were sold as there were: that must not be.")


if __name__ == "__main__":
    run_command(main)
