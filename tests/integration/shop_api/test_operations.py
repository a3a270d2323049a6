"""What the staff see of the pipeline: all Regions' state, one order's story, and health for everybody."""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from domain.events import event_of, read_event
from domain.events.orders import OrderPlaced
from domain.events.refunds import OrderCancelled
from handlers import operations, storefront
from handlers.edge.monitoring import Alarms, Listener, Minutes, QueueState, Series, Took
from sql.connection import Database
from sql.outbox import shard_of
from sql.transactions.clean_cart import clean_cart
from sql.transactions.notify import DueMessage, confirm_cancellation, confirm_order
from sql.transactions.overview import read_overview
from tests.integration.shop import Shop
from tests.integration.shop_api.client import Api, Client

NOW = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)


class Around:
    """What AWS says; each part None where it does not answer."""

    def __init__(self) -> None:
        self.said: dict[str, Any] = {
            "queues": [QueueState("clean-cart", 0, 0, 0), QueueState("notify", 0, 0, 0)],
            "listeners": [
                Listener("OrderPlaced.v1", "clean-cart", True),
                Listener("OrderPlaced.v1", "notify", True),
                Listener("OrderCancelled.v1", "notify", True),
            ],
            "minutes": Minutes(NOW, NOW, [Series("placed", "count", None, True, [None, 3.0])]),
            "alarms": Alarms(9, 1, []),
            "took": Took("placed", 2, 5, 31.5, {"conflict": 1}),
        }
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def say(*_: object) -> Any:
            self.asked.append(name)
            if self.said[name] is None:
                raise ConnectionError(name)
            return self.said[name]

        return say


@pytest.fixture
def around(api: Api, monkeypatch: pytest.MonkeyPatch) -> Around:
    around = Around()
    monkeypatch.setattr(operations, "_MONITORING", around)
    for kept in (operations._QUEUES, operations._LISTENERS, operations._MINUTES, operations._ALARMS):
        kept.forget()
    operations._TOOK.clear()
    return around


@pytest.fixture
def staff(api: Api, around: Around) -> Client:
    return api.as_staff()


@pytest.fixture
def ordered(api: Api, shop: Shop) -> tuple[Client, UUID]:
    """A customer and an order that they have just placed."""
    customer_id = shop.customer()
    shop.fill_cart(customer_id, {shop.item(5): 2})
    customer = api.as_customer(customer_id)
    return customer, UUID(customer.post("/orders", {"expected_total_points": 10}).json["order_id"])


def event_in_outbox(shop: Shop, kind: Any, event_id: UUID, published_at: datetime | None = None) -> Any:
    detail = shop.scalar("select detail from xpoints.outbox where id = %s", (event_id,))
    return read_event(kind, detail, published_at)


def relay(shop: Shop, region: str = "us-east-1", ends_in_s: int = 60) -> None:
    shop.connection.execute(
        "insert into xpoints.relays (region, worker, token, expires_at) "
        "values (%s, 0, %s, now() + make_interval(secs => %s))",
        (region, uuid4(), ends_in_s),
    )


def story(staff: Client, order_id: UUID) -> Any:
    answer = staff.get(f"/staff/orders/{order_id}/story")
    assert answer.status == 200, answer.text
    return answer.json


def waiting(step: Any) -> list[tuple[str, str, str]]:
    return [(one["stage"], one["name"], one["why"]) for one in step["waits"]]


# --- One order's story ------------------------------------------------------------------------------------


def test_a_storys_first_stop_is_the_outbox(
    shop: Shop, staff: Client, ordered: tuple[Client, UUID], around: Around
) -> None:
    _, order_id = ordered
    told = story(staff, order_id)
    assert (told["order_id"], told["status"], told["told_by"]) == (str(order_id), "PLACED", "us-east-1")
    assert told["transaction"] == {
        "attempts": 2, "round_trips": 5, "duration_ms": 31.5, "faults": {"conflict": 1},
    }  # fmt: skip
    (step,) = told["steps"]
    assert (step["type"], step["event_id"]) == ("OrderPlaced.v1", str(event_of(order_id)))
    assert waiting(step) == [("outbox", "relay", "no-relay")]
    relay(shop)
    assert waiting(story(staff, order_id)["steps"][0]) == [("outbox", "relay", "under-way")]
    shop.connection.execute("update xpoints.outbox set attempts = 2, last_error = 'InternalFailure: x'")
    (step,) = story(staff, order_id)["steps"]
    assert waiting(step) == [("outbox", "relay", "rejected")]
    assert (step["outbox"]["attempts"], step["outbox"]["reason"]) == (2, "InternalFailure: x")


