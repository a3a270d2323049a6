"""Alarms and dashboard: on metrics that there are, with what a person has to do about them."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from handlers.edge.monitoring import FIGURES
from sql.transactions.audit_ledger import AUDIT_EVERY_S
from sql.transactions.sweep_orphans import SWEEP_EVERY_S
from tools.template import (
    ROOT,
    events,
    functions,
    referred,
    resources,
    started_by,
    template,
    the,
    variables,
)

#: What AWS emits, with the names of its dimensions: the user guides of API Gateway, Lambda, SQS and WAF. Of
#: AWS Backup the guide names the metrics alone; a vault's name as their dimension is what others count by.
AWS_METRICS: dict[str, tuple[set[str], list[set[str]]]] = {
    "AWS/ApiGateway": (
        {"Count", "4XXError", "5XXError", "Latency", "IntegrationLatency"},
        [{"ApiName", "Stage"}, {"ApiName", "Stage", "Resource", "Method"}],
    ),
    "AWS/Lambda": (
        {"Invocations", "Errors", "Throttles", "Duration", "ConcurrentExecutions"},
        [{"FunctionName"}, {"FunctionName", "Resource"}],
    ),
    "AWS/Backup": ({"NumberOfBackupJobsCompleted"}, [{"BackupVaultName"}]),
    # Without a dimension they are the account's in this Region.
    "AWS/SES": ({"Reputation.BounceRate", "Reputation.ComplaintRate"}, [set(), {"ses:configuration-set"}]),
    "AWS/SQS": ({"ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"}, [{"QueueName"}]),
    "AWS/WAFV2": ({"AllowedRequests", "BlockedRequests"}, [{"WebACL", "Region", "Rule"}]),
}

#: What DSQL's metrics are called; where they are is told differently in different places.
DSQL_METRICS = {"OccConflicts", "TotalTransactions", "CommitLatency", "ReadOnlyTransactions", "QueryTimeouts"}

_STAGE = "v1"


class Metric(NamedTuple):
    """A metric as an alarm or a widget asks for it. Values that name a resource are its logical name."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]

    @property
    def function(self) -> str:
        """The function whose metric it is, by our dimension or Lambda's; empty where it is none's."""
        named = dict(self.dimensions)
        return named.get("function") or named.get("FunctionName") or ""


def _plain(value: Any) -> str:
    """Give a literal as it is, and a reference as the name that it refers to."""
    return str(value) if not isinstance(value, dict) else next(iter(referred(value)))


def alarms() -> dict[str, dict[str, Any]]:
    """Give the properties of both stacks' alarms by their names."""
    made = {**template()["Resources"], **template("cluster.yaml")["Resources"]}
    return {
        name: each["Properties"] for name, each in made.items() if each["Type"] == "AWS::CloudWatch::Alarm"
    }


def _of_alarm(alarm: dict[str, Any]) -> Iterator[Metric]:
    stated = [alarm] if "MetricName" in alarm else []
    stated += [each["MetricStat"]["Metric"] for each in alarm.get("Metrics", ()) if "MetricStat" in each]
    for one in stated:
        dimensions = ((each["Name"], _plain(each["Value"])) for each in one.get("Dimensions", ()))
        yield Metric(one["Namespace"], one["MetricName"], tuple(sorted(dimensions)))


