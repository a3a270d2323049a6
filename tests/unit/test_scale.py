"""The arithmetic of docs/scale.md's model, and that it speaks of this template."""

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
    ceilings,
    dollars,
    takes,
)
from local.bundle import ROOT

TEXT = (ROOT / "template.yaml").read_text()


def _at(name: str) -> float:
    (ceiling,) = [one for one in ceilings() if one.name == name]
    return ceiling.checkouts_a_second


def _in_template(function: str, key: str) -> int:
    stanza = TEXT.split(f"\n  {function}:\n", 1)[1].split("\n  # ---", 1)[0]
    found = re.search(rf"{key}: (\d+)", stanza)
    assert found is not None
    return int(found[1])


def test_the_model_has_the_templates_values() -> None:
    assert re.search(rf"MemorySize: {TEMPLATE.memory_mb}\n", TEXT)
    assert _in_template("RequestRateLimit", "Default") == TEMPLATE.requests_a_second
    assert _in_template("NotifyFunction", "MaximumConcurrency") == TEMPLATE.notify_concurrency
    assert _in_template("CleanCartFunction", "MaximumConcurrency") == TEMPLATE.clean_cart_concurrency
    assert _in_template("NotifyFunction", "BatchSize") == TEMPLATE.batch_size
    assert len(re.findall(r"detail-type: \[[^]]*OrderPlaced\.", TEXT)) == TEMPLATE.queues_of_an_order


def test_a_rare_checkout_bears_the_relays_looking_alone() -> None:
    each = COUNTED.checkout.transactions + COUNTED.clean_cart.transactions + COUNTED.notify.transactions
    idle = COUNTED.idle_relay_transactions_a_minute / 60

    assert takes(1)["transactions"] == pytest.approx(each + COUNTED.relay_batch.transactions + idle)
    assert takes(100_000)["transactions"] == pytest.approx(each, abs=0.01)


def test_a_checkout_gets_cheaper_with_the_rate_and_never_free() -> None:
    costs = [sum(dollars(rate).values()) for rate in RATES]

    assert costs == sorted(costs, reverse=True)
    assert costs[-1] > MILLION * (PRICES.api_request + PRICES.email)


def test_the_price_follows_the_prices() -> None:
    dearer = PRICES._replace(email=2 * PRICES.email)

    assert dollars(1, prices=dearer)["SES"] == 2 * dollars(1)["SES"] == pytest.approx(200)
    assert dollars(1, prices=dearer)["Lambda"] == dollars(1)["Lambda"]


def test_the_ceilings_come_in_the_order_of_their_appearance() -> None:
    rates = [one.checkouts_a_second for one in ceilings()]

    assert rates == sorted(rates)
    assert len({one.name for one in ceilings()}) == len(rates)


def test_ceilings_are_what_their_formulas_say() -> None:
    assert _at("SES sending rate") == QUOTAS.ses_a_second
    assert _at("one balance, or one stock slot") == pytest.approx(1000 / ASSUMED.commit_ms)
    assert _at("notify consumer") == pytest.approx(TEMPLATE.notify_concurrency / (ASSUMED.notify_ms / 1000))
    assert _at("deliveries of the bus") * TEMPLATE.queues_of_an_order == QUOTAS.bus_deliveries_a_second
