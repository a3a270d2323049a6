"""Scheduled: deletes records whose time is over."""

from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from handlers.edge.observability import guarded, logger, metrics
from handlers.edge.settings import DatabaseEnvironment
from sql.transactions.expire import EXPIRIES, expire

_DATABASE = DatabaseEnvironment.read().database()

#: Enough for the transaction under way to end and for the metrics to be written.
_MARGIN_MS = 10_000


@guarded
def handler(_event: dict[str, Any], context: Any) -> dict[str, int]:
    """Expire each kind of record until the time is nearly up; the next run goes on from there."""
    deleted = {}
    for expiry in EXPIRIES:
        walked = expire(_DATABASE, expiry, lambda: context.get_remaining_time_in_millis() < _MARGIN_MS)
        deleted[expiry.name] = walked.rows
        metrics().add_metric(f"Expired_{expiry.name}", MetricUnit.Count, walked.rows)
        logger.info("expired", extra={"record": expiry.name, "rows": walked.rows, "done": walked.done})
    metrics().flush_metrics()
    return deleted
