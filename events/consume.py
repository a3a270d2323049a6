"""Consuming: SQS records with EventBridge events in, one typed call an event, a verdict a record out."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from aws_lambda_powertools import Logger
from pydantic import ValidationError

from domain.events import Envelope, Payload

logger = Logger(service="rewards")

#: The effect of an event. It deduplicates by the event's id in its own transaction; raising leaves the record
#: in the queue to be delivered again and, in the end, to go to the dead-letter queue.
Effect = Callable[[Envelope[Any]], object]


class UnknownEventError(Exception):
    """This consumer has no effect for the event's type. Fix the rule's pattern or deploy the consumer."""


class MalformedEventError(Exception):
    """An event that does not fit its contract. Compare it with the schema of its type in events/schemas/."""


def consume(event: Mapping[str, Any], effects: Mapping[type[Payload], Effect]) -> dict[str, Any]:
    """Give each record to the effect of its event's type; report the records that failed, and only those.

    A record that cannot be understood fails like any other: it ends in the dead-letter queue, where it is
    seen, and is never acknowledged unread.
    """
    by_type = {payload.type_name: (payload, effect) for payload, effect in effects.items()}
    failures = []
    for record in event["Records"]:
        message_id = record["messageId"]
        try:
            envelope, effect = _understand(record["body"], by_type)
            logger.set_correlation_id(envelope.correlation_id)
            result = effect(envelope)
            logger.info(
                "event consumed",
                extra={"event_id": str(envelope.id), "event_type": envelope.type, "effect": str(result)},
            )
        except Exception as error:
            receives = record.get("attributes", {}).get("ApproximateReceiveCount")
            # The error's text may quote the event; its type is enough to find the cause.
            logger.exception(
                "event not consumed",
                extra={"message_id": message_id, "receives": receives, "error": type(error).__name__},
            )
            failures.append({"itemIdentifier": message_id})
    return {"batchItemFailures": failures}


def _understand(
    body: str, by_type: Mapping[str, tuple[type[Payload], Effect]]
) -> tuple[Envelope[Any], Effect]:
    try:
        message = json.loads(body)
        detail_type = message["detail-type"]
        detail = message["detail"]
    except (ValueError, KeyError, TypeError) as error:
        raise MalformedEventError("the record holds no EventBridge event") from error
    known = by_type.get(detail_type)
    if known is None:
        raise UnknownEventError(f"no effect for events of type {detail_type!r}")
    payload, effect = known
    try:
        return Envelope[payload].model_validate(detail), effect  # type: ignore[valid-type]
    except ValidationError as error:
        fields = ", ".join("/".join(map(str, problem["loc"])) for problem in error.errors())
        raise MalformedEventError(f"{detail_type} does not fit its contract at {fields}") from error
