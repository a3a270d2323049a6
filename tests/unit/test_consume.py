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
from events.contracts import sample
from handlers.edge.consume import MARGIN_MS, Consumer, consume
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


def forged(name: str) -> Iterator[str]:
    """Give bodies that somebody made who may write to the queue or the bus."""
    (one,) = sample(CONTRACTS[name])["Records"]
    body = json.loads(one["body"])
    detail = body["detail"]
    for wrong in (SECRET, None, 7, [], [SECRET], {}, {SECRET: SECRET}, "OrderPlaced", f"{name}x", "\ud800"):
        yield json.dumps({**body, "detail-type": wrong})
        yield json.dumps({**body, "detail": wrong})
        yield json.dumps({**body, "detail": {**detail, "data": wrong}})
        for member in ("id", "type", "occurred_at"):
            yield json.dumps({**body, "detail": {**detail, member: wrong}})
        for member in detail["data"]:
            if member.endswith("_id"):
                yield json.dumps({**body, "detail": {**detail, "data": {**detail["data"], member: wrong}}})
    for member in ("id", "type", "occurred_at", "region", "data"):
        yield json.dumps({**body, "detail": {key: value for key, value in detail.items() if key != member}})
    for missing in ("detail", "detail-type"):
        yield json.dumps({key: value for key, value in body.items() if key != missing})
    yield json.dumps({**body, "detail": {**detail, "type": name.replace(".v1", ".v2")}})
    yield json.dumps({**body, "detail-type": name.replace(".v1", ".v2")})
    yield json.dumps({**body, "detail": {**detail, "data": {**detail["data"], "x" * 10**6: SECRET}, "id": 1}})
    yield one["body"][:-1]
    yield one["body"] + "{}"
    yield "[" * 100_000
    yield '{"detail-type":' * 50_000
    yield SECRET
    yield ""


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_a_forged_event_is_never_acknowledged_has_no_effect_and_leaves_nothing_of_itself_in_the_log(
    name: str, log: StringIO
) -> None:
    done: list[object] = []
    bodies = list(forged(name))
    records = [{**record(str(number)), "body": body} for number, body in enumerate(bodies)]

    answer = consume(batch(*records), {CONTRACTS[name]: done.append})

    understood = sorted(set(map(str, range(len(bodies)))) - set(failed(answer)), key=int)
    assert [bodies[int(number)][:2000] for number in understood] == []
    assert done == []
    assert SECRET not in log.getvalue()
    assert {line["message"] for line in lines(log)} == {"event not understood"}


def test_an_id_in_capitals_is_the_same_id() -> None:
    seen: list[Envelope[OrderPlaced]] = []
    one = record("a")
    capitals = {**one, "body": json.dumps(json.loads(one["body"]) | {"detail": _in_capitals(one)})}

    assert failed(consume(batch(one, capitals), {OrderPlaced: seen.append})) == []
    assert seen[0] == seen[1]


def _in_capitals(one: dict[str, Any]) -> dict[str, Any]:
    detail = json.loads(one["body"])["detail"]
    data = {key: value.upper() if key.endswith("_id") else value for key, value in detail["data"].items()}
    return {**detail, "id": detail["id"].upper(), "data": data}


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
