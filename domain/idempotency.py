"""Idempotency: a request that is sent again gets the answer that it got the first time."""

from dataclasses import dataclass
from uuid import UUID

from domain.refusals import IdempotencyKeyReused


@dataclass(frozen=True, slots=True)
class Request:
    """A write that may be sent again: whose it is, its key, and a hash of what it asks for.

    `result_id` is the id that this very call gives to what it creates; it tells our own commit, found again
    after a lost connection, from an earlier call's.
    """

    customer_id: UUID
    key: str
    hash: str
    result_id: UUID


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The answer as it was stored in the transaction of its write."""

    request_hash: str
    result_id: UUID
    status: int
    body: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the caller gets: HTTP status, JSON text, and whether an earlier call produced it."""

    status: int
    body: str
    replayed: bool


def answer_again(stored: StoredAnswer, request: Request) -> Answer | IdempotencyKeyReused:
    """Answer a request whose key is known: with the stored answer, or a refusal where the content differs."""
    if stored.request_hash != request.hash:
        return IdempotencyKeyReused()
    return Answer(stored.status, stored.body, replayed=stored.result_id != request.result_id)
