"""Dead-letter queues: looked into, and emptied back into where their messages came from.

The messages are moved one by one, received, sent and then deleted: nothing is lost when that is cut off in
between, and a message that was sent twice has its effect once, because consumers know events by their ids.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from operations.site import DeadLetterQueue, Site, SiteError

#: How long a message is out of others' sight while it is looked at; what is held for longer is hidden again.
#: After a command that was killed, the messages that it had received are back after this.
_VISIBILITY_S = 300

#: Answers without a message, one after the other, that mean "the queue is empty": SQS asks a part of its
#: servers at a time.
_EMPTY_ANSWERS = 2

_BATCH = 10

#: The log is read in steps of this length, back to when the oldest message was sent.
_LOG_STEP_S = 24 * 3600


@dataclass(slots=True)
class DeadMessage:
    """A message of a dead-letter queue. `error` is what the bus or the consumer's log says of it."""

    id: str
    receipt: str
    body: str
    attributes: Mapping[str, Any]
    age_s: int
    receives: int
    event_type: str = ""
    event_id: str = ""
    correlation_id: str = ""
    error: str = ""

    def summary(self) -> dict[str, Any]:
        """Give what may be shown of any message."""
        names = ("id", "event_type", "event_id", "correlation_id", "age_s", "receives", "error")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """Which messages are meant; None lets everything through. Ages in seconds since they were first sent."""

    event_type: str | None = None
    older_than_s: int | None = None
    newer_than_s: int | None = None
    error: str | None = None
    ids: Sequence[str] | None = None

    def lets_through(self, message: DeadMessage) -> bool:
        """Tell whether a message is meant."""
        return (
            (self.event_type is None or message.event_type == self.event_type)
            and (self.older_than_s is None or message.age_s >= self.older_than_s)
            and (self.newer_than_s is None or message.age_s < self.newer_than_s)
            and (self.error is None or self.error.lower() in message.error.lower())
            and (self.ids is None or message.id in self.ids or message.event_id in self.ids)
        )


@dataclass(slots=True)
class Redrive:
    """What a redrive did, or would do: messages moved, kept, and looked at."""

    moved: list[DeadMessage] = field(default_factory=list)
    kept: int = 0


def depths(site: Site) -> list[dict[str, Any]]:
    """Give each dead-letter queue with its approximate number of messages."""
    sqs = site.client("sqs")
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    rows = []
    for name, queue in sorted(site.dead_letter_queues.items()):
        attributes = sqs.get_queue_attributes(QueueUrl=queue.url, AttributeNames=names)["Attributes"]
        rows.append(
            {
                "queue": name,
                "messages": int(attributes[names[0]]),
                "in_sight_of_someone": int(attributes[names[1]]),
            }
        )
    return rows


def redrive(
    site: Site,
    queue: DeadLetterQueue,
    which: MessageFilter,
    *,
    act: bool,
    most: int | None = None,
    progress: Callable[[Redrive], None] = lambda _: None,
) -> Redrive:
    """Send the messages that are meant back to their source and delete them; without `act` only say which.

    What is not meant is in the queue as before when this returns, whatever it ends by. Raises SiteError for
    a message whose target is not known; those before it have been moved.
    """
    sqs = site.client("sqs")
    done, held = Redrive(), list[DeadMessage]()
    seen, gone = set[str](), set[str]()
    hidden_at = time.monotonic()
    errors = _Errors(site) if which.error is not None or not act else None
    try:
        for message in _receive(sqs, queue.url):
            if time.monotonic() - hidden_at > _VISIBILITY_S / 2:
                # Or what was looked at first came again before the last was reached, without an end.
                # guard: messages that are looked at for long stay hidden
                _hide(sqs, queue.url, held, _VISIBILITY_S)
                hidden_at = time.monotonic()
            if message.id in gone:
                _delete(sqs, queue, message)  # SQS may show a message again that was deleted
                continue
            if message.id in seen:
                held.append(message)
                continue
            seen.add(message.id)
            if errors is not None and not message.error:
                message.error = errors.of(message)
            if which.lets_through(message) and (most is None or len(done.moved) < most):
                if act:
                    _move(sqs, queue, message)
                    gone.add(message.id)
                else:
                    held.append(message)
                done.moved.append(message)
            else:
                held.append(message)
                done.kept += 1
            progress(done)
    finally:
        _hide(sqs, queue.url, held, 0)
    return done