def widgets() -> list[dict[str, Any]]:
    """Give the dashboard's widgets; `${A}` and `${A.B}` have become A."""
    text, _ = resources("AWS::CloudWatch::Dashboard")["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    loaded: list[dict[str, Any]] = json.loads(re.sub(r"\$\{([\w:]+)(\.\w+)?\}", r"\1", text))["widgets"]
    return loaded


class Search(NamedTuple):
    """A search of the dashboard: metrics by name, of whatever there is of a stack's or a cluster's."""

    namespace: str
    dimensions: tuple[str, ...]
    names: tuple[str, ...]
    scope: str


def searches() -> list[Search]:
    """Give the dashboard's searches."""
    found = []
    for widget in widgets():
        for row in widget["properties"]["metrics"]:
            if isinstance(row[0], dict):
                (text,) = re.findall(r"^SEARCH\('(.+)', '[\w.]+', \d+\)$", row[0]["expression"])
                schema, rest = re.fullmatch(r"(?:\{(.+)\} )?(.+)", text).groups()  # type: ignore[union-attr]
                name, scope = re.fullmatch(  # type: ignore[union-attr]
                    r'MetricName=("\w+"|\(.+?\)) (.+)', rest
                ).groups()
                namespace, *dimensions = (schema or "").split(",")
                found.append(Search(namespace, (*dimensions,), (*re.findall(r'"(\w+)"', name),), scope))
    return found


def _of_widget(widget: dict[str, Any]) -> Iterator[Metric]:
    for row in widget["properties"]["metrics"]:
        if isinstance(row[0], dict):
            continue  # a search: see the test of its own
        namespace, name, *rest = (part for part in row if not isinstance(part, dict))
        yield Metric(namespace, name, tuple(sorted(zip(rest[::2], rest[1::2], strict=True))))


def metrics_used() -> set[Metric]:
    """Give every metric that an alarm or the dashboard asks for."""
    of_alarms = {metric for alarm in alarms().values() for metric in _of_alarm(alarm)}
    return of_alarms | {metric for widget in widgets() for metric in _of_widget(widget)}


def test_what_is_asked_of_aws_is_what_aws_emits() -> None:
    for metric in metrics_used():
        if metric.namespace == "Rewards":
            continue  # held against the real functions: tests/integration/shop_api/test_observability.py
        names, dimensions = AWS_METRICS[metric.namespace]
        assert metric.name in names, metric
        assert {name for name, _ in metric.dimensions} in dimensions, metric


def test_dimensions_name_what_the_template_makes() -> None:
    made = template()["Resources"]
    paths = {
        (event["Properties"]["Path"], event["Properties"]["Method"].upper())
        for function in functions().values()
        for event in function.get("Events", {}).values()
        if event["Type"] == "Api"
    }
    api = made["Api"]["Properties"]
    firewall = made["Firewall"]["Properties"]
    rules = {rule["VisibilityConfig"]["MetricName"] for rule in firewall["Rules"]}
    for metric in metrics_used():
        named = dict(metric.dimensions)
        if "ses:configuration-set" in named:
            assert made[named["ses:configuration-set"]]["Type"] == "AWS::SES::ConfigurationSet", metric
        if metric.function:
            assert made[metric.function]["Type"] == "AWS::Serverless::Function", metric
        if "QueueName" in named:
            assert made[named["QueueName"]]["Type"] == "AWS::SQS::Queue", metric
        if "ApiName" in named:
            assert {"Ref": named["ApiName"]} == api["Name"], metric
            assert named["Stage"] == api["StageName"] == _STAGE, metric
        if "Resource" in named:
            assert (named["Resource"], named["Method"]) in paths, metric
        if "WebACL" in named:
            assert firewall["VisibilityConfig"]["MetricName"] == {"Fn::Sub": "${AWS::StackName}-firewall"}
            assert named["WebACL"] == "AWS::StackName-firewall"
            assert named["Rule"] in rules, metric


def test_just_the_methods_are_measured_by_themselves_that_an_alarm_or_the_dashboard_asks_for() -> None:
    """A method's metrics cost by the metric, and there are as many preflight methods as paths."""
    settings = template()["Resources"]["Api"]["Properties"]["MethodSettings"]
    measured = {
        (each["ResourcePath"].replace("~1", "/").replace("//", "/"), each["HttpMethod"])
        for each in settings
        if each["MetricsEnabled"]
    }
    asked_for = {
        (named["Resource"], named["Method"])
        for named in (dict(metric.dimensions) for metric in metrics_used())
        if "Resource" in named and "Method" in named
    }
    assert measured == asked_for == {("/orders", "POST")}


#: The gateway's own answers with a 5xx, from the developer guide's list of types of responses.
_GATEWAYS_5XX = {
    "API_CONFIGURATION_ERROR": 500,
    "AUTHORIZER_CONFIGURATION_ERROR": 500,
    "AUTHORIZER_FAILURE": 500,
    "INTEGRATION_FAILURE": 504,
    "INTEGRATION_TIMEOUT": 504,
}


def test_the_gateways_own_5xx_keep_their_status_or_the_alarms_on_5xx_would_not_see_them() -> None:
    """API Gateway counts a response whose status was changed as 4XXError, whatever it was changed to."""
    answers = template()["Resources"]["Api"]["Properties"]["GatewayResponses"]
    for kind, answer in answers.items():
        body = json.loads(answer["ResponseTemplates"]["application/json"])
        if kind == "DEFAULT_5XX" or kind in _GATEWAYS_5XX:
            assert "StatusCode" not in answer, kind
            # Of the default each status may come, so its document says none.
            assert body.get("status") == _GATEWAYS_5XX.get(kind), kind
        else:
            assert body["status"] == answer["StatusCode"] < 500, kind


def test_dsqls_metrics_are_searched_by_name_and_alarm_on_nothing() -> None:
    of_cluster = [search for search in searches() if search.scope == '"Cluster"']
    assert of_cluster
    for search in of_cluster:
        assert set(search.names) <= DSQL_METRICS
        assert (search.namespace, search.dimensions) == ("", ())


def test_what_is_searched_by_kind_is_of_this_stack_and_there_is_such_a_kind() -> None:
    """Functions and queues that are added later are on the dashboard by themselves."""
    of_stack = [search for search in searches() if search.scope != '"Cluster"']
    assert {name for search in of_stack for name in search.names} >= {
        *("Effect_done", "Effect_failed", "EffectLag", "InternalErrors", "Errors", "Throttles"),
        *("ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"),
    }
    for search in of_stack:
        # A name in quotes has to be met exactly, one without in part: the stack's is where each name begins.
        assert f"{search.dimensions[0]}=AWS::StackName" in search.scope.split()
        if search.namespace != "Rewards":
            names, dimensions = AWS_METRICS[search.namespace]
            assert set(search.names) <= names
            assert {*search.dimensions} in dimensions


def test_every_alarm_tells_somebody_and_says_what_is_wrong() -> None:
    for name, alarm in alarms().items():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "AlarmTopic"}], name
        assert alarm["AlarmDescription"].endswith("."), name
        assert alarm["TreatMissingData"] in ("breaching", "notBreaching"), name
        assert alarm.get("DatapointsToAlarm", 1) <= alarm["EvaluationPeriods"], name


