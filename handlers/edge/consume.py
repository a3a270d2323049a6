"""Consuming: SQS records in, one typed call an event or a command, a verdict a record out."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json, to_json

from domain.events import Envelope, Payload, read_event
from handlers.edge.log import logger

#: The effect of an event. It deduplicates by the event's id in its own transaction, and gives a word on what
#: became of it for the log; raising leaves the record in the queue, to be delivered again and, in the end, to
#: go to the dead-letter queue.
EffectFunction = Callable[["Envelope[Any]"], object]

#: The same, and it is given the question whether the function's time is up: one that is long asks it.
TimedEffect = Callable[["Envelope[Any]", Callable[[], bool]], object]

#: Is told what became of each record: a word, and the milliseconds since what the event tells of happened,
#: None where no event could be read.
Observer = Callable[[str, float | None], None]

#: The word for a record that is to come again because it failed.
FAILED = "failed"

#: The word for a record that has to wait, by no fault of its own.
WAITING = "waiting"

#: Puts a record into its queue again, as a new message.
PutBack = Callable[[Mapping[str, Any]], None]

#: A record is begun only with so much of the function's time left; the others come again.
MARGIN_MS = 5_000


class Context(Protocol):
    """The part of Lambda's context that is used here."""

    def get_remaining_time_in_millis(self) -> int:
        """Give what is left of the function's time."""
        ...


C = TypeVar("C", bound=BaseModel)


class UnknownEventError(Exception):
    """This consumer has no effect for the event's type. Fix the rule's pattern or deploy the consumer."""


class MalformedEventError(Exception):
    """An event that does not fit its contract. Compare it with the schema of its type in events/schemas/."""


class MalformedCommandError(Exception):
    """A command that does not fit its model. Whoever sent it finds the model in the consumer's module."""


class NotNowError(Exception):
    """What an event asks for can be had later alone, by no fault of the event: it has to wait."""


class Consumer:
    """A function that consumes events, callable as its Lambda handler. `effects` is what it consumes.

    `margin_ms` is what an effect needs at most to come to its end once the time is up. `put_back` is for
    effects that raise NotNowError.
    """

    def __init__(
        self,
        effects: Mapping[type[Payload], TimedEffect],
        observe: Observer = lambda _word, _lag_ms: None,
        margin_ms: int = MARGIN_MS,
        put_back: PutBack | None = None,
    ) -> None:
        self.effects = dict(effects)
        self._put_back = put_back
        self._observe = observe
        self._margin_ms = margin_ms

    def __call__(self, event: Mapping[str, Any], context: Context) -> dict[str, Any]:
        """Have the effects of a batch; give the records that are to come again."""
        time_is_up = _clock(context, self._margin_ms)

        def timed(effect: TimedEffect) -> EffectFunction:
            return lambda envelope: effect(envelope, time_is_up)

        effects = {payload: timed(effect) for payload, effect in self.effects.items()}
        return consume(event, effects, time_is_up=time_is_up, observe=self._observe, put_back=self._put_back)


class CommandConsumer(Generic[C]):
    """A function that consumes commands, each a record's whole body; callable as its Lambda handler.

    A command has no id of its own: its effect finds what an earlier delivery did where it did it.
    `margin_ms` is what an effect needs at most.
    """

    def __init__(
        self,
        command: type[C],
        effect: Callable[[C], object],
        observe: Observer = lambda _word, _lag_ms: None,
        margin_ms: int = MARGIN_MS,
    ) -> None:
        self._command = command
        self._effect = effect
        self._observe = observe
        self._margin_ms = margin_ms

    def __call__(self, event: Mapping[str, Any], context: Context) -> dict[str, Any]:
        """Have the effects of a batch; give the records that are to come again."""
        return _each(event, self._consume_one, _clock(context, self._margin_ms))

    def _consume_one(self, record: Mapping[str, Any]) -> bool:
        try:
            result = self._effect(self._read(record["body"]))
        except Exception:
            logger.exception("command not carried out")
            self._observe(FAILED, None)
            return False
        logger.info("command carried out", extra={"effect": str(result)})
        self._observe(str(result).partition(" ")[0], None)
        return True

    def _read(self, body: str) -> C:
        try:
            return self._command.model_validate_json(body)
        except ValidationError as error:
            raise MalformedCommandError(f"a {self._command.__name__} does not fit its model") from error


