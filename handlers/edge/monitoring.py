"""What AWS knows of this Region's pipeline: queues, rules of the bus, minutes, alarms, log lines.

Everything is asked with few calls, bounded in number and time, and only about this stack's own.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

from handlers.edge.observability import NAMESPACE, logger
from handlers.edge.settings import DatabaseEnvironment, NonEmpty

T = TypeVar("T")

#: Calls at once; a queue needs one, and there are some twelve.
_PARALLEL = 6

#: AWS is asked while somebody waits: what does not answer soon is missing from the answer.
_CONNECT_TIMEOUT_S = 1
_READ_TIMEOUT_S = 3

#: Minutes of a chart.
MINUTES = 60

#: Pages of the log that are read for one order's line, and how long around the order it is looked for.
_LOG_PAGES = 3
_LOG_AROUND = timedelta(minutes=1)

_MOST_ALARMS = 300

_WAITING = "ApproximateNumberOfMessages"
_IN_FLIGHT = "ApproximateNumberOfMessagesNotVisible"
_DEAD = "DeadLetterQueue"
_UNDELIVERED = "UndeliveredEventsQueue"


class MonitoringEnvironment(DatabaseEnvironment):
    """The environment of the function that looks at the others."""

    stack_name: NonEmpty
    event_bus_name: NonEmpty
    function_log_group: NonEmpty
    checkout_function: NonEmpty
    clean_cart_function: NonEmpty
    notify_function: NonEmpty
    relay_function: NonEmpty
    in_cloud: bool


class QueueState(NamedTuple):
    """A consumer's queue: messages that wait, that somebody has in hand, and that are dead letters.

    `waiting` and `in_flight` are None for undelivered events, which nobody consumes.
    """

    name: str
    waiting: int | None
    in_flight: int | None
    dead: int


class Listener(NamedTuple):
    """A consumer of a type of event, by the bus's rules."""

    event_type: str
    consumer: str
    is_on: bool


class Series(NamedTuple):
    """A figure by the minute, oldest first, None for a minute without one; `objective` in the same unit.

    `is_measured`: false where nobody measures it here: the emulator has no metrics of a gateway.
    """

    name: str
    unit: str
    objective: float | None
    is_measured: bool
    values: list[float | None]


class Minutes(NamedTuple):
    """Figures by the minute from `since` on, `newest` the last minute that has any."""

    since: datetime
    newest: datetime | None
    series: list[Series]


class AlarmState(NamedTuple):
    """An alarm that is on, since when, and what it is about."""

    name: str
    since: datetime
    description: str


class Alarms(NamedTuple):
    """How many alarms are quiet, how many know too little, and those that are on."""

    quiet: int
    unknown: int
    on: list[AlarmState]


class Took(NamedTuple):
    """What a request's transaction took, by the function's log line."""

    outcome: str
    attempts: int
    round_trips: int
    duration_ms: float
    faults: dict[str, int]


class _Figure(NamedTuple):
    name: str
    unit: str
    metric: str
    stat: str
    functions: tuple[str, ...] = ()  # fields of the environment; none: the API's own metric
    objective: float | None = None


#: What the chart shows. Objectives are those of docs/observability.md and of the alarms (a test compares).
FIGURES = (
    _Figure("placed", "count", "Checkout_placed", "Sum", ("checkout_function",)),
    _Figure("refused", "count", "CheckoutRefused", "Sum", ("checkout_function",)),
    _Figure("conflicts", "count", "DatabaseFault_conflict", "Sum", ("checkout_function",)),
    _Figure("gave_up", "count", "DatabaseGaveUp", "Sum", ("checkout_function",)),
    _Figure("lag_p50", "ms", "EffectLag", "p50", ("clean_cart_function", "notify_function")),
    _Figure("lag_p99", "ms", "EffectLag", "p99", ("clean_cart_function", "notify_function"), 5000),
    _Figure("relay_lag_p99", "ms", "EventLagP99", "Maximum", ("relay_function",)),
    _Figure("checkout_p99", "ms", "Latency", "p99", objective=500),
    _Figure("server_errors", "count", "5XXError", "Sum"),
)


