"""Races of two writers that random runs meet too seldom: each made to happen between a read and its write."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from domain import refusals
from domain.cart import LineFacts, StoredLine, decide_quantity
from domain.checkout import AcceptedOrder
from domain.events import Envelope, Origin, read_event
from domain.events.orders import OrderPlaced
from domain.idempotency import Request
from domain.points import BalanceChange
from sql.connection import Database
from sql.transactions import change_cart
from sql.transactions.change_account import erase_account
from sql.transactions.change_cart import remove_line, set_quantity
from sql.transactions.clean_cart import clean_cart
from sql.transactions.move_points import Credit, credit_points
from sql.transactions.place_order import PlaceOrder, place_order
from tests.integration.conftest import Connect
from tests.integration.shop import REGION, Shop, order_command, render


def event_of(shop: Shop) -> Envelope[OrderPlaced]:
    return read_event(OrderPlaced, shop.scalar("select detail from xpoints.outbox"))


def set_while_cleaning(
    shop: Shop,
    database: Callable[..., Database],
    monkeypatch: pytest.MonkeyPatch,
    line: tuple[UUID, UUID],
    quantity: int,
) -> int:
    """Set a line's quantity and have the order's units cleaned up in the middle; give what is stored then."""
    event = event_of(shop)

    def clean_meanwhile(facts: LineFacts, requested: int) -> Any:
        clean_cart(database("consumers"), event)
        return decide_quantity(facts, requested)

    monkeypatch.setattr("sql.transactions.change_cart.decide_quantity", clean_meanwhile)
    set_quantity(database("storefront"), *line, quantity)
    return int(shop.scalar("select quantity from xpoints.shopping_cart_items"))


def test_a_quantity_set_while_the_cleanup_takes_its_line_is_what_is_in_the_cart(
    connect: Connect, database: Callable[..., Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(connect())
    customer_id, item_id = shop.customer(), shop.item(10)
    shop.fill_cart(customer_id, {item_id: 2})
    place_order(database("checkout"), order_command(customer_id, 20), render)
    assert set_while_cleaning(shop, database, monkeypatch, (customer_id, item_id), 1) == 1


def test_a_line_that_was_there_is_written_by_what_puts_none_back() -> None:
    """DSQL would have the write run again; an engine that locks rows would bring the ordered units back."""
    written = change_cart._write(uuid4(), uuid4(), StoredLine(quantity=1, existed=True))
    assert written.query.text.lstrip().startswith(b"update xpoints.shopping_cart_items")


def test_a_quantity_set_while_the_cleanup_takes_an_order_that_has_no_line_any_more(
    connect: Connect, database: Callable[..., Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(connect())
    customer_id, item_id = shop.customer(), shop.item(10)
    shop.fill_cart(customer_id, {item_id: 2})

    def remove_meanwhile(command: PlaceOrder, order: AcceptedOrder) -> tuple[int, str]:
        remove_line(database("storefront"), customer_id, item_id)
        return render(command, order)

    place_order(database("checkout"), order_command(customer_id, 20), remove_meanwhile)
    assert shop.count("shopping_cart_items") == 0, "removed while it was ordered: units without a line"
    assert set_while_cleaning(shop, database, monkeypatch, (customer_id, item_id), 1) == 1


def test_a_credit_that_meets_an_erasure_is_refused_and_moves_nothing(
    connect: Connect, database: Callable[..., Database]
) -> None:
    shop = Shop(connect())
    customer_id = shop.customer(points=0)  # nothing to forfeit: the balance is touched all the same
    origin = Origin(uuid4(), datetime.now(UTC), REGION, "test")

    def erase_meanwhile(_: Credit, change: BalanceChange) -> tuple[int, str]:
        erase_account(database("accounts"), customer_id, uuid4(), origin)
        return 201, "{}"

    request = Request(uuid4(), "key", "hash", uuid4())
    credit = Credit(request, Origin(uuid4(), origin.now, REGION, "test"), customer_id, 10, "GIFT", "A gift")
    assert credit_points(database("staff"), credit, erase_meanwhile).value == refusals.unknown_customer()
    assert shop.balance(customer_id) == 0
