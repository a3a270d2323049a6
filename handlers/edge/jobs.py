"""What scheduled jobs share: parts that do not wait for each other, and findings that are not lost."""

from collections.abc import Callable, Collection, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from aws_lambda_powertools.metrics import MetricUnit

from handlers.edge.observability import logger, metrics

#: Enough for the transaction under way to end and for the metrics to be written.
_MARGIN_MS = 10_000

F = TypeVar("F", bound=Hashable)


class PartsFailedError(Exception):
    """Some parts of a job failed, the others are done; the log has a line for each that failed."""


def clock(context: Any) -> Callable[[], bool]:
    """Give the question whether a run's time is nearly up."""
    return lambda: bool(context.get_remaining_time_in_millis() < _MARGIN_MS)


class Parts:
    """A job's parts, each done whatever becomes of the others: `with parts.part(name): ...`, then `end`."""

    def __init__(self) -> None:
        self._failed: list[str] = []

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Do a part; its failure is logged and remembered."""
        try:
            yield
        except Exception:
            logger.exception("part failed", extra={"part": name})
            # guard: a part of a job that fails stops no other
            self._failed.append(name)

    def end(self) -> None:
        """Raise PartsFailedError if any part failed."""
        if self._failed:
            raise PartsFailedError(", ".join(self._failed))


class Findings(Generic[F]):
    """What a run finds, counted at once: no later run looks again at what this one has seen.

    The metric stands at the findings so far, each counted once.
    """

    def __init__(self, metric: str) -> None:
        self._metric = metric
        self._known: set[F] = set()

    def add(self, found: Collection[F]) -> list[F]:
        """Count findings; give those that were not known."""
        new = [one for one in found if one not in self._known]
        if new:
            self._known.update(new)
            # guard: what a job finds is told at once
            self._emit()
        return new

    def end(self) -> None:
        """Say that nothing was found, if nothing was: so that "nothing" can be told from "not looked"."""
        if not self._known:
            self._emit()

    def _emit(self) -> None:
        metrics().add_metric(self._metric, MetricUnit.Count, len(self._known))
        metrics().flush_metrics()
