"""A sale that many want at once: buyers from two Regions check out the same limited item at the same moment.

    make sale                                                     one seat, 60 buyers
    make sale ARGS="--units 100 --buyers 1000 --slots 50"         a hot drop

One seat and 60 buyers: one row, one winner. A hot drop of 1,000 units and 10,000 buyers: the same code, with
the units laid into slots, so that buyers change different rows and do not conflict. Every buyer's attempts
are in the request log, and the scoreboard is made of it.
"""

import argparse
import json
import random
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID, uuid4

from rich.console import Console
from rich.table import Table

from demos.shop_database import REGIONS, ShopDatabase, open_database
from domain.checkout import AcceptedOrder
from domain.idempotency import Request
from domain.stock import MAX_SLOTS, MAX_STOCK, spread
from local_dsql.console import run_command
from local_dsql.guard import StartError
from sql.connection import Connection, Database
from sql.errors import RetriesExhaustedError
from sql.transaction import RetryPolicy
from sql.transactions.log_request import Score, logged, scoreboard
from sql.transactions.place_order import PlaceOrder, place_order
from tools.arguments import whole_number

PRICE_POINTS = 10

_BATCH = 700
#: Connections that are not the buyers': to set up and to count, and PostgreSQL's own.
_SPARE_CONNECTIONS = 30

#: A buyer who meets conflicts asks again for as long as a person would wait for an answer.
PATIENT = RetryPolicy(attempts=60, base_s=0.005, cap_s=0.25, deadline_s=60)


class Sale(NamedTuple):
    """How a sale ended. `left` is the stock afterwards, `orders` and `debits` what was written."""

    item_id: UUID
    scores: list[Score]
    left: int
    orders: int
    debits: int
    slots_sold_from: int


def hold_sale(
    admin: Connection,
    connect: Callable[[str], Database],
    units: int,
    buyers: int,
    slots: int = 1,
    at_once: int = 60,
    seed: int = 0,
) -> Sale:
    """Put `units` of a new item on sale, let `buyers` check out one each, `at_once` at a time.

    `connect` gives a way to the database for a Region's checkout function; `admin` sets up and counts.
    """
    item_id = uuid4()
    members = [uuid4() for _ in range(buyers)]
    _set_up(admin, item_id, members, units, slots)
    local, opened = threading.local(), list[Database]()
    start = threading.Barrier(min(at_once, buyers))
    first = set(members[: start.parties])

    def buy(number: int) -> None:
        if not hasattr(local, "database"):
            local.database = connect(REGIONS[number % 2]).differing(retries=PATIENT)
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
        with suppress(RetriesExhaustedError):  # logged as such: the scoreboard has it
            logged(
                database,
                "buy",
                item_id,
                buyer,
                lambda: place_order(database, command, _render, pick),
                lambda: datetime.now(UTC),
            )

    try:
        with ThreadPoolExecutor(start.parties) as shoppers:
            for done in [shoppers.submit(buy, number) for number in range(buyers)]:
                done.result()
    finally:
        for database in opened:
            database.discard()
    return _count(admin, connect(REGIONS[0]).differing(role="reports"), item_id, units, slots)


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
    )


def show(console: Console, shop: ShopDatabase, sale: Sale) -> None:
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
    with shop.session("reports") as session:
        for order in ("ended_at", "ended_at desc"):
            rows = session.execute(
                "select actor_id, region, outcome, attempts, started_at, ended_at "  # noqa: S608  # ours
                f"from xpoints.request_log where subject_id = %s order by {order} limit 3".encode(),
                [sale.item_id],
            ).fetchall()
            for buyer, region, outcome, attempts, start, end in rows if order == "ended_at" else rows[::-1]:
                times = (f"{moment:%H:%M:%S.%f}"[:-3] for moment in (start, end))
                log.add_row(str(buyer)[:8], region, outcome, str(attempts), *times)
    console.print(log)
    slots = f"from {sale.slots_sold_from:,} slot(s)"
    console.print(f"{sale.orders:,} sold {slots} for {sale.debits:,} points, {sale.left:,} left.")


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
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    connections = options.at_once + _SPARE_CONNECTIONS
    try:
        with console.status("starting a local DSQL") as status, open_database(connections) as shop:
            status.update("making the shop's schema, and buyers")
            shop.migrate()
            status.update(f"{options.buyers:,} buyers from two Regions want {options.units:,}")
            with shop.session() as admin:
                sale = hold_sale(
                    admin,
                    lambda region: shop.database("checkout", region),
                    options.units,
                    options.buyers,
                    options.slots,
                    options.at_once,
                )
            status.stop()
            show(console, shop, sale)
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
