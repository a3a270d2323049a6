"""Scheduled: deletes records whose time is over."""

from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from handlers.edge.jobs import Parts, clock
from handlers.edge.observability import guarded, logger, metrics
from handlers.edge.settings import DatabaseEnvironment
from sql.transactions.expire import EXPIRIES, expire

_DATABASE = DatabaseEnvironment.read().database()


@guarded
def handler(_event: dict[str, Any], context: Any) -> dict[str, int]:
    """Expire each kind of record until the time is nearly up; the next run goes on from there."""
    time_is_up = clock(context)
    parts = Parts()
    deleted: dict[str, int] = {}
    for expiry in EXPIRIES:
        with parts.part(expiry.name):
            scanned = expire(_DATABASE, expiry, time_is_up)
            deleted[expiry.name] = scanned.rows
            metrics().add_metric(f"Expired_{expiry.name}", MetricUnit.Count, scanned.rows)
            logger.info("expired", extra={"record": expiry.name, "rows": scanned.rows, "done": scanned.done})
    parts.end()
    return deleted