@pytest.mark.parametrize("file", ["template.yaml", "cluster.yaml"])
def test_an_alarm_is_made_after_what_lets_it_tell_somebody(file: str) -> None:
    for name, alarm in resources("AWS::CloudWatch::Alarm", of=template(file)).items():
        assert alarm["DependsOn"] == "AlarmTopicPolicy", name


def test_an_alarm_that_a_stopped_measure_would_silence_treats_silence_as_an_alarm() -> None:
    silent = {name for name, alarm in alarms().items() if alarm["TreatMissingData"] == "breaching"}
    stopped = {name for name in alarms() if name.endswith("StoppedAlarm")}
    assert silent == {"OutboxAgingAlarm"} | stopped
    assert {metric.function for name in stopped for metric in _of_alarm(alarms()[name])} >= set(SCHEDULED)


_UNIT_S = {"minute": 60, "hour": 3600}


def runs(function: str, period_s: int) -> int:
    """Give how often a function's schedules start it in a period, at the least."""
    count = 0
    for event in functions()[function].get("Events", {}).values():
        if event["Type"] == "ScheduleV2":
            number, unit = re.fullmatch(  # type: ignore[union-attr]
                r"rate\((\d+) (\w+?)s?\)", event["Properties"]["ScheduleExpression"]
            ).groups()
            count += period_s // (int(number) * _UNIT_S[unit])
    return count


SCHEDULED = started_by("ScheduleV2")


@pytest.mark.parametrize("function", SCHEDULED)
def test_a_scheduled_function_that_always_fails_raises_an_alarm_by_itself_and_one_failure_does_not(
    function: str,
) -> None:
    alarm = alarms()[f"{function.removesuffix('Function')}FailingAlarm"]
    ((namespace, name, dimensions),) = _of_alarm(alarm)
    assert (namespace, name, dimensions) == ("AWS/Lambda", "Errors", (("FunctionName", function),))
    assert alarm["Statistic"] == "Sum"
    assert (alarm["EvaluationPeriods"], alarm["ComparisonOperator"]) == (1, "GreaterThanThreshold")
    # No run is tried again (MaximumRetryAttempts: 0): a failing function has as many errors as runs.
    assert 1 <= alarm["Threshold"] < runs(function, alarm["Period"])


