"""Refunds and cancellations: points and units go back once, and never more than were bought."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest

from handlers import orders
from sql.connection import Database
from tests.integration.shop import Shop
from tests.integration.shop_api.client import Api, Client, Response


@pytest.fixture
def customer(shop: Shop) -> UUID:
    return shop.customer(1000)


@pytest.fixture
def client(api: Api, customer: UUID) -> Client:
    return api.as_customer(customer)


@pytest.fixture
def items(shop: Shop) -> tuple[UUID, UUID]:
    """An item of limited stock in two slots, and one of unlimited stock."""
    return shop.item(100, stock=[3, 3]), shop.item(20)


@pytest.fixture
def order_id(client: Client, items: tuple[UUID, UUID]) -> str:
    """An order of 2 x 100 and 3 x 20 points, of which 740 remain."""
    for item_id, quantity in zip(items, (2, 3), strict=True):
        client.put(f"/cart/items/{item_id}", {"quantity": quantity})
    placed: str = client.post("/orders", {"expected_total_points": 260}).json["order_id"]
    return placed


def lines(*requested: tuple[UUID, int]) -> dict[str, object]:
    return {"lines": [{"item_id": str(item_id), "quantity": quantity} for item_id, quantity in requested]}


def stock(shop: Shop) -> int:
    return int(shop.scalar("select sum(available) from xpoints.stock"))


def test_a_cancelled_order_gives_all_points_and_units_back(
    shop: Shop, client: Client, customer: UUID, order_id: str
) -> None:
    assert (shop.balance(customer), stock(shop)) == (740, 4)

    answer = client.post(f"/orders/{order_id}/cancel")

    assert answer.status == 201
    assert answer.json["status"] == "CANCELLED"
    assert (answer.json["points"], answer.json["balance_after"]) == (260, 1000)
    assert answer.headers["Rewards-Round-Trips"] == "2"
    assert (shop.balance(customer), stock(shop)) == (1000, 6)
    assert client.get(f"/orders/{order_id}").json["status"] == "CANCELLED"
    assert client.post(f"/orders/{order_id}/cancel").problem == "not-cancellable"
    assert client.post(f"/orders/{order_id}/refunds", {}).problem == "already-refunded"
    shop.assert_sound()


def test_a_refund_by_line_and_quantity_then_the_rest(
    shop: Shop, client: Client, customer: UUID, items: tuple[UUID, UUID], order_id: str
) -> None:
    limited, unlimited = items
    part = client.post(f"/orders/{order_id}/refunds", lines((limited, 1), (unlimited, 2)))
    assert (part.json["status"], part.json["points"]) == ("PART_REFUNDED", 140)
    assert stock(shop) == 5
    assert client.post(f"/orders/{order_id}/cancel").problem == "not-cancellable"

    rest = client.post(f"/orders/{order_id}/refunds", {})
    assert (rest.json["status"], rest.json["points"], rest.json["balance_after"]) == ("REFUNDED", 120, 1000)
    assert client.post(f"/orders/{order_id}/refunds", {}).problem == "already-refunded"
    shop.assert_sound()
    assert shop.rows(
        "select tx_type, points, reference_id::text from xpoints.transactions "
        "where customer_id = %s and tx_type = 'REFUND' order by tx_dt",
        [customer],
    ) == [("REFUND", 140, order_id), ("REFUND", 120, order_id)]


def test_no_more_is_refunded_than_was_bought(
    shop: Shop, client: Client, items: tuple[UUID, UUID], order_id: str
) -> None:
    limited, unlimited = items
    before = shop.contents()
    path = f"/orders/{order_id}/refunds"
    assert client.post(path, lines((limited, 3))).problem == "refund-too-large"
    assert client.post(path, lines((limited, 1), (limited, 2))).problem == "refund-too-large"
    assert client.post(path, lines((uuid4(), 1))).problem == "not-in-order"
    assert client.post(path, lines((limited, 0))).problem == "invalid-request"
    assert client.post(path, lines((limited, -1))).problem == "invalid-request"
    assert client.post(path, {"lines": []}).problem == "invalid-request"
    assert shop.contents() == before

    client.post(path, lines((unlimited, 2)))
    assert client.post(path, lines((unlimited, 2))).problem == "refund-too-large"


@pytest.mark.parametrize("way", ["cancel", "refunds"])
def test_a_refund_does_not_lift_a_balance_above_the_largest(
    shop: Shop, client: Client, customer: UUID, order_id: str, way: str
) -> None:
    most = 2**53
    shop.connection.execute(
        "update xpoints.points_balances set points_balance = %s where customer_id = %s",
        (most - 259, customer),
    )
    body: dict[str, object] | None = None if way == "cancel" else {}

    assert client.post(f"/orders/{order_id}/{way}", body).problem == "balance-limit"
    assert (shop.balance(customer), stock(shop)) == (most - 259, 4)
    shop.connection.execute(
        "update xpoints.points_balances set points_balance = %s where customer_id = %s",
        (most - 260, customer),
    )
    assert client.post(f"/orders/{order_id}/{way}", body).status == 201
    assert shop.balance(customer) == most


def test_a_refund_that_is_sent_again_is_not_done_again(
    shop: Shop, client: Client, items: tuple[UUID, UUID], order_id: str
) -> None:
    path, body = f"/orders/{order_id}/refunds", lines((items[1], 1))
    first = client.post(path, body, key="refund-key-1")
    again = client.post(path, body, key="refund-key-1")

    assert again.text == first.text
    assert (first.headers["Idempotency-Replayed"], again.headers["Idempotency-Replayed"]) == ("false", "true")
    assert client.post(path, lines((items[1], 2)), key="refund-key-1").problem == "idempotency-key-reused"
    assert client.post(f"/orders/{order_id}/cancel", key="refund-key-1").problem == "idempotency-key-reused"
    shop.assert_sound()


def test_a_refund_leaves_a_message_and_a_line_of_the_orders_history(
    shop: Shop, client: Client, items: tuple[UUID, UUID], order_id: str
) -> None:
    client.post(f"/orders/{order_id}/refunds", lines((items[0], 1)))

    ((event_id, detail),) = shop.rows(
        "select id, detail from xpoints.outbox where event_type = 'OrderRefunded.v1'"
    )
    message = json.loads(detail)
    assert message["aggregate_version"] == 2
    assert message["data"]["points"] == 100
    assert message["data"]["complete"] is False
    assert shop.rows("select event_id, version from xpoints.order_events") == [(event_id, 2)]


class PerThread(threading.local, Database):
    """Each thread stands for an execution environment, which has a connection of its own."""


def test_many_refunds_of_one_order_at_once_give_back_what_was_bought_and_no_more(
    shop: Shop,
    api: Api,
    customer: UUID,
    items: tuple[UUID, UUID],
    order_id: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = api.as_customer(customer)
    barrier = threading.Barrier(6)
    environments = PerThread(api.databases[orders].settings)
    monkeypatch.setattr(orders, "_DATABASE", environments)

    def refund(number: int) -> Response:
        barrier.wait(30)
        path = f"/orders/{order_id}/refunds"
        try:
            return client.post(path, lines((items[number % 2], 1)))
        finally:
            environments.discard()

    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(refund, range(6)))

    points = sum(answer.json["points"] for answer in answers if answer.status == 201)
    refused = [answer.problem for answer in answers if answer.status != 201]
    assert points == 260
    assert len(refused) == 1
    assert refused[0] in ("refund-too-large", "already-refunded")
    assert shop.balance(customer) == 1000
    assert client.get(f"/orders/{order_id}").json["status"] == "REFUNDED"
    shop.assert_sound()


def test_an_order_of_nothing_but_free_items_can_be_refunded_once(shop: Shop, client: Client) -> None:
    free = shop.item(0)
    client.put(f"/cart/items/{free}", {"quantity": 1})
    order_id = client.post("/orders", {"expected_total_points": 0}).json["order_id"]

    assert client.post(f"/orders/{order_id}/refunds", {}).json["status"] == "REFUNDED"
    assert client.post(f"/orders/{order_id}/refunds", {}).problem == "already-refunded"
