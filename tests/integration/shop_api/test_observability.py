"""What the functions say of their work: the metrics that alarms and dashboard need, one correlation id from
the request to the e-mail, and nothing that a person told the shop.

The whole story is run once, with the real handlers, for the first test that asks for it, and read by
each. The bus is a list, AWS is moto.
"""

import importlib
import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from io import StringIO
from types import ModuleType
from typing import Any
from unittest.mock import Mock
from uuid import UUID, uuid4

import boto3
import pytest
from aws_lambda_powertools.metrics import Metrics
from botocore.exceptions import ClientError
from moto import mock_aws
from psycopg import Error, OperationalError, errors

import domain.checkout
from bench.scale import COUNTED, ORDER_LINES
from domain.events.orders import OrderPlaced
from domain.messages import MessageText
from handlers import account, checkout, operations, orders, staff, storefront
from handlers.edge import observability
from handlers.edge.consume import Consumer
from handlers.edge.observability import NAMESPACE, FunctionFailedError, logger
from sql.cascade import Slice, SliceOutcome
from sql.connection import Database
from sql.errors import Fault, RetriesExhaustedError
from sql.pipeline import Connection
from sql.queries import Statement
from sql.transactions.notify import DueMessage, UndeliverableError
from tests.integration.shop import Shop
from tests.integration.shop_api.client import Api, Client, Response
from tests.unit.test_template_alarms import Metric, metrics_used, searches, widgets
from tools.template import template

#: Stands in everything that a person told the shop, and in nothing else.
MARK = "zzq"
SENDER = "orders@shop.example.com"
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


#: Here one process is one function after the other.
pytestmark = pytest.mark.filterwarnings("ignore:Dimension 'function' has already been added")


class Context:
    """A function with a minute left."""

    def get_remaining_time_in_millis(self) -> int:
        """Give the milliseconds left."""
        return 60_000


@dataclass
class Story:
    """What was said: every line that the functions wrote, by function, and the ids to look for."""

    lines: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    text: str = ""
    correlation_id: str = ""
    published: list[dict[str, Any]] = field(default_factory=list)

    def emitted(self) -> dict[str, dict[str, str]]:
        """Give each function's metrics with their units, checked for namespace and dimensions."""
        found: dict[str, dict[str, str]] = {}
        for function, lines in self.lines.items():
            for line in lines:
                for group in line.get("_aws", {}).get("CloudWatchMetrics", ()):
                    assert group["Namespace"] == NAMESPACE
                    (dimensions,) = group["Dimensions"]
                    assert set(dimensions) == {"service", "function"}
                    assert (line["service"], line["function"]) == ("rewards", function)
                    found.setdefault(function, {}).update({m["Name"]: m["Unit"] for m in group["Metrics"]})
        return found


def _forget_metrics() -> None:
    """Have the next use make a sink of its own. Powertools keeps dimensions in the class, for all sinks."""
    observability.metrics.cache_clear()
    Metrics._default_dimensions.clear()
    Metrics._dimensions.clear()