@pytest.mark.parametrize("function", SCHEDULED)
def test_a_scheduled_function_that_stops_raises_an_alarm_and_one_that_runs_does_not(function: str) -> None:
    alarm = alarms()[f"{function.removesuffix('Function')}StoppedAlarm"]
    ((namespace, name, dimensions),) = _of_alarm(alarm)
    assert (namespace, name, dimensions) == ("AWS/Lambda", "Invocations", (("FunctionName", function),))
    assert (alarm["TreatMissingData"], alarm["Statistic"]) == ("breaching", "Sum")
    assert (alarm["EvaluationPeriods"], alarm["ComparisonOperator"]) == (1, "LessThanThreshold")
    # One run may fall behind the period's end, by the schedule's own delay.
    assert 1 <= alarm["Threshold"] <= runs(function, alarm["Period"]) - 1


QUEUED = sorted({the(event.properties["Queue"]) for event in events("SQS")})


@pytest.mark.parametrize("queue", QUEUED)
def test_a_queue_that_nobody_reads_raises_an_alarm_before_its_messages_expire(queue: str) -> None:
    alarm = alarms()[f"{queue}AgingAlarm"]
    ((namespace, name, dimensions),) = _of_alarm(alarm)
    assert (namespace, name, dimensions) == (
        *("AWS/SQS", "ApproximateAgeOfOldestMessage"),
        (("QueueName", queue),),
    )
    assert (alarm["Statistic"], alarm["ComparisonOperator"]) == ("Maximum", "GreaterThanThreshold")
    assert 60 < alarm["Threshold"] <= 3600


