"""An order from the API to the e-mail on a deployed Region, and what can go wrong on its way."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from demos.invariants import ALWAYS, AT_REST, Breach, breaches
from demos.shoppers import SOURCE, BusTap, Shopper, api_client, reader, wait_for
from domain.email import address_hash
from domain.events import Origin, event_of
from domain.events.orders import OrderedLine, OrderPlaced
from domain.messages import confirmation_of
from local.region import STACK_NAME, LocalRegion
from sql.connection import Connection, Database
from tests.integration.shop import Shop
from tests.mail import ses_event
from tools.template import started_by

BUYERS = 20


@dataclass
class Buyer:
    """A customer with a cart who is signed in."""

    id: UUID
    username: str
    shopper: Shopper

    @property
    def email(self) -> str:
        return f"{self.username}@example.com"


@dataclass
class Scene:
    """The deployed shop, its database, and who looks on."""

    region: LocalRegion
    shop: Shop
    tap: BusTap
    http: httpx.Client
    database: Database
    idle: list[Buyer] = field(default_factory=list)
    broken_before: dict[str, list[Breach]] = field(default_factory=dict)

    def buyer(self, cart: dict[UUID, int]) -> Buyer:
        """Give a buyer whom no test has had yet, with this cart."""
        buyer = self.idle.pop()
        self.shop.fill_cart(buyer.id, cart)
        return buyer

    def consumed_by(self, event_id: str) -> set[str]:
        """Give the consumers that have had their effect of an event."""
        query = "select consumer from xpoints.inbox where event_id = %s"
        return {consumer for (consumer,) in self.shop.rows(query, [event_id])}

    def emails_to(self, buyer: Buyer) -> list[dict[str, Any]]:
        return [mail for mail in self.region.emails() if mail["To"] == [buyer.email]]

    def cart(self, buyer: Buyer) -> dict[UUID, int]:
        """Give the cart's rows as they are stored."""
        query = "select item_id, quantity from xpoints.shopping_cart_items where customer_id = %s"
        return dict(self.shop.rows(query, [buyer.id]))

    def placed(self, buyer: Buyer, total: int) -> dict[str, Any]:
        """Order, wait for everything that follows, and give the event."""
        answer = buyer.shopper.order(total, str(uuid4()))
        assert answer.status_code == 201, answer.text
        order_id = answer.json()["order_id"]
        wait_for("the event on the bus", lambda: self.tap.events_of(order_id))
        (event,) = self.tap.events_of(order_id)
        wait_for("both effects", lambda: self.consumed_by(event["detail"]["id"]) == {"clean-cart", "notify"})
        wait_for("the e-mail", lambda: self.emails_to(buyer))
        return event

    def newly_broken(self) -> set[str]:
        """Give the invariants that this module's tests broke."""
        found = breaches(self.database, ALWAYS + AT_REST)
        return {name for name, rows in found.items() if set(rows) - set(self.broken_before.get(name, ()))}


@pytest.fixture(scope="module")
def scene(region: LocalRegion) -> Iterator[Scene]:
    with (
        Connection.connect(region.conninfo(), autocommit=True) as connection,
        api_client(region) as http,
    ):
        shop = Shop(connection)
        scene = Scene(region, shop, BusTap(region, "order-flow"), http, reader(region, "rewards-test"))
        scene.broken_before = breaches(scene.database, ALWAYS + AT_REST)
        customers = {f"flow_{uuid4().hex[:8]}": UUID(int=0) for _ in range(BUYERS + 7)}
        for username in customers:
            customers[username] = shop.customer(username=username)
        region.enrol(
            [
                {"username": name, "email": f"{name}@example.com", "customer_id": str(customer_id)}
                for name, customer_id in customers.items()
            ]
        )
        scene.idle = [
            Buyer(customer_id, name, Shopper(region, http, name)) for name, customer_id in customers.items()
        ]
        yield scene
        scene.database.discard()


