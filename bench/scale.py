"""What a million checkouts take and cost, and which limit comes first: a model, from counted figures.

python -m bench.scale [--json PATH]

Prints the tables of docs/scale.md, and puts them there.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bench.harness import read_options, write_json
from domain.events.orders import OrderPlaced
from domain.stock import MAX_SLOTS
from local_dsql.console import run_command
from tools.template import ROOT, Event, events, resources, template

DOCUMENTATION = ROOT / "docs" / "scale.md"

MILLION = 1_000_000
SECONDS_A_MONTH = 30 * 86_400
ORDER_LINES = 3
MINUTES_A_MONTH = SECONDS_A_MONTH / 60
RATES = (1, 10, 100, 1_000, 10_000)


class Work(NamedTuple):
    """What a unit of work sends to the database: exchanges, statements (BEGIN and COMMIT too), and so on."""

    round_trips: int
    statements: int
    transactions: int
    rows_written: int


class Counted(NamedTuple):
    """Figures that tests count by running the code, for an order of three lines.

    tests/integration/test_scale.py has what passes to the database, shop_api/test_observability.py what the
    functions log of an order by themselves: `logged_bytes`.
    """

    checkout: Work = Work(round_trips=2, statements=11, transactions=1, rows_written=8)
    clean_cart: Work = Work(round_trips=2, statements=8, transactions=1, rows_written=5)
    notify: Work = Work(round_trips=6, statements=22, transactions=4, rows_written=8)
    relay_batch: Work = Work(round_trips=2, statements=2, transactions=2, rows_written=500)
    batch_events: int = 500
    idle_relay_transactions_a_minute: int = 135
    event_bytes: int = 750
    logged_bytes: int = 1_800


class Template(NamedTuple):
    """What the model takes from template.yaml."""

    memory_mb: int
    checkouts_a_second: int
    clean_cart_concurrency: int
    notify_concurrency: int
    queues_of_an_order: int
    batch_size: int
    runs_a_minute: float  # of schedules, the relay's one among them
    measured_methods: int
    backups_kept: int
    daily_backups_kept: int
    firewall_rules: int
    alarm_metrics: int

    @classmethod
    def read(cls, source: Mapping[str, Any] | None = None) -> "Template":
        """Take them from a template, this checkout's if none is given."""
        source = template() if source is None else source
        made = source["Resources"]
        queued = {event.function: event.properties for event in events("SQS", source)}
        alarms = [each["Properties"] for each in resources("AWS::CloudWatch::Alarm", of=source).values()]
        rules = resources("AWS::Events::Rule", of=source).values()
        return cls(
            memory_mb=source["Globals"]["Function"]["MemorySize"],
            checkouts_a_second=source["Parameters"]["CheckoutRateLimit"]["Default"],
            clean_cart_concurrency=queued["CleanCartFunction"]["ScalingConfig"]["MaximumConcurrency"],
            notify_concurrency=queued["NotifyFunction"]["ScalingConfig"]["MaximumConcurrency"],
            queues_of_an_order=sum(
                OrderPlaced.type_name in rule["Properties"]["EventPattern"]["detail-type"] for rule in rules
            ),
            batch_size=queued["NotifyFunction"]["BatchSize"],
            runs_a_minute=sum(map(_runs_a_minute, events("ScheduleV2", source))),
            measured_methods=sum(
                each["MetricsEnabled"] for each in made["Api"]["Properties"]["MethodSettings"]
            ),
            backups_kept=_backups_kept(),
            daily_backups_kept=template("cluster.yaml")["Parameters"]["DailyBackupsDays"]["Default"],
            firewall_rules=len(made["Firewall"]["Properties"]["Rules"]),
            alarm_metrics=sum(
                "MetricStat" in metric
                for alarm in alarms
                for metric in alarm.get("Metrics", [{"MetricStat": alarm}])
            ),
        )


