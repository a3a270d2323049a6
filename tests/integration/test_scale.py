"""The figures that docs/scale.md multiplies are what the code does, counted on its connections."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from bench.scale import COUNTED, ORDER_LINES, Work
from domain.events import Envelope, read_event
from domain.events.orders import OrderPlaced
from domain.outbox import Verdict
from sql.connection import Database
from sql.pipeline import Connection, Written
from sql.queries import Statement
from sql.transactions.clean_cart import clean_cart
from sql.transactions.notify import confirm_order
from sql.transactions.place_order import place_order
from tests.integration.conftest import Connect
from tests.integration.shop import Shop, order_command, render
from tests.integration.test_relay import Setting

IDLE_S = 60


@dataclass
class Counter:
    """What passed over the project's connections since the last look."""

    round_trips: int = 0
    statements: int = 0
    transactions: int = 0
    rows_written: int = 0

    def take(self) -> Work:
        work = Work(self.round_trips, self.statements, self.transactions, self.rows_written)
        self.round_trips = self.statements = self.transactions = self.rows_written = 0
        return work


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Counter:
    counted, exchange, alone = Counter(), Connection.exchange, Connection.alone

    def counting(
        connection: Connection, statements: Sequence[Statement[Any]], until: float
    ) -> list[Written[Any]]:
        written = exchange(connection, statements, until)
        counted.round_trips += 1
        counted.statements += len(statements)
        for statement, done in zip(statements, written, strict=True):
            counted.transactions += statement.query.name == "commit"
            counted.rows_written += done.touched if writes(statement.query.text) else 0
        return written

    def counting_one(connection: Connection, statement: Statement[Any], until: float) -> Written[Any]:
        written = alone(connection, statement, until)
        if statement.query.name == "rollback":
            return written  # the end of a transaction that is counted
        counted.round_trips += 1
        counted.statements += 1
        counted.transactions += 1  # outside an exchange a statement is a transaction of its own
        counted.rows_written += written.touched if writes(statement.query.text) else 0
        return written

    monkeypatch.setattr(Connection, "exchange", counting)
    monkeypatch.setattr(Connection, "alone", counting_one)
    return counted


def writes(query: bytes) -> bool:
    return query.lstrip()[:6].lower() in (b"insert", b"update", b"delete")


@pytest.fixture
def event(
    connect: Connect, database: Callable[..., Database], counter: Counter
) -> tuple[Envelope[Any], int, Work]:
    """An order of the usual size: its event, the event's bytes, and what placing it took."""
    shop = Shop(connect())
    customer_id = shop.customer()
    shop.fill_cart(customer_id, {shop.item(10): 1 for _ in range(ORDER_LINES)})
    command = order_command(customer_id, 10 * ORDER_LINES)
    counter.take()
    place_order(database("checkout"), command, render)
    work = counter.take()
    detail = shop.scalar("select detail from xpoints.outbox where id = %s", [command.event_id])
    return read_event(OrderPlaced, detail), len(detail.encode()), work


def test_a_checkout_takes_what_the_model_says(event: tuple[Envelope[Any], int, Work]) -> None:
    _, size, work = event

    assert work == COUNTED.checkout
    # Ids and moments have one length; Region, correlation and trace are the deployment's.
    assert abs(size - COUNTED.event_bytes) < 100


def test_what_follows_an_order_takes_what_the_model_says(
    event: tuple[Envelope[Any], int, Work], database: Callable[..., Database], counter: Counter
) -> None:
    consumers = database("consumers")

    clean_cart(consumers, event[0])
    assert counter.take() == COUNTED.clean_cart

    confirm_order(consumers, event[0], lambda message: None)
    assert counter.take() == COUNTED.notify


@pytest.fixture
def setting(connect: Connect, database: Callable[..., Database]) -> Setting:
    return Setting(connect(), database)


def test_a_full_batch_of_the_relay_takes_what_the_model_says(setting: Setting, counter: Counter) -> None:
    outbox = setting.outbox()
    outbox.hold(60)
    setting.write(COUNTED.batch_events)
    counter.take()

    messages = outbox.take(COUNTED.batch_events, (), ())
    outbox.settle(messages, Verdict([], [], []))

    assert len(messages) == COUNTED.batch_events
    assert counter.take() == COUNTED.relay_batch


def test_an_idle_relay_takes_what_the_model_says(setting: Setting, counter: Counter) -> None:
    counter.take()
    setting.run(IDLE_S)
    counted = counter.take()

    assert counted.transactions <= COUNTED.idle_relay_transactions_a_minute
    assert counted.transactions > 0.8 * COUNTED.idle_relay_transactions_a_minute