@pytest.mark.parametrize("queue", [*QUEUED, "UndeliveredEventsQueue"])
def test_a_single_dead_letter_raises_an_alarm(queue: str) -> None:
    stem = queue.removesuffix("Queue")
    alarm = alarms()[f"{stem}DeadLettersAlarm" if queue in QUEUED else f"{stem}Alarm"]
    dead = f"{stem}DeadLetterQueue" if queue in QUEUED else queue
    ((namespace, name, dimensions),) = _of_alarm(alarm)
    assert (namespace, name, dimensions) == (
        *("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
        (("QueueName", dead),),
    )
    assert (alarm["Statistic"], alarm["ComparisonOperator"]) == ("Maximum", "GreaterThanThreshold")
    assert (alarm["Threshold"], alarm["EvaluationPeriods"]) == (0, 1)


@pytest.mark.parametrize(
    ("name", "every_s"),
    [("LedgerDifferencesAlarm", AUDIT_EVERY_S), ("OrphansReportedAlarm", SWEEP_EVERY_S)],
)
def test_an_alarm_on_what_a_pass_finds_lasts_until_the_next_pass_has_found_it_again(
    name: str, every_s: int
) -> None:
    alarm = alarms()[name]
    assert (alarm["Threshold"], alarm["DatapointsToAlarm"], alarm["Statistic"]) == (0, 1, "Maximum")
    remembered_s = alarm["Period"] * alarm["EvaluationPeriods"]
    # A longer one is looked at once an hour alone.
    assert remembered_s <= 86_400
    assert every_s + 3 * 3600 <= remembered_s, "a run's waiting and a pass's length come on top"


def runbook() -> dict[str, str]:
    """Give the runbook's entries of alarms, by their headings: an alarm's name, or how several end."""
    _, *parts = re.split(r"^### (\w+Alarm)$", (ROOT / "docs" / "runbook.md").read_text("utf-8"), flags=re.M)
    entries = [text.partition("\n#")[0].strip() for text in parts[1::2]]
    found = dict(zip(parts[::2], entries, strict=True))
    assert len(found) == len(entries), "a heading stands twice"
    return found


def heading(alarm: str) -> str | None:
    """Give the runbook's heading for an alarm: its own, or the longest that it ends with."""
    return max((each for each in runbook() if alarm.endswith(each)), key=len, default=None)


@pytest.mark.parametrize("name", sorted(alarms()))
def test_every_alarm_has_its_entry_in_the_runbook_and_names_it(name: str) -> None:
    entry = heading(name)
    assert entry is not None, (
        f"add a heading `### {name}` to docs/runbook.md, with what it means and what to do, "
        f"and end the alarm's AlarmDescription with: See docs/runbook.md#{name.lower()}."
    )
    assert len(runbook()[entry]) > 100, f"docs/runbook.md says nothing under {entry}"
    address = f"docs/runbook.md#{entry.lower()}."
    assert alarms()[name]["AlarmDescription"].endswith(address), (
        f"end the AlarmDescription of {name} with: See {address}"
    )


def test_the_runbook_names_no_alarm_that_there_is_not() -> None:
    text = (ROOT / "docs" / "runbook.md").read_text()
    assert set(runbook()) == {heading(name) for name in alarms()}
    for name in re.findall(r"\b\w+Alarm\b", text):
        assert name in alarms() or name in runbook(), name


def test_the_alarms_on_requests_watch_every_function_of_the_api() -> None:
    serving = {name for name in functions() if name in started_by("Api")}
    for alarm in ("RequestFunctionsFailingAlarm", "RequestsThrottledAlarm"):
        assert {metric.function for metric in _of_alarm(alarms()[alarm])} == serving
    # The fallback's few lines catch nothing: what it meets is an error of Lambda's.
    watched = {(metric.name, metric.function) for metric in _of_alarm(alarms()["InternalErrorsAlarm"])}
    assert watched == {("InternalErrors", name) for name in serving - {"FallbackFunction"}}


def test_alarms_on_what_several_functions_do_watch_all_of_them() -> None:
    def watched(alarm: str) -> set[str]:
        return {metric.function for metric in _of_alarm(alarms()[alarm])}

    placed = {
        the(target["Arn"])
        for rule in resources("AWS::Events::Rule").values()
        for target in rule["Properties"]["Targets"]
        if "OrderPlaced.v1" in rule["Properties"]["EventPattern"]["detail-type"]
    }
    assert watched("EffectsLateAlarm") == {
        event.function for event in events("SQS") if the(event.properties["Queue"]) in placed
    }
    assert watched("MailsRefusedAlarm") == {
        name for name in functions() if "SENDER_ADDRESS" in variables(name)
    }


#: From which share of bounces and complaints on AWS reviews an account: SES's developer guide.
REVIEWED_FROM = {"Reputation.BounceRate": 0.05, "Reputation.ComplaintRate": 0.001}


@pytest.mark.parametrize("name", ["MailBouncesAlarm", "MailComplaintsAlarm"])
def test_what_returns_raises_an_alarm_before_aws_reviews_the_account(name: str) -> None:
    alarm = alarms()[name]
    ((namespace, metric, dimensions),) = _of_alarm(alarm)
    # The account's: what AWS judges. Those of the configuration set are on the dashboard.
    assert (namespace, dimensions) == ("AWS/SES", ())
    assert 0 < alarm["Threshold"] <= REVIEWED_FROM[metric] / 2
    assert (alarm["Statistic"], alarm["ComparisonOperator"]) == ("Maximum", "GreaterThanThreshold")
    # SES writes them a few times a day, so a day without mail does not end the alarm and does not raise it.
    assert alarm["EvaluationPeriods"] == 1


#: By what an objective's alarm measures it: a share, the slowest hundredth, the worst.
MEASURED_BY = {
    "RequestsFailingAlarm": {"Average"},
    "CheckoutsFailingAlarm": {"Average"},
    "CheckoutSlowAlarm": {"p99"},
    "EffectsLateAlarm": {"p99", "MAX(METRICS())"},
    "LedgerDifferencesAlarm": {"Maximum"},
}


@pytest.mark.parametrize("name", MEASURED_BY)
def test_an_objectives_alarm_looks_at_what_is_promised(name: str) -> None:
    alarm = alarms()[name]
    stated = {alarm.get("Statistic"), alarm.get("ExtendedStatistic")}
    for each in alarm.get("Metrics", ()):
        stated |= {each.get("Expression"), each.get("MetricStat", {}).get("Stat")}
    assert stated - {None} == MEASURED_BY[name]
    assert alarm["ComparisonOperator"] == "GreaterThanThreshold"


def test_the_objectives_of_the_documentation_are_those_of_the_alarms() -> None:
    text = (ROOT / "docs" / "observability.md").read_text()
    for alarm, threshold in re.findall(r"`(\w+Alarm)` at ([\d.]+)", text):
        assert float(threshold) == float(alarms()[alarm]["Threshold"]), alarm
    assert set(re.findall(r"`(\w+Alarm)` at", text)) == set(MEASURED_BY)


def test_the_objectives_of_the_operations_page_are_those_of_the_alarms() -> None:
    drawn = {figure.metric: figure.objective for figure in FIGURES if figure.objective is not None}
    assert drawn == {
        "EffectLag": alarms()["EffectsLateAlarm"]["Threshold"],
        "Latency": alarms()["CheckoutSlowAlarm"]["Threshold"],
    }
