"""Scheduled: finds rows whose parent is missing; deletes some kinds of them and reports the others."""

from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from handlers.edge.observability import guarded, logger, metrics
from handlers.edge.settings import DatabaseEnvironment
from sql.references import REFERENCES
from sql.transactions.sweep_orphans import sweep

_DATABASE = DatabaseEnvironment.read().database()

#: Enough for the transaction under way to end and for the metrics to be written.
_MARGIN_MS = 10_000

#: Missing parents that one log line names.
_MOST_NAMED = 20


@guarded
def handler(_event: dict[str, Any], context: Any) -> dict[str, int]:
    """Sweep each reference until the time is nearly up; the next run goes on from there."""
    found = {}
    reported = deleted = 0
    for reference in REFERENCES:
        swept = sweep(_DATABASE, reference, lambda: context.get_remaining_time_in_millis() < _MARGIN_MS)
        found[str(reference)] = swept.deleted + len(swept.missing)
        reported += len(swept.missing)
        deleted += swept.deleted
        level = logger.warning if swept.missing else logger.info
        level(
            "swept",
            extra={
                "reference": str(reference),
                "deleted": swept.deleted,
                "missing": len(swept.missing),
                "missing_ids": sorted(map(str, swept.missing))[:_MOST_NAMED],
                "done": swept.done,
            },
        )
    metrics().add_metric("OrphansReported", MetricUnit.Count, reported)
    metrics().add_metric("OrphansDeleted", MetricUnit.Count, deleted)
    metrics().flush_metrics()
    return found
