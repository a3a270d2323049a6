"""Mail that came back for good or was complained of: nothing more goes to its address, and only to its."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import boto3
import pytest
from moto import mock_aws

from domain.email import address_hash, sending_of
from domain.events import Envelope, envelope_of, read_event
from domain.events.mail import MailReturned
from domain.events.orders import OrderPlaced
from domain.messages import confirmation_of
from sql.connection import Database
from sql.inbox import EffectOutcome
from sql.transactions.notify import DueMessage, confirm_order
from sql.transactions.place_order import place_order
from sql.transactions.suppress_address import suppress_address
from tests.integration.conftest import Connect
from tests.integration.shop import Shop, order_command, render
from tests.mail import CONFIGURATION, ses_event
from tools.template import resources

Order = Callable[[UUID, str], Envelope[OrderPlaced]]

# --- The rule -------------------------------------------------------------------------------------------


@pytest.fixture
def deliver() -> Iterator[Callable[[dict[str, Any]], list[str]]]:
    """The template's rule on a default bus; gives what it puts into its queue of an event of SES's."""
    rule = resources("AWS::Events::Rule")["SuppressAddressRule"]["Properties"]
    pattern = json.dumps(rule["EventPattern"]).replace('{"Ref": "MailConfiguration"}', f'"{CONFIGURATION}"')
    with mock_aws():
        events, sqs = boto3.client("events"), boto3.client("sqs")
        url = sqs.create_queue(QueueName="suppress-address")["QueueUrl"]
        arn = "arn:aws:sqs:us-east-1:123456789012:suppress-address"
        events.put_rule(Name="rule", EventPattern=pattern)
        # What the target gets of it is another test's: moto does not put quotes around a text.
        events.put_targets(Rule="rule", Targets=[{"Id": "queue", "Arn": arn}])

        def put(event: dict[str, Any]) -> list[str]:
            entry: Any = {
                "Source": event["source"],
                "DetailType": event["detail-type"],
                "Detail": json.dumps(event["detail"]),
            }
            events.put_events(Entries=[entry])
            return [each["Body"] for each in sqs.receive_message(QueueUrl=url).get("Messages", [])]

        yield put


@pytest.mark.parametrize(
    ("event", "through"),
    [
        (ses_event("Permanent"), True),
        (ses_event("complaint"), True),
        (ses_event("Transient"), False),
        (ses_event("Undetermined"), False),
        (ses_event("not-spam"), False),
        (ses_event("Permanent", configuration="another"), False),
        (ses_event("complaint", configuration="another"), False),
        (ses_event("Permanent", notification=None), False),
        ({**ses_event("Permanent"), "source": "rewards.orders"}, False),
        ({**ses_event("Permanent"), "detail-type": "Email Delivered"}, False),
    ],
)
def test_the_rule_lets_through_what_silences_an_address(
    event: dict[str, Any], through: bool, deliver: Callable[[dict[str, Any]], list[str]]
) -> None:
    assert len(deliver(event)) == through


# --- The effect -----------------------------------------------------------------------------------------


@pytest.fixture
def shop(connect: Connect) -> Shop:
    return Shop(connect())


@pytest.fixture
def consumers(database: Callable[..., Database]) -> Database:
    return database("consumers")


@pytest.fixture
def order(shop: Shop, database: Callable[..., Database]) -> Order:
    """Places an order and gives the event that its outbox row holds."""

    def place(customer_id: UUID, key: str) -> Envelope[OrderPlaced]:
        shop.fill_cart(customer_id, {shop.item(1): 1})
        command = order_command(customer_id, 1, key)
        place_order(database("checkout"), command, render)
        detail = shop.scalar("select detail from xpoints.outbox where id = %s", [command.event_id])
        return read_event(OrderPlaced, detail)

    return place


def returned(
    notification_id: UUID, kind: str = "Bounce", address: str | None = "ana@example.com"
) -> Envelope[MailReturned]:
    """Give the event that says that a message returned; without an address, not of which sending."""
    sendings = None if address is None else (sending_of(notification_id, address_hash(address)),)
    event_id = uuid4()
    return envelope_of(MailReturned)(
        id=event_id,
        type=MailReturned.type_name,
        occurred_at=datetime.now(UTC),
        aggregate_type=MailReturned.aggregate_type,
        aggregate_id=event_id,
        aggregate_version=1,
        region="us-east-1",
        correlation_id=str(event_id),
        data=MailReturned.model_validate(
            {"notification_ids": (notification_id,), "sending_ids": sendings, "kind": kind}
        ),
    )


def suppressed(shop: Shop) -> dict[str, str]:
    return dict(shop.rows("select address_hash, reason from xpoints.suppressed_addresses"))


@pytest.mark.parametrize(("kind", "reason"), [("Bounce", "bounce"), ("Complaint", "complaint")])
def test_nothing_more_goes_to_an_address_whose_mail_returned(
    kind: str,
    reason: str,
    shop: Shop,
    consumers: Database,
    order: Callable[[UUID, str], Envelope[OrderPlaced]],
) -> None:
    ana, bo = shop.customer(username="ana"), shop.customer(username="bo")
    sent: list[DueMessage] = []
    first = order(ana, "key-first")
    assert confirm_order(consumers, first, sent.append) == "sent"
    event = returned(confirmation_of(first.data.order_id), kind)

    assert suppress_address(consumers, event).value is EffectOutcome.DONE
    assert suppressed(shop) == {address_hash("ana@example.com"): reason}
    assert confirm_order(consumers, order(ana, "key-second"), sent.append) == "skipped suppressed"
    assert confirm_order(consumers, order(bo, "key-third"), sent.append) == "sent"
    assert [message.email for message in sent] == ["ana@example.com", "bo@example.com"]


def test_what_was_said_first_of_an_address_stays_however_often_it_is_said(
    shop: Shop, consumers: Database, order: Order
) -> None:
    placed = order(shop.customer(username="ana"), "key-first")
    confirm_order(consumers, placed, lambda _: None)
    bounced = returned(confirmation_of(placed.data.order_id))
    complained = returned(confirmation_of(placed.data.order_id), "Complaint")
    effects = [suppress_address(consumers, each).value for each in (bounced, bounced, complained)]
    assert effects == [EffectOutcome.DONE, EffectOutcome.DUPLICATE, EffectOutcome.DONE]
    assert suppressed(shop) == {address_hash("ana@example.com"): "bounce"}


def test_nobody_is_silenced_by_an_event_about_what_was_not_sent(shop: Shop, consumers: Database) -> None:
    written = uuid4()
    shop.connection.execute(
        "insert into xpoints.notifications (id, customer_id, event_id, kind, subject, body) "
        "values (%s, %s, %s, 'order-confirmation', 's', 'b')",
        (written, shop.customer(username="ana"), uuid4()),
    )
    for notification_id in (written, uuid4()):
        for event in (returned(notification_id), returned(notification_id, address=None)):
            assert suppress_address(consumers, event).value is EffectOutcome.STALE
    assert suppressed(shop) == {}


def test_what_returned_from_a_former_address_does_not_silence_the_new_one(
    shop: Shop, consumers: Database, order: Order
) -> None:
    """The answer to the first sending was lost, so the message went out again, to the address of then."""
    placed = order(shop.customer(username="ana"), "key-first")

    def lost(message: DueMessage) -> None:
        raise ConnectionError("it was taken, and nobody heard so")

    with pytest.raises(ConnectionError):
        confirm_order(consumers, placed, lost)
    shop.connection.execute("update xpoints.customers set email = 'new@example.com' where username = 'ana'")
    assert confirm_order(consumers, placed, lambda _: None) == "sent"
    notification_id = confirmation_of(placed.data.order_id)

    assert suppress_address(consumers, returned(notification_id)).value is EffectOutcome.STALE
    assert suppressed(shop) == {}
    again = returned(notification_id, address="new@example.com")
    assert suppress_address(consumers, again).value is EffectOutcome.DONE
    assert suppressed(shop) == {address_hash("new@example.com"): "bounce"}