class Teller:
    """Runs functions and keeps what each writes."""

    def __init__(
        self,
        api: Api,
        shop: Shop,
        database: Callable[..., Database],
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self.story = Story()
        self.api, self.shop = api, shop
        self._database, self._capsys, self._monkeypatch = database, capsys, monkeypatch
        self._loaded: list[str] = []

    @contextmanager
    def as_function(self, name: str) -> Iterator[None]:
        """Be the function of that name in the template, as Lambda would start it."""
        handler, output = logger.registered_handler, StringIO()
        assert isinstance(handler, logging.StreamHandler)
        before = handler.setStream(output)
        self._monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", name)
        _forget_metrics()
        self._capsys.readouterr()
        try:
            yield
        finally:
            handler.setStream(before)
            captured = self._capsys.readouterr()
            said = output.getvalue() + captured.out + captured.err
            self.story.text += said
            self.story.lines.setdefault(name, []).extend(
                json.loads(line) for line in said.splitlines() if line.startswith("{")
            )

    def load(self, name: str, role: str | None, **environment: str) -> ModuleType:
        """Import a function's module as its start does, on the test's database."""
        variables = {"DATABASE_HOST": "127.0.0.1", "DATABASE_ROLE": role or "nobody", **environment}
        for variable, value in variables.items():
            self._monkeypatch.setenv(variable, value)
        sys.modules.pop(f"handlers.{name}", None)
        self._loaded.append(f"handlers.{name}")
        module = importlib.import_module(f"handlers.{name}")
        if role is not None:
            self._monkeypatch.setattr(module, "_DATABASE", self._database(role))
        return module

    def forget(self) -> None:
        """Leave no module behind that was loaded for this test's database."""
        for name in self._loaded:
            sys.modules.pop(name, None)
        _forget_metrics()

    def records(self, kind: str) -> dict[str, Any]:
        """Give what was published of a kind as SQS hands it to a consumer."""
        bodies = [
            {"detail-type": entry["DetailType"], "detail": json.loads(entry["Detail"])}
            for entry in self.story.published
            if entry["DetailType"] == kind
        ]
        return {
            "Records": [
                {"messageId": str(number), "body": json.dumps(body)} for number, body in enumerate(bodies)
            ]
        }


class Bus:
    """An EventBridge client that takes everything."""

    def __init__(self, published: list[dict[str, Any]]) -> None:
        self._published = published

    def put_events(self, *, Entries: Sequence[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        """Take entries."""
        self._published += Entries
        return {"Entries": [{"EventId": str(uuid4())} for _ in Entries]}


def _order(client: Client, points: int, key: str) -> Response:
    return client.post("/orders", {"expected_total_points": points}, key=key)


def _shop_and_order(teller: Teller) -> UUID:
    """Place an order, repeat it, and be refused for every reason; give the customer."""
    shop, username = teller.shop, f"{MARK}_ana"
    ana = shop.customer(100, username)
    shop.connection.execute(
        "update xpoints.customers set first_name = %s, phone_num = %s where id = %s",
        (f"{MARK}Ana", f"{MARK}-555", ana),
    )
    client = teller.api.as_customer(ana)
    mug, sold_out, limited, dear = (
        shop.item(5),
        shop.item(5, stock=[0]),
        shop.item(5, stock=[1]),
        shop.item(1000),
    )
    with teller.as_function("CheckoutFunction"):
        assert _order(client, 0, f"{MARK}-empty").problem == "empty-cart"
        for item, points, problem in (
            (sold_out, 5, "out-of-stock"),
            (dear, 1000, "insufficient-points"),
            (uuid4(), 5, "item-unavailable"),
            (mug, 4, "price-changed"),
            (mug, 5, "cart-changed"),
            (limited, 5, "order-too-large"),
            (mug, 5, "too-many-lines"),
        ):
            shop.fill_cart(ana, {item: 1})
            body: dict[str, Any] = {"expected_total_points": points}
            with pytest.MonkeyPatch.context() as patch:
                # A cart that is really too large would have thousands of rows.
                patch.setattr(domain.checkout, "MAX_STOCK_TAKES", 0 if problem == "order-too-large" else 9)
                patch.setattr(domain.checkout, "MAX_ORDER_LINES", 0 if problem == "too-many-lines" else 9)
                if problem == "cart-changed":
                    body |= {"cart_version": "another"}
                assert client.post("/orders", body, key=f"{MARK}-{problem}").problem == problem
            shop.connection.execute("delete from xpoints.shopping_cart_items")
        shop.fill_cart(ana, {mug: 1})
        placed = _order(client, 5, "key-order")
        assert placed.status == 201
        assert _order(client, 5, "key-order").status == 201
        assert _order(client, 6, "key-order").problem == "idempotency-key-reused"
        client.send("POST", "/orders", text=f'{{"{MARK}', headers={"Idempotency-Key": f"{MARK}-malformed"})
        client.send("POST", "/orders", body={MARK: MARK}, headers={"Idempotency-Key": f"{MARK}-unknown"})
    order_id = placed.json["order_id"]
    teller.story.correlation_id = shop.scalar(
        "select correlation_id from xpoints.orders where id = %s", [order_id]
    )
    return ana


def _violation_of_a_record(shop: Shop) -> errors.UniqueViolation:
    with pytest.raises(errors.UniqueViolation) as raised:
        shop.connection.execute("insert into xpoints.idempotency_records table xpoints.idempotency_records")
    return raised.value


def _meet_faults(teller: Teller, ana: UUID) -> None:
    """Have a checkout meet each fault and try again: a conflict by another's write, the others raised."""
    client, shop = teller.api.as_customer(ana), teller.shop
    elsewhere, render, exchange = teller._database("admin"), checkout._render, Connection.exchange
    left: dict[Fault, tuple[bool, Error]] = {
        Fault.SCHEMA_CHANGED: (False, errors.SerializationFailure("(OC001)")),
        Fault.UNAVAILABLE: (False, errors.InternalError_("server unavailable")),
        Fault.CONNECTION_LOST: (False, OperationalError("lost")),
        Fault.UNKNOWN_COMMIT: (True, OperationalError("lost")),
        # PostgreSQL's own words; DSQL is expected to say OC000 at COMMIT.
        Fault.DUPLICATE_RECORD: (True, _violation_of_a_record(shop)),
    }
    theirs = {Fault.CONFLICT: "update xpoints.points_balances set points_balance = points_balance + 1"}
    assert left.keys() | theirs.keys() == set(Fault)
    now: Fault | None = None

    def meddle(command: Any, order: Any) -> Any:
        nonlocal now
        if now in theirs:
            elsewhere.connection().execute(theirs[now].encode())
            now = None
        return render(command, order)

    def fail(self: Connection, statements: Sequence[Statement[Any]], *rest: Any) -> Any:
        nonlocal now
        commits = statements[-1].query.name == "commit"
        if now in left and left[now][0] == commits:
            error, now = left[now][1], None
            raise error
        return exchange(self, statements, *rest)

    with teller.as_function("CheckoutFunction"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkout, "_render", meddle)
        patch.setattr(Connection, "exchange", fail)
        for fault in Fault:
            shop.connection.execute("delete from xpoints.shopping_cart_items")
            shop.connection.execute("update xpoints.orders set cart_cleaned_at = now()")
            shop.fill_cart(ana, {shop.item(1): 1})
            now = fault
            answer = _order(client, 1, f"key-{fault.value}")
            assert answer.status in (201, 422), answer.text
            assert now is None


def _change_account(teller: Teller, ana: UUID) -> None:
    client = teller.api.as_customer(ana)
    names = {"first_name": f"{MARK}Anna", "last_name": f"{MARK}-Lopez", "email": f"{MARK}@example.com"}
    with teller.as_function("AccountFunction"):
        assert client.put("/account", names, If_Match='"1"').status == 200
        assert client.put("/account", {**names, MARK: MARK}, If_Match='"2"').problem == "invalid-request"
        # An error of the database quotes the row that it refuses.
        teller.shop.connection.execute(
            f"alter table xpoints.customers add constraint no check (city <> '{MARK}town') not valid".encode()
        )
        broken = client.put("/account", {**names, "city": f"{MARK}town"}, If_Match='"2"')
        assert broken.problem == "internal-error"
    with teller.as_function("StaffFunction"):
        found = teller.api.as_staff().get("/staff/customers", {"username": f"{MARK}_ana"})
        assert found.status == 200


def _relay(teller: Teller) -> None:
    with teller.as_function("RelayFunction"):
        relay = teller.load("relay", "relay", EVENT_BUS_NAME="bus", RELAY_RUN_S="1")
        teller._monkeypatch.setattr(relay, "_client", lambda: Bus(teller.story.published))
        relay.handler({}, Context())


def _follow_up(teller: Teller) -> None:
    placed = teller.records("OrderPlaced.v1")
    broken = {"Records": [{"messageId": "b", "body": f"{MARK} is no event"}]}
    with teller.as_function("CleanCartFunction"):
        clean_cart = teller.load("clean_cart", "consumers")
        for batch in (placed, placed, broken):
            clean_cart.handler(batch, Context())
    boto3.client("sesv2").create_email_identity(EmailIdentity=SENDER)
    with teller.as_function("NotifyFunction"):
        notify = teller.load(
            "notify", "consumers", SENDER_ADDRESS=SENDER, MAIL_CONFIGURATION="mail", QUEUE_URL="queue"
        )

        def fail(message: Any) -> None:
            raise RuntimeError(f"550 {message.email} {message.text.body}")

        usual = notify._MAIL.send
        notify._MAIL.send = fail
        assert notify.handler(placed, Context())["batchItemFailures"]
        notify._MAIL.send = usual
        teller.shop.connection.execute(b"update xpoints.notifications set claimed_until = now()")
        for batch in (placed, placed, broken):
            notify.handler(batch, Context())


def _notify_nobody(teller: Teller, ana: UUID) -> None:
    """Order once more, and have no address when the message is due."""
    shop = teller.shop
    shop.fill_cart(ana, {shop.item(1): 1})
    with teller.as_function("CheckoutFunction"):
        assert _order(teller.api.as_customer(ana), 1, "key-again").status == 201
    teller.story.published.clear()
    _relay(teller)
    shop.connection.execute("update xpoints.customers set email = null")
    with teller.as_function("NotifyFunction"):
        notify = teller.load(
            "notify", "consumers", SENDER_ADDRESS=SENDER, MAIL_CONFIGURATION="mail", QUEUE_URL="queue"
        )
        notify.handler(teller.records("OrderPlaced.v1"), Context())


def _refuse_an_address(teller: Teller) -> None:
    """Have SES call a recipient's address none, at both functions that send mail."""

    def send_email(**mail: Any) -> None:
        if MARK in mail["Destination"]["ToAddresses"][0]:
            raise ClientError({"Error": {"Code": "BadRequestException"}}, "SendEmail")

    for function, module, role in (
        ("NotifyFunction", "notify", "consumers"),
        ("RetireItemFunction", "retire_item", "cascades"),
    ):
        with teller.as_function(function), pytest.MonkeyPatch.context() as patch:
            loaded = teller.load(
                module, role, SENDER_ADDRESS=SENDER, MAIL_CONFIGURATION="mail", QUEUE_URL="queue"
            )
            patch.setattr("handlers.edge.mail._client", lambda: Mock(send_email=send_email))
            with suppress(UndeliverableError):
                loaded._MAIL.send(DueMessage(uuid4(), f"{MARK}@example", MessageText("s", "b")))
            observability.metrics().flush_metrics()


def _erase(teller: Teller, ana: UUID) -> None:
    with teller.as_function("AccountFunction"):
        assert teller.api.as_customer(ana).delete("/account").status in (202, 204)
    teller.story.published.clear()
    _relay(teller)
    erased = teller.records("CustomerErased.v1")
    assert erased["Records"]
    with teller.as_function("EraseCustomerFunction"):
        teller.load("erase_customer", "cascades").handler(erased, Context())
    with teller.as_function("CleanRegionFunction"), suppress(FunctionFailedError):
        module = teller.load("clean_region", "jobs", USER_POOL_ID="us-east-1_none", PICTURES_BUCKET="none")
        module.handler({}, Context())  # the pool is not there: Cognito's error names the user
    with teller.as_function("EnrolUsersFunction"):
        module = teller.load(
            "enrol_users", "enrolment", USER_POOL_ID="us-east-1_none", DEMO_PASSWORD=f"{MARK}-password"
        )
        bea = teller.shop.customer(username=f"{MARK}_bea")
        user = {"username": f"{MARK}_bea", "email": f"{MARK}-bea@example.com", "customer_id": str(bea)}
        bodies = [json.dumps(user), json.dumps({"username": [MARK]}), MARK]
        module.handler({"Records": [{"messageId": "m", "body": body} for body in bodies]}, Context())


def _ended(outcome: SliceOutcome, _event: object, _is_over: object) -> Slice:
    return Slice(outcome, 3, 3)


def _cascades(teller: Teller, ana: UUID) -> None:
    """Have every outcome of a slice, which depends on how much there is, at both functions of cascades."""
    for name in ("EraseCustomerFunction", "RetireItemFunction"):
        with teller.as_function(name):
            for outcome in SliceOutcome:
                consumer = Consumer({OrderPlaced: partial(_ended, outcome)}, observability.observe_effect)
                observability.guarded(consumer)(teller.records("OrderPlaced.v1"), Context())
            broken = {"Records": [{"messageId": "b", "body": MARK}]}
            observability.guarded(Consumer({}, observability.observe_effect))(broken, Context())


def _jobs(teller: Teller) -> None:
    for function, module in (
        ("MeasureBacklogFunction", "measure_backlog"),
        ("AuditLedgerFunction", "audit_ledger"),
        ("SweepOrphansFunction", "sweep_orphans"),
        ("ExpireFunction", "expire"),
    ):
        with teller.as_function(function):
            teller.load(module, "jobs").handler({}, Context())


def _give_up(teller: Teller, ana: UUID) -> None:
    with teller.as_function("CheckoutFunction"):
        for fault in Fault:

            def give_up(*_: object, fault: Fault = fault) -> None:
                raise RetriesExhaustedError(5, fault)

            teller._monkeypatch.setattr(checkout, "place_order", give_up)
            assert _order(teller.api.as_customer(ana), 1, "key-gives-up").status == 503


def _meet_bugs(teller: Teller) -> None:
    """Have a route of each function of the API raise what nobody expects."""
    customer = teller.api.as_customer(teller.shop.customer())
    for module, client, method, path, body in (
        (checkout, customer, "POST", "/orders", {"expected_total_points": 1}),
        (storefront, customer, "GET", "/catalog", None),
        (orders, customer, "POST", f"/orders/{uuid4()}/cancel", None),
        (account, customer, "GET", "/account", None),
        (staff, teller.api.as_staff(), "GET", f"/staff/items/{uuid4()}", None),
        (operations, teller.api.as_staff(), "GET", f"/staff/orders/{uuid4()}/story", None),
    ):
        name = module.__name__.rpartition(".")[2].capitalize()
        with teller.as_function(f"{name}Function"), pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_DATABASE", None)
            assert client.ask(method, path, body).problem == "internal-error"


@pytest.fixture(scope="module")
def told() -> list[Story]:
    """The story, once it has been told."""
    return []


@pytest.fixture
def story(told: list[Story], request: pytest.FixtureRequest) -> Story:
    """Everything that the functions said, from an order to its customer's erasure."""
    if not told:
        told.append(request.getfixturevalue("telling"))
    return told[0]


@pytest.fixture
def telling(
    api: Api,
    shop: Shop,
    database: Callable[..., Database],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Story]:
    """Tell the story, on a database of its own."""
    monkeypatch.setenv("_X_AMZN_TRACE_ID", TRACE)
    teller = Teller(api, shop, database, capsys, monkeypatch)
    with ExitStack() as stack:
        stack.callback(teller.forget)
        stack.enter_context(mock_aws())
        ana = _shop_and_order(teller)
        _meet_faults(teller, ana)
        _change_account(teller, ana)
        _relay(teller)
        _follow_up(teller)
        _cascades(teller, ana)
        _notify_nobody(teller, ana)
        _refuse_an_address(teller)
        _meet_bugs(teller)
        _give_up(teller, ana)
        _erase(teller, ana)
        _jobs(teller)
        yield teller.story


def test_alarms_and_dashboard_use_only_metrics_that_the_functions_emit(story: Story) -> None:
    emitted = story.emitted()
    used = {metric for metric in metrics_used() if metric.namespace == NAMESPACE}
    assert used
    for metric in sorted(used):
        assert set(metric.dimensions) == {("service", "rewards"), ("function", metric.function)}
        assert metric.name in emitted.get(metric.function, {}), f"{metric.function} never emits {metric.name}"
    searched = {name for search in searches() if search.namespace == NAMESPACE for name in search.names}
    assert searched <= {name for names in emitted.values() for name in names}


def test_the_dashboard_has_every_reason_to_refuse_a_checkout() -> None:
    (widget,) = (each for each in widgets() if each["properties"]["title"] == "Refusals by reason")
    (route,) = checkout.handler.routes.values()
    # Whoever is erased while they order; others whom nobody knows get no further than the edge.
    reasons = [problem for problem in route.problems if problem != "unknown-customer"]
    assert [row[1] for row in widget["properties"]["metrics"]] == [f"Checkout_{each}" for each in reasons]


def test_every_metric_has_a_unit_and_their_names_are_few(story: Story) -> None:
    emitted = story.emitted()
    units = {unit for names in emitted.values() for unit in names.values()}
    assert units <= {"Count", "Milliseconds", "Seconds"}
    assert {unit for names in emitted.values() for name, unit in names.items() if "Lag" in name} == {
        "Milliseconds"
    }
    # A name made of an id or of a text would be another metric each time.
    assert len({name for names in emitted.values() for name in names}) < 80
    assert not [name for names in emitted.values() for name in names if any(c.isdigit() for c in name[:-3])]


def test_one_correlation_id_leads_from_the_request_to_the_e_mail(story: Story) -> None:
    said = {
        function: [line for line in lines if line.get("correlation_id") == story.correlation_id]
        for function, lines in story.lines.items()
    }
    assert [line["outcome"] for line in said["CheckoutFunction"]] == ["placed"]
    assert "done" in [line.get("effect") for line in said["CleanCartFunction"]]
    assert "sent" in [line.get("effect") for line in said["NotifyFunction"]]


def test_every_line_of_a_request_has_its_correlation_id(story: Story) -> None:
    lines = [line for line in story.lines["AccountFunction"] if "_aws" not in line]
    assert lines
    assert all(line.get("correlation_id") for line in lines)


def test_an_event_carries_its_requests_trace_to_the_queue(story: Story) -> None:
    assert {entry.get("TraceHeader") for entry in story.published} == {TRACE}


def test_nothing_that_a_person_told_the_shop_is_logged(story: Story) -> None:
    assert "CheckViolation" in story.text, "the error that quotes a row was met"
    assert "RuntimeError" in story.text, "the mail service's error that quotes an address was met"
    assert [line for line in story.text.splitlines() if MARK in line] == []


def test_the_alarms_dimensions_are_names_of_functions(story: Story) -> None:
    functions = set(template()["Resources"])
    assert {metric.function for metric in metrics_used() if isinstance(metric, Metric)} - {""} <= functions


def test_an_order_is_logged_in_as_many_bytes_as_the_model_of_its_cost_says(
    api: Api,
    shop: Shop,
    database: Callable[..., Database],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    teller = Teller(api, shop, database, capsys, monkeypatch)
    customer_id = shop.customer(100)
    shop.fill_cart(customer_id, {shop.item(10): 1 for _ in range(ORDER_LINES)})
    with ExitStack() as stack:
        stack.callback(teller.forget)
        stack.enter_context(mock_aws())
        boto3.client("sesv2").create_email_identity(EmailIdentity=SENDER)
        with teller.as_function("CheckoutFunction"):
            assert _order(api.as_customer(customer_id), 10 * ORDER_LINES, "key-order").status == 201
        _relay(teller)
        placed = teller.records("OrderPlaced.v1")
        for function, module in (("CleanCartFunction", "clean_cart"), ("NotifyFunction", "notify")):
            with teller.as_function(function):
                teller.load(
                    module, "consumers", SENDER_ADDRESS=SENDER, MAIL_CONFIGURATION="mail", QUEUE_URL="queue"
                ).handler(placed, Context())
    written = {name: json.dumps(lines, separators=(",", ":")) for name, lines in teller.story.lines.items()}
    written.pop("RelayFunction")  # a run's lines, however many messages it moves
    # Names of functions, ids of messages and moments have other lengths on AWS.
    assert abs(sum(map(len, written.values())) / COUNTED.logged_bytes - 1) < 0.15, written
