"""The bus and queues of chaos answer and deliver as moto's do, and its wires know what was committed."""

import json
import time
from collections.abc import Iterator, Sequence
from functools import partial
from random import Random
from typing import Any

import boto3
import pytest
from moto import mock_aws
from psycopg import errors

from domain.events.contracts import CONTRACTS
from domain.events.orders import OrderPlaced
from events.contracts import sample
from events.publish import SOURCE
from handlers.edge.consume import consume
from sql.queries import Query, Statement
from sql.transactions.expire import EXPIRIES
from tests.chaos.checks import AGES
from tests.chaos.cloud import Bus, Queue, record
from tests.chaos.runner import open_links, open_server
from tests.chaos.scheduler import Scheduler
from tests.chaos.wire import Exchanges, Wire
from tests.chaos.world import OLD_ROWS

BUS = "shop-events"
DETAIL = json.loads(sample(OrderPlaced)["Records"][0]["body"])["detail"]

Answer = dict[str, Any]


def entry(detail: str) -> dict[str, Any]:
    return {
        "EventBusName": BUS,
        "Source": SOURCE,
        "DetailType": OrderPlaced.type_name,
        "Detail": detail,
        "Resources": [],
    }


ENTRIES = [entry(json.dumps(DETAIL)), entry("no json"), entry(json.dumps(DETAIL))]


class Never:
    """A seed under which nothing fails."""

    def __call__(self, kinds: Sequence[str]) -> None:
        return None


def of_chaos() -> tuple[Answer, list[Answer]]:
    """Give the answer of chaos's bus, and the records that its queue delivers."""
    queue = Queue("clean-cart")
    bus = Bus(Scheduler(Random(1)), Never(), {OrderPlaced.type_name: [queue]})
    answer = bus.put_events(Entries=ENTRIES)
    for message in queue.messages:
        message.received += 1
    return answer, [record(message) for message in queue.messages]


@pytest.fixture
def of_aws() -> Iterator[tuple[Answer, list[Answer]]]:
    """The same of boto3's clients. A record is what Lambda makes of a message: the same in other spelling."""
    with mock_aws():
        events, sqs = boto3.client("events"), boto3.client("sqs")
        events.create_event_bus(Name=BUS)
        url = sqs.create_queue(QueueName="clean-cart")["QueueUrl"]
        pattern = {"source": [SOURCE], "detail-type": [OrderPlaced.type_name]}
        events.put_rule(Name="rule", EventBusName=BUS, EventPattern=json.dumps(pattern))
        arn = "arn:aws:sqs:us-east-1:123456789012:clean-cart"
        events.put_targets(Rule="rule", EventBusName=BUS, Targets=[{"Id": "queue", "Arn": arn}])
        answer = events.put_events(Entries=ENTRIES)  # type: ignore[arg-type]
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"])[
            "Messages"
        ]
        yield (
            dict(answer),
            [
                {"messageId": one["MessageId"], "body": one["Body"], "attributes": one["Attributes"]}
                for one in messages
            ],
        )


def shape(value: Any) -> Any:
    """Give a value's structure: names and types, without what stands in them."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value]
    return type(value).__name__


def test_the_answer_has_the_same_shape_entry_by_entry(of_aws: tuple[Answer, list[Answer]]) -> None:
    ours, theirs = of_chaos()[0], of_aws[0]
    theirs.pop("ResponseMetadata")
    assert shape(ours) == shape(theirs)
    assert ours["FailedEntryCount"] == theirs["FailedEntryCount"] == 1
    assert [each.get("ErrorCode") for each in ours["Entries"]] == [
        each.get("ErrorCode") for each in theirs["Entries"]
    ]


def test_records_hold_the_same_event(of_aws: tuple[Answer, list[Answer]]) -> None:
    ours, theirs = of_chaos()[1], of_aws[1]
    assert len(ours) == len(theirs) == 2
    for mine, real in zip(ours, theirs, strict=True):
        assert set(real) <= set(mine)
        assert mine["attributes"].keys() <= real["attributes"].keys()
        # moto leaves the account out.
        assert shape(json.loads(mine["body"])) == shape(json.loads(real["body"])) | {"account": "str"}
        assert json.loads(mine["body"])["detail"] == json.loads(real["body"])["detail"] == DETAIL


def test_a_consumer_reads_both_and_reports_the_same_failures(of_aws: tuple[Answer, list[Answer]]) -> None:
    for records in (of_chaos()[1], of_aws[1]):
        seen: list[Any] = []

        def refuse_the_first(event: Any, seen: list[Any] = seen) -> None:
            seen.append(event)
            if len(seen) == 1:
                raise ConnectionError

        answer = consume({"Records": records}, {CONTRACTS[OrderPlaced.type_name]: refuse_the_first})
        assert answer == {"batchItemFailures": [{"itemIdentifier": records[0]["messageId"]}]}
        assert [str(event.id) for event in seen] == [DETAIL["id"]] * 2


def test_a_refused_entry_looks_like_any_other_refusal() -> None:
    bus = Bus(Scheduler(Random(1)), Never(), {})
    bus.poison = {DETAIL["id"]}
    refused, malformed = bus.put_events(Entries=[entry(json.dumps(DETAIL)), entry("no json")])["Entries"]
    assert shape(refused) == shape(malformed)
    assert bus.accepted == {}


def test_what_failed_at_commit_is_no_part_of_the_transaction_that_comes_next() -> None:
    texts = {"begin": b"begin", "commit": b"commit"}
    committed: list[list[str]] = []
    with open_server() as server:
        links = open_links(server, "failed_at_commit")
        for exchanges_before in (1, 2):
            fails = iter([*[None] * exchanges_before, "conflict"])
            fail = partial(next, fails, None)
            exchanges = Exchanges(Scheduler(Random(1)), links, lambda _, fail=fail: fail())  # type: ignore[misc]
            exchanges.committed = lambda _, names: committed.append(names)
            wire = Wire(exchanges, "admin")

            def send(
                names: Sequence[str], wire: Wire = wire, pipelined: bool = exchanges_before == 1
            ) -> None:
                statements: list[Statement[Any]] = [
                    Query(name, texts.get(name, b"select 1"), "")() for name in names
                ]
                if pipelined:
                    wire.exchange(statements, time.monotonic() + 60)
                else:
                    for statement in statements:
                        wire.alone(statement, time.monotonic() + 60)

            send(["begin", "first"])
            with pytest.raises(errors.SerializationFailure):
                send(["commit"])
            send(["begin", "second", "commit"])
            wire.close()
        links.close()
    assert committed == [["begin", "second", "commit"]] * 2


def test_a_row_that_is_too_old_is_laid_into_each_table_that_expires_and_looked_for() -> None:
    expiring = {expiry.name for expiry in EXPIRIES} - {"shopping_cart_items"}
    assert set(OLD_ROWS) == set(AGES) == expiring
