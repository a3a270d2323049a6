"""What a million checkouts take and cost, and which limit comes first: a model, from counted figures.

python -m bench.scale [--json PATH]
"""

import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bench.harness import read_options, table, write_json
from domain.stock import MAX_SLOTS

MILLION = 1_000_000
SECONDS_A_MONTH = 30 * 86_400
ORDER_LINES = 3
RATES = (1, 10, 100, 1_000, 10_000, 100_000)


class Work(NamedTuple):
    """What a unit of work sends to the database: exchanges, statements (BEGIN and COMMIT too), and so on."""

    round_trips: int
    statements: int
    transactions: int
    rows_written: int


class Counted(NamedTuple):
    """Figures that tests/integration/test_scale.py counts by running the code: an order of three lines."""

    checkout: Work = Work(round_trips=2, statements=11, transactions=1, rows_written=8)
    clean_cart: Work = Work(round_trips=3, statements=8, transactions=2, rows_written=5)
    notify: Work = Work(round_trips=4, statements=15, transactions=3, rows_written=5)
    relay_batch: Work = Work(round_trips=2, statements=2, transactions=2, rows_written=500)
    batch_events: int = 500
    idle_relay_transactions_a_minute: int = 135
    event_bytes: int = 750


class Template(NamedTuple):
    """Values of template.yaml; a test holds them together."""

    memory_mb: int = 512
    requests_a_second: int = 500
    clean_cart_concurrency: int = 20
    notify_concurrency: int = 5
    queues_of_an_order: int = 2
    batch_size: int = 10


class Assumed(NamedTuple):
    """Figures that nobody here has measured on AWS. Replace them by what your cluster's metrics say.

    Times are billed milliseconds of a warm invocation, for each event where events come in batches.
    `dpu_a_transaction` is AWS's own yardstick, 100,000 DPU for some 700,000 TPC-C transactions: unconfirmed
    for transactions as small as these, and so an upper estimate rather than a middle one.
    """

    checkout_ms: float = 25.0
    clean_cart_ms: float = 25.0
    notify_ms: float = 75.0
    commit_ms: float = 7.0
    cold_start_ms: float = 600.0
    dpu_a_transaction: float = 0.143
    stored_kb: float = 4.0
    logged_kb: float = 1.5
    put_events_a_second_of_relay: float = 4_500.0


class Prices(NamedTuple):
    """US dollars, list prices of us-east-1 without free tiers, as of 2026-11; sources: docs/scale.md."""

    api_request: float = 3.50 / MILLION
    lambda_request: float = 0.20 / MILLION
    lambda_gb_second: float = 0.0000133334
    event_64_kb: float = 1.00 / MILLION
    sqs_request: float = 0.40 / MILLION
    scheduler_tick: float = 1.00 / MILLION
    email: float = 0.10 / 1_000
    log_gb: float = 0.50
    dpu: float = 8.00 / MILLION
    stored_gb_month: float = 0.33


class Quotas(NamedTuple):
    """What AWS lets an account do at first, in us-east-1; `dsql_*` are a cluster's."""

    ses_a_second: float = 14.0
    put_events_a_second: float = 10_000.0
    bus_deliveries_a_second: float = 18_750.0
    lambda_concurrency: float = 1_000.0
    dsql_connections: float = 10_000.0
    dsql_connections_a_second: float = 100.0
    dsql_connection_burst: float = 1_000.0
    api_requests_a_second: float = 10_000.0


COUNTED, TEMPLATE, ASSUMED, PRICES, QUOTAS = Counted(), Template(), Assumed(), Prices(), Quotas()


