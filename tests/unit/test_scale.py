"""The arithmetic of docs/scale.md's model, and that it speaks of this template."""

import re
from typing import Any

import pytest

from bench.scale import (
    ASSUMED,
    COUNTED,
    MILLION,
    PRICES,
    QUOTAS,
    RATES,
    TEMPLATE,
    ceilings,
    dollars,
    standing_dollars,
    tables,
    takes,
)
from tests.template import ROOT, functions, resources, template

TEXT = (ROOT / "template.yaml").read_text()


def _at(name: str) -> float:
    (ceiling,) = [one for one in ceilings() if one.name.startswith(name)]
    return ceiling.checkouts_a_second


def _in_template(function: str, key: str) -> int:
    stanza = TEXT.split(f"\n  {function}:\n", 1)[1].split("\n  # ---", 1)[0]
    found = re.search(rf"{key}: (\d+)", stanza)
    assert found is not None
    return int(found[1])


def test_the_model_has_the_templates_values() -> None:
    assert re.search(rf"MemorySize: {TEMPLATE.memory_mb}\n", TEXT)
    assert _in_template("CheckoutRateLimit", "Default") == TEMPLATE.checkouts_a_second
    assert _in_template("NotifyFunction", "MaximumConcurrency") == TEMPLATE.notify_concurrency
    assert _in_template("CleanCartFunction", "MaximumConcurrency") == TEMPLATE.clean_cart_concurrency
    assert _in_template("NotifyFunction", "BatchSize") == TEMPLATE.batch_size
    assert len(re.findall(r"detail-type: \[[^]]*OrderPlaced\.", TEXT)) == TEMPLATE.queues_of_an_order
    assert len(_events("Api")) == TEMPLATE.methods
    assert len(template()["Resources"]["Firewall"]["Properties"]["Rules"]) == TEMPLATE.firewall_rules
    runs = sum(_a_minute(event["ScheduleExpression"]) for event in _events("ScheduleV2"))
    assert runs == pytest.approx(TEMPLATE.runs_a_minute)
    alarms = [each["Properties"] for each in resources("AWS::CloudWatch::Alarm").values()]
    asked = [metric for alarm in alarms for metric in alarm.get("Metrics", [{"MetricStat": 1}])]
    assert sum("MetricStat" in metric for metric in asked) == pytest.approx(TEMPLATE.alarm_metrics, rel=0.25)


def _events(kind: str) -> list[dict[str, Any]]:
    return [
        event["Properties"]
        for function in functions().values()
        for event in function.get("Events", {}).values()
        if event["Type"] == kind
    ]


def _a_minute(expression: str) -> float:
    found = re.fullmatch(r"rate\((\d+) (minute|hour)s?\)", expression)
    assert found is not None, expression
    return 1 / int(found[1]) / (60 if found[2] == "hour" else 1)


def test_the_documentation_has_the_models_tables() -> None:
    text = (ROOT / "docs" / "scale.md").read_text()
    missing = [table for table in tables() if table not in text]
    assert missing == [], "put what `python -m bench.scale` prints into docs/scale.md"
    assert len(re.findall(r"^\|.*\|\n\| ---", text, re.M)) == len(tables())


def test_the_relay_is_as_slow_here_as_it_was_measured() -> None:
    measured = re.search(
        r"of processor for ten events: ([\d.]+) ms", (ROOT / "docs" / "performance.md").read_text()
    )
    assert measured is not None
    assert round(float(measured[1]), 1) == ASSUMED.relay_ms_of_ten


def test_a_rare_checkout_bears_the_relays_looking_alone() -> None:
    each = COUNTED.checkout.transactions + COUNTED.clean_cart.transactions + COUNTED.notify.transactions
    idle = COUNTED.idle_relay_transactions_a_minute / 60

    assert takes(1)["transactions"] == pytest.approx(each + COUNTED.relay_batch.transactions + idle)
    assert takes(100_000)["transactions"] == pytest.approx(each, abs=0.01)


def test_a_checkout_gets_cheaper_with_the_rate_and_never_free() -> None:
    costs = [sum(dollars(rate).values()) for rate in RATES]

    assert costs == sorted(costs, reverse=True)
    assert costs[-1] > MILLION * (PRICES.api_request + PRICES.firewall_request + PRICES.email)


def test_a_sampled_trace_is_rarer_the_more_there_are() -> None:
    assert takes(0.5)["traces"] == pytest.approx(2.0) or takes(1)["traces"] == 1.0
    assert takes(10_000)["traces"] == pytest.approx(0.05, abs=0.001)


def test_what_stands_follows_the_template_and_the_prices() -> None:
    more = TEMPLATE._replace(alarm_metrics=2 * TEMPLATE.alarm_metrics)
    assert standing_dollars(more)["Alarms"] == 2 * standing_dollars()["Alarms"] == pytest.approx(10.2)


def test_the_price_follows_the_prices() -> None:
    dearer = PRICES._replace(email=2 * PRICES.email)

    assert dollars(1, prices=dearer)["SES"] == 2 * dollars(1)["SES"] == pytest.approx(200)
    assert dollars(1, prices=dearer)["Lambda"] == dollars(1)["Lambda"]


def test_mail_is_not_sent_by_more_runs_than_ses_takes_it_from() -> None:
    fewest = 2  # of AWS
    assert TEMPLATE.notify_concurrency <= max(fewest, QUOTAS.ses_a_second * ASSUMED.notify_ms / 1000)


def test_the_ceilings_come_in_the_order_of_their_appearance() -> None:
    rates = [one.checkouts_a_second for one in ceilings()]

    assert rates == sorted(rates)
    assert len({one.name for one in ceilings()}) == len(rates)


def test_ceilings_are_what_their_formulas_say() -> None:
    assert _at("SES") == QUOTAS.ses_a_second
    assert _at("`CheckoutRateLimit`") == TEMPLATE.checkouts_a_second
    assert _at("one row") == pytest.approx(1000 / ASSUMED.commit_ms)
    assert _at("the notify consumer") == pytest.approx(
        TEMPLATE.notify_concurrency / (ASSUMED.notify_ms / 1000)
    )
    assert _at("one relay") == pytest.approx(10_000 / ASSUMED.relay_ms_of_ten * TEMPLATE.memory_mb / 1769)
    assert _at("one queue's mapping") == pytest.approx(1000 / (ASSUMED.notify_ms / 1000))
    assert _at("deliveries of the bus") * TEMPLATE.queues_of_an_order == QUOTAS.bus_deliveries_a_second
