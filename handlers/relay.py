"""The relay function: started every minute, it moves the Region's outbox to the bus until its time is up."""

import os
import time
from functools import cache
from typing import Any, cast
from uuid import uuid4

from aws_lambda_powertools.metrics import MetricUnit
from pydantic import Field

from events.publish import EventsClient
from events.relay import Relay, RelaySettings
from handlers.edge.observability import logger, metrics
from handlers.edge.settings import DatabaseEnvironment
from sql.outbox import SHARDS, Outbox

#: Time kept back for the last batch, the release of the leases and the metrics.
_MARGIN_S = 8.0


class _Environment(DatabaseEnvironment):
    event_bus_name: str = Field(alias="EVENT_BUS_NAME", min_length=1)
    run_s: float = Field(62.0, alias="RELAY_RUN_S", gt=0, le=800)


_ENVIRONMENT = _Environment.read()
_DATABASE = _ENVIRONMENT.database()


@cache
def _client() -> EventsClient:
    import boto3  # not before there is something to publish
    from botocore.config import Config

    config = Config(max_pool_connections=50, retries={"mode": "standard", "max_attempts": 2})
    return cast(EventsClient, boto3.client("events", config=config))


def handler(_event: dict[str, Any], context: Any) -> dict[str, int]:
    """Relay until just before the function's time is up; give the run's report."""
    left_s = context.get_remaining_time_in_millis() / 1000 - _MARGIN_S
    run_s = max(0.0, min(_ENVIRONMENT.run_s, left_s))
    lags_ms: list[int] = []
    outbox = Outbox(
        _DATABASE, _ENVIRONMENT.region, uuid4(), os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME", "local")[-100:]
    )
    relay = Relay(
        outbox,
        _client,
        RelaySettings(bus=_ENVIRONMENT.event_bus_name, shards=range(SHARDS)),
        observe=lambda letters: lags_ms.extend(letter.lag_ms for letter in letters),
    )
    report = relay.run(time.monotonic() + run_s)
    sink = metrics()
    sink.add_metric("EventsPublished", MetricUnit.Count, report.published)
    sink.add_metric("EventsFailed", MetricUnit.Count, report.failed)
    sink.add_metric("EventsBuried", MetricUnit.Count, report.buried)
    if lags_ms:
        sink.add_metric("EventLag", MetricUnit.Milliseconds, max(lags_ms))
    sink.flush_metrics()
    summary = {name: getattr(report, name) for name in report.__slots__}
    logger.info("relay run", extra=summary)
    return summary
