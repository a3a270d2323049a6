"""Scheduled: measures what waits in the outbox, so that a missing relay is seen."""

from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from handlers.edge.observability import logger, metrics
from handlers.edge.settings import DatabaseEnvironment
from sql.transactions.measure_backlog import measure_backlog

_DATABASE = DatabaseEnvironment.read().database()


def handler(_event: dict[str, Any], _context: object) -> dict[str, int]:
    """Emit depth and age over all Regions, and the number of dead letters."""
    backlogs, dead = measure_backlog(_DATABASE)
    figures = {
        "OutboxDepth": sum(backlog.depth for backlog in backlogs),
        "OutboxAge": max((backlog.age_s for backlog in backlogs), default=0),
        "OutboxDeadLetters": dead,
    }
    for name, value in figures.items():
        unit = MetricUnit.Seconds if name == "OutboxAge" else MetricUnit.Count
        metrics().add_metric(name, unit, value)
    metrics().flush_metrics()
    logger.info(
        "backlog", extra={"regions": {backlog.region: backlog.depth for backlog in backlogs}, **figures}
    )
    return figures
