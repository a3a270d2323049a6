"""A slice of a cascade ends after its length, or when the function's time runs short."""

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from domain.events import Envelope
from domain.events.customers import CustomerErased, CustomerErasureResumed
from handlers.edge.consume import Consumer
from handlers.edge.observability import guarded
from handlers.edge.slices import MARGIN_MS, SLICE_S, start_slice


class Context:
    """A function with so much time left."""

    def __init__(self, left_ms: int) -> None:
        self.left_ms = left_ms

    def get_remaining_time_in_millis(self) -> int:
        return self.left_ms


def record(kind: str, **data: Any) -> dict[str, Any]:
    customer_id = str(uuid4())
    detail = {
        "id": str(uuid4()),
        "type": kind,
        "occurred_at": "2026-01-01T00:00:00Z",
        "aggregate_type": "customer",
        "aggregate_id": customer_id,
        "aggregate_version": 2,
        "region": "us-east-1",
        "correlation_id": "c",
        "data": {"customer_id": customer_id, **data},
    }
    return {"messageId": "m-1", "body": json.dumps({"detail-type": kind, "detail": detail})}


def test_a_slice_is_over_when_it_was_long_enough_however_much_time_the_function_has() -> None:
    now_s = 100.0
    is_over = start_slice(lambda: False, lambda: now_s)
    assert not is_over()
    now_s += SLICE_S - 0.1
    assert not is_over()
    now_s += 0.1
    assert is_over()


def test_a_slice_is_over_when_the_function_needs_the_rest_of_its_time_to_hand_on() -> None:
    context = Context(MARGIN_MS)
    over: list[bool] = []

    def take(_: Envelope[Any], time_is_up: Callable[[], bool]) -> None:
        is_over = start_slice(time_is_up, lambda: 0.0)
        over.append(is_over())
        context.left_ms -= 1
        over.append(is_over())

    Consumer({CustomerErased: take}, margin_ms=MARGIN_MS)({"Records": [record("CustomerErased.v1")]}, context)
    assert over == [False, True]


def test_each_record_gets_a_slice_whichever_of_its_events_it_holds() -> None:
    taken: list[tuple[str, bool]] = []

    def take(envelope: Envelope[Any], is_over: Callable[[], bool]) -> str:
        taken.append((envelope.type, is_over()))
        return "done"

    handler = guarded(Consumer({CustomerErased: take, CustomerErasureResumed: take}, margin_ms=MARGIN_MS))
    records = [record("CustomerErased.v1"), record("CustomerErasureResumed.v1", step="cart")]
    assert handler({"Records": records}, Context(60_000)) == {"batchItemFailures": []}
    assert taken == [("CustomerErased.v1", False), ("CustomerErasureResumed.v1", False)]


def test_a_record_that_comes_when_the_time_is_short_is_left_for_later() -> None:
    def take(_: Envelope[Any], is_over: Callable[[], bool]) -> None:
        raise AssertionError("no slice may begin")

    handler = guarded(Consumer({CustomerErased: take}, margin_ms=MARGIN_MS))
    answer = handler({"Records": [record("CustomerErased.v1")]}, Context(MARGIN_MS - 1))
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m-1"}]}
