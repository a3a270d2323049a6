"""Scheduled, off unless there is a test customer: orders at a version that a deployment tries, and cancels.

A gradual deployment proves as much as the requests that meet its new version, and at a quiet hour none does.
So while a function has a version on trial, the test customer fills a cart, orders it, repeats the request and
cancels the order, at just that version. What fails fails this function; its alarm takes the deployment back.

The versions are invoked as the API's gateway would, with the test customer's claims: the gateway and the
sign-in are not what a deployment tries, and nobody has to keep a password (docs/decisions/0025).
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple
from uuid import UUID, uuid4

from aws_lambda_powertools.metrics import MetricUnit
from pydantic import BeforeValidator

from handlers.edge.observability import guarded, logger, metrics
from handlers.edge.settings import Environment, NonEmpty

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

_ALIAS = "live"

#: An order that nothing was given back of yet.
_PLACED = "PLACED"


class _Environment(Environment):
    #: Empty: nothing is ordered.
    smoke_customer_id: Annotated[UUID | None, BeforeValidator(lambda text: text or None)] = None
    user_pool_client_id: str
    storefront_function: NonEmpty
    checkout_function: NonEmpty
    orders_function: NonEmpty


_ENVIRONMENT = _Environment.read()
_STOREFRONT, _CHECKOUT, _ORDERS = _FUNCTIONS = (
    _ENVIRONMENT.storefront_function,
    _ENVIRONMENT.checkout_function,
    _ENVIRONMENT.orders_function,
)


class SmokeOrderError(Exception):
    """A step was not answered as it has to be; the log line before says which, with status and problem."""


class _Answer(NamedTuple):
    headers: Mapping[str, str]
    body: Any


@guarded
def handler(event: dict[str, Any], _context: object) -> dict[str, int]:
    """Order and cancel once, if a version is on trial, or `now` stands in the event; count the orders."""
    placed = 0
    if _ENVIRONMENT.smoke_customer_id is not None:
        tried = {name: version for name in _FUNCTIONS if (version := _on_trial(name)) is not None}
        if tried or event.get("now"):
            _order_and_cancel(_Shopper(_ENVIRONMENT.smoke_customer_id, tried))
            placed = 1
    metrics().add_metric("SmokeOrders", MetricUnit.Count, placed)
    return {"smoke_orders": placed}


@cache
def _lambda() -> "LambdaClient":
    import boto3  # not before there is something to try
    from botocore.config import Config

    # A function of the API has answered, or run out of its time, before this gives up.
    return boto3.client(
        "lambda", config=Config(connect_timeout=2, read_timeout=28, retries={"total_max_attempts": 1})
    )


def _on_trial(function: str) -> str | None:
    """Give the version that a deployment lets have a share of the requests, None where there is none."""
    aliases = _lambda().list_aliases(FunctionName=function)["Aliases"]
    routing = [alias.get("RoutingConfig", {}) for alias in aliases if alias["Name"] == _ALIAS]
    weights = [each.get("AdditionalVersionWeights", {}) for each in routing if each]
    return next((version for each in weights for version in each), None)


class _Shopper(NamedTuple):
    """The test customer at the functions' versions: those on trial, of the others what everybody gets."""

    customer_id: UUID
    versions: Mapping[str, str]

    def ask(
        self,
        function: str,
        method: str,
        resource: str,
        status: int,
        *,
        key: str | None = None,
        body: Any = None,
        **path: str,
    ) -> _Answer:
        """Send a request that has to be answered by `status`. Raises SmokeOrderError."""
        version = self.versions.get(function, _ALIAS)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        request = {
            "httpMethod": method,
            "resource": resource,
            "path": resource.format(**path),
            "pathParameters": path or None,
            "headers": headers if key is None else {**headers, "Idempotency-Key": key},
            "body": None if body is None else json.dumps(body),
            "isBase64Encoded": False,
            "requestContext": {"requestId": str(uuid4()), "authorizer": {"claims": self._claims()}},
        }
        invoked = _lambda().invoke(FunctionName=f"{function}:{version}", Payload=json.dumps(request))
        answer = json.loads(invoked["Payload"].read())
        got, crash = answer.get("statusCode", 0), invoked.get("FunctionError")
        # guard: whatever is not the answer that has to come is a failure
        if crash or got != status:
            problem = crash or (json.loads(answer["body"] or "{}").get("type") if got >= 400 else None)
            step = f"{method} {resource}"
            logger.error(
                "smoke order failed",
                extra={"step": step, "version": version, "status": got, "problem": problem},
            )
            raise SmokeOrderError(step)
        return _Answer(answer["headers"], json.loads(answer["body"]) if answer["body"] else None)

    def cancel(self, order_id: str) -> _Answer:
        """Have an order's points and units given back, once, however often this is called."""
        return self.ask(
            _ORDERS, "POST", "/orders/{order_id}/cancel", 201, key=f"smoke-{order_id}", order_id=order_id
        )

    def _claims(self) -> dict[str, str]:
        return {"custom:customer_id": str(self.customer_id), "aud": _ENVIRONMENT.user_pool_client_id}


def _order_and_cancel(shopper: _Shopper) -> None:
    """Go through a checkout and back. Raises SmokeOrderError."""
    _cancel_what_was_left(shopper)
    shopper.ask(_STOREFRONT, "DELETE", "/cart", 204)
    items = shopper.ask(_STOREFRONT, "GET", "/catalog", 200).body["items"]
    for_sale = [item for item in items if item["available"] != 0]
    _expect(bool(for_sale), "an item for sale")
    item_id = min(for_sale, key=lambda item: item["points"])["item_id"]
    shopper.ask(_STOREFRONT, "PUT", "/cart/items/{item_id}", 200, body={"quantity": 1}, item_id=item_id)
    cart = shopper.ask(_STOREFRONT, "GET", "/cart", 200).body

    key = f"smoke-{uuid4()}"
    wanted = {"expected_total_points": cart["total_points"], "cart_version": cart["cart_version"]}
    order = shopper.ask(_CHECKOUT, "POST", "/orders", 201, key=key, body=wanted).body
    try:
        _expect(order["balance_after"] == cart["balance"] - cart["total_points"], "a debit")
        again = shopper.ask(_CHECKOUT, "POST", "/orders", 201, key=key, body=wanted)
        _expect(
            again.body == order and again.headers.get("Idempotency-Replayed") == "true", "a replayed answer"
        )
        back = shopper.cancel(order["order_id"]).body
        _expect(back["balance_after"] == cart["balance"], "points given back")
    except SmokeOrderError:
        # guard: a version that fails does not keep the points
        _Shopper(shopper.customer_id, {}).cancel(order["order_id"])
        raise


def _cancel_what_was_left(shopper: _Shopper) -> None:
    """Cancel the orders of runs that were cut off: all orders of this customer are such orders."""
    for order in shopper.ask(_STOREFRONT, "GET", "/orders", 200).body["orders"]:
        # guard: what a run that was cut off has ordered is given back by the next
        if order["status"] == _PLACED:
            shopper.cancel(order["order_id"])


def _expect(holds: bool, what: str) -> None:
    if not holds:
        logger.error("smoke order failed", extra={"step": what})
        raise SmokeOrderError(what)
