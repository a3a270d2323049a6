"""Scheduled: measures what waits, from outside of who should take it, so that a missing relay is seen."""

from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from handlers.edge.observability import guarded, logger, metrics
from handlers.edge.settings import DatabaseEnvironment
from sql.transactions.measure_backlog import measure_backlog

_DATABASE = DatabaseEnvironment.read().database()


@guarded
def handler(_event: dict[str, Any], _context: object) -> dict[str, int]:
    """Emit the outbox and the cleanups of all Regions, and the outbox messages that no bus takes."""
    backlogs, dead, cleanup_age_s = measure_backlog(_DATABASE)
    figures = {
        "OutboxDepth": sum(backlog.depth for backlog in backlogs),
        "OutboxAge": max((backlog.age_s for backlog in backlogs), default=0),
        "OutboxDeadLetters": dead,
        "RegionCleanupAge": cleanup_age_s,
    }
    for name, value in figures.items():
        unit = MetricUnit.Seconds if name.endswith("Age") else MetricUnit.Count
        metrics().add_metric(name, unit, value)
    metrics().flush_metrics()
    regions = {backlog.region: backlog.depth for backlog in backlogs}
    logger.info("backlog", extra={"regions": regions, **figures})
    return figures
