"""What follows an order: its cart is cleaned and its customer written to, once each, whatever is repeated."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from domain.events import Envelope, Origin, read_event
from domain.events.orders import OrderedLine, OrderPlaced
from domain.events.refunds import OrderCancelled
from sql.connection import Database
from sql.inbox import EffectOutcome, UnknownOrderError
from sql.transactions import notify
from sql.transactions.clean_cart import clean_cart
from sql.transactions.notify import (
    BeingSentError,
    DueMessage,
    UndeliverableError,
    confirm_cancellation,
    confirm_order,
)
from sql.transactions.place_order import place_order
from tests.integration.conftest import Connect
from tests.integration.shop import Shop, order_command, render

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
        command = order_command(customer_id, total, key)
        place_order(database("checkout"), command, render)
        detail = shop.scalar("select detail from xpoints.outbox where id = %s", [command.event_id])
        return read_event(OrderPlaced, detail)

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

    assert clean_cart(consumers, event).value is EffectOutcome.DONE
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
    assert effects == [EffectOutcome.DONE, EffectOutcome.DUPLICATE, EffectOutcome.DUPLICATE]
    assert cart(shop, customer_id) == {item_id: 7}


def test_the_same_event_at_two_consumers_at_once_has_one_effect(
    shop: Shop, database: DatabaseFactory, order: Callable[..., Envelope[OrderPlaced]]
) -> None:
    customer_id, item_id = shop.customer(), shop.item(1)
    shop.fill_cart(customer_id, {item_id: 2})
    event = order(customer_id, 2)
    shop.connection.execute("update xpoints.shopping_cart_items set quantity = 9")
    barrier = threading.Barrier(4)

    def consume(way: Database) -> EffectOutcome:
        way.connection()
        barrier.wait(10)
        return clean_cart(way, event).value

    with ThreadPoolExecutor(4) as pool:
        effects = list(pool.map(consume, [database("consumers") for _ in range(4)]))
    assert sorted(effects) == [
        EffectOutcome.DONE,
        EffectOutcome.DUPLICATE,
        EffectOutcome.DUPLICATE,
        EffectOutcome.DUPLICATE,
    ]
    assert cart(shop, customer_id) == {item_id: 7}


# --- The e-mail ------------------------------------------------------------------------------------------


class Died(BaseException):
    """The environment ends in the middle: nothing that follows is done."""


class Mailbox:
    """Takes messages, and fails in the way it is told."""

    def __init__(self, before: BaseException | None = None, after: BaseException | None = None) -> None:
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


def end_claims(shop: Shop) -> None:
    """Let more time pass than a run may take to send what it claimed."""
    shop.connection.execute(b"update xpoints.notifications set claimed_until = now()")


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
    mailbox = Mailbox(after=Died())
    with pytest.raises(Died):
        confirm_order(consumers, placed, mailbox.send)
    end_claims(shop)
    for _ in range(3):
        confirm_order(consumers, placed, mailbox.send)
    assert len(mailbox.messages) == 2
    assert {message.id for message in mailbox.messages} == {mailbox.messages[0].id}
    assert status(shop) == [("SENT",)]


def test_of_two_deliveries_at_once_one_sends_and_the_other_comes_again(
    shop: Shop, database: DatabaseFactory, placed: Envelope[OrderPlaced]
) -> None:
    second: list[DueMessage] = []

    def deliver_again_meanwhile(_: DueMessage) -> None:
        with pytest.raises(BeingSentError):
            confirm_order(database("consumers"), placed, second.append)

    assert confirm_order(database("consumers"), placed, deliver_again_meanwhile) == "sent"
    assert confirm_order(database("consumers"), placed, second.append) == "duplicate"
    assert second == []


def test_what_a_run_that_died_had_claimed_is_sent_by_the_next_when_the_claim_ends(
    shop: Shop, consumers: Database, placed: Envelope[OrderPlaced]
) -> None:
    mailbox = Mailbox(before=Died())
    with pytest.raises(Died):
        confirm_order(consumers, placed, mailbox.send)
    with pytest.raises(BeingSentError):
        confirm_order(consumers, placed, mailbox.send)
    end_claims(shop)
    assert confirm_order(consumers, placed, mailbox.send) == "sent"
    assert len(mailbox.messages) == 1


def test_a_message_to_nobody_is_closed_by_the_run_that_has_its_claim(
    shop: Shop, consumers: Database, placed: Envelope[OrderPlaced]
) -> None:
    with pytest.raises(Died):
        confirm_order(consumers, placed, Mailbox(before=Died()).send)
    shop.connection.execute("update xpoints.customers set email = null")
    mailbox = Mailbox()
    with pytest.raises(BeingSentError):
        confirm_order(consumers, placed, mailbox.send)
    end_claims(shop)
    assert confirm_order(consumers, placed, mailbox.send) == "skipped no-address"
    assert shop.rows("select status from xpoints.notifications") == [("SKIPPED",)]
    assert mailbox.messages == []


def claimed_by_a_run_that_dies(shop: Shop) -> None:
    end_claims(shop)
    shop.connection.execute(
        "update xpoints.notifications set claim_token = gen_random_uuid(), "
        "claimed_until = now() + interval '60 seconds'"
    )


def test_a_run_that_lost_its_claim_before_sending_sends_nothing(
    shop: Shop, consumers: Database, placed: Envelope[OrderPlaced], monkeypatch: pytest.MonkeyPatch
) -> None:
    mailbox, let_go = Mailbox(), notify._let_go

    def lose_the_claim(*arguments: Any) -> str | None:
        claimed_by_a_run_that_dies(shop)
        return let_go(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(notify, "_let_go", lose_the_claim)
        with pytest.raises(BeingSentError):
            confirm_order(consumers, placed, mailbox.send)
    assert mailbox.messages == []
    end_claims(shop)
    assert confirm_order(consumers, placed, mailbox.send) == "sent"
    assert len(mailbox.messages) == 1


def test_what_was_sent_counts_as_sent_whoever_has_claimed_it_meanwhile(
    shop: Shop, consumers: Database, placed: Envelope[OrderPlaced]
) -> None:
    mailbox = Mailbox()

    def lose_the_claim(message: DueMessage) -> None:
        mailbox.send(message)
        claimed_by_a_run_that_dies(shop)

    assert confirm_order(consumers, placed, lose_the_claim) == "sent"
    assert status(shop) == [("SENT",)]
    end_claims(shop)
    assert confirm_order(consumers, placed, mailbox.send) == "duplicate"
    assert len(mailbox.messages) == 1


def test_a_message_without_a_taker_is_closed(
    shop: Shop, consumers: Database, placed: Envelope[OrderPlaced]
) -> None:
    mailbox = Mailbox(before=UndeliverableError())
    assert confirm_order(consumers, placed, mailbox.send) == "skipped refused"
    assert confirm_order(consumers, placed, mailbox.send) == "duplicate"
    assert mailbox.messages == []


# --- The order is cancelled ------------------------------------------------------------------------------


def cancelled(shop: Shop, placed: Envelope[OrderPlaced]) -> Envelope[OrderCancelled]:
    """Cancel the order; give the event that tells of it."""
    order = placed.data
    shop.connection.execute(
        "update xpoints.orders set status = 'CANCELLED', refunded_points = total_points, version = 2"
    )
    payload = OrderCancelled(
        order_id=order.order_id, customer_id=order.customer_id, points=order.total_points, lines=order.lines
    )
    origin = Origin(uuid4(), datetime.now(UTC), "us-east-1", "request-2")
    event = origin.announce(payload, order.order_id, placed.aggregate_version + 1)
    shop.record_event(event)
    return event


def test_a_cancelled_order_is_told_of_once_after_its_confirmation(
    shop: Shop, consumers: Database, placed: Envelope[OrderPlaced]
) -> None:
    mailbox = Mailbox()
    assert confirm_order(consumers, placed, mailbox.send) == "sent"
    event = cancelled(shop, placed)
    results = [confirm_cancellation(consumers, event, mailbox.send) for _ in range(2)]
    assert results == ["sent", "duplicate"]
    assert [message.text.subject.split()[-1] for message in mailbox.messages] == ["confirmed", "cancelled"]
    assert "2,405 points are back" in mailbox.messages[1].text.body


def test_an_order_that_was_cancelled_before_its_confirmation_is_not_confirmed_any_more(
    shop: Shop, consumers: Database, placed: Envelope[OrderPlaced]
) -> None:
    mailbox = Mailbox()
    assert confirm_cancellation(consumers, cancelled(shop, placed), mailbox.send) == "sent"
    results = [confirm_order(consumers, placed, mailbox.send) for _ in range(2)]
    assert results == ["stale", "duplicate"]
    assert len(mailbox.messages) == 1
    assert shop.rows("select kind from xpoints.notifications") == [("order-cancellation",)]


def test_a_confirmation_that_could_not_be_sent_before_the_cancellation_is_withdrawn(
    shop: Shop, consumers: Database, placed: Envelope[OrderPlaced]
) -> None:
    """With no time in between: the sender that failed has given its claim back."""
    mailbox = Mailbox(before=ConnectionError("mail is down"))
    with pytest.raises(ConnectionError):
        confirm_order(consumers, placed, mailbox.send)
    assert confirm_cancellation(consumers, cancelled(shop, placed), mailbox.send) == "sent"
    assert confirm_order(consumers, placed, mailbox.send) == "duplicate"
    assert subjects(mailbox) == ["cancelled"]


def test_a_confirmation_whose_sender_died_is_never_sent_after_the_cancellation(
    shop: Shop, consumers: Database, placed: Envelope[OrderPlaced]
) -> None:
    mailbox = Mailbox(before=Died())
    with pytest.raises(Died):
        confirm_order(consumers, placed, mailbox.send)
    event = cancelled(shop, placed)
    with pytest.raises(BeingSentError):  # for all that anybody knows it is on its way
        confirm_cancellation(consumers, event, mailbox.send)
    end_claims(shop)
    assert confirm_order(consumers, placed, mailbox.send) == "duplicate"
    assert confirm_cancellation(consumers, event, mailbox.send) == "sent"
    assert subjects(mailbox) == ["cancelled"]


def test_a_cancellation_waits_for_the_confirmation_that_is_on_its_way(
    shop: Shop, database: DatabaseFactory, placed: Envelope[OrderPlaced]
) -> None:
    mailbox = Mailbox()
    events: list[Envelope[OrderCancelled]] = []

    def cancel_meanwhile(message: DueMessage) -> None:
        events.append(cancelled(shop, placed))
        with pytest.raises(BeingSentError):
            confirm_cancellation(database("consumers"), events[0], mailbox.send)
        mailbox.send(message)

    assert confirm_order(database("consumers"), placed, cancel_meanwhile) == "sent"
    assert confirm_cancellation(database("consumers"), events[0], mailbox.send) == "sent"
    assert subjects(mailbox) == ["confirmed", "cancelled"]
    assert status(shop) == [("SENT",), ("SENT",)]


def test_an_order_that_is_cancelled_by_now_is_not_confirmed_before_its_cancellation_has_come(
    shop: Shop, consumers: Database, placed: Envelope[OrderPlaced]
) -> None:
    mailbox, event = Mailbox(), cancelled(shop, placed)
    assert confirm_order(consumers, placed, mailbox.send) == "stale"
    assert confirm_cancellation(consumers, event, mailbox.send) == "sent"
    assert subjects(mailbox) == ["cancelled"]


def subjects(mailbox: Mailbox) -> list[str]:
    """Give what each message that was sent says of the order."""
    return [message.text.subject.split()[-1] for message in mailbox.messages]


# --- What an event says and the database does not --------------------------------------------------------


def _forged(placed: Envelope[OrderPlaced], **changes: Any) -> Envelope[OrderPlaced]:
    """Give an event of the same kind that says something else."""
    order = placed.data
    payload = OrderPlaced(
        order_id=changes.get("order_id", order.order_id),
        customer_id=changes.get("customer_id", order.customer_id),
        total_points=changes.get("total_points", order.total_points),
        lines=changes.get("lines", order.lines),
    )
    origin = Origin(changes.get("id", placed.id), datetime.now(UTC), "us-east-1", "forged")
    return origin.announce(payload, payload.order_id)


def test_an_order_that_does_not_exist_is_not_confirmed(
    shop: Shop, consumers: Database, placed: Envelope[OrderPlaced]
) -> None:
    mailbox = Mailbox()
    with pytest.raises(UnknownOrderError):
        confirm_order(consumers, _forged(placed, order_id=uuid4()), mailbox.send)
    with pytest.raises(UnknownOrderError):
        clean_cart(consumers, _forged(placed, order_id=uuid4()))
    assert mailbox.messages == []
    assert (shop.count("inbox"), shop.count("notifications")) == (0, 0)


@pytest.mark.parametrize("version", [2, 2**31, 2**63 - 1])
def test_an_event_of_a_version_that_is_still_to_come_makes_no_true_one_stale(
    shop: Shop, consumers: Database, placed: Envelope[OrderPlaced], version: int
) -> None:
    mailbox = Mailbox()
    forged = _forged(placed).model_copy(update={"aggregate_version": version})
    with pytest.raises(UnknownOrderError):
        confirm_order(consumers, forged, mailbox.send)
    assert confirm_order(consumers, placed, mailbox.send) == "sent"
    assert confirm_cancellation(consumers, cancelled(shop, placed), mailbox.send) == "sent"


def test_an_event_of_another_aggregate_than_its_order_makes_nothing_stale(
    shop: Shop, consumers: Database, placed: Envelope[OrderPlaced]
) -> None:
    mailbox = Mailbox()
    forged = _forged(placed).model_copy(update={"aggregate_id": uuid4()})
    with pytest.raises(UnknownOrderError):
        confirm_order(consumers, forged, mailbox.send)
    assert (shop.count("inbox"), shop.count("notifications")) == (0, 0)


def test_an_event_that_is_not_the_orders_own_uses_up_no_true_ones_id(
    shop: Shop,
    consumers: Database,
    placed: Envelope[OrderPlaced],
    order: Callable[..., Envelope[OrderPlaced]],
) -> None:
    """A true event's id with another order, an id of nobody's with this one, and one of another type."""
    mailbox, other_customer = Mailbox(), shop.customer(username="bob")
    shop.fill_cart(other_customer, {shop.item(1): 1})
    other = order(other_customer, 1, "key-of-bob")
    forged = [
        _forged(placed, id=other.id),
        _forged(other, id=placed.id),
        _forged(placed, id=uuid4()),
        _forged(placed, id=cancelled(shop, other).id),
    ]
    shop.connection.execute("update xpoints.orders set status = 'PLACED', refunded_points = 0, version = 1")
    for event in forged:
        with pytest.raises(UnknownOrderError):
            confirm_order(consumers, event, mailbox.send)
        with pytest.raises(UnknownOrderError):
            clean_cart(consumers, event)
    assert (shop.count("inbox"), shop.count("notifications"), mailbox.messages) == (0, 0, [])

    for event in (placed, other):
        assert clean_cart(consumers, event).value is EffectOutcome.DONE
        assert confirm_order(consumers, event, mailbox.send) == "sent"


def test_an_order_that_is_not_cancelled_is_not_told_to_be(
    shop: Shop, consumers: Database, placed: Envelope[OrderPlaced]
) -> None:
    mailbox, event = Mailbox(), cancelled(shop, placed)
    shop.connection.execute("update xpoints.orders set status = 'PLACED', refunded_points = 0")
    with pytest.raises(UnknownOrderError):
        confirm_cancellation(consumers, event, mailbox.send)
    assert confirm_order(consumers, placed, mailbox.send) == "sent"
    assert subjects(mailbox) == ["confirmed"]


def test_who_is_written_to_and_what_is_said_is_the_databases_word(
    shop: Shop, consumers: Database, placed: Envelope[OrderPlaced]
) -> None:
    mailbox = Mailbox()
    forged = _forged(placed, customer_id=shop.customer(username="bob"), total_points=1, lines=())
    assert confirm_order(consumers, forged, mailbox.send) == "sent"
    (message,) = mailbox.messages
    assert message.email == "ana@example.com"
    assert "2 x Kettle: 2,400 points" in message.text.body
    assert "Total: 2,405 points" in message.text.body


def test_whose_cart_is_cleaned_and_of_what_is_the_databases_word(
    shop: Shop, consumers: Database, placed: Envelope[OrderPlaced]
) -> None:
    other, item_id = shop.customer(), placed.data.lines[0].item_id
    shop.fill_cart(other, {item_id: 5})
    lines = tuple(OrderedLine(item_id=item_id, quantity=5, unit_points=1) for _ in range(1))
    assert clean_cart(consumers, _forged(placed, customer_id=other, lines=lines)).value is EffectOutcome.DONE
    assert cart(shop, other) == {item_id: 5}
    assert cart(shop, placed.data.customer_id) == {}
    assert clean_cart(consumers, placed).value is EffectOutcome.DUPLICATE


# --- Whom nobody writes to -------------------------------------------------------------------------------


def test_nobody_is_written_to_who_has_been_erased(
    shop: Shop, consumers: Database, placed: Envelope[OrderPlaced]
) -> None:
    shop.connection.execute("update xpoints.customers set erased_at = now()")
    mailbox = Mailbox()
    assert confirm_order(consumers, placed, mailbox.send) == "skipped no-address"
    assert mailbox.messages == []
    assert status(shop) == [("SKIPPED",)]


def test_no_address_or_name_is_kept_with_the_message(
    shop: Shop, consumers: Database, placed: Envelope[OrderPlaced]
) -> None:
    confirm_order(consumers, placed, Mailbox().send)
    (kept,) = shop.rows("select subject || body from xpoints.notifications")
    assert "ana" not in kept[0].lower().split()
    assert "@" not in kept[0]
