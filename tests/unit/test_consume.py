"""Consuming a batch: each record for itself, and nothing of an event in the logs."""

import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest

from domain.events import Envelope
from domain.events.contracts import CONTRACTS
from domain.events.orders import OrderPlaced
from events.consume import MARGIN_MS, Consumer, consume
from events.contracts import sample
from handlers.edge.observability import FunctionFailedError, guarded, logger

SECRET = "carlos_salazar_121@example.mil"


def record(message_id: str, **changes: Any) -> dict[str, Any]:
    (one,) = sample(OrderPlaced)["Records"]
    body = json.loads(one["body"])
    detail = {**body["detail"], **changes.pop("detail", {})}
    return {**one, "messageId": message_id, "body": json.dumps({**body, "detail": detail, **changes})}


def batch(*records: dict[str, Any]) -> dict[str, Any]:
    return {"Records": list(records)}


def failed(answer: dict[str, Any]) -> list[str]:
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def lines(log: StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


@pytest.fixture
def log() -> Iterator[StringIO]:
    """What the functions log."""
    handler, output = logger.registered_handler, StringIO()
    assert isinstance(handler, logging.StreamHandler)
    before = handler.setStream(output)
    yield output
    handler.setStream(before)


def test_each_record_goes_to_the_effect_of_its_type_as_a_typed_event() -> None:
    seen: list[Envelope[OrderPlaced]] = []
    assert failed(consume(batch(record("a"), record("b")), {OrderPlaced: seen.append})) == []
    assert [type(event.data) for event in seen] == [OrderPlaced, OrderPlaced]


@pytest.mark.parametrize(
    ("time", "at"),
    [
        ("2026-03-04T05:06:07Z", datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)),
        ("2026-03-04T05:06:07", None),
        ("yesterday", None),
        (17, None),
        (None, None),
    ],
)
def test_an_event_tells_when_the_bus_took_it_and_an_odd_time_stops_nobody(
    time: object, at: datetime | None
) -> None:
    seen: list[Envelope[OrderPlaced]] = []
    assert failed(consume(batch(record("a", time=time)), {OrderPlaced: seen.append})) == []
    assert [event.published_at for event in seen] == [at]


def test_a_record_that_fails_is_reported_alone() -> None:
    def effect(event: Envelope[OrderPlaced]) -> None:
        if event.correlation_id == "bad":
            raise ValueError

    records = batch(record("a"), record("b", detail={"correlation_id": "bad"}), record("c"))
    assert failed(consume(records, {OrderPlaced: effect})) == ["b"]


@pytest.mark.parametrize(
    "bad",
    [
        {**record("bad"), "body": "no json"},
        {**record("bad"), "body": '"a text"'},
        {**record("bad"), "body": "{}"},
        record("bad", **{"detail-type": "OrderPlaced.v2"}),
        record("bad", **{"detail-type": "SomethingElse.v1"}),
        record("bad", detail={"data": {}}),
        record("bad", detail={"occurred_at": "2026-01-01T12:00:00"}),
        record("bad", detail={"type": "OrderCancelled.v1"}),
    ],
)
def test_what_cannot_be_understood_is_never_acknowledged(bad: dict[str, Any]) -> None:
    done: list[object] = []
    assert failed(consume(batch(record("a"), bad, record("c")), {OrderPlaced: done.append})) == ["bad"]
    assert len(done) == 2


def test_records_that_the_time_does_not_suffice_for_are_left_for_later() -> None:
    left_ms = iter([MARGIN_MS + 1, MARGIN_MS + 1, MARGIN_MS - 1])

    class Context:
        def get_remaining_time_in_millis(self) -> int:
            return next(left_ms)

    done: list[object] = []
    consumer = Consumer({OrderPlaced: lambda envelope, _: done.append(envelope)})
    assert failed(consumer(batch(record("a"), record("b"), record("c")), Context())) == ["c"]
    assert len(done) == 2


def test_each_line_carries_its_records_ids_and_no_others(log: StringIO) -> None:
    def effect(event: Envelope[OrderPlaced]) -> str:
        logger.info("inside")
        return "done"

    consume(
        batch(record("a", detail={"correlation_id": "one"}), {**record("b"), "body": "x"}),
        {OrderPlaced: effect},
    )
    logger.info("after")
    inside, consumed, not_understood, after = lines(log)
    assert {inside["correlation_id"], consumed["correlation_id"]} == {"one"}
    assert (inside["message_id"], consumed["effect"]) == ("a", "done")
    assert not_understood["message_id"] == "b"
    assert "correlation_id" not in not_understood
    assert "message_id" not in after


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_nothing_of_an_event_or_of_an_errors_text_is_logged(name: str, log: StringIO) -> None:
    def effect(_: object) -> None:
        try:
            raise LookupError(f"Key (email)=({SECRET}) already exists.")
        except LookupError as error:
            raise ValueError(SECRET) from error

    consume(batch(record("a"), {**record("b"), "body": SECRET}), {OrderPlaced: effect})
    consume(sample(CONTRACTS[name]), {OrderPlaced: effect})
    consume(
        batch(record("a", detail={"region": SECRET, "data": {"order_id": SECRET}})), {OrderPlaced: effect}
    )
    output = log.getvalue()
    assert SECRET not in output
    assert "test_consume.py" in output  # the place is what helps
    assert "builtins.LookupError" in output


def test_an_exception_that_ends_a_function_leaves_no_text(log: StringIO) -> None:
    @guarded
    def handler(event: dict[str, Any], context: Any) -> None:
        raise ValueError(SECRET)

    with pytest.raises(FunctionFailedError) as failure:
        handler({}, None)
    assert str(failure.value) == "ValueError"
    assert failure.value.__cause__ is failure.value.__context__ is None
    assert SECRET not in log.getvalue()


def test_a_guarded_consumer_still_shows_its_effects() -> None:
    effects: dict[Any, Callable[..., object]] = {OrderPlaced: lambda _: None}
    assert vars(guarded(Consumer(effects)))["effects"] == effects
