"""The end of every write: what is counted and logged of it, and how its answer is said."""

import time
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from aws_lambda_powertools.metrics import MetricUnit

from domain.events import Origin, event_of
from domain.idempotency import Answer
from domain.refusals import Refusal
from handlers.edge.http import Call, Reply
from handlers.edge.models import AnswerBody
from handlers.edge.observability import count_faults, metrics
from sql.transaction import Completed

T = TypeVar("T")


def settle(call: Call[Any, Any], completed: Completed[Answer | Refusal]) -> Reply | Refusal:
    """Give the answer to a write under an Idempotency-Key, once it is counted and logged."""
    answer = completed.value
    if isinstance(answer, Refusal):
        _record(call, completed, answer.code)
        return answer
    duration_ms = _record(call, completed, "replayed" if answer.replayed else call.route.done)
    headers = {
        "Idempotency-Replayed": "true" if answer.replayed else "false",
        "Rewards-Attempts": str(completed.attempts),
        "Rewards-Round-Trips": str(completed.round_trips),
        "Server-Timing": f"{call.route.counted.lower()};dur={duration_ms}",
    }
    return Reply(answer.status, answer.body, headers)


def counted(call: Call[Any, Any], completed: Completed[T], done: str | None = None) -> T:
    """Give what became of a write, once it is counted and logged. `done` is for the route's own word."""
    value = completed.value
    _record(call, completed, value.code if isinstance(value, Refusal) else done or call.route.done)
    return value


#: The headers of `told`.
TOLD = ("Rewards-Attempts", "Rewards-Round-Trips", "Server-Timing")


def told(call: Call[Any, Any], completed: Completed[Any], answer: AnswerBody) -> Reply:
    """Give the answer to a write without a key, with what it took: attempts, round trips, time."""
    duration_ms = round((time.perf_counter() - call.began_s) * 1000, 1)
    headers = {
        "Rewards-Attempts": str(completed.attempts),
        "Rewards-Round-Trips": str(completed.round_trips),
        "Server-Timing": f"{call.route.counted.lower()};dur={duration_ms}",
    }
    return Reply(call.route.status, answer.model_dump_json(), headers)


def refusal_in(outcome: object) -> Refusal | None:
    """Give the refusal that an outcome is, or None: for a route whose answer has no body."""
    return outcome if isinstance(outcome, Refusal) else None


def _record(call: Call[Any, Any], completed: Completed[Any], outcome: str) -> float:
    """Count and log how a write ended; give the milliseconds that it took. `outcome` is of a closed list."""
    operation = call.route.counted
    duration_ms = round((time.perf_counter() - call.began_s) * 1000, 1)
    sink = metrics()
    sink.add_metric(f"{operation}_{outcome}", MetricUnit.Count, 1)
    if isinstance(completed.value, Refusal):
        sink.add_metric(f"{operation}Refused", MetricUnit.Count, 1)
    count_faults(completed.faults)
    # The line that carries the metrics carries the log's words, too: writing two took a tenth of a checkout.
    line = {
        "level": "INFO",
        "message": operation.lower(),
        "correlation_id": call.correlation_id,
        "outcome": outcome,
        "duration_ms": duration_ms,
        "attempts": completed.attempts,
        "round_trips": completed.round_trips,
        "faults": {fault.value: times for fault, times in completed.faults.items()},
    }
    # At once: `add_metadata` makes a debug line of each member, which nobody reads.
    sink.metadata_set.update(line)
    sink.flush_metrics()
    return duration_ms


def origin_of(call: Call[Any, Any], region: str, fact_id: UUID) -> Origin:
    """Say where the event of a request's write comes from; `fact_id` as for `event_of`."""
    return Origin(event_of(fact_id), datetime.now(UTC), region, call.correlation_id, call.trace_id)
