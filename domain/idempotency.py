"""Idempotency: a request that is sent again gets the answer that it got the first time."""

from typing import NamedTuple
from uuid import UUID

from domain import refusals
from domain.refusals import Refusal


class Request(NamedTuple):
    """A write that may be sent again: whose it is, its key, and a hash of what was sent: `<version>:<hash>`.

    `result_id` is the id that this very call gives to what it creates; it tells our own commit, found again
    after a lost connection, from an earlier call's.
    """

    customer_id: UUID
    key: str
    hash: str
    result_id: UUID


class StoredAnswer(NamedTuple):
    """The answer as it was stored in the transaction of its write."""

    request_hash: str
    result_id: UUID
    status: int
    body: str


class Answer(NamedTuple):
    """What the caller gets: HTTP status, JSON text, and whether an earlier call produced it."""

    status: int
    body: str
    replayed: bool


def answer_again(stored: StoredAnswer, request: Request) -> Answer | Refusal:
    """Answer a request whose key is known: with the stored answer, or a refusal where the content differs.

    A hash begins with the version of the form that it is of. While a deployment goes on, one release finds
    what the other stored; hashes of two versions cannot be compared, and the key alone says that it is the
    same request. To refuse it would ask for a new key, and so for a second order.
    """
    # guard: hashes of two forms are not compared
    comparable = _version(stored.request_hash) == _version(request.hash)
    # guard: a key stands for one content
    if comparable and stored.request_hash != request.hash:
        return refusals.idempotency_key_reused()
    return Answer(
        stored.status,
        stored.body,
        # guard: an own commit is no replay
        replayed=stored.result_id != request.result_id,
    )


def _version(request_hash: str) -> str:
    return request_hash.partition(":")[0]
