"""The template, the contracts and the consumers agree on which event goes where."""

import importlib
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from domain.events import CONTRACTS
from events.contracts import SCHEMAS
from events.publish import SOURCE
from sql.transactions.expire import EVENT_MEMORY_DAYS, EXPIRIES
from sql.transactions.notify import CLAIM_S

_DAY_S = 24 * 3600

#: How often an operator may send one message back from a dead-letter queue (docs/operations.md).
REDRIVES = 2

ROOT = Path(__file__).parents[2]

#: Events that no rule of ours asks for, and why they are published all the same.
WITHOUT_A_RULE = {
    "OrderRefunded.v1": "the order's page shows it; for whoever keeps statistics of sales",
    "PointsTransferred.v1": "the ledger shows it; for whoever looks for fraud",
    "PointsCredited.v1": "the ledger shows it; for whoever keeps statistics of points",
    "StockExhausted.v1": "for whoever buys what the shop sells",
}

ENVIRONMENT = {
    "AWS_REGION": "us-east-1",
    "DATABASE_HOST": "127.0.0.1",
    "DATABASE_ROLE": "consumers",
    "SENDER_ADDRESS": "orders@shop.example.com",
    "USER_POOL_ID": "us-east-1_pool",
    "EVENT_BUS_NAME": "bus",
    "DEAD_LETTER_QUEUE_URLS": "https://sqs.example.com/q",
}


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's tags as what they hold: `!GetAtt A.Arn` as "A.Arn", `!Ref A` as "A"."""


def _plain(loader: _Loader, _suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.MappingNode)
    return loader.construct_mapping(node, deep=True)


_Loader.add_multi_constructor("!", _plain)


@cache
def resources(kind: str) -> dict[str, Any]:
    template = yaml.load((ROOT / "template.yaml").read_text(), _Loader)  # safe, see above
    return {name: each["Properties"] for name, each in template["Resources"].items() if each["Type"] == kind}


def queues_of_rules() -> dict[str, set[str]]:
    """Give, for each queue, the detail-types that a rule puts into it."""
    queues: dict[str, set[str]] = {}
    for rule in resources("AWS::Events::Rule").values():
        for target in rule["Targets"]:
            queue = target["Arn"].removesuffix(".Arn")
            queues.setdefault(queue, set()).update(rule["EventPattern"]["detail-type"])
    return queues


def consumers() -> dict[str, tuple[str, str]]:
    """Give, for each queue that a rule fills, the function that reads it and its handler's module."""
    found = {}
    for name, function in resources("AWS::Serverless::Function").items():
        for event in function.get("Events", {}).values():
            if event["Type"] == "SQS":
                queue = event["Properties"]["Queue"].removesuffix(".Arn")
                if queue in queues_of_rules():
                    found[queue] = (name, function["Handler"].rpartition(".")[0])
    return found


@pytest.fixture
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def test_each_rule_names_whole_types_of_our_source_that_have_a_contract() -> None:
    for name, rule in resources("AWS::Events::Rule").items():
        pattern = rule["EventPattern"]
        assert pattern["source"] == [SOURCE], name
        # No prefix: a consumer that was not written for a new version would fail on each of its events.
        assert all(isinstance(each, str) for each in pattern["detail-type"]), name
        assert set(pattern["detail-type"]) <= set(CONTRACTS), name


def test_each_contract_has_a_rule_or_a_reason_to_have_none() -> None:
    routed = set().union(*queues_of_rules().values())
    assert routed | set(WITHOUT_A_RULE) == set(CONTRACTS)
    assert not routed & set(WITHOUT_A_RULE), "it has a rule now: take the reason out"


def test_each_contract_has_a_schema() -> None:
    assert {path.name for path in SCHEMAS.glob("*.v*.json")} == {f"{name}.json" for name in CONTRACTS}


@pytest.mark.usefixtures("_environment")
def test_each_consumer_handles_exactly_what_the_rule_of_its_queue_lets_through() -> None:
    assert set(consumers()) == set(queues_of_rules()), "a queue that a rule fills has no function to read it"
    for queue, (function, module) in consumers().items():
        loaded = module in sys.modules
        effects = vars(importlib.import_module(module).handler)["effects"]
        if not loaded:
            sys.modules.pop(module)
        assert {payload.type_name for payload in effects} == queues_of_rules()[queue], function


