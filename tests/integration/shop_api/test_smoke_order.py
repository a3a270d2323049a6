"""The order that tries a new version, at the real handlers: what it does, and what it leaves behind."""

import io
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from handlers import checkout, orders, storefront
from handlers.edge.observability import FunctionFailedError
from tests.integration.shop import Shop
from tests.integration.shop_api.client import Api

NEW = "8"


class Functions:
    """Lambda with the three functions: which versions are on trial, which were asked, and what goes wrong."""

    def __init__(self) -> None:
        self.on_trial = {"storefront": NEW, "checkout": NEW, "orders": NEW}
        self.asked: list[tuple[str, str, str]] = []
        self.breaks: Callable[[str, str, Any], Any] = lambda step, version, answer: answer

    def list_aliases(self, FunctionName: str) -> dict[str, Any]:  # noqa: N803  # boto3's
        version = self.on_trial.get(FunctionName)
        weights = {} if version is None else {"RoutingConfig": {"AdditionalVersionWeights": {version: 0.1}}}
        return {"Aliases": [{"Name": "live", "FunctionVersion": "7", **weights}]}

    def invoke(self, FunctionName: str, Payload: str) -> dict[str, Any]:  # noqa: N803
        name, version = FunctionName.split(":")
        event = json.loads(Payload)
        step = f"{event['httpMethod']} {event['resource']}"
        self.asked.append((name, version, step))
        modules = {"storefront": storefront, "checkout": checkout, "orders": orders}
        answer = self.breaks(step, version, modules[name].handler(event, None))
        failed = {"FunctionError": "Unhandled"} if "statusCode" not in answer else {}
        return {"Payload": io.BytesIO(json.dumps(answer).encode()), **failed}


@pytest.fixture
def functions() -> Functions:
    return Functions()


@pytest.fixture
def customer(shop: Shop) -> UUID:
    shop.item(points=70, stock=[5])
    shop.item(points=5, stock=[0])
    return shop.customer(points=100)


@pytest.fixture
def run(
    api: Api, functions: Functions, customer: UUID, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, int]]:
    """Give a run of the function for the customer."""
    for name in ("storefront", "checkout", "orders"):
        monkeypatch.setenv(f"{name.upper()}_FUNCTION", name)
    monkeypatch.setenv("SMOKE_CUSTOMER_ID", str(customer))
    monkeypatch.setenv("USER_POOL_CLIENT_ID", "")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    from handlers import smoke_order

    environment = smoke_order._Environment.read()
    monkeypatch.setattr(smoke_order, "_ENVIRONMENT", environment)
    for place, name in (("_STOREFRONT", "storefront"), ("_CHECKOUT", "checkout"), ("_ORDERS", "orders")):
        monkeypatch.setattr(smoke_order, place, name)
    monkeypatch.setattr(smoke_order, "_FUNCTIONS", ("storefront", "checkout", "orders"))
    monkeypatch.setattr(smoke_order, "_lambda", lambda: functions)

    def once(**event: Any) -> dict[str, int]:
        return smoke_order.handler(event, None)

    return once


def left(shop: Shop, customer: UUID) -> tuple[int, list[tuple[Any, ...]], int]:
    """Give what a customer has, the states of their orders, and the units of limited items."""
    return (
        shop.balance(customer),
        shop.rows("select status from xpoints.orders where customer_id = %s order by 1", [customer]),
        shop.scalar("select sum(available)::int from xpoints.stock"),
    )


def test_nothing_is_ordered_while_no_version_is_on_trial(
    run: Callable[..., dict[str, int]], functions: Functions, shop: Shop, customer: UUID
) -> None:
    functions.on_trial.clear()

    assert run() == {"smoke_orders": 0}
    assert functions.asked == []
    assert left(shop, customer) == (100, [], 5)


def test_an_order_is_placed_at_the_version_on_trial_and_everything_is_given_back(
    run: Callable[..., dict[str, int]], functions: Functions, shop: Shop, customer: UUID
) -> None:
    assert run() == {"smoke_orders": 1}

    assert {version for _, version, _ in functions.asked} == {NEW}
    steps = [step for _, _, step in functions.asked]
    assert (steps.count("POST /orders"), steps[-1]) == (2, "POST /orders/{order_id}/cancel")
    assert left(shop, customer) == (100, [("CANCELLED",)], 5)
    shop.assert_sound()
    assert run() == {"smoke_orders": 1}
    assert left(shop, customer) == (100, [("CANCELLED",), ("CANCELLED",)], 5)


