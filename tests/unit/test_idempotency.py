"""A request that is sent again: answered as before, or refused where its key stood for another."""

from uuid import UUID

import pytest

from domain import refusals
from domain.idempotency import Answer, Request, StoredAnswer, answer_again

MINE, EARLIER = UUID(int=1), UUID(int=2)
REQUEST = Request(UUID(int=3), "key-12345", "1:aa", MINE)


def stored(request_hash: str, result_id: UUID = EARLIER) -> StoredAnswer:
    return StoredAnswer(request_hash, result_id, 201, "{}")


def test_the_same_request_has_the_same_answer() -> None:
    assert answer_again(stored("1:aa"), REQUEST) == Answer(201, "{}", replayed=True)
    assert answer_again(stored("1:aa", MINE), REQUEST) == Answer(201, "{}", replayed=False)


def test_another_request_is_refused() -> None:
    assert answer_again(stored("1:ab"), REQUEST) == refusals.idempotency_key_reused()


@pytest.mark.parametrize("request_hash", ["2:ab", "0:aa", "ab" * 32])
def test_a_key_whose_hash_is_of_another_form_is_answered_again(request_hash: str) -> None:
    """Two releases at once, of which one hashes otherwise: the key alone says that it is the same request."""
    assert answer_again(stored(request_hash), REQUEST) == Answer(201, "{}", replayed=True)