def _backups_kept() -> int:
    """Give how many recovery points the cluster's plan keeps: those of each rule."""
    parameters = template("cluster.yaml")["Parameters"]
    days_apart = {"Daily": 1, "Weekly": 7, "Monthly": 30}
    return sum(parameters[f"{tier}BackupsDays"]["Default"] // days for tier, days in days_apart.items())


def _runs_a_minute(schedule: Event) -> float:
    found = re.fullmatch(r"rate\((\d+) (minute|hour)s?\)", schedule.properties["ScheduleExpression"])
    if found is None:
        raise ValueError(f"{schedule.function}: give {schedule.name} a rate of minutes or hours")
    return 1 / int(found[1]) / (60 if found[2] == "hour" else 1)


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
    lambda_log_bytes: float = 400.0  # START, END and REPORT of an invocation
    access_log_bytes: float = 450.0
    own_metrics: int = 80  # a test has fewer names than that; a name of two functions is two
    sign_in_calls: int = 2  # InitiateAuth and RespondToAuthChallenge: the page signs in by SRP
    method_metrics: int = 5  # what API Gateway emits of a method, at the price of a custom metric
    job_ms: float = 500.0
    job_transactions: float = 5.0
    relay_ms_of_ten: float = 1.1  # of a whole processor; `python -m bench.relay` measured it on x86-64


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
    firewall_request: float = 0.60 / MILLION
    firewall_month: float = 5.00
    firewall_rule_month: float = 1.00
    trace: float = 5.00 / MILLION
    metric_month: float = 0.30
    alarm_metric_month: float = 0.10
    dashboard_month: float = 3.00
    active_user_month: float = 0.0055  # Cognito's LITE, of the first 90,000 beyond the free ones
    active_users_free: int = 10_000
    backup_gb_month: float = 0.10  # unconfirmed
    between_regions_gb: float = 0.02


class Quotas(NamedTuple):
    """What AWS lets an account do at first, in us-east-1; `dsql_*` are a cluster's."""

    ses_a_second: float = 1
    put_events_a_second: float = 10_000.0
    bus_deliveries_a_second: float = 18_750.0
    lambda_concurrency: float = 1_000.0
    lambda_mb_of_a_processor: float = 1_769.0
    mapping_concurrency: float = 1_000.0  # the largest MaximumConcurrency
    dsql_connections: float = 10_000.0
    dsql_connections_a_second: float = 100.0
    dsql_connection_burst: float = 1_000.0
    api_requests_a_second: float = 10_000.0
    sign_in_calls_a_second: float = 120.0  # Cognito's category UserAuthentication


COUNTED, TEMPLATE, ASSUMED, PRICES, QUOTAS = Counted(), Template.read(), Assumed(), Prices(), Quotas()


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
        # The first request of each second, and one in twenty of the others: X-Ray's own rule.
        "traces": (1 + 0.05 * max(0.0, rate - 1)) / rate,
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
    """Give the price of a million checkouts at a rate, by service; without what `standing_dollars` has."""
    a = takes(rate)
    gb = TEMPLATE.memory_mb / 1024
    busy_s = (assumed.checkout_ms + assumed.clean_cart_ms + assumed.notify_ms) / 1000 + 1 / rate
    one = {
        "SES": a["emails"] * prices.email,
        "DSQL, work (unconfirmed)": a["transactions"] * assumed.dpu_a_transaction * prices.dpu,
        # The relay runs all the time: a second of it is shared by the checkouts of that second.
        "Lambda": a["invocations"] * prices.lambda_request + busy_s * gb * prices.lambda_gb_second,
        "API Gateway (REST)": a["api_requests"] * prices.api_request,
        "SQS": a["sqs_requests"] * prices.sqs_request,
        "X-Ray": a["traces"] * prices.trace,
        "DSQL, a month's storage": assumed.stored_kb / MILLION * prices.stored_gb_month * months_stored,
        "CloudWatch Logs": _logged_bytes(a["invocations"], assumed) / 1e9 * prices.log_gb,
        "EventBridge": a["events"] * prices.event_64_kb,
        "Firewall": a["api_requests"] * prices.firewall_request,
    }
    return {service: MILLION * price for service, price in one.items()}


def _logged_bytes(invocations: float, assumed: Assumed) -> float:
    return COUNTED.logged_bytes + invocations * assumed.lambda_log_bytes + assumed.access_log_bytes


def standing_dollars(
    template: Template = TEMPLATE, assumed: Assumed = ASSUMED, prices: Prices = PRICES
) -> dict[str, float]:
    """Give what a Region costs a month beside its checkouts, by service, without the relay's own time."""
    runs = template.runs_a_minute * MINUTES_A_MONTH
    jobs = (template.runs_a_minute - 1) * MINUTES_A_MONTH
    job = prices.lambda_request + assumed.job_ms / 1000 * template.memory_mb / 1024 * prices.lambda_gb_second
    return {
        "API Gateway's metrics of `POST /orders`": template.measured_methods
        * assumed.method_metrics
        * prices.metric_month,
        "Our own metrics": assumed.own_metrics * prices.metric_month,
        "Alarms": template.alarm_metrics * prices.alarm_metric_month,
        "Firewall and its rules": prices.firewall_month
        + template.firewall_rules * prices.firewall_rule_month,
        "Dashboard": prices.dashboard_month,
        "Schedules, with their traces": runs * (prices.scheduler_tick + prices.trace),
        "Jobs: audits, sweep, expiry, measure": jobs
        * (job + assumed.job_transactions * assumed.dpu_a_transaction * prices.dpu),
    }


def customer_dollars(customers: int, prices: Prices = PRICES) -> float:
    """Give what Cognito asks a month for so many customers who sign in, beyond its free ones."""
    return max(0, customers - prices.active_users_free) * prices.active_user_month


def cognito_overtakes_mail(checkouts: int = MILLION, prices: Prices = PRICES) -> float:
    """Give how many customers a month have to sign in for Cognito to cost what the checkouts' mail does."""
    return prices.active_users_free + checkouts * prices.email / prices.active_user_month


def backup_dollars(
    gigabytes: float, *, pair: bool, template: Template = TEMPLATE, prices: Prices = PRICES
) -> float:
    """Give what the backups of so much data cost a month, once all are there that are ever kept.

    Each is a full one. A pair's are all copied to the other Region, which takes daily ones of its own too.
    """
    kept = float(template.backups_kept)
    copied_a_month = 0.0
    if pair:
        kept += template.backups_kept + template.daily_backups_kept
        copied_a_month = 30 + 30 / 7 + 1
    return gigabytes * (kept * prices.backup_gb_month + copied_a_month * prices.between_regions_gb)


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
    processor = template.memory_mb / quotas.lambda_mb_of_a_processor
    whole_relay = 10 * 1000 / assumed.relay_ms_of_ten
    found = [
        Ceiling(
            "SES, a new account's sending rate",
            quotas.ses_a_second,
            "mails wait in their queue; orders do not",
            "ask SES for more; the quota is the first thing to raise before a launch",
        ),
        Ceiling(
            f"the notify consumer: {template.notify_concurrency} at once, {assumed.notify_ms:.0f} ms a mail",
            template.notify_concurrency * 1000 / assumed.notify_ms,
            "the same",
            "`MaximumConcurrency` of NotifyFunction, with SES's rate: "
            f"so many a second x {assumed.notify_ms:.0f} ms",
        ),
        Ceiling(
            f"Cognito: {quotas.sign_in_calls_a_second:.0f} calls a second to sign in, "
            f"{assumed.sign_in_calls} for each",
            quotas.sign_in_calls_a_second / assumed.sign_in_calls,
            "signing in is refused (`TooManyRequestsException`), if each order comes with one; who is "
            "signed in, for an hour, goes on",
            "the quota is bought (Cognito's provisioned capacity); refresh tokens spare sign-ins",
        ),
        Ceiling(
            f"one row: 1 / commit latency ({assumed.commit_ms:.0f} ms)",
            hot_row,
            "**of one customer's balance, or one stock slot, not of the shop**: "
            "conflicts, retries, in the end 503",
            f"a customer orders less often; stock: more slots, up to {MAX_SLOTS}",
        ),
        Ceiling(
            "`CheckoutRateLimit` of `POST /orders`",
            template.checkouts_a_second,
            "429 with Retry-After",
            "the parameter, once the rest is ready for it; `RequestRateLimit` (500) is each other method's",
        ),
        Ceiling(
            f"the clean-cart consumer: {template.clean_cart_concurrency} at once, "
            f"{assumed.clean_cart_ms:.0f} ms",
            template.clean_cart_concurrency * 1000 / assumed.clean_cart_ms,
            "carts are cleaned later; ordered quantities count as gone meanwhile",
            "`MaximumConcurrency` of CleanCartFunction",
        ),
        Ceiling(
            f"a sale that starts from nothing: {assumed.cold_start_ms:.0f} ms of cold start, a burst of "
            f"{quotas.dsql_connection_burst:,.0f} new connections, "
            f"then {quotas.dsql_connections_a_second:.0f}/s",
            # Each environment that starts opens one; until the first are warm every request starts one.
            quotas.dsql_connection_burst * 1000 / assumed.cold_start_ms,
            "connecting fails and is tried again; some 503",
            "provisioned concurrency before the sale, or let traffic in over minutes",
        ),
        Ceiling(
            f"one relay at {template.memory_mb} MB ({processor:.1f} of a processor, "
            f"of which ten events take {assumed.relay_ms_of_ten} ms)",
            processor * whole_relay,
            "the outbox grows, lag grows, nothing is lost",
            f"memory up to {quotas.lambda_mb_of_a_processor:,.0f} MB "
            f"(a whole processor: {whole_relay:,.0f}/s), then more relay workers "
            "(`worker` in a schedule's input); shards divide by themselves",
        ),
        Ceiling(
            f"{quotas.lambda_concurrency:,.0f} concurrent executions: checkout, cart and mail together hold "
            f"{environments} s a checkout",
            quotas.lambda_concurrency / environments,
            "429 from Lambda; consumers fall behind",
            "quota; reserve the checkout's share (`CheckoutConcurrency`)",
        ),
        Ceiling(
            f"deliveries of the bus: {quotas.bus_deliveries_a_second:,.0f}/s, "
            f"{template.queues_of_an_order} for each order",
            quotas.bus_deliveries_a_second / template.queues_of_an_order,
            "deliveries come later",
            "quota; one queue with a fan-out behind it",
        ),
        Ceiling(
            f"one queue's mapping: {quotas.mapping_concurrency:,.0f} batches at once, "
            f"{assumed.notify_ms:.0f} ms a mail",
            quotas.mapping_concurrency * 1000 / assumed.notify_ms,
            "mails wait in their queue",
            "provisioned pollers in place of `MaximumConcurrency`, or a second queue",
        ),
        Ceiling(
            "PutEvents of an account",
            quotas.put_events_a_second,
            "the outbox grows",
            "quota; above that DSQL's change data capture to Kinesis drains the outbox instead of the relay",
        ),
        Ceiling("API Gateway of an account", quotas.api_requests_a_second, "429", "quota"),
        Ceiling(
            f"one limited item with {MAX_SLOTS} slots",
            hot_row * MAX_SLOTS,
            "conflicts",
            "several items; admission before the checkout",
        ),
        Ceiling(
            f"{quotas.dsql_connections:,.0f} connections of a cluster",
            quotas.dsql_connections / environments,
            "connecting fails",
            "shorter transactions (one exchange instead of two), a second cluster by customer",
        ),
    ]
    assert counted.checkout.transactions == 1, (
        "a checkout that is several transactions meets a hot row sooner"
    )
    return sorted(found, key=lambda ceiling: ceiling.checkouts_a_second)


_CUSTOMERS = (1_000, 10_000, 30_000, 100_000)
_GIGABYTES = (1, 10, 100, 1_000)

#: What of `takes` the documentation shows, and with how many decimals.
_SHOWN = {
    "round_trips": ("exchanges with the database", 1),
    "transactions": ("transactions", 1),
    "rows_written": ("rows written", 0),
    "invocations": ("invocations", 1),
    "sqs_requests": ("SQS requests", 1),
    "events": (f"events on the bus ({COUNTED.event_bytes} bytes each)", 0),
    "traces": ("traces", 2),
}


def tables() -> list[str]:
    """Give the documentation's tables in its order, as Markdown."""
    needs, costs = [takes(rate) for rate in RATES], [dollars(rate) for rate in RATES]
    head = ["", *(f"{rate:,}/s" for rate in RATES)]
    standing = standing_dollars()
    alone = sum(standing.values())
    months = [
        sum(cost.values()) * rate * SECONDS_A_MONTH / MILLION for rate, cost in zip(RATES, costs, strict=True)
    ]
    return [
        _table(
            head,
            [
                [label, *(f"{need[name]:.{digits}f}" for need in needs)]
                for name, (label, digits) in _SHOWN.items()
            ],
        ),
        _table(
            head,
            [
                *([name, *(f"{cost[name]:.2f}" for cost in costs)] for name in costs[0]),
                ["**all**", *(f"**{sum(cost.values()):.0f}**" for cost in costs)],
            ],
        ),
        _table(["", "a month"], [[name, f"{price:.2f}"] for name, price in standing.items()]),
        _table(
            head,
            [["checkouts and what stands, dollars a month", *(f"{month + alone:,.0f}" for month in months)]],
        ),
        _table(
            ["", *(f"{number:,}" for number in _CUSTOMERS)],
            [
                [
                    "customers who sign in, dollars a month",
                    *(f"{customer_dollars(n):,.0f}" for n in _CUSTOMERS),
                ]
            ],
        ),
        _table(
            ["", *(f"{number} GB" for number in _GIGABYTES)],
            [
                ["storage", *(f"{n * PRICES.stored_gb_month:,.0f}" for n in _GIGABYTES)],
                ["backups", *(f"{backup_dollars(n, pair=False):,.0f}" for n in _GIGABYTES)],
                ["backups of a pair", *(f"{backup_dollars(n, pair=True):,.0f}" for n in _GIGABYTES)],
            ],
        ),
        _table(
            ["checkouts/s", "limit", "what happens there", "what to change"],
            [[f"{one.checkouts_a_second:,.0f}", one.name, one.then, one.change] for one in ceilings()],
        ),
    ]


def documented(text: str) -> str:
    """Give the documentation's text with the model's tables in place of its own."""
    current = iter(tables())
    return re.sub(r"^\|.*\|\n\| ---(?:.*\n\|)*.*\n", lambda _: next(current), text, flags=re.MULTILINE)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "".join(
        f"| {' | '.join(row)} |\n".replace("|  |", "| |") for row in [head, ["---"] * len(head), *rows]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables, put them into the documentation, write the JSON."""
    options = read_options("scale", (__doc__ or "").splitlines()[0], arguments)
    print("\n".join(tables()))
    DOCUMENTATION.write_text(documented(DOCUMENTATION.read_text(encoding="utf-8")), encoding="utf-8")
    write_json(
        options.json_path,
        {
            "takes": {str(rate): takes(rate) for rate in RATES},
            "dollars_a_million": {str(rate): dollars(rate) for rate in RATES},
            "standing_dollars_a_month": standing_dollars(),
            "ceilings": {one.name: round(one.checkouts_a_second, 1) for one in ceilings()},
        },
    )


if __name__ == "__main__":
    run_command(main)