def kebab(name: str) -> str:
    """Say a logical id as the `rewards` command does: CleanCart is clean-cart."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


class Monitoring:
    """The AWS side of one Region's stack."""

    def __init__(self, environment: MonitoringEnvironment) -> None:
        self._environment = environment
        self._clients: dict[str, Any] = {}

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            import boto3  # at the first request: a start needs none
            from botocore.config import Config

            config = Config(
                max_pool_connections=_PARALLEL,
                connect_timeout=_CONNECT_TIMEOUT_S,
                read_timeout=_READ_TIMEOUT_S,
                retries={"mode": "standard", "total_max_attempts": 2},
            )
            self._clients[service] = boto3.client(service, config=config)  # type: ignore[call-overload]
        return self._clients[service]

    def queues(self) -> list[QueueState]:
        """Give each consumer's queue with its dead-letter queue, and the undelivered events, by name."""
        urls = self._queue_urls
        names = sorted(urls)
        depths = dict(zip(names, _together(self._depth, [urls[name] for name in names]), strict=True))
        found = [
            QueueState(kebab(name.removesuffix("Queue")), *depths[name], sum(depths[_dead_letters_of(name)]))
            for name in names
            if _dead_letters_of(name) in urls
        ]
        if _UNDELIVERED in depths:
            found.append(QueueState("undelivered", None, None, sum(depths[_UNDELIVERED])))
        return found

    @cached_property  # a later deployment begins new processes
    def _queue_urls(self) -> dict[str, str]:
        """Give the URLs of the stack's queues by their logical ids, which are in their names."""
        prefix = f"{self._environment.stack_name}-"
        answer = self._client("sqs").list_queues(QueueNamePrefix=prefix)
        named = {url.rpartition("/")[2].removeprefix(prefix): url for url in answer.get("QueueUrls", ())}
        # Of a stack whose name goes on behind ours, the rest has one part more.
        matches = {re.fullmatch(r"(\w+Queue)(?:-\w+)?", name): url for name, url in named.items()}
        return {match[1]: url for match, url in matches.items() if match}

    def _depth(self, url: str) -> tuple[int, int]:
        answer = self._client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=[_WAITING, _IN_FLIGHT])
        return int(answer["Attributes"][_WAITING]), int(answer["Attributes"][_IN_FLIGHT])

    def listeners(self) -> list[Listener]:
        """Give which consumer listens to which type of event, and whether its rule is on."""
        prefix = f"{self._environment.stack_name}-"
        answer = self._client("events").list_rules(EventBusName=self._environment.event_bus_name)
        found = []
        for rule in answer["Rules"]:
            match = re.fullmatch(rf"{re.escape(prefix)}(\w+)Rule(?:-\w+)?", rule["Name"])
            if match and "EventPattern" in rule:
                types = json.loads(rule["EventPattern"]).get("detail-type", ())
                found += [Listener(each, kebab(match[1]), rule["State"] == "ENABLED") for each in types]
        return found

    def minutes(self, now: datetime) -> Minutes:
        """Give the figures of the last hour, the minute under way left out, in one request."""
        until = now.astimezone(UTC).replace(second=0, microsecond=0)
        since = until - timedelta(minutes=MINUTES)
        asked = {
            f"m{number}_{part}": (figure, metric)
            for number, figure in enumerate(FIGURES)
            for part, metric in enumerate(self._metrics(figure))
        }
        answer = self._client("cloudwatch").get_metric_data(
            MetricDataQueries=[
                {"Id": each, "MetricStat": {"Metric": metric, "Period": 60, "Stat": figure.stat}}
                for each, (figure, metric) in asked.items()
            ],
            StartTime=since,
            EndTime=until,
        )
        values: dict[str, dict[datetime, float]] = {figure.name: {} for figure in FIGURES}
        for result in answer["MetricDataResults"]:
            figure, _ = asked[result["Id"]]
            into = values[figure.name]
            for at, value in zip(result["Timestamps"], result["Values"], strict=True):
                minute = at.astimezone(UTC).replace(second=0, microsecond=0)
                # Percentiles of two functions do not add up: the slower one's is told.
                into[minute] = max(into.get(minute, value), value)
        every = [since + timedelta(minutes=number) for number in range(MINUTES)]
        series = [
            Series(
                figure.name,
                figure.unit,
                figure.objective,
                self._environment.in_cloud or bool(figure.functions),
                [values[figure.name].get(minute) for minute in every],
            )
            for figure in FIGURES
        ]
        told = [minute for found in values.values() for minute in found]
        return Minutes(since, max(told, default=None), series)

    def _metrics(self, figure: _Figure) -> list[dict[str, Any]]:
        if not figure.functions:
            dimensions = {"ApiName": self._environment.stack_name, "Stage": "v1"}
            if figure.metric == "Latency":
                dimensions |= {"Method": "POST", "Resource": "/orders"}
            return [_metric("AWS/ApiGateway", figure.metric, dimensions)]
        names = [getattr(self._environment, field) for field in figure.functions]
        return [_metric(NAMESPACE, figure.metric, {"function": name, "service": "rewards"}) for name in names]

    def alarms(self) -> Alarms:
        """Give the state of the stack's alarms, in one request or two."""
        prefix = f"{self._environment.stack_name}-"
        pages = self._client("cloudwatch").get_paginator("describe_alarms")
        states, on = [], []
        for page in pages.paginate(AlarmNamePrefix=prefix, PaginationConfig={"MaxItems": _MOST_ALARMS}):
            for alarm in page["MetricAlarms"]:
                # By its logical id, by which the runbook has it.
                match = re.fullmatch(r"(\w+Alarm)(?:-\w+)?", alarm["AlarmName"].removeprefix(prefix))
                if match is None:
                    continue  # of a stack whose name goes on behind ours
                states.append(alarm["StateValue"])
                if alarm["StateValue"] == "ALARM":
                    since, text = alarm["StateUpdatedTimestamp"], alarm.get("AlarmDescription", "")
                    on.append(AlarmState(match[1], since, text))
        on.sort(key=lambda alarm: (alarm.since, alarm.name))
        return Alarms(states.count("OK"), states.count("INSUFFICIENT_DATA"), on)

    def took(self, correlation_id: str, operation: str, at: datetime) -> Took | None:
        """Give what a request of about that time took, by its function's log line; None without one."""
        token: dict[str, str] = {}
        for _ in range(_LOG_PAGES):
            answer = self._client("logs").filter_log_events(
                logGroupName=self._environment.function_log_group,
                filterPattern=f'"{correlation_id}"',
                startTime=int((at - _LOG_AROUND).timestamp() * 1000),
                endTime=int((at + _LOG_AROUND).timestamp() * 1000),
                **token,
            )
            for event in answer["events"]:
                if (found := _read_took(event["message"], correlation_id, operation)) is not None:
                    return found
            if "nextToken" not in answer:
                break
            token = {"nextToken": answer["nextToken"]}
        return None


def _read_took(text: str, correlation_id: str, operation: str) -> Took | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    if not isinstance(line, dict) or line.get("correlation_id") != correlation_id:
        return None
    if line.get("message") != operation or "round_trips" not in line:
        return None
    return Took(**{name: line[name] for name in Took._fields})


def _dead_letters_of(queue: str) -> str:
    return f"{queue.removesuffix('Queue')}{_DEAD}"


def _metric(namespace: str, name: str, dimensions: Mapping[str, str]) -> dict[str, Any]:
    listed = [{"Name": key, "Value": value} for key, value in dimensions.items()]
    return {"Namespace": namespace, "MetricName": name, "Dimensions": listed}


def _together(work: Callable[[str], T], items: Sequence[str]) -> list[T]:
    """Do some calls at once; give their answers in the items' order."""
    from concurrent.futures import ThreadPoolExecutor  # not before there is something to ask

    with ThreadPoolExecutor(_PARALLEL) as pool:
        return list(pool.map(work, items))


def known(what: str, ask: Callable[[], T]) -> T | None:
    """Give an answer of AWS, or None where it does not answer: the page says which, and shows the rest."""
    try:
        return ask()
    except Exception:
        logger.warning("AWS did not say", exc_info=True, extra={"asked": what})
        return None