def takes(rate: float, counted: Counted = COUNTED, template: Template = TEMPLATE) -> dict[str, float]:
    """Give what one checkout takes at a rate of so many a second, its part of what always runs included.

    The faster orders come, the more events share a batch: of a consumer, of the relay.
    """
    relay_batches = _relay_batches(rate, counted)
    consumer_batches = 1 / _events_a_batch(rate, template)
    invocations = template.queues_of_an_order * consumer_batches
    idle_transactions = counted.idle_relay_transactions_a_minute / 60 / rate
    return {
        "api_requests": 1.0,
        "invocations": 1 + invocations + 1 / 60 / rate,
        "round_trips": counted.checkout.round_trips
        + counted.clean_cart.round_trips
        + counted.notify.round_trips
        + counted.relay_batch.round_trips * relay_batches
        + idle_transactions,
        "transactions": counted.checkout.transactions
        + counted.clean_cart.transactions
        + counted.notify.transactions
        + counted.relay_batch.transactions * relay_batches
        + idle_transactions,
        "rows_written": counted.checkout.rows_written
        + counted.clean_cart.rows_written
        + counted.notify.rows_written
        + 1,
        "events": 1.0,
        "event_bytes": float(counted.event_bytes),
        # Each queue: one message in, and a receive and a delete for each batch.
        "sqs_requests": template.queues_of_an_order * (1 + 2 * consumer_batches),
        "emails": 1.0,
        "scheduler_ticks": 1 / 60 / rate,
    }


def _relay_batches(rate: float, counted: Counted) -> float:
    # The relay looks ten times a second while there is something to do (RelaySettings.poll_s).
    return 1 / min(counted.batch_events, max(1.0, rate / 10))


def _events_a_batch(rate: float, template: Template) -> float:
    # A queue hands over what is there: below some 10 messages a second that is one.
    return min(template.batch_size, max(1.0, rate / 10))


def dollars(
    rate: float, assumed: Assumed = ASSUMED, prices: Prices = PRICES, months_stored: float = 1.0
) -> dict[str, float]:
    """Give the price of a million checkouts at a rate, by service."""
    a = takes(rate)
    gb = TEMPLATE.memory_mb / 1024
    busy_s = (assumed.checkout_ms + assumed.clean_cart_ms + assumed.notify_ms) / 1000 + 1 / rate
    one = {
        "API Gateway": a["api_requests"] * prices.api_request,
        # The relay runs all the time: a second of it is shared by the checkouts of that second.
        "Lambda": a["invocations"] * prices.lambda_request + busy_s * gb * prices.lambda_gb_second,
        "EventBridge": a["events"] * prices.event_64_kb + a["scheduler_ticks"] * prices.scheduler_tick,
        "SQS": a["sqs_requests"] * prices.sqs_request,
        "SES": a["emails"] * prices.email,
        "CloudWatch Logs": assumed.logged_kb / MILLION * prices.log_gb,
        "DSQL, work": a["transactions"] * assumed.dpu_a_transaction * prices.dpu,
        "DSQL, storage": assumed.stored_kb / MILLION * prices.stored_gb_month * months_stored,
    }
    return {service: MILLION * price for service, price in one.items()}


class Ceiling(NamedTuple):
    """A limit, the checkouts a second at which it is met, what happens then and what to change."""

    name: str
    checkouts_a_second: float
    then: str
    change: str


