"""Structured logs and metrics, the same for every function.

Logs carry ids, codes and durations and never what a customer typed, an address, a name or a token; the logger
itself (handlers/edge/log.py) keeps the texts of exceptions out.
Metrics have units and few dimensions: the function, and a code from a closed list.
"""

import os
from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, TypeVar

from aws_lambda_powertools.metrics import Metrics, MetricUnit

from handlers.edge.log import logger

if TYPE_CHECKING:
    from sql.errors import Fault
    from sql.transaction import Completed

__all__ = [
    "EFFECTS",
    "NAMESPACE",
    "FunctionFailedError",
    "count_faults",
    "guarded",
    "logger",
    "metrics",
    "observe_effect",
    "value_of",
]

NAMESPACE = "Rewards"

#: What can become of an event: the words that metrics are named by.
EFFECTS = frozenset({"done", "partial", "sent", "skipped", "duplicate", "stale", "waiting", "failed"})

#: Words for an event that had its effect before, or has none yet: its age is not the effect's.
_WITHOUT_LAG = frozenset({"duplicate", "waiting", "failed"})

R = TypeVar("R")


class FunctionFailedError(Exception):
    """The function failed; the log line before this one says with what and where."""


def guarded(handler: Callable[[dict[str, Any], Any], R]) -> Callable[[dict[str, Any], Any], R]:
    """Keep the text of an exception that ends a function out of Lambda's own report; write the metrics."""

    @wraps(handler)
    def guard(event: dict[str, Any], context: Any) -> R:
        try:
            return handler(event, context)
        except Exception as error:
            logger.exception("function failed")
            failure = FunctionFailedError(type(error).__name__)
        finally:
            if metrics().metric_set:
                metrics().flush_metrics()
        raise failure

    return guard


@cache
def metrics() -> Metrics:
    """Give the function's metric sink; `flush_metrics` writes what was added as one log line."""
    sink = Metrics(namespace=NAMESPACE, service="rewards")
    sink.set_default_dimensions(function=os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "local"))
    return sink


def count_faults(faults: "Mapping[Fault, int]") -> None:
    """Count the database faults that a retry fixed, by kind."""
    for fault, times in faults.items():
        metrics().add_metric(f"DatabaseFault_{fault.value}", MetricUnit.Count, times)


def value_of(completed: "Completed[R]") -> R:
    """Count what went wrong in a transaction before it succeeded, and give its value."""
    count_faults(completed.faults)
    return completed.value


def observe_effect(word: str, lag_ms: float | None) -> None:
    """Count what became of an event, by EFFECTS; measure from the fact that it tells of to its effect."""
    metrics().add_metric(f"Effect_{word if word in EFFECTS else 'other'}", MetricUnit.Count, 1)
    if lag_ms is not None and word not in _WITHOUT_LAG:
        metrics().add_metric("EffectLag", MetricUnit.Milliseconds, lag_ms)