def test_a_dead_letter_of_the_outbox_is_told(shop: Shop, staff: Client, ordered: tuple[Client, UUID]) -> None:
    _, order_id = ordered
    shop.connection.execute(
        "insert into xpoints.outbox_dead_letters "
        "(id, region, shard, event_type, detail, created_at, attempts, reason) "
        "select id, region, shard, event_type, detail, created_at, 10, 'InvalidArgument' from xpoints.outbox"
    )
    shop.connection.execute("delete from xpoints.outbox")
    (step,) = story(staff, order_id)["steps"]
    assert waiting(step) == [("outbox", "relay", "dead-letter")]
    assert step["outbox"]["reason"] == "InvalidArgument"
    assert step["outbox"]["failed_at"] is not None


def test_a_message_is_found_in_the_outbox_of_another_region(
    shop: Shop, staff: Client, ordered: tuple[Client, UUID]
) -> None:
    """A cancellation in the other Region: its message waits there, and only the order knows this one."""
    customer, order_id = ordered
    shop.connection.execute("delete from xpoints.outbox")
    assert customer.post(f"/orders/{order_id}/cancel").status == 201
    shop.connection.execute("insert into xpoints.regions (region) values ('us-east-2')")
    shop.connection.execute("update xpoints.outbox set region = 'us-east-2'")
    _, cancelled = story(staff, order_id)["steps"]
    assert cancelled["outbox"]["region"] == "us-east-2"


def test_a_story_ends_with_the_e_mail(
    shop: Shop, staff: Client, ordered: tuple[Client, UUID], database: Callable[..., Database], around: Around
) -> None:
    _, order_id = ordered
    consumers = database("consumers")
    placed = event_in_outbox(shop, OrderPlaced, event_of(order_id), NOW)
    shop.connection.execute("delete from xpoints.outbox")
    assert waiting(story(staff, order_id)["steps"][0]) == [
        ("consumer", "clean-cart", "not-in-queue"),
        ("consumer", "notify", "not-in-queue"),
    ]
    around.said["queues"] = [QueueState("clean-cart", 0, 1, 0), QueueState("notify", 0, 0, 1)]
    operations._QUEUES.forget()
    assert waiting(story(staff, order_id)["steps"][0]) == [
        ("consumer", "clean-cart", "in-queue"),
        ("consumer", "notify", "dead-letter-queue"),
    ]
    clean_cart(consumers, placed)

    def fails(_: DueMessage) -> None:
        raise ConnectionError

    with suppress(ConnectionError):
        confirm_order(consumers, placed, fails)
    (step,) = story(staff, order_id)["steps"]
    assert waiting(step) == [("e-mail", "order-confirmation", "not-sent")]
    confirm_order(consumers, placed, lambda _: None)
    (step,) = story(staff, order_id)["steps"]
    assert waiting(step) == []
    assert datetime.fromisoformat(step["published_at"]) == NOW
    assert {one["consumer"] for one in step["consumers"]} == {"clean-cart", "notify"}
    assert all(one["processed_at"] for one in step["consumers"])
    assert [(mail["kind"], mail["status"]) for mail in step["mails"]] == [("order-confirmation", "SENT")]