def test_a_function_without_a_version_on_trial_is_asked_as_everybody_asks_it(
    run: Callable[..., dict[str, int]], functions: Functions
) -> None:
    functions.on_trial = {"checkout": NEW}
    run()
    assert {(name, version) for name, version, _ in functions.asked} == {
        ("storefront", "live"),
        ("checkout", NEW),
        ("orders", "live"),
    }
    functions.on_trial, functions.asked = {}, []
    assert run(now=True) == {"smoke_orders": 1}
    assert {version for _, version, _ in functions.asked} == {"live"}


def _crash(answer: Any) -> Any:
    return {"errorType": "Runtime.ImportModuleError"}


def _internal_error(answer: Any) -> Any:
    return {**answer, "statusCode": 500, "body": json.dumps({"type": "urn:rewards:problem:internal-error"})}


def _other_debit(answer: Any) -> Any:
    return {**answer, "body": json.dumps({**json.loads(answer["body"]), "balance_after": 99})}


@pytest.mark.parametrize("broken", [_crash, _internal_error, _other_debit])
@pytest.mark.parametrize("step", ["POST /orders", "POST /orders/{order_id}/cancel"])
def test_a_version_that_answers_wrongly_fails_the_run_and_does_not_keep_the_points(
    run: Callable[..., dict[str, int]],
    functions: Functions,
    shop: Shop,
    customer: UUID,
    broken: Callable[[Any], Any],
    step: str,
) -> None:
    functions.breaks = lambda at, version, answer: broken(answer) if (at, version) == (step, NEW) else answer
    with pytest.raises(FunctionFailedError, match="SmokeOrderError"):
        run()
    if broken is not _other_debit and step == "POST /orders":
        # Nobody can tell what it has ordered: the next run finds out.
        functions.breaks = lambda at, version, answer: answer
        run()
    balance, states, units = left(shop, customer)
    assert (balance, {state for (state,) in states}, units) == (100, {"CANCELLED"}, 5)
    shop.assert_sound()


def _another_order(answer: Any) -> Any:
    return {**answer, "body": json.dumps({**json.loads(answer["body"]), "order_id": str(uuid4())})}


def _as_if_new(answer: Any) -> Any:
    return {**answer, "headers": {**answer["headers"], "Idempotency-Replayed": "false"}}


@pytest.mark.parametrize("broken", [_another_order, _as_if_new])
def test_a_request_that_is_served_twice_fails_the_run(
    run: Callable[..., dict[str, int]], functions: Functions, broken: Callable[[Any], Any]
) -> None:
    def forgets(step: str, version: str, answer: Any) -> Any:
        is_replay = step == "POST /orders" and answer["headers"]["Idempotency-Replayed"] == "true"
        return broken(answer) if is_replay else answer

    functions.breaks = forgets
    with pytest.raises(FunctionFailedError, match="SmokeOrderError"):
        run()


def test_what_a_run_that_was_cut_off_has_ordered_is_cancelled_by_the_next(
    run: Callable[..., dict[str, int]], api: Api, shop: Shop, customer: UUID
) -> None:
    item_id = shop.item(points=30)
    shop.fill_cart(customer, {item_id: 2})
    assert api.as_customer(customer).post("/orders", {"expected_total_points": 60}).status == 201
    assert shop.balance(customer) == 40

    assert run() == {"smoke_orders": 1}
    assert left(shop, customer) == (100, [("CANCELLED",), ("CANCELLED",)], 5)
    shop.assert_sound()


def test_a_customer_who_cannot_pay_or_a_shop_without_items_fails_the_run_and_is_logged(
    run: Callable[..., dict[str, int]], shop: Shop, customer: UUID, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.connection.execute("update xpoints.catalog_items set points_price = 1000")
    with pytest.raises(FunctionFailedError):
        run()
    assert "insufficient-points" in capsys.readouterr().out
