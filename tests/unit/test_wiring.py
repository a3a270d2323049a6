"""The template, the contracts and the consumers agree on which event goes where."""

import importlib
import json
import re
import sys
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from domain.events import EVENT_MEMORY_DAYS, read_event
from domain.events.contracts import CONTRACTS, PUBLISHED, RECEIVED
from domain.events.mail import MailReturned
from events.contracts import SCHEMAS
from events.publish import SOURCE
from sql.transactions.expire import EXPIRIES
from sql.transactions.notify import CLAIM_S
from tests.mail import NOTIFICATION, sending, ses_event
from tools.bundle import handler_module
from tools.template import ROOT, events, functions, resources, template, the, variables
from tools.wiring import event_types

_DAY_S = 24 * 3600

#: How often an operator may send one message back from a dead-letter queue (docs/operations.md).
REDRIVES = 2

ENVIRONMENT = {
    "AWS_REGION": "us-east-1",
    "DATABASE_HOST": "127.0.0.1",
    "DATABASE_ROLE": "consumers",
    "SENDER_ADDRESS": "orders@shop.example.com",
    "MAIL_CONFIGURATION": "mail",
    "QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/queue",
    "USER_POOL_ID": "us-east-1_pool",
    "EVENT_BUS_NAME": "bus",
    "DEMO_PASSWORD": "not-a-password-of-anybody",
}


def properties(kind: str) -> dict[str, Any]:
    """Give the properties of the resources of a type by their names."""
    return {name: each["Properties"] for name, each in resources(kind).items()}


def queues_of_rules() -> dict[str, set[str]]:
    """Give, for each queue, the types of the events that a rule puts into it."""
    queues: dict[str, set[str]] = {}
    for rule in properties("AWS::Events::Rule").values():
        for target in rule["Targets"]:
            queues.setdefault(the(target["Arn"]), set()).update(event_types(rule, target))
    return queues


def consumers() -> dict[str, tuple[str, str]]:
    """Give, for each queue that a rule fills, the function that reads it and its handler's module."""
    found = {}
    for event in events("SQS"):
        queue = the(event.properties["Queue"])
        if queue in queues_of_rules():
            found[queue] = (event.function, handler_module(event.function))
    return found


@pytest.fixture
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


#: What another service announces, and on which bus a rule hears of it: the default one.
_FOREIGN = {"SuppressAddressRule": "aws.ses"}


def test_each_rule_names_whole_types_of_a_source_that_have_a_contract() -> None:
    for name, rule in properties("AWS::Events::Rule").items():
        pattern = rule["EventPattern"]
        assert pattern["source"] == [_FOREIGN.get(name, SOURCE)], name
        assert ("EventBusName" in rule) == (name not in _FOREIGN), name
        # No prefix: a consumer that was not written for a new version would fail on each of its events.
        assert all(isinstance(each, str) for each in pattern["detail-type"]), name
        for target in rule["Targets"]:
            assert set(event_types(rule, target)) <= set(RECEIVED if name in _FOREIGN else PUBLISHED), name


def test_what_ses_says_comes_in_the_form_of_our_events_and_without_the_person() -> None:
    bounced = ses_event()
    (target,) = properties("AWS::Events::Rule")["SuppressAddressRule"]["Targets"]
    made = target["InputTransformer"]["InputTemplate"]
    for name, path in target["InputTransformer"]["InputPathsMap"].items():
        found: Any = bounced
        for step in path.removeprefix("$.").split("."):
            found = found[step]
        # EventBridge puts quotes around a text and leaves an array as it is.
        assert f"<{name}>" in made
        made = made.replace(f"<{name}>", json.dumps(found))
    assert "ana" not in made
    message = json.loads(made)
    event = read_event(MailReturned, json.dumps(message["detail"]))
    assert message["detail-type"] == event.type == MailReturned.type_name
    assert event.data.kind == "Bounce"
    assert event.data.notification_ids == (UUID("22222222-2222-4222-8222-222222222222"),)
    assert event.data.sending_ids == (UUID(sending(NOTIFICATION, "ana@example.com")),)
    assert event.model_dump(mode="json").items() >= {"id": bounced["id"], "region": "us-east-1"}.items()


def test_each_contract_has_a_rule_or_a_reason_to_have_none() -> None:
    routed = set().union(*queues_of_rules().values())
    for line in (ROOT / "docs" / "events.md").read_text().splitlines():
        for name in re.findall(r"`(\w+\.v\d+)`", line.split("|")[1]) if line.startswith("|") else []:
            assert (name in routed) != bool(re.match(r"nobody; for \w", line.split("|")[3].strip())), name
            routed.add(name)
    assert routed == set(CONTRACTS), "each event has a row in docs/events.md"


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
    queues = properties("AWS::SQS::Queue")
    for queue, (name, _) in consumers().items():
        function = functions()[name]
        (event,) = (each for each in function["Events"].values() if each["Type"] == "SQS")
        assert event["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"], name
        assert queues[queue]["VisibilityTimeout"] >= 6 * function["Timeout"], queue
        assert 3 <= queues[queue]["RedrivePolicy"]["maxReceiveCount"] <= 10, queue
        dead = the(queues[queue]["RedrivePolicy"]["deadLetterTargetArn"])
        assert queues[dead]["MessageRetentionPeriod"] == 14 * 24 * 3600, dead
        assert "RedrivePolicy" not in queues[dead], dead


