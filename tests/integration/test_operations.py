"""The operator's command against real SQS and EventBridge semantics (moto) and a real database."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import boto3
import pytest
from moto import mock_aws

from domain.events import Origin, event_of, read_event
from domain.events.contracts import CONTRACTS
from domain.events.orders import OrderPlaced
from events.contracts import sample
from operations import command, queues
from operations.command import main
from operations.site import Site
from sql.connection import Database
from sql.relay import Outbox
from sql.transactions import operations
from sql.transactions.audit_ledger import PARTS, audit_pass
from sql.transactions.change_account import erase_account
from sql.transactions.clean_cart import clean_cart
from sql.transactions.erase_customer_data import erase_customer_data
from sql.transactions.place_order import place_order
from tests.integration.conftest import Connect
from tests.integration.shop import Shop, order_command, render


class LocalSite(Site):
    """A site over a test's database."""

    def __init__(self, queues: dict[str, str], database: Database) -> None:
        super().__init__({}, {"EventBusName": "shop-events"}, queues, "us-east-1", "operations")
        self.__dict__["database"] = database


@pytest.fixture
def site(database: Callable[..., Database], monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalSite]:
    monkeypatch.setattr(queues, "_EMPTY_ANSWERS", 1)
    with mock_aws():
        sqs, events = boto3.client("sqs"), boto3.client("events")
        events.create_event_bus(Name="shop-events")
        urls = {
            name: sqs.create_queue(QueueName=name)["QueueUrl"]
            for name in (
                *("CleanCartQueue", "CleanCartDeadLetterQueue", "NotifyQueue", "NotifyDeadLetterQueue"),
                "UndeliveredEventsQueue",
            )
        }
        for consumer in ("CleanCart", "Notify"):
            arn = f"arn:aws:sqs:us-east-1:123456789012:{consumer}Queue"
            events.put_rule(
                Name=f"{consumer}Rule",
                EventBusName="shop-events",
                EventPattern=json.dumps({"source": ["rewards.orders"]}),
            )
            events.put_targets(
                Rule=f"{consumer}Rule", EventBusName="shop-events", Targets=[{"Id": "q", "Arn": arn}]
            )
        yield LocalSite(urls, database("operations"))


