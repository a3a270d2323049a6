"""The end of every write: what is counted and logged of it, and how its answer is said."""

import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from aws_lambda_powertools.metrics import MetricUnit

from domain.events import Origin, event_of
from domain.idempotency import Answer
from domain.refusals import Refusal
from handlers.edge.http import Call, Reply
from handlers.edge.observability import count_faults, logger, metrics
from handlers.edge.problems import Problem
from sql.transaction import Completed


def settle(
    call: Call[Any, Any],
    operation: str,
    done: str,
    completed: Completed[Answer | Refusal],
    start_s: float,
) -> Reply | Problem:
    """Answer a write under an Idempotency-Key. `operation` and `done` name it in metrics: Checkout, placed.

    `start_s` is when it began, by time.perf_counter.
    """
    answer = completed.value
    outcome = answer.code if isinstance(answer, Refusal) else "replayed" if answer.replayed else done
    duration_ms = record(call, operation, outcome, completed, start_s)
    if isinstance(answer, Refusal):
        return Problem.of(answer)
    headers = {
        "Idempotency-Replayed": "true" if answer.replayed else "false",
        "Rewards-Attempts": str(completed.attempts),
        "Rewards-Round-Trips": str(completed.round_trips),
        "Server-Timing": f"{operation.lower()};dur={duration_ms}",
    }
    return Reply(answer.status, answer.body, headers)


def record(
    call: Call[Any, Any], operation: str, outcome: str, completed: Completed[Any], start_s: float
) -> float:
    """Count and log how a write ended; give the milliseconds that it took. `outcome` is of a closed list."""
    duration_ms = round((time.perf_counter() - start_s) * 1000, 1)
    refused = isinstance(completed.value, Refusal)
    metrics().add_metric(f"{operation}_{outcome}", MetricUnit.Count, 1)
    if refused:
        metrics().add_metric(f"{operation}Refused", MetricUnit.Count, 1)
    count_faults(completed.faults)
    logger.info(
        operation.lower(),
        extra={
            "correlation_id": call.correlation_id,
            "outcome": outcome,
            "duration_ms": duration_ms,
            "attempts": completed.attempts,
            "round_trips": completed.round_trips,
            "faults": {fault.value: times for fault, times in completed.faults.items()},
        },
    )
    metrics().flush_metrics()
    return duration_ms


def origin_of(call: Call[Any, Any], region: str, fact_id: UUID) -> Origin:
    """Say where the event of a request's write comes from; `fact_id` as for `event_of`."""
    return Origin(event_of(fact_id), datetime.now(UTC), region, call.correlation_id, call.trace_id)