def test_a_cancellation_is_a_step_of_its_own(
    shop: Shop, staff: Client, ordered: tuple[Client, UUID], database: Callable[..., Database]
) -> None:
    customer, order_id = ordered
    assert customer.post(f"/orders/{order_id}/cancel").status == 201
    event_id = shop.scalar("select event_id from xpoints.order_events where order_id = %s", (order_id,))
    confirm_cancellation(
        database("consumers"), event_in_outbox(shop, OrderCancelled, event_id, NOW), lambda _: None
    )
    placed, cancelled = story(staff, order_id)["steps"]
    assert (placed["version"], cancelled["version"]) == (1, 2)
    assert cancelled["type"] == "OrderCancelled.v1"
    assert [mail["kind"] for mail in cancelled["mails"]] == ["order-cancellation"]
    assert waiting(cancelled) == []


def test_a_rule_that_is_off_is_the_reason(
    shop: Shop, staff: Client, ordered: tuple[Client, UUID], around: Around
) -> None:
    _, order_id = ordered
    shop.connection.execute("delete from xpoints.outbox")
    around.said["listeners"] = [Listener("OrderPlaced.v1", "notify", False)]
    assert waiting(story(staff, order_id)["steps"][0]) == [("consumer", "notify", "rule-off")]


def test_an_order_of_another_region_is_told_as_far_as_the_tables_go(
    shop: Shop, staff: Client, ordered: tuple[Client, UUID], around: Around
) -> None:
    _, order_id = ordered
    shop.connection.execute("delete from xpoints.outbox")
    shop.connection.execute("update xpoints.orders set region = 'us-east-2'")
    told = story(staff, order_id)
    assert told["transaction"] is None
    assert "took" not in around.asked
    assert {why for _, _, why in waiting(told["steps"][0])} == {"other-region"}


def test_what_is_forgotten_is_not_waited_for(shop: Shop, staff: Client, ordered: tuple[Client, UUID]) -> None:
    _, order_id = ordered
    shop.connection.execute("delete from xpoints.outbox")
    shop.connection.execute("update xpoints.orders set placed_at = now() - interval '91 days'")
    (step,) = story(staff, order_id)["steps"]
    assert step["is_forgotten"]
    assert waiting(step) == []


def test_a_story_without_aws_is_the_tables_alone(
    staff: Client, ordered: tuple[Client, UUID], around: Around
) -> None:
    _, order_id = ordered
    around.said = dict.fromkeys(around.said)
    told = story(staff, order_id)
    assert told["transaction"] is None
    assert waiting(told["steps"][0]) == [("outbox", "relay", "no-relay")]


def test_the_log_is_asked_once_for_an_order(
    staff: Client, ordered: tuple[Client, UUID], around: Around
) -> None:
    _, order_id = ordered
    for _ in range(3):
        story(staff, order_id)
    assert around.asked.count("took") == 1


def test_an_unknown_orders_story_and_one_for_customers_are_refused(
    staff: Client, ordered: tuple[Client, UUID]
) -> None:
    customer, order_id = ordered
    assert staff.get(f"/staff/orders/{uuid4()}/story").problem == "unknown-order"
    assert staff.get("/staff/orders/none/story").problem == "invalid-request"
    assert customer.get(f"/staff/orders/{order_id}/story").problem == "forbidden"
    assert customer.get("/staff/operations").problem == "forbidden"


def test_a_story_has_nobodys_name_and_no_text(
    shop: Shop, staff: Client, ordered: tuple[Client, UUID], database: Callable[..., Database]
) -> None:
    _, order_id = ordered
    placed = event_in_outbox(shop, OrderPlaced, event_of(order_id))
    confirm_order(database("consumers"), placed, lambda _: None)
    body = shop.scalar("select body from xpoints.notifications")
    text = staff.get(f"/staff/orders/{order_id}/story").text
    assert body not in text
    username = shop.scalar("select username from xpoints.customers limit 1")
    assert username not in text


# --- All Regions ------------------------------------------------------------------------------------------


