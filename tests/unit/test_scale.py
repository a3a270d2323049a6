"""The arithmetic of docs/scale.md's model, and that it speaks of this template."""

import copy
import re

import pytest

from bench.scale import (
    ASSUMED,
    COUNTED,
    MILLION,
    PRICES,
    QUOTAS,
    RATES,
    TEMPLATE,
    Template,
    backup_dollars,
    ceilings,
    cognito_overtakes_mail,
    customer_dollars,
    documented,
    dollars,
    standing_dollars,
    tables,
    takes,
)
from tools.template import ROOT, template


def _at(name: str) -> float:
    (ceiling,) = [one for one in ceilings() if one.name.startswith(name)]
    return ceiling.checkouts_a_second


def test_the_model_follows_the_template() -> None:
    changed = copy.deepcopy(template())
    made = changed["Resources"]
    changed["Parameters"]["CheckoutRateLimit"]["Default"] = 7
    changed["Globals"]["Function"]["MemorySize"] = 1024
    events = made["NotifyFunction"]["Properties"]["Events"]
    events["Order"]["Properties"]["ScalingConfig"]["MaximumConcurrency"] = 9
    made["RetireItemRule"]["Properties"]["EventPattern"]["detail-type"].append("OrderPlaced.v1")
    made["RelayFunction"]["Properties"]["Events"]["EveryMinute"]["Properties"]["ScheduleExpression"] = (
        "rate(2 hours)"
    )
    del made["LedgerDifferencesAlarm"]
    made["Api"]["Properties"]["MethodSettings"][2]["MetricsEnabled"] = True

    read = Template.read(changed)

    assert read.runs_a_minute == pytest.approx(TEMPLATE.runs_a_minute - 1 + 1 / 120)
    assert read == TEMPLATE._replace(
        memory_mb=1024,
        checkouts_a_second=7,
        notify_concurrency=9,
        queues_of_an_order=TEMPLATE.queues_of_an_order + 1,
        runs_a_minute=read.runs_a_minute,
        measured_methods=TEMPLATE.measured_methods + 1,
        alarm_metrics=TEMPLATE.alarm_metrics - 1,
    )


def test_a_schedule_that_the_model_cannot_count_is_named() -> None:
    changed = copy.deepcopy(template())
    schedule = changed["Resources"]["ExpireFunction"]["Properties"]["Events"]["EveryHour"]["Properties"]
    schedule["ScheduleExpression"] = "cron(0 3 * * ? *)"

    with pytest.raises(ValueError, match="ExpireFunction: give EveryHour a rate"):
        Template.read(changed)


def test_the_documentation_has_the_models_tables() -> None:
    text = (ROOT / "docs" / "scale.md").read_text()
    assert documented(text) == text, "run `python -m bench.scale`, which puts its tables into docs/scale.md"
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
    assert (
        standing_dollars(more)["Alarms"]
        == 2 * standing_dollars()["Alarms"]
        == pytest.approx(2 * TEMPLATE.alarm_metrics * PRICES.alarm_metric_month)
    )


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


def test_backups_go_by_their_number_and_a_pair_has_each_of_them_twice() -> None:
    assert TEMPLATE.backups_kept == 7 + 5 + 12
    assert backup_dollars(1, pair=False) == pytest.approx(24 * PRICES.backup_gb_month)
    assert backup_dollars(1, pair=True) > (2 * 24 + 7) * PRICES.backup_gb_month
    assert backup_dollars(20, pair=True) == pytest.approx(20 * backup_dollars(1, pair=True))


def test_cognito_costs_more_than_mail_from_some_number_of_customers_on() -> None:
    """What docs/scale.md says in a sentence beside its tables."""
    number = cognito_overtakes_mail()
    assert customer_dollars(int(number)) == pytest.approx(dollars(1)["SES"], abs=0.01)
    assert "of fewer than some 28,000 customers" in (ROOT / "docs" / "scale.md").read_text()
    assert round(number, -3) == 28_000
    assert customer_dollars(PRICES.active_users_free) == 0