def _receive(sqs: Any, url: str) -> Iterator[DeadMessage]:
    empty = 0
    now_s = time.time()
    while empty < _EMPTY_ANSWERS:
        answer = sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=_BATCH,
            WaitTimeSeconds=1,
            VisibilityTimeout=_VISIBILITY_S,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        messages = answer.get("Messages", ())
        empty = 0 if messages else empty + 1
        for message in messages:
            yield _understand(message, now_s)


def _understand(message: Mapping[str, Any], now_s: float) -> DeadMessage:
    attributes = message.get("MessageAttributes", {})
    system = message.get("Attributes", {})
    known = DeadMessage(
        id=message["MessageId"],
        receipt=message["ReceiptHandle"],
        body=message["Body"],
        attributes=attributes,
        age_s=max(0, int(now_s - int(system.get("SentTimestamp", now_s * 1000)) / 1000)),
        receives=int(system.get("ApproximateReceiveCount", 0)),
    )
    # A message that is no event, or a broken one, is still a message that somebody has to see.
    with suppress(ValueError, TypeError, AttributeError):
        event = json.loads(known.body)
        known.event_type = str(event.get("detail-type", ""))
        detail = event.get("detail", {})
        known.event_id, known.correlation_id = (
            str(detail.get("id", "")),
            str(detail.get("correlation_id", "")),
        )
    words = [
        attributes[name]["StringValue"] for name in ("ERROR_CODE", "ERROR_MESSAGE") if name in attributes
    ]
    known.error = ": ".join(words)
    return known


def _move(sqs: Any, queue: DeadLetterQueue, message: DeadMessage) -> None:
    target = queue.source_url
    if target is None:
        arn = message.attributes.get("TARGET_ARN", {}).get("StringValue", "")
        if ":sqs:" not in arn:
            raise SiteError(
                f"The message {message.id} names no queue as its target: {arn or 'no TARGET_ARN'}."
            )
        target = sqs.get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"]
    sqs.send_message(QueueUrl=target, MessageBody=message.body)
    # From here on it may be there twice, and never not at all.
    _delete(sqs, queue, message)


def _delete(sqs: Any, queue: DeadLetterQueue, message: DeadMessage) -> None:
    sqs.delete_message(QueueUrl=queue.url, ReceiptHandle=message.receipt)


def _hide(sqs: Any, url: str, messages: Sequence[DeadMessage], for_s: int) -> None:
    """Keep messages out of others' sight from now on for so long; 0 gives them back."""
    for start in range(0, len(messages), _BATCH):
        sqs.change_message_visibility_batch(
            QueueUrl=url,
            Entries=[
                {"Id": str(number), "ReceiptHandle": message.receipt, "VisibilityTimeout": for_s}
                for number, message in enumerate(messages[start : start + _BATCH])
            ],
        )


class _Errors:
    """What the consumers' logs say of a message: the error's type and the place, by the message's id."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._by_message: dict[str, str] = {}
        self._read_from_s = int(time.time()) + _LOG_STEP_S

    def of(self, message: DeadMessage) -> str:
        # No line about a message is older than the message; one reading serves all of its age and younger.
        since_s = int(time.time()) - message.age_s
        if since_s < self._read_from_s:
            since_s -= since_s % _LOG_STEP_S
            self._read(since_s, self._read_from_s)
            self._read_from_s = since_s
        return self._by_message.get(message.id, "")

    def _read(self, since_s: int, until_s: int) -> None:
        group = self._site.outputs.get("FunctionLogGroupName")
        if group is None:
            return
        pages = self._site.client("logs").get_paginator("filter_log_events")
        found: dict[str, str] = {}
        for page in pages.paginate(
            logGroupName=group, filterPattern="ERROR", startTime=since_s * 1000, endTime=until_s * 1000
        ):
            for event in page["events"]:
                with suppress(ValueError, KeyError, IndexError, TypeError):
                    line = json.loads(event["message"])
                    raised = line["exception"]
                    place = raised[0]["at"][-1] if raised[0]["at"] else ""
                    types = " < ".join(each["type"].rpartition(".")[2] for each in raised)
                    found[line["message_id"]] = f"{types} at {place}"
        # Of several deliveries the last one's: what was read before is younger.
        self._by_message = found | self._by_message
