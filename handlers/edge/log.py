"""The logger of all functions: JSON lines that hold ids, codes and durations, and no text of an exception.

An exception is logged as its type, its code and the places in the source that it came through: its text may
quote a row (PostgreSQL's DETAIL), an event or a request.
"""

import logging
import os
import traceback
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

#: Causes of causes that are logged.
_DEPTH = 4


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
                # An SQLSTATE, or why there was no login (sql/errors.py), or what AWS answered.
                "code": getattr(cause, "sqlstate", None) or getattr(cause, "barrier", None) or code,
                "at": [
                    f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(cause.__traceback__)
                ],
            }
        )
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return described


#: events/publish.py finds it by its service's name.
logger = Logger(
    service="rewards", level=os.environ.get("LOG_LEVEL", "INFO"), logger_formatter=SafeFormatter()
)
