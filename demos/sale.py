"""A sale that many want at once: buyers from two Regions check out the same limited item at the same moment.

One seat and 60 buyers: one row, one winner. A hot drop of 1,000 units and 10,000 buyers: the same code, with
the units laid into slots, so that buyers change different rows and do not wait for each other.
"""

import json
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID, uuid4

from domain.checkout import AcceptedOrder
from domain.idempotency import Request
from domain.stock import spread
from sql.connection import Connection, Database
from sql.errors import RetriesExhaustedError
from sql.transaction import RetryPolicy
from sql.transactions.log_request import Score, logged, scoreboard
from sql.transactions.place_order import PlaceOrder, place_order

REGIONS = ("us-east-1", "us-west-2")
PRICE_POINTS = 10

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
    local = threading.local()
    start = threading.Barrier(min(at_once, buyers))
    first = set(members[: start.parties])

    def buy(number: int) -> None:
        if not hasattr(local, "database"):
            local.database = connect(REGIONS[number % 2]).differing(retries=PATIENT)
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

    with ThreadPoolExecutor(start.parties) as shoppers:
        for done in [shoppers.submit(buy, number) for number in range(buyers)]:
            done.result()
    return _count(admin, connect(REGIONS[0]).differing(role="reports"), item_id, units, slots)


def _render(command: PlaceOrder, order: AcceptedOrder) -> tuple[int, str]:
    return 201, json.dumps({"order_id": str(command.request.result_id), "points": order.total_points})


def _set_up(admin: Connection, item_id: UUID, members: list[UUID], units: int, slots: int) -> None:
    with admin.transaction(), admin.cursor() as cursor:
        cursor.execute(
            "insert into xpoints.catalog_items (id, name, category, points_price) "
            "values (%s, 'Seat', 'Sale', %s)",
            [item_id, PRICE_POINTS],
        )
        cursor.executemany(
            "insert into xpoints.stock (item_id, slot, available) values (%s, %s, %s)",
            [(item_id, slot.slot, slot.available) for slot in spread(units, slots)],
        )
        for statement in (
            "insert into xpoints.customers (id, username) "
            "select id, 'buyer_' || id from unnest(%s::uuid[]) id",
            "insert into xpoints.points_balances select id, 100 from unnest(%s::uuid[]) id",
            "insert into xpoints.transactions (customer_id, tx_type, points) "
            "select id, 'OPENING', 100 from unnest(%s::uuid[]) id",
        ):
            cursor.execute(statement.encode(), [members])
        cursor.execute(
            "insert into xpoints.shopping_cart_items (customer_id, item_id, quantity) "
            "select id, %s, 1 from unnest(%s::uuid[]) id",
            [item_id, members],
        )


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