def ceilings(
    counted: Counted = COUNTED,
    template: Template = TEMPLATE,
    assumed: Assumed = ASSUMED,
    quotas: Quotas = QUOTAS,
) -> list[Ceiling]:
    """Give the limits in the order in which a growing shop meets them."""
    environments = (assumed.checkout_ms + assumed.clean_cart_ms + assumed.notify_ms) / 1000
    hot_row = 1000 / assumed.commit_ms
    found = [
        Ceiling(
            "one balance, or one stock slot", hot_row, "retries, then 503", "nothing for a balance; see next"
        ),
        Ceiling(
            f"one limited item in {MAX_SLOTS} slots",
            hot_row * MAX_SLOTS,
            "retries, then 503",
            "several items",
        ),
        Ceiling("SES sending rate", quotas.ses_a_second, "mail waits in its queue", "ask SES for more"),
        Ceiling(
            "notify consumer",
            template.notify_concurrency * 1000 / assumed.notify_ms,
            "mail waits in its queue",
            "NotifyFunction's MaximumConcurrency",
        ),
        Ceiling(
            "clean-cart consumer",
            template.clean_cart_concurrency * 1000 / assumed.clean_cart_ms,
            "carts are cleaned later; ordered counts as gone meanwhile",
            "CleanCartFunction's MaximumConcurrency",
        ),
        Ceiling("API throttle", template.requests_a_second, "429 with Retry-After", "RequestRateLimit"),
        Ceiling("API Gateway of the account", quotas.api_requests_a_second, "429", "quota"),
        Ceiling(
            "new connections, in a sale that starts from nothing",
            # Each environment that starts opens one; until the first are warm every request starts one.
            quotas.dsql_connection_burst * 1000 / assumed.cold_start_ms,
            "connecting fails, the transaction's retry tries again",
            "provisioned concurrency before a sale; ramp up over n / 100 seconds",
        ),
        Ceiling(
            "Lambda concurrency",
            quotas.lambda_concurrency / environments,
            "429 from Lambda; consumers fall behind",
            "quota; reserved concurrency for the checkout",
        ),
        Ceiling(
            "PutEvents",
            quotas.put_events_a_second,
            "the outbox grows, the relay goes slower",
            "quota; CDC instead",
        ),
        Ceiling(
            "deliveries of the bus",
            quotas.bus_deliveries_a_second / template.queues_of_an_order,
            "deliveries come later",
            "quota; one queue with a fan-out behind it",
        ),
        Ceiling(
            "one relay",
            assumed.put_events_a_second_of_relay,
            "the outbox grows",
            "more memory (to 1,769 MB: a whole processor), then more lines",
        ),
        Ceiling(
            "connections",
            quotas.dsql_connections / environments,
            "connecting fails",
            "shorter transactions; another cluster",
        ),
    ]
    assert counted.checkout.transactions == 1, (
        "a checkout that is several transactions meets a hot row sooner"
    )
    return sorted(found, key=lambda ceiling: ceiling.checkouts_a_second)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables, write the JSON."""
    options = read_options("scale", (__doc__ or "").splitlines()[0], arguments)
    needs = {rate: takes(rate) for rate in RATES}
    costs = {rate: dollars(rate) for rate in RATES}
    head = ["", *(f"{rate:,}/s" for rate in RATES)]
    print(table("One checkout takes", head, _rows(needs, "{:,.3f}")))
    print(table("Dollars for a million checkouts", head, _rows(costs, "{:,.2f}", total=True)))
    print(table("Dollars a month", head, [["all", *(f"{_monthly(rate):,.0f}" for rate in RATES)]]))
    limits = ceilings()
    rows = [[one.name, f"{one.checkouts_a_second:,.0f}"] for one in limits]
    print(table("Ceilings, checkouts a second", ["limit", "at"], rows))
    write_json(
        options.json_path,
        {
            "takes": {str(rate): need for rate, need in needs.items()},
            "dollars_a_million": {str(rate): cost for rate, cost in costs.items()},
            "ceilings": {one.name: round(one.checkouts_a_second, 1) for one in limits},
        },
    )


def _monthly(rate: float) -> float:
    return sum(dollars(rate).values()) * rate * SECONDS_A_MONTH / MILLION


def _rows(columns: Mapping[int, Mapping[str, float]], form: str, total: bool = False) -> list[list[str]]:
    names = next(iter(columns.values()))
    rows = [[name.replace("_", " "), *(form.format(one[name]) for one in columns.values())] for name in names]
    if total:
        rows.append(["all", *(form.format(sum(one.values())) for one in columns.values())])
    return rows


if __name__ == "__main__":
    main(sys.argv[1:])