def _clock(context: Context, margin_ms: int) -> Callable[[], bool]:
    return lambda: context.get_remaining_time_in_millis() < margin_ms


def consume(
    event: Mapping[str, Any],
    effects: Mapping[type[Payload], EffectFunction],
    *,
    time_is_up: Callable[[], bool] = lambda: False,
    observe: Observer = lambda _word, _lag_ms: None,
    put_back: PutBack | None = None,
) -> dict[str, Any]:
    """Give each record to the effect of its event's type; report the records that failed, and only those.

    A record that cannot be understood fails like any other: it ends in the dead-letter queue, where it is
    seen, and is never acknowledged unread. One that has to wait is put back. Logs name a record by its ids,
    never by what is in it.
    """
    by_type = {payload.type_name: (payload, effect) for payload, effect in effects.items()}
    return _each(event, lambda record: _consume_event(record, by_type, observe, put_back), time_is_up)


def _each(
    event: Mapping[str, Any],
    consume_one: Callable[[Mapping[str, Any]], bool],
    time_is_up: Callable[[], bool],
) -> dict[str, Any]:
    failures = []
    for record in event["Records"]:
        message_id = record["messageId"]
        receives = record.get("attributes", {}).get("ApproximateReceiveCount")
        # Context keys end with the record, so no line carries the ids of the record before.
        with logger.append_context_keys(message_id=message_id, receives=receives):
            if time_is_up():
                logger.warning("record left for later: the function's time is up")
                # guard: a record left for lack of time is reported
                failures.append({"itemIdentifier": message_id})
            elif not consume_one(record):
                failures.append({"itemIdentifier": message_id})
    # guard: records that failed are reported
    return {"batchItemFailures": failures}


def _consume_event(
    record: Mapping[str, Any],
    by_type: Mapping[str, tuple[type[Payload], EffectFunction]],
    observe: Observer,
    put_back: PutBack | None,
) -> bool:
    try:
        envelope, effect = _understand(record["body"], by_type)
        with logger.append_context_keys(
            correlation_id=envelope.correlation_id,
            causation_id=envelope.causation_id,
            event_id=str(envelope.id),
            event_type=envelope.type,
        ):
            try:
                try:
                    result = effect(envelope)
                except NotNowError:
                    if put_back is None:
                        raise
                    put_back(record)
                    result = WAITING
            except Exception:
                logger.exception("event not consumed")
                observe(FAILED, _since_ms(envelope.occurred_at))
                return False
            logger.info("event consumed", extra={"effect": str(result)})
            observe(str(result).partition(" ")[0], _since_ms(envelope.occurred_at))
    except Exception:
        logger.exception("event not understood")
        observe(FAILED, None)
        return False
    return True


def _since_ms(moment: datetime) -> float:
    return (datetime.now(UTC) - moment).total_seconds() * 1000


def _moment(said: object) -> datetime | None:
    """Read the bus's time of a message, in whole seconds. It is for people: an odd one is left out."""
    with suppress(ValueError):
        moment = datetime.fromisoformat(said) if isinstance(said, str) else None
        return moment if moment is not None and moment.tzinfo is not None else None
    return None


def _understand(
    body: str, by_type: Mapping[str, tuple[type[Payload], EffectFunction]]
) -> tuple["Envelope[Any]", EffectFunction]:
    try:
        message = from_json(body)
        detail_type, detail = message["detail-type"], to_json(message["detail"])
        published_at = _moment(message.get("time"))
    except (ValueError, KeyError, TypeError) as error:
        raise MalformedEventError("the record holds no EventBridge event") from error
    known = by_type.get(detail_type)
    if known is None:
        raise UnknownEventError(f"no effect for events of type {detail_type!r}")
    payload, effect = known
    try:
        envelope = read_event(payload, detail, published_at)
    except ValidationError as error:
        raise MalformedEventError(f"{detail_type} does not fit its contract: {error}") from error
    if envelope.type != detail_type:
        raise MalformedEventError(f"an event of type {envelope.type!r} came as {detail_type!r}")
    return envelope, effect
