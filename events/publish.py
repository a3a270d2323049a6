"""Publishing: letters to the bus in batches, with every entry's result looked at."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from domain.outbox import Failure, Letter

SOURCE = "rewards.orders"

#: PutEvents limits (EventBridge quotas): entries and bytes a request. Our own size estimate leaves room for
#: the service's way of counting.
MAX_ENTRIES = 10
MAX_BYTES = 256 * 1024
_ENTRY_OVERHEAD_BYTES = 128

#: Error codes of a PutEvents entry after which the same entry can never be accepted.
_TERMINAL_CODES = frozenset({"InvalidArgument", "MalformedDetail", "EntryTooLarge"})


class EventsClient(Protocol):
    """The part of boto3's EventBridge client that is used here."""

    def put_events(self, *, Entries: Sequence[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        """Send up to ten entries."""
        ...


@dataclass(slots=True)
class Outcome:
    """What the bus said: accepted letters, failed ones, and the first error of a call that failed whole."""

    accepted: list[Letter] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    outage: Exception | None = None


def batches(letters: Sequence[Letter]) -> Iterator[list[Letter]]:
    """Cut letters into requests of at most ten entries and 256 KB."""
    batch: list[Letter] = []
    size = 0
    for letter in letters:
        letter_bytes = _size_bytes(letter)
        if batch and (len(batch) == MAX_ENTRIES or size + letter_bytes > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(letter)
        size += letter_bytes
    if batch:
        yield batch


def publish(client: EventsClient, bus: str, letters: Sequence[Letter], pool: ThreadPoolExecutor) -> Outcome:
    """Put letters on the bus, requests in parallel on `pool`, and sort them by what the bus answered.

    A call that fails as a whole leaves its letters out of the outcome, so they are tried again later; its
    error is kept in `outage`.
    """
    outcome = Outcome()
    sendable = []
    for letter in letters:
        if _size_bytes(letter) > MAX_BYTES:
            reason = f"the event has {_size_bytes(letter)} bytes and the bus takes {MAX_BYTES}"
            outcome.failed.append(Failure(letter, reason, terminal=True))
        else:
            sendable.append(letter)
    requests = list(batches(sendable))
    for batch, answer in zip(
        requests, pool.map(lambda batch: _put(client, bus, batch), requests), strict=True
    ):
        if isinstance(answer, Exception):
            outcome.outage = outcome.outage or answer
            continue
        for letter, entry in zip(batch, answer["Entries"], strict=True):
            code = entry.get("ErrorCode")
            if code is None:
                outcome.accepted.append(letter)
            else:
                reason = f"{code}: {entry.get('ErrorMessage', '')}"
                outcome.failed.append(Failure(letter, reason, terminal=code in _TERMINAL_CODES))
    return outcome


def _put(client: EventsClient, bus: str, batch: Sequence[Letter]) -> dict[str, Any] | Exception:
    try:
        return client.put_events(
            Entries=[
                {
                    "EventBusName": bus,
                    "Source": SOURCE,
                    "DetailType": letter.event_type,
                    "Detail": letter.detail,
                    "Resources": [],
                }
                for letter in batch
            ]
        )
    except Exception as error:
        return error


def _size_bytes(letter: Letter) -> int:
    return len(letter.detail.encode()) + len(letter.event_type) + len(SOURCE) + _ENTRY_OVERHEAD_BYTES
