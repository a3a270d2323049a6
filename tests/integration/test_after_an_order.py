"""What follows an order: its cart is cleaned and its customer written to, once each, whatever is repeated."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest

from domain.events import Envelope, OrderPlaced
from sql.connection import Database
from sql.inbox import Effect
from sql.transactions.clean_cart import clean_cart
from sql.transactions.notify import DueMessage, confirm_order
from sql.transactions.place_order import place_order
from tests.integration.conftest import Connect
from tests.integration.shop import Shop, render, wish

DatabaseFactory = Callable[..., Database]


@pytest.fixture
def shop(connect: Connect) -> Shop:
    return Shop(connect())


@pytest.fixture
def consumers(database: DatabaseFactory) -> Database:
    return database("consumers")


@pytest.fixture
def order(shop: Shop, database: DatabaseFactory) -> Callable[..., Envelope[OrderPlaced]]:
    """Places an order and gives the event that its outbox row holds."""

    def place(customer_id: UUID, total: int, key: str = "key-12345") -> Envelope[OrderPlaced]:
        command = wish(customer_id, total, key)
        place_order(database("checkout"), command, render)
        detail = shop.scalar("select detail from xpoints.outbox where id = %s", [command.event_id])
        return Envelope[OrderPlaced].model_validate(json.loads(detail))

    return place


def cart(shop: Shop, customer_id: UUID) -> dict[UUID, int]:
    return dict(
        shop.rows(
            "select item_id, quantity from xpoints.shopping_cart_items where customer_id = %s", [customer_id]
        )
    )


# --- The cart --------------------------------------------------------------------------------------------


def test_exactly_the_ordered_quantities_leave_the_cart(
    shop: Shop, consumers: Database, order: Callable[..., Envelope[OrderPlaced]]
) -> None:
    customer_id = shop.customer()
    whole, more, later = shop.item(1), shop.item(1), shop.item(1)
    shop.fill_cart(customer_id, {whole: 3, more: 2})
    event = order(customer_id, 5)
    # Before the cart is cleaned the shopper adds to a line, and a line.
    shop.connection.execute(
        "update xpoints.shopping_cart_items set quantity = quantity + 4 where item_id = %s", [more]
    )
    shop.fill_cart(customer_id, {later: 1})

    assert clean_cart(consumers, event).value is Effect.DONE
    assert cart(shop, customer_id) == {more: 4, later: 1}
    assert shop.scalar("select cart_cleaned_at is not null from xpoints.orders") is True


def test_other_customers_carts_stay(
    shop: Shop, consumers: Database, order: Callable[..., Envelope[OrderPlaced]]
) -> None:
    item_id = shop.item(1)
    buyer, other = shop.customer(), shop.customer()
    shop.fill_cart(buyer, {item_id: 1})
    shop.fill_cart(other, {item_id: 1})
    clean_cart(consumers, order(buyer, 1))
    assert cart(shop, other) == {item_id: 1}


def test_a_line_is_reduced_once_however_often_the_event_comes(
    shop: Shop, consumers: Database, order: Callable[..., Envelope[OrderPlaced]]
) -> None:
    customer_id, item_id = shop.customer(), shop.item(1)
    shop.fill_cart(customer_id, {item_id: 2})
    event = order(customer_id, 2)
    shop.connection.execute("update xpoints.shopping_cart_items set quantity = 9")
    effects = [clean_cart(consumers, event).value for _ in range(3)]
    assert effects == [Effect.DONE, Effect.DUPLICATE, Effect.DUPLICATE]
    assert cart(shop, customer_id) == {item_id: 7}


def test_the_same_event_at_two_consumers_at_once_has_one_effect(
    shop: Shop, database: DatabaseFactory, order: Callable[..., Envelope[OrderPlaced]]
) -> None:
    customer_id, item_id = shop.customer(), shop.item(1)
    shop.fill_cart(customer_id, {item_id: 2})
    event = order(customer_id, 2)
    shop.connection.execute("update xpoints.shopping_cart_items set quantity = 9")
    barrier = threading.Barrier(4)

    def consume(way: Database) -> Effect:
        way.connection()
        barrier.wait(10)
        return clean_cart(way, event).value

    with ThreadPoolExecutor(4) as pool:
        effects = list(pool.map(consume, [database("consumers") for _ in range(4)]))
    assert sorted(effects) == [Effect.DONE, Effect.DUPLICATE, Effect.DUPLICATE, Effect.DUPLICATE]
    assert cart(shop, customer_id) == {item_id: 7}


# --- The letter ------------------------------------------------------------------------------------------


class Mailbox:
    """Takes messages, and fails in the way it is told."""

    def __init__(self, before: Exception | None = None, after: Exception | None = None) -> None:
        self.messages: list[DueMessage] = []
        self.before, self.after = before, after

    def send(self, message: DueMessage) -> None:
        before, self.before = self.before, None
        if before is not None:
            raise before
        self.messages.append(message)
        after, self.after = self.after, None
        if after is not None:
            raise after


@pytest.fixture
def placed(shop: Shop, order: Callable[..., Envelope[OrderPlaced]]) -> Envelope[OrderPlaced]:
    customer_id = shop.customer(username="ana")
    shop.fill_cart(customer_id, {shop.item(1200, "Kettle"): 2, shop.item(5, "Tea towel"): 1})
    shop.connection.execute("update xpoints.points_balances set points_balance = 10000")
    return order(customer_id, 2405)


def status(shop: Shop) -> list[tuple[Any, ...]]:
    return shop.rows("select status from xpoints.notifications")


def test_one_confirmation_is_sent_with_lines_and_total(
    shop: Shop, consumers: Database, placed: Envelope[OrderPlaced]
) -> None:
    mailbox = Mailbox()
    results = [confirm_order(consumers, placed, mailbox.send) for _ in range(3)]
    assert results == ["sent", "duplicate", "duplicate"]
    (message,) = mailbox.messages
    assert message.email == "ana@example.com"
    assert message.text.body.startswith("Dear Ana,")
    assert "2 x Kettle: 2,400 points" in message.text.body
    assert "Total: 2,405 points" in message.text.body
    assert status(shop) == [("SENT",)]


def test_a_message_that_the_mail_service_refused_is_sent_at_the_next_delivery(
    shop: Shop, consumers: Database, placed: Envelope[OrderPlaced]
) -> None:
    mailbox = Mailbox(before=ConnectionError("mail is down"))
    with pytest.raises(ConnectionError):
        confirm_order(consumers, placed, mailbox.send)
    assert status(shop) == [("PENDING",)]
    assert confirm_order(consumers, placed, mailbox.send) == "sent"
    assert len(mailbox.messages) == 1


def test_a_crash_after_sending_costs_one_message_more_and_no_further_one(
    shop: Shop, consumers: Database, placed: Envelope[OrderPlaced]
) -> None:
    mailbox = Mailbox(after=SystemError("the environment died"))
    with pytest.raises(SystemError):
        confirm_order(consumers, placed, mailbox.send)
    for _ in range(3):
        confirm_order(consumers, placed, mailbox.send)
    assert len(mailbox.messages) == 2
    assert {message.id for message in mailbox.messages} == {mailbox.messages[0].id}
    assert status(shop) == [("SENT",)]


def test_nobody_is_written_to_who_has_been_erased(
    shop: Shop, consumers: Database, placed: Envelope[OrderPlaced]
) -> None:
    shop.connection.execute("update xpoints.customers set erased_at = now()")
    mailbox = Mailbox()
    assert confirm_order(consumers, placed, mailbox.send) == "skipped"
    assert mailbox.messages == []
    assert status(shop) == [("SKIPPED",)]


def test_no_address_or_name_is_kept_with_the_message(
    shop: Shop, consumers: Database, placed: Envelope[OrderPlaced]
) -> None:
    confirm_order(consumers, placed, Mailbox().send)
    (kept,) = shop.rows("select subject || body from xpoints.notifications")
    assert "ana" not in kept[0].lower().split()
    assert "@" not in kept[0]
