"""What the operations page is made of, asked of a deployed Region by the calls that AWS is asked by."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from demos.shoppers import Shopper, api_client, wait_for
from handlers.edge.monitoring import FIGURES, MINUTES, Monitoring, MonitoringEnvironment
from local.emulator import NO_CERTIFICATES
from local.metrics import metrics_reader
from local.region import STACK_NAME, LocalRegion
from sql.connection import Connection
from tests.integration.shop import Shop
from tools.template import events, resources, started_by, the, variables


@pytest.fixture(scope="module")
def shop(region: LocalRegion) -> Iterator[Shop]:
    with Connection.connect(region.postgres.conninfo(), autocommit=True) as connection:
        yield Shop(connection)


@pytest.fixture(scope="module")
def http(region: LocalRegion) -> Iterator[httpx.Client]:
    with api_client(region) as client:
        yield client


@pytest.fixture
def monitoring(region: LocalRegion, monkeypatch: pytest.MonkeyPatch) -> Monitoring:
    """The function's own eyes, in this process, on the Region's AWS."""
    for name, value in region.environment.items():
        monkeypatch.setenv(name, value)
    given = {
        "AWS_REGION": region.region_name,
        "DATABASE_HOST": "unused",
        "DATABASE_ROLE": "unused",
        "EVENT_BUS_NAME": region.outputs["EventBusName"],
        "STACK_NAME": STACK_NAME,
        "FUNCTION_LOG_GROUP": region.outputs["FunctionLogGroupName"],
        "IN_CLOUD": "false",
        **{
            name: region.resources[the(value)]
            for name, value in variables("OperationsFunction").items()
            if name.endswith("_FUNCTION")
        },
    }
    return Monitoring(MonitoringEnvironment.read(given))


def test_each_queue_of_the_template_is_seen_with_its_dead_letters(
    region: LocalRegion, monitoring: Monitoring
) -> None:
    consumers = started_by("SQS")
    states = {state.name: state for state in monitoring.queues()}
    assert len(states) == len(consumers) + 1
    assert states["undelivered"].waiting is None
    sqs = region.client("sqs")
    queue = region.resources["EraseCustomerDeadLetterQueue"]
    sqs.send_message(QueueUrl=queue, MessageBody="{}")
    after = {state.name: state.dead for state in monitoring.queues()}
    assert after["erase-customer"] == states["erase-customer"].dead + 1
    sqs.purge_queue(QueueUrl=queue)


def test_the_bus_says_who_listens_to_what(monitoring: Monitoring) -> None:
    queues = {the(event.properties["Queue"]): event.function for event in events("SQS")}
    wanted = {
        (kind, queues[the(target["Arn"])])
        for rule in resources("AWS::Events::Rule").values()
        if "EventBusName" in rule["Properties"]  # the default bus is AWS's own services'
        for target in rule["Properties"]["Targets"]
        for kind in rule["Properties"]["EventPattern"]["detail-type"]
    }
    told = monitoring.listeners()
    named = {(one.event_type, one.consumer.replace("-", "")) for one in told}
    assert named == {(kind, function.removesuffix("Function").lower()) for kind, function in wanted}
    assert all(one.is_on for one in told)


def test_alarms_are_the_stacks_own(region: LocalRegion, monitoring: Monitoring) -> None:
    told = monitoring.alarms()
    made = {name for name in resources("AWS::CloudWatch::Alarm") if name in region.resources}
    assert told.quiet + told.unknown + len(told.on) == len(made)
    region.client("cloudwatch").set_alarm_state(
        AlarmName=region.resources["BusOutagesAlarm"], StateValue="ALARM", StateReason="to be seen"
    )
    (alarm,) = [each for each in monitoring.alarms().on if each.name == "BusOutagesAlarm"]
    assert alarm.description
    assert abs(datetime.now(UTC) - alarm.since) < timedelta(hours=1)


def test_figures_by_the_minute_are_those_that_were_put_in(
    region: LocalRegion, monitoring: Monitoring
) -> None:
    now = datetime.now(UTC)
    minute = now.replace(second=0, microsecond=0) - timedelta(minutes=30)

    def put(metric: str, function: str, values: list[float]) -> None:
        region.client("cloudwatch").put_metric_data(
            Namespace="Rewards",
            MetricData=[
                {
                    "MetricName": metric,
                    "Dimensions": [
                        {"Name": "function", "Value": region.resources[function]},
                        {"Name": "service", "Value": "rewards"},
                    ],
                    "Timestamp": minute + timedelta(seconds=10),
                    "Values": values,
                }
            ],
        )

    put("Checkout_placed", "CheckoutFunction", [1, 1, 1])
    put("EffectLag", "CleanCartFunction", [float(value) for value in range(1, 101)])
    put("EffectLag", "NotifyFunction", [7000.0])
    put("EffectLag", "EraseCustomerFunction", [99_999.0])
    told = monitoring.minutes(now)
    series = {each.name: each for each in told.series}
    assert set(series) == {figure.name for figure in FIGURES}
    assert {len(each.values) for each in told.series} == {MINUTES}
    at = int((minute - told.since) / timedelta(minutes=1))
    assert series["placed"].values[at] == 3
    assert series["lag_p99"].values[at] == 7000
    assert told.newest is not None
    assert told.newest >= minute
    assert [each.name for each in told.series if not each.is_measured] == ["checkout_p99", "server_errors"]


def test_an_orders_story_is_told_to_its_e_mail_and_its_checkout_is_counted(
    region: LocalRegion, shop: Shop, http: httpx.Client, monitoring: Monitoring
) -> None:
    username = f"told_{uuid4().hex[:12]}"
    customer_id = shop.customer(username=username)
    region.enrol(
        [
            {
                "username": username,
                "email": f"{username}@example.com",
                "customer_id": str(customer_id),
                "staff": True,
            }
        ]
    )
    shop.connection.execute(
        "insert into xpoints.staff_members (customer_id) values (%s) on conflict do nothing", (customer_id,)
    )
    shop.fill_cart(customer_id, {shop.item(5): 2})
    shopper = Shopper(region, http, username)
    order_id = shopper.order(10, str(uuid4())).json()["order_id"]

    def told() -> Any:
        return shopper.get(f"/staff/orders/{order_id}/story")

    def is_settled() -> bool:
        story = told()
        return story["transaction"] is not None and not story["steps"][0]["waits"]

    wait_for("the end of the order's story", is_settled)
    story = told()
    assert (story["transaction"]["attempts"], story["transaction"]["round_trips"]) == (1, 2)
    (step,) = story["steps"]
    published = datetime.fromisoformat(step["published_at"])
    occurred = datetime.fromisoformat(step["occurred_at"])
    # The bus tells whole seconds.
    assert published >= occurred - timedelta(seconds=1)
    assert {one["consumer"] for one in step["consumers"]} == {"clean-cart", "notify"}
    assert [mail["status"] for mail in step["mails"]] == ["SENT"]

    assert metrics_reader(region).read() > 0
    soon = datetime.now(UTC) + timedelta(minutes=1)
    series = {each.name: each.values for each in monitoring.minutes(soon).series}
    assert sum(value or 0 for value in series["placed"]) >= 1
    overview = shopper.get("/staff/operations")
    assert overview["region"] == region.region_name
    assert {each["name"] for each in overview["queues"]} >= {"clean-cart", "notify", "undelivered"}
    assert any(worker["is_alive"] for worker in overview["relay_workers"])
    assert overview["minutes"]["series"]
    assert overview["alarms"] is not None


def test_health_is_told_without_a_sign_in(region: LocalRegion) -> None:
    answer = httpx.get(f"{region.api_url}/health", timeout=60, trust_env=False, verify=NO_CERTIFICATES)
    assert (answer.status_code, answer.json()) == (200, {"region": region.region_name, "status": "ok"})
