"""Publishing: letters to the bus in batches, with every entry's result looked at."""

import re
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from domain.outbox import Failure, Letter, Refusal, lots

SOURCE = "rewards.orders"

#: Entries and bytes of a PutEvents request. EventBridge takes 1 MB by now; a quarter of it is what every
#: target takes, and an event of ours that is larger is a mistake.
MAX_ENTRIES = 10
MAX_BYTES = 256 * 1024

#: More than EventBridge counts beside the strings of an entry (14 bytes for a time).
_ENTRY_OVERHEAD_BYTES = 128

#: What the error code of an entry means for its letter. The codes are those of PutEventsResultEntry in the
#: EventBridge API reference, which calls the first two retryable and the others not. Permission is none of a
#: letter's properties, though: a wrong policy refuses everything, and must not bury everything.
REFUSALS: dict[str, Refusal] = {
    "ThrottlingException": Refusal.BUSY,
    "InternalFailure": Refusal.DOUBTFUL,
    "AccessDeniedException": Refusal.DOUBTFUL,
    "InvalidAccountIdException": Refusal.DOUBTFUL,
    "NotAuthorizedForSourceException": Refusal.DOUBTFUL,
    "NotAuthorizedForDetailTypeException": Refusal.DOUBTFUL,
    "InvalidArgument": Refusal.HOPELESS,
    "MalformedDetail": Refusal.HOPELESS,
    "RedactionFailure": Refusal.HOPELESS,
}

#: The envelope's trace, found without reading the whole event. What else may stand in a string of an event
#: cannot look like it: a quote in a string is escaped.
_TRACE = re.compile(r'"trace_id":\s?"(Root=[^"\\]{1,480})"')

#: Errors of a whole request that lie in what was sent. Its letters go one by one then, so that one that
#: cannot be sent does not keep nine others back.
_BAD_REQUESTS = frozenset({"ValidationException", "RequestEntityTooLarge", "RequestEntityTooLargeException"})


class EventsClient(Protocol):
    """The part of boto3's EventBridge client that is used here."""

    def put_events(self, *, Entries: Sequence[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        """Send up to ten entries."""
        ...


@dataclass(slots=True)
class Outcome:
    """What the bus said: accepted letters, failed ones, and the first error of a request that failed whole.

    The letters of such a request are in neither list: nothing is known of them, and they stay where they are.
    """

    accepted: list[Letter] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    outage: Exception | None = None


class Publication:
    """Letters on their way: requests in parallel on a pool."""

    def __init__(
        self, client: EventsClient, bus: str, letters: Sequence[Letter], pool: ThreadPoolExecutor
    ) -> None:
        self._outcome = Outcome()
        sendable = []
        for letter in letters:
            size = size_bytes(letter)
            if size > MAX_BYTES:
                reason = f"EntryTooLarge: the event has {size} bytes of at most {MAX_BYTES}"
                self._outcome.failed.append(Failure(letter, Refusal.HOPELESS, reason))
            else:
                sendable.append(letter)
        self._requests: list[Future[Outcome]] = [
            pool.submit(_send, client, bus, batch)
            for batch in lots(sendable, size_bytes, MAX_BYTES, MAX_ENTRIES)
        ]

    def result(self) -> Outcome:
        """Wait for all answers and sort the letters by what the bus said."""
        outcome = self._outcome
        for request in self._requests:
            answer = request.result()
            outcome.accepted += answer.accepted
            outcome.failed += answer.failed
            outcome.outage = outcome.outage or answer.outage
        self._requests.clear()
        return outcome


def size_bytes(letter: Letter) -> int:
    """Give a letter's size as an entry, at least what EventBridge counts: the UTF-8 bytes of its strings."""
    detail = letter.detail
    detail_bytes = len(detail) if detail.isascii() else len(detail.encode())
    return detail_bytes + len(letter.event_type) + len(SOURCE) + _ENTRY_OVERHEAD_BYTES


def _send(client: EventsClient, bus: str, batch: Sequence[Letter]) -> Outcome:
    outcome = Outcome()
    try:
        answer = client.put_events(Entries=[_entry(bus, letter) for letter in batch])
    except Exception as error:  # whatever it is, the relay goes on and these letters stay in the outbox
        code = _error_code(error)
        if code not in _BAD_REQUESTS:
            outcome.outage = error
        elif len(batch) == 1:
            outcome.failed.append(Failure(batch[0], Refusal.HOPELESS, f"{code}: the request was refused"))
        else:
            for letter in batch:
                alone = _send(client, bus, [letter])
                outcome.accepted += alone.accepted
                outcome.failed += alone.failed
                outcome.outage = outcome.outage or alone.outage
        return outcome
    for letter, entry in zip(batch, answer["Entries"], strict=True):
        code = entry.get("ErrorCode")
        if code is None:
            outcome.accepted.append(letter)
        else:
            reason = f"{code}: {entry.get('ErrorMessage', '')}"
            outcome.failed.append(Failure(letter, REFUSALS.get(code, Refusal.REFUSED), reason))
    return outcome


def _entry(bus: str, letter: Letter) -> dict[str, Any]:
    entry = {
        "EventBusName": bus,
        "Source": SOURCE,
        "DetailType": letter.event_type,
        "Detail": letter.detail,
        "Resources": [],
    }
    # EventBridge passes it on to the queue and SQS to the consumer: one trace from the request to the e-mail.
    if trace := _TRACE.search(letter.detail):
        entry["TraceHeader"] = trace[1]
    return entry


def _error_code(error: Exception) -> str:
    """Give the code of a botocore ClientError, without importing botocore; "" for any other error."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""