def test_each_consumer_reports_a_record_at_a_time_and_gives_up_on_it_in_the_end() -> None:
    queues = resources("AWS::SQS::Queue")
    for queue, (name, _) in consumers().items():
        function = resources("AWS::Serverless::Function")[name]
        (event,) = (each for each in function["Events"].values() if each["Type"] == "SQS")
        assert event["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"], name
        assert queues[queue]["VisibilityTimeout"] >= 6 * function["Timeout"], queue
        assert 3 <= queues[queue]["RedrivePolicy"]["maxReceiveCount"] <= 10, queue
        dead = queues[queue]["RedrivePolicy"]["deadLetterTargetArn"].removesuffix(".Arn")
        assert queues[dead]["MessageRetentionPeriod"] == 14 * 24 * 3600, dead
        assert "RedrivePolicy" not in queues[dead], dead


def test_a_claim_on_a_message_outlives_its_function_and_ends_before_the_event_comes_again() -> None:
    queues = resources("AWS::SQS::Queue")
    senders = {
        queue: resources("AWS::Serverless::Function")[name]
        for queue, (name, _) in consumers().items()
        if "SENDER_ADDRESS" in resources("AWS::Serverless::Function")[name]["Environment"]["Variables"]
    }
    assert set(senders) == {"NotifyQueue", "RetireItemQueue"}
    for queue, function in senders.items():
        assert function["Timeout"] <= CLAIM_S < queues[queue]["VisibilityTimeout"], queue


def test_consumers_know_an_event_for_longer_than_it_can_come_again() -> None:
    parameters = yaml.load((ROOT / "template.yaml").read_text(), _Loader)["Parameters"]
    queues = resources("AWS::SQS::Queue")
    assert "RetryPolicy" not in str(resources("AWS::Events::Rule")), "EventBridge's own is a day"
    replayed_s = (parameters["EventArchiveDays"]["MaxValue"] + 1) * _DAY_S
    undelivered_s = queues["UndeliveredEventsQueue"]["MessageRetentionPeriod"]
    for queue in consumers():
        dead = queues[queue]["RedrivePolicy"]["deadLetterTargetArn"].removesuffix(".Arn")
        # A standard queue's message keeps the time of its sending when it moves to the dead-letter queue.
        life_s = max(queues[queue]["MessageRetentionPeriod"], queues[dead]["MessageRetentionPeriod"])
        assert replayed_s + undelivered_s + (1 + REDRIVES) * life_s < EVENT_MEMORY_DAYS * _DAY_S, queue
    kept = {expiry.name: expiry.age_s for expiry in EXPIRIES}
    assert kept["inbox"] == kept["consumed_versions"] == EVENT_MEMORY_DAYS * _DAY_S


def test_each_rule_has_a_place_for_what_cannot_be_delivered() -> None:
    for name, rule in resources("AWS::Events::Rule").items():
        for target in rule["Targets"]:
            assert target["DeadLetterConfig"]["Arn"] == "UndeliveredEventsQueue.Arn", name


def test_every_dead_letter_queue_is_measured() -> None:
    queues = resources("AWS::SQS::Queue")
    dead = {
        queue["RedrivePolicy"]["deadLetterTargetArn"].removesuffix(".Arn")
        for queue in queues.values()
        if "RedrivePolicy" in queue
    }
    function = resources("AWS::Serverless::Function")["MeasureBacklogFunction"]
    _, measured = function["Environment"]["Variables"]["DEAD_LETTER_QUEUE_URLS"]
    assert set(measured) == dead | {"UndeliveredEventsQueue"}


def test_a_run_of_the_relay_has_the_time_to_end_in_order() -> None:
    template = (ROOT / "template.yaml").read_text()
    parameters = yaml.load(template, _Loader)["Parameters"]
    function = resources("AWS::Serverless::Function")["RelayFunction"]
    assert function["Timeout"] - parameters["RelayRunS"]["MaxValue"] >= 8
    assert parameters["RelayRunS"]["Default"] > 60  # the next run begins before this one ends


#: What the functions that schedules send something make of it.
INPUTS = {"AuditLedgerFunction": ("handlers.audit_ledger", "Order")}


@pytest.mark.usefixtures("_environment")
def test_what_a_schedule_sends_is_what_its_function_reads() -> None:
    sent: dict[str, list[Any]] = {}
    for function, properties in resources("AWS::Serverless::Function").items():
        for event in properties.get("Events", {}).values():
            if event["Type"] == "ScheduleV2" and "Input" in event["Properties"]:
                sent.setdefault(function, []).append(json.loads(event["Properties"]["Input"]))
    assert set(sent) == set(INPUTS)
    for function, inputs in sent.items():
        module, kind = INPUTS[function]
        read = [msgspec.convert(one, getattr(importlib.import_module(module), kind)) for one in inputs]
        assert [msgspec.to_builtins(one) for one in read] == inputs
        assert json.loads((ROOT / "events" / "samples" / f"{function}.json").read_text()) in inputs