@pytest.fixture
def rewards(site: LocalSite, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs a command line with --json; gives what it wrote."""

    def run(*arguments: str, status: int = 0) -> Any:
        assert main([*arguments, "--json"], lambda _: site) == status
        output = capsys.readouterr().out
        return json.loads(output) if output else None

    return run


def put(site: LocalSite, queue: str, detail_type: str = "OrderPlaced.v1", **attributes: str) -> str:
    """Put an event into a queue; give the event's id."""
    (record,) = sample(OrderPlaced)["Records"]
    body = json.loads(record["body"])
    event_id = str(uuid4())
    body["detail-type"], body["detail"]["id"] = detail_type, event_id
    site.client("sqs").send_message(
        QueueUrl=site.queues[queue],
        MessageBody=json.dumps(body),
        MessageAttributes={
            name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
        },
    )
    return event_id


def held(site: LocalSite, queue: str) -> list[str]:
    """Give the ids of the events that can be received from a queue now."""
    sqs, found = site.client("sqs"), []
    while messages := sqs.receive_message(QueueUrl=site.queues[queue], MaxNumberOfMessages=10).get(
        "Messages"
    ):
        found += [json.loads(message["Body"])["detail"]["id"] for message in messages]
    return sorted(found)


# --- Dead-letter queues ---------------------------------------------------------------------------------


def test_a_redrive_moves_what_is_meant_and_leaves_the_rest(site: LocalSite, rewards: Any) -> None:
    meant = [put(site, "CleanCartDeadLetterQueue") for _ in range(23)]
    other = put(site, "CleanCartDeadLetterQueue", "OrderPlaced.v2")
    answer = rewards("queues", "redrive", "clean-cart", "--type", "OrderPlaced.v1", "--yes")
    assert (answer["count"], answer["kept"]) == (23, 1)
    assert held(site, "CleanCartQueue") == sorted(meant)
    assert held(site, "CleanCartDeadLetterQueue") == [other]


def test_without_yes_a_redrive_changes_nothing(site: LocalSite, rewards: Any) -> None:
    event_id = put(site, "NotifyDeadLetterQueue")
    answer = rewards("queues", "redrive", "notify")
    assert [message["event_id"] for message in answer["would_redrive"]] == [event_id]
    assert held(site, "NotifyQueue") == []
    assert held(site, "NotifyDeadLetterQueue") == [event_id]


def test_a_redrive_that_fails_in_between_loses_nothing(
    site: LocalSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [put(site, "NotifyDeadLetterQueue") for _ in range(5)]
    queue = site.dead_letter_queue("notify")
    real = queues._delete
    calls = iter([True, False])

    def cut_off(*arguments: Any) -> None:
        if not next(calls):
            raise ConnectionError
        real(*arguments)

    monkeypatch.setattr(queues, "_delete", cut_off)
    with pytest.raises(ConnectionError):
        queues.redrive(site, queue, queues.MessageFilter(), act=True)
    sqs = site.client("sqs")
    sent = held(site, "NotifyQueue")
    waiting = sqs.get_queue_attributes(
        QueueUrl=queue.url,
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )["Attributes"]
    assert len(sent) == 2
    # One is in both queues, none in neither; those in hand come back by themselves.
    assert sum(map(int, waiting.values())) == 4
    assert set(sent) <= set(ids)


def test_events_that_the_bus_could_not_deliver_go_to_the_target_that_they_name(
    site: LocalSite, rewards: Any
) -> None:
    lost = {"TARGET_ARN": "arn:aws:sqs:us-east-1:123456789012:NotifyQueue", "ERROR_CODE": "NO_PERMISSIONS"}
    event_id = put(site, "UndeliveredEventsQueue", **lost)
    other = put(site, "UndeliveredEventsQueue", **{**lost, "ERROR_CODE": "SDK_CLIENT_ERROR"})
    assert rewards("queues", "redrive", "undelivered", "--error", "permissions", "--yes")["count"] == 1
    assert held(site, "NotifyQueue") == [event_id]
    assert held(site, "UndeliveredEventsQueue") == [other]


def test_messages_are_found_by_age_and_by_id(site: LocalSite, rewards: Any) -> None:
    ids = [put(site, "NotifyDeadLetterQueue") for _ in range(3)]
    assert rewards("queues", "inspect", "notify", "--older-than", "1h")["messages"] == []
    assert len(rewards("queues", "inspect", "notify", "--newer-than", "1h")["messages"]) == 3
    (found,) = rewards("queues", "inspect", "notify", "--id", ids[1], "--body")["messages"]
    assert found["body"]["detail"]["id"] == ids[1]


class SlowQueue:
    """A queue with a clock of its own, on which reading it takes longer than messages stay hidden."""

    def __init__(self, messages: int, second: float) -> None:
        self.now = 0.0
        self.visible_at = dict.fromkeys(map(str, range(messages)), 0.0)
        self._second = second

    def monotonic(self) -> float:
        """Give the seconds that have passed."""
        return self.now

    def receive_message(self, **asked: Any) -> dict[str, Any]:
        """Give up to ten messages that can be seen, those first that have been hidden for longest."""
        self.now += self._second
        assert self.now < 10_000, "reading the queue has no end"
        seen = [each for each, at in self.visible_at.items() if at <= self.now]
        seen = sorted(seen, key=lambda each: self.visible_at[each], reverse=True)[:10]
        self.visible_at |= dict.fromkeys(seen, self.now + asked["VisibilityTimeout"])
        return {"Messages": [{"MessageId": each, "ReceiptHandle": each, "Body": "{}"} for each in seen]}

    def change_message_visibility_batch(self, **asked: Any) -> None:
        """Hide messages, or show them."""
        for entry in asked["Entries"]:
            self.visible_at[entry["ReceiptHandle"]] = self.now + entry["VisibilityTimeout"]


def test_a_queue_that_takes_long_to_read_is_read_to_its_end_and_given_back(
    site: LocalSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SlowQueue(500, second=20)
    monkeypatch.setattr(site, "client", lambda service: slow if service == "sqs" else None)
    monkeypatch.setattr(queues, "time", SimpleNamespace(monotonic=slow.monotonic, time=slow.monotonic))
    done = queues.redrive(site, site.dead_letter_queue("notify"), queues.MessageFilter(), act=False)
    assert len(done.moved) == 500
    assert slow.now > 3 * queues._VISIBILITY_S
    assert all(at <= slow.now for at in slow.visible_at.values())


def test_the_log_is_read_back_to_when_a_message_was_sent_and_no_part_of_it_twice(
    site: LocalSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    day_s, asked = queues._LOG_STEP_S, list[tuple[int, int]]()

    class Pages:
        """What is in the log: an error of the old message, and a younger and an older one of another."""

        def paginate(self, *, startTime: int, endTime: int, **_: str) -> Any:  # noqa: N803
            asked.append((startTime, endTime))
            lines = [(2.5, "other", "Older"), (2.2, "old", "Old"), (0.1, "other", "Younger")]
            for age_days, message_id, kind in lines:
                at_ms = (now_s - age_days * day_s) * 1000
                if startTime <= at_ms < endTime:
                    raised = [{"type": kind, "at": ["here"]}]
                    line = {"message_id": message_id, "exception": raised}
                    yield {"events": [{"message": json.dumps(line)}]}

    class Logs:
        def get_paginator(self, _: str) -> Pages:
            return Pages()

    def dead(name: str, age_days: float) -> queues.DeadMessage:
        return queues.DeadMessage(name, "", "", {}, int(age_days * day_s), 1)

    now_s = 100.5 * day_s
    monkeypatch.setattr(queues, "time", SimpleNamespace(time=lambda: now_s))
    monkeypatch.setattr(site, "outputs", {"FunctionLogGroupName": "log"})
    monkeypatch.setattr(site, "client", lambda _: Logs())
    errors = queues._Errors(site)
    told = [errors.of(dead(*each)) for each in (("young", 0.2), ("old", 3), ("other", 3), ("young", 0.1))]
    assert told == ["", "Old at here", "Younger at here", ""]
    assert asked == [
        (100 * day_s * 1000, int(101.5 * day_s) * 1000),
        (97 * day_s * 1000, 100 * day_s * 1000),
    ]


def test_depths_of_all_dead_letter_queues_are_listed(site: LocalSite, rewards: Any) -> None:
    put(site, "NotifyDeadLetterQueue")
    rows = {row["queue"]: row["messages"] for row in rewards("queues", "list")["queues"]}
    assert rows == {"clean-cart": 0, "notify": 1, "undelivered": 0}


def test_an_unknown_queue_is_refused_with_the_names_of_those_there_are(
    site: LocalSite, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["queues", "redrive", "nothing"], lambda _: site) == 1
    assert "clean-cart, notify, undelivered" in capsys.readouterr().err


# --- Replay ---------------------------------------------------------------------------------------------


def test_a_replay_brings_the_events_of_a_time_range_from_the_archive(site: LocalSite, rewards: Any) -> None:
    events = site.client("events")
    bus = events.describe_event_bus(Name="shop-events")["Arn"]
    events.create_archive(ArchiveName="shop-archive", EventSourceArn=bus)
    detail = json.dumps({"id": "an-event"})
    entry = {"Source": "rewards.orders", "DetailType": "OrderPlaced.v1", "Detail": detail}
    events.put_events(Entries=[{**entry, "EventBusName": "shop-events"}])
    assert held(site, "NotifyQueue") == ["an-event"]

    plan = rewards("replay", "notify", "--since", "1h")["would_replay"]
    assert plan["rule"] == "NotifyRule"
    assert held(site, "NotifyQueue") == []
    assert rewards("replay", "notify", "--since", "1h", "--yes")["state"] == "COMPLETED"
    assert held(site, "NotifyQueue") == ["an-event"]
    (started,) = events.list_replays()["Replays"]
    destination = events.describe_replay(ReplayName=started["ReplayName"])["Destination"]
    assert [arn.rpartition("/")[2] for arn in destination.get("FilterArns", ["NotifyRule"])] == ["NotifyRule"]


class OneAtATime:
    """EventBridge, whose lists come in pages of one."""

    def __init__(self, events: Any) -> None:
        self._events = events

    def __getattr__(self, name: str) -> Any:
        ask = getattr(self._events, name)
        if not name.startswith("list_"):
            return ask

        def page(NextToken: str = "0", **asked: Any) -> dict[str, Any]:  # noqa: N803
            ((key, rows),) = ((key, rows) for key, rows in ask(**asked).items() if isinstance(rows, list))
            number = int(NextToken)
            more = {"NextToken": str(number + 1)} if number + 1 < len(rows) else {}
            return {key: rows[number : number + 1], **more}

        return page


def test_archive_and_rule_are_found_on_whatever_page_they_are(
    site: LocalSite, rewards: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = site.client("events")
    other = events.create_event_bus(Name="another")["EventBusArn"]
    bus = events.describe_event_bus(Name="shop-events")["Arn"]
    events.create_archive(ArchiveName="shop-archive", EventSourceArn=bus)
    # Where the service does not filter, the archive that is meant is not on the first page.
    archives = [
        {"ArchiveName": "a-first", "EventSourceArn": other},
        {"ArchiveName": "shop-archive", "EventSourceArn": bus},
    ]
    paged = OneAtATime(events)
    monkeypatch.setattr(events, "list_archives", lambda **_: {"Archives": archives})
    monkeypatch.setattr(site, "client", lambda _: paged)
    plan = rewards("replay", "notify", "--since", "1h")["would_replay"]
    assert (plan["rule"], plan["archive"]) == ("NotifyRule", "shop-archive")


def test_a_replay_without_an_archive_says_what_to_do(
    site: LocalSite, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", "notify", "--since", "1h"], lambda _: site) == 1
    assert "EventArchiveDays" in capsys.readouterr().err


def test_a_time_range_in_the_future_is_refused(site: LocalSite, capsys: pytest.CaptureFixture[str]) -> None:
    future = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert main(["replay", "notify", "--since", "1h", "--until", future], lambda _: site) == 1
    assert "future" in capsys.readouterr().err


# --- The outbox -----------------------------------------------------------------------------------------


def set_aside(connect: Connect, reason: str, count: int = 1) -> list[UUID]:
    ids = [uuid4() for _ in range(count)]
    for id_ in ids:
        connect().execute(
            """insert into xpoints.outbox_dead_letters
            (id, region, shard, event_type, detail, created_at, attempts, reason)
            values (%s, 'us-east-1', 3, 'OrderPlaced.v1', '{"id": 1}', now() - interval '1 day', 10, %s)""",
            (id_, reason),
        )
    return ids


def test_dead_letters_are_listed_inspected_and_requeued(connect: Connect, rewards: Any) -> None:
    (wanted,) = set_aside(connect, "InternalFailure: try again")
    (other,) = set_aside(connect, "MalformedDetail: no")
    listed = rewards("outbox", "dead", "--error", "internal")["dead_letters"]
    assert [message["id"] for message in listed] == [str(wanted)]
    assert rewards("outbox", "inspect", str(other))["detail"] == {"id": 1}

    assert rewards("outbox", "requeue", "--error", "internal")["count"] == 1
    assert connect().execute("select count(*) from xpoints.outbox").fetchone() == (0,)
    assert rewards("outbox", "requeue", "--error", "internal", "--yes")["count"] == 1
    assert rewards("outbox", "requeue", "--error", "internal", "--yes")["count"] == 0
    rows = connect().execute("select id, shard, attempts, retry_at from xpoints.outbox").fetchall()
    assert rows == [(wanted, 3, 0, None)]
    assert connect().execute("select id from xpoints.outbox_dead_letters").fetchall() == [(other,)]


def test_more_dead_letters_than_a_page_are_all_listed_and_requeued(
    connect: Connect, rewards: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "_PAGE", 3)
    ids = set_aside(connect, "no", count=7)
    # Messages that failed in one moment are told apart by their ids.
    connect().execute("update xpoints.outbox_dead_letters set failed_at = now()")
    listed = rewards("outbox", "dead")["dead_letters"]
    assert [message["id"] for message in listed] == sorted(map(str, ids))
    assert rewards("outbox", "requeue", "--yes")["count"] == 7
    assert connect().execute("select count(*) from xpoints.outbox_dead_letters").fetchone() == (0,)


def test_the_status_shows_backlog_relays_and_dead_letters(
    connect: Connect, rewards: Any, database: Callable[..., Database]
) -> None:
    set_aside(connect, "no", count=2)
    connect().execute(
        """insert into xpoints.outbox (region, shard, id, event_type, detail, created_at)
        values ('us-east-1', 1, gen_random_uuid(), 'OrderPlaced.v1', '{}', now() - interval '90 seconds')"""
    )
    Outbox(database("relay"), "us-east-1", uuid4(), "relay-1").hold(15)
    status = rewards("outbox", "status")
    assert status["dead_letters"] == 2
    (waiting,) = status["waiting"]
    assert (waiting["region"], waiting["messages"], waiting["oldest_s"] >= 90) == ("us-east-1", 1, True)
    assert [(relay["alive"], relay["shards"]) for relay in status["relays"]] == [(True, 16)]


# --- Stories --------------------------------------------------------------------------------------------


@pytest.fixture
def ordered(connect: Connect, database: Callable[..., Database]) -> tuple[Shop, UUID, UUID]:
    """A shop, a customer and the order that they placed, whose cart has been cleaned."""
    shop = Shop(connect())
    customer_id = shop.customer()
    shop.fill_cart(customer_id, {shop.item(5): 2})
    command = order_command(customer_id, 10, "key-12345")
    place_order(database("checkout"), command, render)
    detail = shop.scalar("select detail from xpoints.outbox where id = %s", [command.event_id])
    clean_cart(database("consumers"), read_event(OrderPlaced, detail))
    return shop, customer_id, command.request.result_id


def test_an_orders_story_names_every_table_and_effect(ordered: tuple[Shop, UUID, UUID], rewards: Any) -> None:
    _, customer_id, order_id = ordered
    story = rewards("order", str(order_id))
    assert story["order"]["customer_id"] == str(customer_id)
    assert [line["units"] for line in story["lines"]] == [2]
    assert [(entry["type"], entry["points"]) for entry in story["ledger"]] == [("PURCHASE", -10)]
    assert [record["idempotency_key"] for record in story["record"]] == ["key-12345"]
    assert [(message["event_type"], message["where"]) for message in story["waiting_messages"]] == [
        ("OrderPlaced.v1", "outbox")
    ]
    assert [event["event_type"] for event in story["events"]] == ["OrderPlaced.v1"]
    assert [(effect["consumer"], effect["event_type"]) for effect in story["effects"]] == [
        ("clean-cart", "OrderPlaced.v1")
    ]


def test_a_customer_is_found_by_username_too(ordered: tuple[Shop, UUID, UUID], rewards: Any) -> None:
    shop, customer_id, _ = ordered
    username = shop.scalar("select username from xpoints.customers where id = %s", [customer_id])

    assert rewards("customer", username)["customer"]["id"] == str(customer_id)
    assert rewards("customer", "nobody_of_this_name", status=1) is None
    shop.customer(username=username)
    assert rewards("customer", username, status=1) is None


def test_tables_fit_a_terminal_of_80_columns_and_lose_nothing(
    ordered: tuple[Shop, UUID, UUID],
    site: LocalSite,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, customer_id, order_id = ordered
    monkeypatch.setenv("COLUMNS", "80")

    assert main(["order", str(order_id)], lambda _: site) == 0

    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert str(customer_id) in shown


def test_the_effects_of_an_order_are_told_when_its_event_has_left_and_its_message_is_forgotten(
    ordered: tuple[Shop, UUID, UUID], rewards: Any
) -> None:
    shop, customer_id, order_id = ordered
    shop.connection.execute("delete from xpoints.outbox")
    assert shop.count("notifications") == 0
    for story in (rewards("order", str(order_id)), rewards("customer", str(customer_id))):
        assert story["waiting_messages"] == []
        assert [effect["consumer"] for effect in story["effects"]] == ["clean-cart"]


def test_the_slices_of_an_erasure_are_told_when_their_messages_have_left(
    ordered: tuple[Shop, UUID, UUID], rewards: Any, database: Callable[..., Database]
) -> None:
    shop, customer_id, _ = ordered
    now = datetime.now(UTC)
    origin = Origin(event_of(customer_id), now, "us-east-1", "request-1")
    erase_account(database("accounts"), customer_id, uuid4(), origin)
    events = shop.rows(
        "delete from xpoints.outbox where event_type = 'CustomerErased.v1' returning event_type, detail"
    )
    slices = 0
    while events:
        ((kind, detail),) = events
        event: Any = read_event(CONTRACTS[kind], detail)
        erase_customer_data(database("cascades"), event, lambda: True, "us-east-1", now)
        slices += 1
        events = shop.rows(
            "delete from xpoints.outbox where event_type <> 'OrderPlaced.v1' returning event_type, detail"
        )
    shop.connection.execute("delete from xpoints.outbox")
    effects = rewards("customer", str(customer_id))["effects"]
    assert slices > 2
    assert Counter(effect["consumer"] for effect in effects) == {"erase-customer": slices, "clean-cart": 1}


def test_a_customers_story_has_personal_data_only_when_asked_for(
    ordered: tuple[Shop, UUID, UUID], rewards: Any
) -> None:
    shop, customer_id, order_id = ordered
    email = shop.scalar("select email from xpoints.customers")
    story = rewards("customer", str(customer_id))
    assert email not in json.dumps(story)
    assert "person" not in story
    assert (story["customer"]["balance"], story["customer"]["ledger_sum"]) == (990, 990)
    assert [order["id"] for order in story["orders"]] == [str(order_id)]
    assert rewards("customer", str(customer_id), "--show-personal")["person"]["email"] == email


@pytest.mark.parametrize("what", ["order", "customer"])
def test_a_story_of_what_does_not_exist_says_so(
    what: str, site: LocalSite, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([what, str(uuid4())], lambda _: site) == 1
    assert f"no {what}" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--whole"]])
def test_an_audit_finds_a_difference_and_says_so_by_its_status(
    ordered: tuple[Shop, UUID, UUID], rewards: Any, arguments: list[str]
) -> None:
    shop, customer_id, _ = ordered
    assert rewards("audit", *arguments)["differences"] == []
    shop.connection.execute("update xpoints.points_balances set points_balance = points_balance + 1")
    found = rewards("audit", *arguments, status=1)["differences"]
    assert {difference["customer_id"] or difference["subject_id"] for difference in found} == {
        str(customer_id)
    }


def test_a_whole_audit_finds_what_a_pass_that_is_half_done_has_passed(
    ordered: tuple[Shop, UUID, UUID], rewards: Any, database: Callable[..., Database]
) -> None:
    shop, customer_id, _ = ordered
    shop.connection.execute("update xpoints.points_balances set points_balance = points_balance + 1")
    looks = iter([False, True])
    assert not audit_pass(database("jobs"), PARTS[0], lambda _: None, lambda: next(looks)).done
    answer = rewards("audit", "--whole", status=1)
    assert answer["done"]
    assert [found["customer_id"] for found in answer["differences"]] == [str(customer_id)]


def test_a_whole_audit_that_is_stopped_shows_what_it_found_and_that_it_is_not_done(
    ordered: tuple[Shop, UUID, UUID], rewards: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, customer_id, _ = ordered
    shop.connection.execute("update xpoints.points_balances set points_balance = points_balance + 1")

    def stop(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_teller", lambda _: stop)
    answer = rewards("audit", "--whole", status=130)
    assert not answer["done"]
    assert [found["customer_id"] for found in answer["differences"]] == [str(customer_id)]


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for line in ("", "outbox", "queues", "outbox requeue", "queues redrive", "replay", "order", "audit"):
        with pytest.raises(SystemExit) as leaving:
            main([*line.split(), "--help"])
        assert leaving.value.code == 0
        assert "usage: rewards" in capsys.readouterr().out


def test_text_output_is_a_table(site: LocalSite, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["queues", "list"], lambda _: site) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split() == ["notify", "0", "0"] for line in lines)