def test_a_claim_on_a_message_outlives_its_function_and_ends_before_the_event_comes_again() -> None:
    queues = properties("AWS::SQS::Queue")
    senders = {
        queue: functions()[name]
        for queue, (name, _) in consumers().items()
        if "SENDER_ADDRESS" in variables(name)
    }
    assert set(senders) == {"NotifyQueue", "RetireItemQueue"}
    for queue, function in senders.items():
        assert function["Timeout"] <= CLAIM_S < queues[queue]["VisibilityTimeout"], queue


def test_consumers_know_an_event_for_longer_than_it_can_come_again() -> None:
    parameters = template()["Parameters"]
    queues = properties("AWS::SQS::Queue")
    assert "RetryPolicy" not in str(properties("AWS::Events::Rule")), "EventBridge's own is a day"
    replayed_s = (parameters["EventArchiveDays"]["MaxValue"] + 1) * _DAY_S
    undelivered_s = queues["UndeliveredEventsQueue"]["MessageRetentionPeriod"]
    for queue in consumers():
        dead = the(queues[queue]["RedrivePolicy"]["deadLetterTargetArn"])
        # A standard queue's message keeps the time of its sending when it moves to the dead-letter queue.
        life_s = max(queues[queue]["MessageRetentionPeriod"], queues[dead]["MessageRetentionPeriod"])
        assert replayed_s + undelivered_s + (1 + REDRIVES) * life_s < EVENT_MEMORY_DAYS * _DAY_S, queue
    kept = {expiry.name: expiry.age_s for expiry in EXPIRIES}
    assert kept["inbox"] == kept["consumed_versions"] == EVENT_MEMORY_DAYS * _DAY_S


def test_each_rule_has_a_place_for_what_cannot_be_delivered() -> None:
    for name, rule in properties("AWS::Events::Rule").items():
        for target in rule["Targets"]:
            assert the(target["DeadLetterConfig"]["Arn"]) == "UndeliveredEventsQueue", name


def test_a_run_of_the_relay_has_the_time_to_end_in_order() -> None:
    parameters = template()["Parameters"]
    function = functions()["RelayFunction"]
    assert function["Timeout"] - parameters["RelayRunS"]["MaxValue"] >= 8
    assert parameters["RelayRunS"]["Default"] > 60  # the next run begins before this one ends


#: What the functions that schedules send something make of it.
INPUTS = {"AuditLedgerFunction": ("handlers.audit_ledger", "AuditInput")}


@pytest.mark.usefixtures("_environment")
def test_what_a_schedule_sends_is_what_its_function_reads() -> None:
    sent: dict[str, list[Any]] = {}
    for event in events("ScheduleV2"):
        if "Input" in event.properties:
            sent.setdefault(event.function, []).append(json.loads(event.properties["Input"]))
    assert set(sent) == set(INPUTS)
    for function, inputs in sent.items():
        module, kind = INPUTS[function]
        read = [getattr(importlib.import_module(module), kind).model_validate(one) for one in inputs]
        assert [one.model_dump() for one in read] == inputs
        assert json.loads((ROOT / "events" / "samples" / f"{function}.json").read_text()) in inputs


@pytest.mark.usefixtures("_environment")
def test_a_relay_is_told_its_worker_or_gets_the_schedulers_own_event() -> None:
    read = importlib.import_module("handlers.relay").RelayInput.model_validate
    assert read(json.loads((ROOT / "events" / "samples" / "Scheduled.json").read_text())).worker == 0
    assert read({"worker": 3}).worker == 3
    for wrong in (-1, 2**15, "1", 0.5, None):
        with pytest.raises(ValidationError, match="worker"):
            read({"worker": wrong})


@pytest.mark.usefixtures("_environment")
@pytest.mark.parametrize("function", [function for function, _ in consumers().values()])
def test_a_consumer_counts_what_became_of_each_record(
    function: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = handler_module(function)
    handler = importlib.import_module(name).handler
    sys.modules.pop(name)
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 60_000)

    answer = handler({"Records": [{"messageId": "broken", "body": "{"}]}, context)

    assert answer == {"batchItemFailures": [{"itemIdentifier": "broken"}]}
    assert '"Effect_failed":[1.0]' in capsys.readouterr().out.replace(" ", "")