def test_the_overview_counts_each_regions_outbox_and_relays(
    shop: Shop, staff: Client, ordered: tuple[Client, UUID]
) -> None:
    shop.connection.execute("insert into xpoints.regions (region) values ('us-east-2')")
    shop.connection.execute(
        "update xpoints.outbox set created_at = now() - interval '75 s', attempts = 1, "
        "last_error = 'Throttled'"
    )
    relay(shop, "us-east-2")
    relay(shop, "us-west-2", ends_in_s=-1)
    told = staff.get("/staff/operations").json
    (here, away, third) = told["outboxes"]
    assert (here["region"], here["messages"], here["rejected"]) == ("us-east-1", 1, 1)
    assert 75 <= here["oldest_s"] < 3600
    assert (here["last_error"], here["is_capped"]) == ("Throttled", False)
    assert (away["region"], away["messages"], away["oldest_s"]) == ("us-east-2", 0, 0)
    assert third["region"] == "us-west-2"
    assert [(one["region"], one["is_alive"]) for one in told["relay_workers"]] == [
        ("us-east-2", True), ("us-west-2", False),
    ]  # fmt: skip
    assert told["queues"][0] == {"name": "clean-cart", "waiting": 0, "in_flight": 0, "dead": 0}
    assert told["minutes"]["series"][0]["values"] == [None, 3]
    assert told["alarms"] == {"quiet": 9, "unknown": 1, "on": []}


def test_a_large_backlog_is_looked_at_up_to_a_bound(shop: Shop, database: Callable[..., Database]) -> None:
    ids = [uuid4() for _ in range(7)]
    for event_id in ids:
        shop.connection.execute(
            "insert into xpoints.outbox (region, shard, id, event_type, detail) "
            "values ('us-east-1', %s, %s, 'OrderPlaced.v1', '{}')",
            (shard_of(event_id), event_id),
        )
    way = database("overview")
    (capped,) = read_overview(way, most=6).outboxes
    assert (capped.messages, capped.is_capped) == (6, True)
    (whole,) = read_overview(way, most=7).outboxes
    assert (whole.messages, whole.is_capped) == (7, False)


@pytest.mark.parametrize("part", ["queues", "minutes", "alarms"])
def test_what_aws_does_not_say_is_missing_and_the_rest_is_there(
    staff: Client, around: Around, part: str
) -> None:
    around.said[part] = None
    told = staff.get("/staff/operations").json
    assert [name for name in ("queues", "minutes", "alarms") if told[name] is None] == [part]


def test_however_many_look_aws_is_asked_once_in_a_while(staff: Client, around: Around) -> None:
    for _ in range(5):
        staff.get("/staff/operations")
    assert around.asked.count("minutes") == around.asked.count("alarms") == 1


# --- Health -----------------------------------------------------------------------------------------------


@pytest.fixture
def anybody(monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setattr(storefront, "_healthy_until_s", 0.0)
    return Client({})


def test_health_is_told_to_anybody(api: Api, anybody: Client) -> None:
    answer = anybody.get("/health")
    assert (answer.status, answer.json) == (200, {"region": "us-east-1", "status": "ok"})
    assert anybody.get("/cart").problem == "unauthenticated"


def test_a_region_without_its_database_is_not_healthy(
    api: Api, anybody: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = api.databases[storefront].settings._replace(port=1)
    monkeypatch.setattr(storefront, "_DATABASE", Database(settings))
    answer = anybody.get("/health")
    assert (answer.status, answer.problem) == (503, "temporarily-unavailable")


def test_not_every_question_about_health_reaches_the_database(
    api: Api, anybody: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Database] = []
    monkeypatch.setattr(storefront, "ask_database", asked.append)
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    for _ in range(5):
        assert anybody.get("/health").status == 200
    assert len(asked) == 1
    monkeypatch.setattr(time, "monotonic", lambda: 100.0 + storefront._HEALTH_KEPT_S)
    anybody.get("/health")
    assert len(asked) == 2


def test_no_age_is_negative_where_clocks_differ(shop: Shop, database: Callable[..., Database]) -> None:
    event_id = uuid4()
    shop.connection.execute(
        "insert into xpoints.outbox (region, shard, id, event_type, detail, created_at) "
        "values ('us-east-1', 0, %s, 'OrderPlaced.v1', '{}', %s)",
        (event_id, datetime.now(UTC) + timedelta(hours=1)),
    )
    (outbox,) = read_overview(database("overview")).outboxes
    assert outbox.oldest_s == 0
