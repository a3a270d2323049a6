"""The tests' stub bus answers as boto3's client does, and the real one carries an event to a consumer."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto import mock_aws

from domain.events.orders import OrderPlaced
from domain.outbox import OutboxMessage, Rejection
from events.contracts import sample
from events.publish import SOURCE, EventsClient, Publication, is_there
from events.relay import Relay, RelaySettings
from handlers.edge.consume import consume
from sql.connection import Database
from sql.relay import Outbox
from tests.bus import StubBus
from tests.integration.conftest import Connect

BUS = "shop-events"


@pytest.fixture
def aws() -> Iterator[Any]:
    """A bus of the real client's; gives the queue that its events come to."""
    with mock_aws():
        events, sqs = boto3.client("events"), boto3.client("sqs")
        events.create_event_bus(Name=BUS)
        url = sqs.create_queue(QueueName="clean-cart")["QueueUrl"]
        pattern = {"source": [SOURCE], "detail-type": ["OrderPlaced.v1"]}
        events.put_rule(Name="rule", EventBusName=BUS, EventPattern=json.dumps(pattern))
        arn = "arn:aws:sqs:us-east-1:123456789012:clean-cart"
        events.put_targets(Rule="rule", EventBusName=BUS, Targets=[{"Id": "queue", "Arn": arn}])
        yield sqs, url


@pytest.fixture(params=["stub", "boto3"])
def client(request: pytest.FixtureRequest, aws: Any) -> EventsClient:
    return StubBus() if request.param == "stub" else cast(EventsClient, boto3.client("events"))


def entry(detail: str = "{}") -> dict[str, Any]:
    return {
        "EventBusName": BUS,
        "Source": SOURCE,
        "DetailType": "OrderPlaced.v1",
        "Detail": detail,
        "Resources": [],
    }


def message(detail: str) -> OutboxMessage:
    return OutboxMessage("us-east-1", 0, uuid4(), "OrderPlaced.v1", detail, 0, 0)


def test_an_accepted_entry_has_an_id_and_no_error(client: EventsClient) -> None:
    answer = client.put_events(Entries=[entry(), entry()])
    assert answer["FailedEntryCount"] == 0
    assert all(each["EventId"] and "ErrorCode" not in each for each in answer["Entries"])


def test_answers_stand_in_the_order_of_the_entries(client: EventsClient) -> None:
    answer = client.put_events(Entries=[entry(), entry("no json"), entry()])
    assert answer["FailedEntryCount"] == 1
    assert [each.get("ErrorCode") for each in answer["Entries"]] == [None, "MalformedDetail", None]


def test_a_request_of_eleven_entries_is_rejected_as_a_whole(client: EventsClient) -> None:
    with pytest.raises(ClientError) as rejected:
        client.put_events(Entries=[entry()] * 11)
    assert rejected.value.response["Error"]["Code"] == "ValidationException"


def test_what_is_published_is_told_apart_by_what_the_bus_said(client: EventsClient) -> None:
    good, bad = [message("{}") for _ in range(12)], message("no json")
    with ThreadPoolExecutor(2) as pool:
        outcome = Publication(client, BUS, [*good, bad], pool).result()
    assert {each.id for each in outcome.accepted} == {each.id for each in good}
    assert [(each.message, each.rejection) for each in outcome.failed] == [(bad, Rejection.PERMANENT)]
    assert outcome.outage is None


def test_a_bus_out_of_reach_is_an_outage_and_no_rejection() -> None:
    once = Config(retries={"total_max_attempts": 1})
    client = boto3.client("events", endpoint_url="http://127.0.0.1:1", config=once)
    with ThreadPoolExecutor(1) as pool:
        outcome = Publication(cast(EventsClient, client), BUS, [message("{}")], pool).result()
    assert outcome.outage is not None
    assert (outcome.accepted, outcome.failed) == ([], [])


def test_a_message_travels_from_the_outbox_over_the_bus_and_the_queue_to_its_consumer(
    aws: Any, connect: Connect, database: Callable[..., Database]
) -> None:
    sqs, url = aws
    detail = json.loads(sample(OrderPlaced)["Records"][0]["body"])["detail"]
    connect().execute(
        "insert into xpoints.outbox (region, shard, id, event_type, detail) values (%s, 0, %s, %s, %s)",
        ("us-east-1", detail["id"], "OrderPlaced.v1", json.dumps(detail)),
    )
    outbox = Outbox(database("relay"), "us-east-1", uuid4(), "a test")
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    client = cast(EventsClient, boto3.client("events"))
    relay = Relay(
        outbox, lambda: client, RelaySettings(bus=BUS, parallel=2), monotonic=lambda: now[0], sleep=sleep
    )
    assert relay.run(1.0).published == 1

    (message,) = sqs.receive_message(QueueUrl=url, AttributeNames=["All"])["Messages"]
    record = {"messageId": message["MessageId"], "body": message["Body"], "attributes": message["Attributes"]}
    seen: list[Any] = []
    assert consume({"Records": [record]}, {OrderPlaced: seen.append}) == {"batchItemFailures": []}
    assert [str(event.id) for event in seen] == [detail["id"]]


def test_a_bus_is_there_or_is_not(client: EventsClient) -> None:
    assert is_there(client, BUS)
    if isinstance(client, StubBus):
        client.gone = True
    assert not is_there(client, "no-such-bus")