@pytest.mark.parametrize("spoil", [lambda token: None, lambda token: f"{token[:-6]}AAAAAA"])
def test_nobody_orders_without_a_token_or_with_a_tampered_one(
    scene: Scene, spoil: Callable[[str], str | None]
) -> None:
    token = spoil(scene.region.sign_in(scene.idle[0].username))
    answer = scene.http.post(
        "/orders",
        json={"expected_total_points": 0},
        headers={"Idempotency-Key": str(uuid4()), **({} if token is None else {"Authorization": token})},
    )

    assert answer.status_code == 401
    assert answer.json()["type"] == "urn:rewards:problem:unauthenticated"


def test_an_order_is_announced_leaves_the_cart_and_is_confirmed_by_one_e_mail(scene: Scene) -> None:
    mug, pen = scene.shop.item(30, name="Enamel Mug"), scene.shop.item(5, name="Fountain Pen")
    buyer = scene.buyer({mug: 2, pen: 1})

    event = scene.placed(buyer, 65)

    assert (event["source"], event["detail-type"]) == (SOURCE, "OrderPlaced.v1")
    order = event["detail"]["data"]
    assert (order["customer_id"], order["total_points"]) == (str(buyer.id), 65)
    assert {line["item_id"]: (line["quantity"], line["unit_points"]) for line in order["lines"]} == {
        str(mug): (2, 30),
        str(pen): (1, 5),
    }
    assert scene.cart(buyer) == {}
    (email,) = scene.emails_to(buyer)
    for said in ("2 x Enamel Mug: 60 points", "1 x Fountain Pen: 5 points", order["order_id"]):
        assert said in email["BodyText"]
    assert scene.shop.balance(buyer.id) == 1000 - 65


def test_the_same_key_gives_the_stored_answer_and_another_body_under_it_is_refused(scene: Scene) -> None:
    buyer, key = scene.buyer({scene.shop.item(10): 1}), str(uuid4())
    first = buyer.shopper.order(10, key)

    again, other = buyer.shopper.order(10, key), buyer.shopper.order(11, key)

    assert (first.status_code, first.headers["Idempotency-Replayed"]) == (201, "false")
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (201, "true")
    assert again.text == first.text
    assert (other.status_code, other.json()["type"]) == (422, "urn:rewards:problem:idempotency-key-reused")
    assert scene.shop.balance(buyer.id) == 990


def test_an_order_that_cannot_be_is_refused_with_nothing_written(scene: Scene) -> None:
    item = scene.shop.item(10, stock=[1])
    buyer = scene.buyer({item: 2})
    refusals = [(21, "price-changed"), (20, "out-of-stock")]
    for total, kind in refusals:
        refused = buyer.shopper.order(total, str(uuid4()))
        assert (refused.status_code, refused.json()["type"]) == (409, f"urn:rewards:problem:{kind}")
    scene.shop.rows(
        "update xpoints.shopping_cart_items set quantity = 1 where customer_id = %s returning 1", [buyer.id]
    )
    scene.shop.rows("update xpoints.catalog_items set points_price = 1001 where id = %s returning 1", [item])
    refused = buyer.shopper.order(1001, str(uuid4()))
    assert refused.json()["type"] == "urn:rewards:problem:insufficient-points"

    assert scene.shop.balance(buyer.id) == 1000
    assert scene.shop.scalar("select available from xpoints.stock where item_id = %s", [item]) == 1
    for table in ("orders", "idempotency_records"):
        assert scene.shop.rows(f"select 1 from xpoints.{table} where customer_id = %s", [buyer.id]) == []


