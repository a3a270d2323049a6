"""Structured logs and metrics, the same for every function.

Logs carry ids, codes and durations and never what a customer typed, an address, a name or a token; the logger
itself (events/log.py) keeps the texts of exceptions out.
Metrics have units and few dimensions: the function, and a code from a closed list.
"""

import os
from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, TypeVar

from aws_lambda_powertools.metrics import Metrics, MetricUnit

from events.log import logger

if TYPE_CHECKING:
    from sql.errors import Fault

__all__ = ["NAMESPACE", "FunctionFailedError", "count_faults", "guarded", "logger", "metrics"]

NAMESPACE = "Rewards"

R = TypeVar("R")


class FunctionFailedError(Exception):
    """The function failed; the log line before this one says with what and where."""


def guarded(handler: Callable[[dict[str, Any], Any], R]) -> Callable[[dict[str, Any], Any], R]:
    """Keep the text of an exception that ends a function out of Lambda's own report of it."""

    @wraps(handler)
    def guard(event: dict[str, Any], context: Any) -> R:
        try:
            return handler(event, context)
        except Exception as error:
            logger.exception("function failed")
            failure = FunctionFailedError(type(error).__name__)
        raise failure

    return guard


@cache
def metrics() -> Metrics:
    """Give the function's metric sink; `flush_metrics` writes what was added as one log line."""
    sink = Metrics(namespace=NAMESPACE, service="rewards")
    sink.set_default_dimensions(function=os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "local"))
    return sink


def count_faults(faults: "Mapping[Fault, int]") -> None:
    """Count the database faults that a retry mended, by kind."""
    for fault, times in faults.items():
        metrics().add_metric(f"DatabaseFault_{fault.value}", MetricUnit.Count, times)
