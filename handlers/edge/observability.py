"""Structured logs and metrics, the same for every function.

Logs carry ids, codes and durations and never what a customer typed, an address, a name or a token.
An exception is logged as its type, its code and the places in the source that it came through: its text may
quote a row (PostgreSQL's DETAIL), an event or a request.
Metrics have units and few dimensions: the function, and a code from a closed list.
"""

import logging
import os
import traceback
from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import Any, TypeVar

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter
from aws_lambda_powertools.metrics import Metrics, MetricUnit

from sql.errors import Fault

NAMESPACE = "Rewards"

#: Causes of causes that are logged.
_DEPTH = 4

R = TypeVar("R")


class SafeFormatter(LambdaPowertoolsFormatter):
    """JSON lines in which an exception has no text: see `describe`."""

    def _extract_log_exception(self, log_record: logging.LogRecord) -> Any:
        error = log_record.exc_info[1] if log_record.exc_info else None
        if error is None:
            return None, None, None
        return describe(error), type(error).__name__, None

    def _serialize_stacktrace(self, log_record: logging.LogRecord) -> None:
        """Leave out what Powertools would add: it holds the exception's text."""


def describe(error: BaseException) -> list[dict[str, Any]]:
    """Give an exception and its causes without their texts: type, code, and where in the source each was."""
    described: list[dict[str, Any]] = []
    cause: BaseException | None = error
    while cause is not None and len(described) < _DEPTH:
        response = getattr(cause, "response", None)
        code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
        described.append(
            {
                "type": f"{type(cause).__module__}.{type(cause).__qualname__}",
                "code": getattr(cause, "sqlstate", None) or code,
                "at": [
                    f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(cause.__traceback__)
                ],
            }
        )
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return described


logger = Logger(
    service="rewards", level=os.environ.get("LOG_LEVEL", "INFO"), logger_formatter=SafeFormatter()
)


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


def count_faults(faults: Mapping[Fault, int]) -> None:
    """Count the database faults that a retry mended, by kind."""
    for fault, times in faults.items():
        metrics().add_metric(f"DatabaseFault_{fault.value}", MetricUnit.Count, times)
