"""Scheduled: measures what waits, from outside of who should take it, so that a missing relay is seen."""

from functools import cache
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.metrics import MetricUnit
from msgspec import field

from handlers.edge.observability import guarded, logger, metrics
from handlers.edge.settings import DatabaseEnvironment, NonEmpty
from sql.transactions.measure_backlog import measure_backlog

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class _Environment(DatabaseEnvironment, kw_only=True, frozen=True):
    dead_letter_queue_urls: NonEmpty = field(name="DEAD_LETTER_QUEUE_URLS")


_ENVIRONMENT = _Environment.read()
_DATABASE = _ENVIRONMENT.database()


@cache
def _queues() -> "SQSClient":
    import boto3

    return boto3.client("sqs")


@guarded
def handler(_event: dict[str, Any], _context: object) -> dict[str, int]:
    """Emit the outbox and the cleanups of all Regions, and the dead letters in the table and the queues."""
    depths = {url.rpartition("/")[2]: _depth(url) for url in _ENVIRONMENT.dead_letter_queue_urls.split(",")}
    backlogs, dead, cleanup_age_s = measure_backlog(_DATABASE)
    figures = {
        "OutboxDepth": sum(backlog.depth for backlog in backlogs),
        "OutboxAge": max((backlog.age_s for backlog in backlogs), default=0),
        "OutboxDeadLetters": dead,
        "QueueDeadLetters": sum(depths.values()),
        "RegionCleanupAge": cleanup_age_s,
    }
    for name, value in figures.items():
        unit = MetricUnit.Seconds if name.endswith("Age") else MetricUnit.Count
        metrics().add_metric(name, unit, value)
    metrics().flush_metrics()
    regions = {backlog.region: backlog.depth for backlog in backlogs}
    logger.info("backlog", extra={"regions": regions, "dead_letter_queues": depths, **figures})
    return figures


def _depth(url: str) -> int:
    """Count a queue's messages, those that somebody is looking at included. SQS counts approximately."""
    attributes = _queues().get_queue_attributes(
        QueueUrl=url,
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )["Attributes"]
    return sum(map(int, attributes.values()))
