"""Publishing: messages to the bus in batches, with every entry's result looked at."""

import logging
import re
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from domain.outbox import Failure, OutboxMessage, Rejection, batches

SOURCE = "rewards.orders"

#: By its name this is the functions' logger (handlers/edge/log.py) where there is one.
logger = logging.getLogger("rewards")

#: Entries and bytes of a PutEvents request. EventBridge takes 1 MB by now; a quarter of it is what every
#: target takes, and an event of ours that is larger is a mistake.
MAX_ENTRIES = 10
MAX_BYTES = 256 * 1024

#: More than EventBridge counts beside the strings of an entry (14 bytes for a time).
_ENTRY_OVERHEAD_BYTES = 128

#: What stands for the error code of an entry that has none. Without an event's id either, it is no success.
_NO_RESULT = "NoResult"

#: What the error code of an entry means for its message. The codes are those of PutEventsResultEntry in the
#: EventBridge API reference, which calls the first two retryable and the others not. Permission is none of a
#: message's properties, though: a wrong policy rejects everything, and must not dead-letter everything.
REJECTIONS: dict[str, Rejection] = {
    "ThrottlingException": Rejection.THROTTLED,
    "InternalFailure": Rejection.DOUBTFUL,
    _NO_RESULT: Rejection.DOUBTFUL,
    "AccessDeniedException": Rejection.DOUBTFUL,
    "InvalidAccountIdException": Rejection.DOUBTFUL,
    "NotAuthorizedForSourceException": Rejection.DOUBTFUL,
    "NotAuthorizedForDetailTypeException": Rejection.DOUBTFUL,
    "InvalidArgument": Rejection.PERMANENT,
    "MalformedDetail": Rejection.PERMANENT,
    "RedactionFailure": Rejection.PERMANENT,
}

#: The envelope's trace, found without reading the whole event. What else may stand in a string of an event
#: cannot look like it: a quote in a string is escaped.
_TRACE = re.compile(r'"trace_id":\s?"(Root=[^"\\]{1,480})"')

#: Errors of a whole request that lie in what was sent. Its messages go one by one then, so that one that
#: cannot be sent does not keep nine others back.
_BAD_REQUESTS = frozenset({"ValidationException", "RequestEntityTooLarge", "RequestEntityTooLargeException"})


class EventsClient(Protocol):
    """The part of boto3's EventBridge client that is used here."""

    def put_events(self, *, Entries: Sequence[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        """Send up to ten entries."""
        ...

    def describe_event_bus(self, *, Name: str) -> object:  # noqa: N803
        """Describe the bus; an error with the code ResourceNotFoundException where there is none."""
        ...


@dataclass(slots=True)
class PublishResult:
    """What the bus said: accepted messages, failed ones, and the first error of a request that failed whole.

    The messages of such a request are in neither list: nothing is known of them, and they stay in the outbox.
    """

    accepted: list[OutboxMessage] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    outage: Exception | None = None


class Publication:
    """Messages on their way: requests in parallel on a pool."""

    def __init__(
        self, client: EventsClient, bus: str, messages: Sequence[OutboxMessage], pool: ThreadPoolExecutor
    ) -> None:
        self._outcome = PublishResult()
        self._requests: list[Future[PublishResult]] = []
        for batch in batches(messages, size_bytes, MAX_BYTES, MAX_ENTRIES):
            # What is too large is alone in its batch.
            if len(batch) == 1 and (size := size_bytes(batch[0])) > MAX_BYTES:
                reason = f"EntryTooLarge: the event has {size} bytes of at most {MAX_BYTES}"
                self._outcome.failed.append(Failure(batch[0], Rejection.PERMANENT, reason))
            else:
                self._requests.append(pool.submit(_send, client, bus, batch))

    def result(self) -> PublishResult:
        """Wait for all answers and sort the messages by what the bus said."""
        outcome = self._outcome
        for request in self._requests:
            answer = request.result()
            outcome.accepted += answer.accepted
            outcome.failed += answer.failed
            outcome.outage = outcome.outage or answer.outage
        self._requests.clear()
        return outcome


def size_bytes(message: OutboxMessage) -> int:
    """Give a message's size as an entry, at least what EventBridge counts: the UTF-8 bytes of its strings."""
    return message.detail_bytes + len(message.event_type) + len(SOURCE) + _ENTRY_OVERHEAD_BYTES


def _send(client: EventsClient, bus: str, batch: Sequence[OutboxMessage]) -> PublishResult:
    outcome = PublishResult()
    try:
        entries = client.put_events(Entries=[_entry(bus, message) for message in batch])["Entries"]
        if len(entries) != len(batch):
            raise ValueError(f"{len(entries)} results for {len(batch)} entries")
    except Exception as error:  # whatever it is, the relay goes on and these messages stay in the outbox
        code = _error_code(error)
        if code not in _BAD_REQUESTS:
            # guard: a request without an answer proves nothing
            outcome.outage = error
        elif len(batch) == 1:
            outcome.failed.append(Failure(batch[0], Rejection.PERMANENT, f"{code}: the request was rejected"))
        else:
            for message in batch:
                alone = _send(client, bus, [message])
                outcome.accepted += alone.accepted
                outcome.failed += alone.failed
                outcome.outage = outcome.outage or alone.outage
        return outcome
    for message, entry in zip(batch, entries, strict=True):
        code = entry.get("ErrorCode", _NO_RESULT)
        # guard: every entry's result is looked at
        if "EventId" in entry and code == _NO_RESULT:
            outcome.accepted.append(message)
        else:
            reason = f"{code}: {entry.get('ErrorMessage', '')}"
            outcome.failed.append(Failure(message, REJECTIONS.get(code, Rejection.RETRYABLE), reason))
    return outcome


def is_there(client: EventsClient, bus: str) -> bool:
    """Ask whether there is such a bus: PutEvents takes events for one that is gone, and drops them.

    Whatever else keeps the question from being answered, a missing right say, is no reason not to publish.
    """
    try:
        client.describe_event_bus(Name=bus)
    except Exception as error:
        if _error_code(error) == "ResourceNotFoundException":
            logger.error("the bus is gone", extra={"bus": bus})
            return False
        logger.warning("the bus could not be asked for", extra={"bus": bus, "code": _error_code(error)})
    return True


def _entry(bus: str, message: OutboxMessage) -> dict[str, Any]:
    entry = {
        "EventBusName": bus,
        "Source": SOURCE,
        "DetailType": message.event_type,
        "Detail": message.detail,
        "Resources": [],
    }
    # EventBridge passes it on to the queue and SQS to the consumer: one trace from the request to the e-mail.
    if trace := _TRACE.search(message.detail):
        entry["TraceHeader"] = trace[1]
    return entry


def _error_code(error: Exception) -> str:
    """Give the code of a botocore ClientError, without importing botocore; "" for any other error."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""
