"""CloudWatch makes metrics of log lines in the embedded format; the emulator does not. Here, this does.

Every two seconds it reads what the functions have written since and puts the figures in, with their own
times, dimensions and values. Nothing else differs: who asks CloudWatch asks the emulator the same way.
"""

import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from botocore.exceptions import BotoCoreError, ClientError

from local.region import LocalRegion

_EVERY_S = 2.0
#: Metrics a request, and values of one: CloudWatch's own limits are 1,000 and 150.
_AT_ONCE = 150


def figures_of(line: str) -> Iterator[dict[str, Any]]:
    """Give what a log line in the embedded format holds, as PutMetricData takes it, with its namespace.

    A line that is none gives nothing.
    """
    try:
        said = json.loads(line)
        about = said["_aws"]
    except (ValueError, KeyError, TypeError):
        return
    at = datetime.fromtimestamp(about["Timestamp"] / 1000, UTC)
    for directive in about["CloudWatchMetrics"]:
        for names in directive["Dimensions"]:
            dimensions = [{"Name": name, "Value": str(said[name])} for name in names]
            for metric in directive["Metrics"]:
                values = said[metric["Name"]]
                every = values if isinstance(values, list) else [values]
                for start in range(0, len(every), _AT_ONCE):
                    yield {
                        "Namespace": directive["Namespace"],
                        "MetricName": metric["Name"],
                        "Dimensions": dimensions,
                        "Timestamp": at,
                        "Values": [float(value) for value in every[start : start + _AT_ONCE]],
                        "Unit": metric.get("Unit", "None"),
                    }


def _key(event: Mapping[str, Any]) -> tuple[str, str]:
    return event["logStreamName"], event["message"]


class MetricsReader:
    """Reads a Region's log in the background, for the length of a `with` block.

    `logs` and `cloudwatch` are boto3's clients, used by its thread alone.
    """

    def __init__(self, logs: Any, cloudwatch: Any, group: str, every_s: float = _EVERY_S) -> None:
        self._logs = logs
        self._cloudwatch = cloudwatch
        self._group = group
        self._every_s = every_s
        self._since_ms = 0
        self._seen: set[tuple[str, str]] = set()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)

    def __enter__(self) -> Self:
        """Begin, with the log's first line."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; what was written last is not read any more."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            # A Region that stops meanwhile answers no more, and one that is busy does the next time.
            with suppress(BotoCoreError, ClientError):
                self.read()
            self._stopped.wait(self._every_s)

    def read(self) -> int:
        """Put in what has been written since the last time; give how many figures that were."""
        pages = self._logs.get_paginator("filter_log_events").paginate(
            logGroupName=self._group, startTime=self._since_ms
        )
        events = [event for page in pages for event in page["events"]]
        new = [event for event in events if _key(event) not in self._seen]
        figures = [figure for event in new for figure in figures_of(event["message"])]
        self._put(figures)
        if events:
            # Lines of that very millisecond may still come.
            self._since_ms = max(event["timestamp"] for event in events)
            self._seen = {_key(event) for event in events if event["timestamp"] == self._since_ms}
        return len(figures)

    def _put(self, figures: Iterable[Mapping[str, Any]]) -> None:
        by_namespace: dict[str, list[dict[str, Any]]] = {}
        for figure in figures:
            body = {name: value for name, value in figure.items() if name != "Namespace"}
            by_namespace.setdefault(figure["Namespace"], []).append(body)
        for namespace, data in by_namespace.items():
            for start in range(0, len(data), _AT_ONCE):
                self._cloudwatch.put_metric_data(
                    Namespace=namespace, MetricData=data[start : start + _AT_ONCE]
                )


def metrics_reader(region: LocalRegion) -> MetricsReader:
    """Give the reader of a Region's log."""
    return MetricsReader(
        region.client("logs"), region.client("cloudwatch"), region.outputs["FunctionLogGroupName"]
    )
