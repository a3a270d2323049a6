"""The bus, the queues and the mail service in memory: at least once, in any order, and not always there.

test_models.py holds their answers and records against moto's.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from botocore.exceptions import ReadTimeoutError

from handlers.edge.consume import EffectFunction, consume
from sql.transactions.notify import DueMessage
from tests.chaos.scheduler import Crash, Doomed, Scheduler

Entry = dict[str, Any]
Choose = Callable[[tuple[str, ...]], str | None]

_REJECTIONS = ("ThrottlingException", "InternalFailure", "SomethingNew")


@dataclass(eq=False, slots=True)
class Message:
    """A message in a queue. `received` counts deliveries; it is invisible to others while `in_flight`."""

    id: str
    body: str
    received: int = 0
    in_flight: bool = False


class Queue:
    """A standard queue: gives any of its messages, and gives them again unless they are deleted."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.messages: list[Message] = []
        self.dead: list[Message] = []

    def visible(self) -> list[Message]:
        """Give what may be received now."""
        return [message for message in self.messages if not message.in_flight]

    def settle(self, batch: Sequence[Message], failed: set[str]) -> None:
        """Delete what was consumed; the rest is visible again."""
        for message in batch:
            if message.id in failed:
                message.in_flight = False
            elif message in self.messages:
                self.messages.remove(message)


def record(message: Message) -> dict[str, Any]:
    """Give a message as a Lambda function gets it from its event source mapping."""
    return {
        "messageId": message.id,
        "receiptHandle": message.id,
        "body": message.body,
        "attributes": {"ApproximateReceiveCount": str(message.received)},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:chaos",
        "awsRegion": "us-east-1",
    }


class Bus:
    """Takes entries, or some of them, or says no after having taken them; passes them on to queues.

    `routes` gives the queues by detail-type. `poison` are event ids that it rejects whenever they come.
    """

    def __init__(self, scheduler: Scheduler, choose: Choose, routes: Mapping[str, Sequence[Queue]]) -> None:
        self.accepted: dict[str, int] = {}
        self.types: dict[str, str] = {}
        self.data: dict[str, dict[str, Any]] = {}
        self.poison: set[str] = set()
        self._scheduler = scheduler
        self._choose = choose
        self._routes = routes
        self._number = 0

    def describe_event_bus(self, *, Name: str) -> dict[str, Any]:  # noqa: N803
        """Be there."""
        return {"Name": Name}

    def put_events(self, *, Entries: Sequence[Entry]) -> dict[str, Any]:  # noqa: N803
        """Answer as EventBridge does."""
        self._scheduler.pause(f"PutEvents of {len(Entries)}")
        fault = self._choose(("bus-down", "bus-timeout", "bus-partial", "bus-rejects", "bus-crash"))
        if fault:
            self._scheduler.note(f"  {fault}")
        if fault == "bus-down":
            raise ConnectionError("the bus cannot be reached")
        random = self._scheduler.random
        answers = []
        for entry in Entries:
            rejected = fault == "bus-rejects" or (fault == "bus-partial" and random.random() < 0.5)
            answers.append(self._take(entry, random.choice(_REJECTIONS) if rejected else None))
        if fault == "bus-timeout":
            raise ReadTimeoutError(endpoint_url="https://events.example")
        if fault == "bus-crash":
            raise Crash
        return {"FailedEntryCount": sum("ErrorCode" in answer for answer in answers), "Entries": answers}

    def _take(self, entry: Entry, rejection: str | None) -> dict[str, str]:
        try:
            detail = json.loads(entry["Detail"])
        except ValueError:
            return {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
        event_id = detail["id"]
        if event_id in self.poison:
            rejection = "SomethingNew"
        if rejection is not None:
            return {"ErrorCode": rejection, "ErrorMessage": "chaos"}
        self.accepted[event_id] = self.accepted.get(event_id, 0) + 1
        self.types[event_id] = entry["DetailType"]
        self.data[event_id] = detail.get("data", {})
        self._number += 1
        body = json.dumps(
            {
                "version": "0",
                "id": f"entry-{self._number}",
                "detail-type": entry["DetailType"],
                "source": entry["Source"],
                "account": "123456789012",
                "time": "2026-01-01T00:00:00Z",
                "region": "us-east-1",
                "resources": entry.get("Resources", []),
                "detail": detail,
            }
        )
        for queue in self._routes.get(entry["DetailType"], ()):
            # Now and then EventBridge, or the queue, delivers twice.
            for copy in range(2 if self._choose(("delivered-twice",)) else 1):
                queue.messages.append(Message(f"{queue.name}-{self._number}-{copy}", body))
        return {"EventId": f"entry-{self._number}"}


@dataclass(slots=True)
class Delivery:
    """One attempt of a function to have an event's effect; step numbers, and the mails that it sent."""

    event_id: str
    began: int
    ended: int | None = None
    failed: bool = False
    sent: list[UUID] = field(default_factory=list)


class Mail:
    """A mail service that keeps what it took."""

    def __init__(self, scheduler: Scheduler, choose: Choose) -> None:
        self.deliveries: list[Delivery] = []
        self._scheduler = scheduler
        self._choose = choose
        self._by_actor: dict[object, Delivery] = {}

    @contextmanager
    def delivering(self, event_id: str) -> Iterator[None]:
        """Say that the present actor has an event's effect inside the block."""
        delivery = Delivery(event_id, self._scheduler.steps)
        self.deliveries.append(delivery)
        actor = self._scheduler.current
        self._by_actor[actor] = delivery
        try:
            yield
        except BaseException:
            delivery.failed = True
            raise
        finally:
            delivery.ended = self._scheduler.steps
            del self._by_actor[actor]

    def send(self, message: DueMessage) -> None:
        """Take a message; or fail before or after having taken it."""
        self._scheduler.pause("send mail")
        fault = self._choose(("mail-down", "mail-timeout", "mail-crash"))
        if fault:
            self._scheduler.note(f"  {fault}")
        if fault == "mail-down":
            raise ConnectionError("the mail service cannot be reached")
        self._by_actor[self._scheduler.current].sent.append(message.id)
        if fault == "mail-timeout":
            raise ReadTimeoutError(endpoint_url="https://mail.example")
        if fault == "mail-crash":
            raise Crash


def invoke(
    scheduler: Scheduler,
    choose: Choose,
    queue: Queue,
    effects: Mapping[Any, EffectFunction],
    most: int,
) -> None:
    """Receive some messages, have a function consume them, delete those that it did not report."""
    visible = queue.visible()
    batch = scheduler.random.sample(visible, min(len(visible), most))
    for message in batch:
        message.in_flight = True
        message.received += 1
    event = {"Records": [record(message) for message in batch]}
    try:
        answer = consume(event, effects, time_is_up=lambda: choose(("time-is-up",)) is not None)
        scheduler.pause("delete from queue")
        if choose(("delete-lost",)):
            raise Crash
    except (Crash, Doomed):
        queue.settle(batch, {message.id for message in batch})
        raise
    queue.settle(batch, {failure["itemIdentifier"] for failure in answer["batchItemFailures"]})