def test_twenty_orders_at_once_each_sent_twice_happen_once_each(scene: Scene) -> None:
    item = scene.shop.item(10, stock=[BUYERS // 2, BUYERS // 2])
    buyers = [scene.buyer({item: 1}) for _ in range(BUYERS)]
    orders = [(buyer, str(uuid4())) for buyer in buyers] * 2

    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda order: order[0].shopper.order(10, order[1]), orders))

    assert {answer.status_code for answer in answers} == {201}
    for one, other in zip(answers[:BUYERS], answers[BUYERS:], strict=True):
        assert one.text == other.text
        assert {answer.headers["Idempotency-Replayed"] for answer in (one, other)} <= {"true", "false"}
    assert len({answer.text for answer in answers}) == BUYERS
    assert scene.shop.scalar("select sum(available) from xpoints.stock where item_id = %s", [item]) == 0
    wait_for("all e-mails", lambda: all(scene.emails_to(buyer) for buyer in buyers))
    wait_for("the rest", lambda: not scene.newly_broken())
    assert all(len(scene.emails_to(buyer)) == 1 for buyer in buyers)
    assert all(scene.shop.balance(buyer.id) == 990 for buyer in buyers)


def test_an_event_that_is_delivered_again_has_no_second_effect(scene: Scene) -> None:
    item = scene.shop.item(10)
    buyer = scene.buyer({item: 1})
    event = scene.placed(buyer, 10)
    # What the shopper put into the cart since then must survive.
    scene.shop.fill_cart(buyer.id, {item: 1})
    sqs = scene.region.client("sqs")
    for queue in ("CleanCartQueue", "NotifyQueue"):
        for _ in range(2):
            sqs.send_message(QueueUrl=scene.region.resources[queue], MessageBody=json.dumps(event))

    def duplicates() -> int:
        lines = [line for line in scene.region.logs() if event["detail"]["id"] in line]
        return sum('"effect":"duplicate"' in line for line in lines)

    wait_for("four deliveries without effect", lambda: duplicates() == 4)
    assert scene.cart(buyer) == {item: 1}
    assert len(scene.emails_to(buyer)) == 1
    assert scene.shop.balance(buyer.id) == 990


@pytest.fixture
def hasty_queue(region: LocalRegion) -> Iterator[str]:
    """The cart cleaner's queue, which loses its patience sooner than in production."""
    sqs, queue = region.client("sqs"), region.resources["CleanCartQueue"]
    names = ["VisibilityTimeout", "RedrivePolicy"]
    as_deployed = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    redrive = json.dumps({**json.loads(as_deployed["RedrivePolicy"]), "maxReceiveCount": 2})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "5", "RedrivePolicy": redrive})
    yield queue
    sqs.set_queue_attributes(QueueUrl=queue, Attributes=as_deployed)


def test_what_a_consumer_cannot_understand_goes_to_the_dead_letters_and_the_rest_of_its_batch_is_done(
    scene: Scene, hasty_queue: str
) -> None:
    item = scene.shop.item(10)
    mates = [scene.buyer({item: 1}) for _ in range(2)]
    mark = uuid4().hex
    good = [_announced(scene, buyer, item) for buyer in mates]
    bad = [
        {"detail-type": "OrderPlaced.v9", "detail": {"mark": mark}},
        {"detail-type": "OrderPlaced.v1", "detail": {"mark": mark}},
    ]
    bodies = [json.dumps(body) for body in (good[0], *bad, good[1])] + [f"no event: {mark}"]
    scene.region.client("sqs").send_message_batch(
        QueueUrl=hasty_queue,
        Entries=[{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)],
    )

    wait_for("the other messages' effects", lambda: not any(scene.cart(buyer) for buyer in mates))
    dead: set[str] = set()
    wait_for("the dead letters", lambda: len(_collect(scene.region, mark, dead)) == 3)

    assert dead == {*bodies[1:3], bodies[4]}
    for event in good:
        assert scene.consumed_by(event["detail"]["id"]) == {"clean-cart"}


