"""Scheduled: moves the outbox to the bus, again and again until the next run comes.

A schedule's input may name a `worker`, 0 by default: runs of a worker follow each other, workers share the
shards.
"""

import os
import time
from functools import cache
from typing import Annotated, Any, cast
from uuid import uuid4

from aws_lambda_powertools.metrics import MetricUnit
from pydantic import ConfigDict, Field

from domain.contract import Contract
from events.publish import EventsClient
from events.relay import Relay, RelaySettings
from handlers.edge.observability import guarded, logger, metrics
from handlers.edge.settings import DatabaseEnvironment, NonEmpty
from sql.relay import Outbox

#: Time kept back for the last requests, their record, the leases and the metrics.
_MARGIN_S = 8.0

#: How often to look for another Region's stranded messages, and no less often than they become so.
_RESCUE_EVERY_S = 10.0

#: A request is over within this, retry included, and so before a lease (15 s) that was just renewed.
_CONNECT_TIMEOUT_S = 1
_READ_TIMEOUT_S = 2
_TRIES = 2


class _Environment(DatabaseEnvironment):
    event_bus_name: NonEmpty
    run_s: Annotated[float, Field(alias="RELAY_RUN_S", gt=0, le=800)] = 65.0
    takeover_s: Annotated[float, Field(alias="RELAY_TAKEOVER_S", gt=0)] = 60.0


_ENVIRONMENT = _Environment.read()
_DATABASE = _ENVIRONMENT.database()
_SETTINGS = RelaySettings(
    bus=_ENVIRONMENT.event_bus_name,
    takeover_s=_ENVIRONMENT.takeover_s,
    rescue_every_s=min(_RESCUE_EVERY_S, _ENVIRONMENT.takeover_s),
)


class RelayInput(Contract):
    """What a schedule asks for: which worker this run is. Without an input comes the scheduler's own."""

    model_config = ConfigDict(extra="ignore")

    worker: Annotated[int, Field(ge=0, le=32_767)] = 0


@cache
def _client() -> EventsClient:
    import boto3  # not before there is something to publish
    from botocore.config import Config

    config = Config(
        max_pool_connections=_SETTINGS.parallel,
        connect_timeout=_CONNECT_TIMEOUT_S,
        read_timeout=_READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": _TRIES},
    )
    return cast(EventsClient, boto3.client("events", config=config))


@guarded
def handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    """Relay until a newer run takes over or the time is up; give the run's report."""
    asked = RelayInput.model_validate(event)
    left_s = context.get_remaining_time_in_millis() / 1000 - _MARGIN_S
    run_s = max(0.0, min(_ENVIRONMENT.run_s, left_s))
    holder = os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME", "local")[-100:]
    outbox = Outbox(_DATABASE, _ENVIRONMENT.region, uuid4(), holder, asked.worker)
    report = Relay(outbox, _client, _SETTINGS).run(time.monotonic() + run_s)
    figures = {
        "EventsPublished": report.published,
        "EventsRejected": report.rejected,
        "EventsDeadLettered": report.dead_lettered,
        "BusOutages": report.outages,
        "RelayDatabaseFaults": report.database_faults,
    }
    sink = metrics()
    for name, count in figures.items():
        sink.add_metric(name, MetricUnit.Count, count)
    if report.published:
        sink.add_metric("EventLag", MetricUnit.Milliseconds, report.lag_ms(100))
        sink.add_metric("EventLagP99", MetricUnit.Milliseconds, report.lag_ms(99))
    sink.flush_metrics()
    summary = {
        **figures,
        "polls": report.polls,
        "lag_p99_ms": report.lag_ms(99),
        "superseded": int(report.superseded),
    }
    logger.info("relay run", extra=summary)
    return summary
