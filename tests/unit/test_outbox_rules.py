"""Which rejected messages become dead letters, and how relays share shards."""

import re
from typing import Any
from uuid import uuid4

import botocore.session
from hypothesis import given
from hypothesis import strategies as st

from domain.outbox import MAX_ATTEMPTS, Failure, OutboxMessage, Rejection, judge, pause_after_s, share_out
from events.publish import _NO_RESULT, REJECTIONS


def failure(rejection: Rejection, attempts: int = 0) -> Failure:
    return Failure(
        OutboxMessage("us-east-1", 0, uuid4(), "OrderPlaced.v1", "{}", attempts, 0), rejection, "no"
    )


def test_a_permanently_rejected_message_is_dead_lettered_at_once() -> None:
    permanent = failure(Rejection.PERMANENT)
    assert judge([permanent], bus_accepts=False).dead_letters == [permanent]


def test_a_rejected_message_is_dead_lettered_at_its_last_attempt_and_not_before() -> None:
    early, late = (
        failure(Rejection.RETRYABLE, MAX_ATTEMPTS - 2),
        failure(Rejection.RETRYABLE, MAX_ATTEMPTS - 1),
    )
    verdict = judge([early, late], bus_accepts=False)
    assert (verdict.counted, verdict.dead_letters) == ([early], [late])


def test_a_doubtful_failure_counts_only_while_the_bus_accepts_others() -> None:
    doubtful = failure(Rejection.DOUBTFUL, MAX_ATTEMPTS - 1)
    assert judge([doubtful], bus_accepts=False).free == [doubtful]
    assert judge([doubtful], bus_accepts=True).dead_letters == [doubtful]


def test_throttling_never_counts() -> None:
    throttled = failure(Rejection.THROTTLED, MAX_ATTEMPTS)
    assert judge([throttled], bus_accepts=True).free == [throttled]


def test_every_code_of_the_table_is_one_that_the_service_documents() -> None:
    model = botocore.session.get_session().get_service_model("events")
    entry: Any = model.shape_for("PutEventsResultEntry")
    documentation = entry.members["ErrorCode"].documentation
    documented = set(re.findall(r"\b[A-Z]\w+(?:Exception|Failure|Argument|Detail)\b", documentation))
    # One is ours: an entry that came back with neither an id nor a code.
    assert documented == set(REJECTIONS) - {_NO_RESULT}


def test_attempts_are_spread_over_minutes() -> None:
    pauses = [pause_after_s(attempts) for attempts in range(1, MAX_ATTEMPTS)]
    assert pauses == sorted(pauses)
    assert 8 * 60 <= sum(pauses) <= 3600


@given(relays=st.integers(1, 20), shards=st.integers(1, 32), rounds=st.just(3))
def test_relays_that_ask_one_after_the_other_end_with_every_shard_held_once_and_fairly(
    relays: int, shards: int, rounds: int
) -> None:
    all_shards = range(shards)
    held: list[set[int]] = [set(all_shards), *(set() for _ in range(relays - 1))]
    for _ in range(rounds):
        for me, mine in enumerate(held):
            others = set().union(*(held[other] for other in range(relays) if other != me))
            share = share_out(all_shards, mine, others, relays)
            assert not others & set(share.take)
            held[me] = set(share.take)
    assert sorted(shard for mine in held for shard in mine) == list(all_shards)
    assert max(len(mine) for mine in held) <= -(-shards // relays)