def _announced(scene: Scene, buyer: Buyer, item: UUID) -> dict[str, Any]:
    """Make an event as it comes from the bus, of an order that only this event tells about."""
    order_id = uuid4()
    scene.shop.connection.execute(
        "insert into xpoints.orders (id, customer_id, total_points, placed_at, region) "
        "values (%s, %s, 10, now(), 'us-east-1')",
        [order_id, buyer.id],
    )
    scene.shop.connection.execute(
        "insert into xpoints.order_items (tx_id, cat_item_id, unit_cnt, unit_points_price) "
        "values (%s, %s, 1, 10)",
        [order_id, item],
    )
    line = OrderedLine(item_id=item, quantity=1, unit_points=10)
    placed = OrderPlaced(order_id=order_id, customer_id=buyer.id, total_points=10, lines=(line,))
    envelope = Origin(event_of(order_id), datetime.now(UTC), "us-east-1", "test").announce(placed, order_id)
    return {"source": SOURCE, "detail-type": envelope.type, "detail": envelope.model_dump(mode="json")}


def _collect(region: LocalRegion, mark: str, found: set[str]) -> set[str]:
    """Take this test's messages from the dead-letter queue, and leave the others there."""
    sqs, queue = region.client("sqs"), region.resources["CleanCartDeadLetterQueue"]
    received = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=0)
    for message in received.get("Messages", []):
        if mark in message["Body"]:
            found.add(message["Body"])
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return found


def test_every_schedule_is_there_and_calls_a_function_that_is_there(region: LocalRegion) -> None:
    scheduler, functions = region.client("scheduler"), region.client("lambda")
    schedules = [
        scheduler.get_schedule(Name=one["Name"], GroupName=one["GroupName"])
        for page in scheduler.get_paginator("list_schedules").paginate()
        for one in page["Schedules"]
    ]

    called = {
        functions.get_function(FunctionName=schedule["Target"]["Arn"])["Configuration"]["FunctionName"]
        for schedule in schedules
    }
    assert called == {region.resources[name] for name in started_by("ScheduleV2")}
    off = [schedule["Target"]["Arn"] for schedule in schedules if schedule["State"] != "ENABLED"]
    # There is no test customer here: tests/system/test_production.py.
    assert [arn.rpartition(":")[2] for arn in off] == [region.resources["SmokeOrderFunction"]]


def test_after_mail_came_back_for_good_no_more_goes_there(scene: Scene) -> None:
    """The emulator sends no such event, and takes none of a source of AWS: the rule hears another."""
    item_id = scene.shop.item(7)
    buyer = scene.buyer({item_id: 1})
    first = scene.placed(buyer, 7)["detail"]["data"]["order_id"]
    name = scene.region.outputs["MailConfigurationName"]
    events = scene.region.client("events")
    described = scene.region.client("cloudformation").describe_stack_resource(
        StackName=STACK_NAME, LogicalResourceId="SuppressAddressRule"
    )
    rule = described["StackResourceDetail"]["PhysicalResourceId"]
    pattern = json.loads(events.describe_rule(Name=rule)["EventPattern"])
    assert pattern["source"] == ["aws.ses"]
    events.put_rule(Name=rule, EventPattern=json.dumps({**pattern, "source": ["test.ses"]}))

    def say(kind: str) -> None:
        notification = str(confirmation_of(UUID(first)))
        event = ses_event(kind, notification, name, buyer.email)
        entry: Any = {"Source": "test.ses", "DetailType": event["detail-type"]}
        answer = events.put_events(Entries=[{**entry, "Detail": json.dumps(event["detail"])}])
        assert answer["FailedEntryCount"] == 0

    query = "select reason from xpoints.suppressed_addresses where address_hash = %s"
    say("Transient")
    say("complaint")
    wait_for("the address", lambda: scene.shop.rows(query, [address_hash(buyer.email)]))
    assert scene.shop.rows(query, [address_hash(buyer.email)]) == [("complaint",)]

    scene.shop.fill_cart(buyer.id, {item_id: 1})
    answer = buyer.shopper.order(7, str(uuid4()))
    assert answer.status_code == 201, answer.text
    skipped = confirmation_of(UUID(answer.json()["order_id"]))
    query = "select 1 from xpoints.notifications where id = %s and status = 'SKIPPED'"
    wait_for("the message that is skipped", lambda: scene.shop.rows(query, [skipped]))
    assert len(scene.emails_to(buyer)) == 1
