"""POST /orders: the caller's cart becomes an order."""

import json
import time
from datetime import UTC, datetime
from typing import Annotated, Literal, TypedDict
from uuid import uuid4

from msgspec import Meta

from domain.checkout import AcceptedOrder
from handlers.edge.fields import IdText, Timestamp
from handlers.edge.http import Api, Body, Call, Reply, Route
from handlers.edge.problems import Problem
from handlers.edge.settings import DatabaseEnvironment
from handlers.edge.writes import settle
from sql.transactions.place_order import PlaceOrder, place_order

_ENVIRONMENT = DatabaseEnvironment.read()
_DATABASE = _ENVIRONMENT.database()


class OrderRequest(Body, frozen=True):
    """The request to order the cart as it was shown."""

    expected_total_points: Annotated[
        int, Meta(ge=0, le=2**53, description="The cart's total in points as the shopper saw it.")
    ]


class PlacedLine(TypedDict):
    """A line of a new order."""

    item_id: IdText
    name: str
    quantity: int
    unit_points: int


class PlacedOrder(TypedDict):
    """A new order, and the balance that it leaves."""

    order_id: IdText
    status: Literal["PLACED"]
    placed_at: Timestamp
    total_points: int
    balance_after: int
    lines: list[PlacedLine]


def _render(command: PlaceOrder, order: AcceptedOrder) -> tuple[int, str]:
    document: PlacedOrder = {
        "order_id": str(command.request.result_id),
        "status": "PLACED",
        "placed_at": command.now.isoformat(),
        "total_points": order.total_points,
        "balance_after": order.balance_after,
        "lines": [
            {
                "item_id": str(line.item_id),
                "name": line.name,
                "quantity": line.quantity,
                "unit_points": line.unit_points,
            }
            for line in order.lines
        ],
    }
    return 201, json.dumps(document)


def _place_order(call: Call[OrderRequest]) -> Reply | Problem:
    start_s = time.perf_counter()
    command = PlaceOrder(
        request=call.idempotent("POST /orders", result_id=uuid4()),
        expected_points=call.body.expected_total_points,
        now=datetime.now(UTC),
        region=_ENVIRONMENT.region,
        correlation_id=call.correlation_id,
        trace_id=call.trace_id,
    )
    return settle(call, "Checkout", "placed", place_order(_DATABASE, command, _render), start_s)


handler = Api(
    [
        Route(
            "POST",
            "/orders",
            _place_order,
            "Order the cart",
            body=OrderRequest,
            answer=PlacedOrder,
            status=201,
            problems=(
                "unknown-customer",
                "empty-cart",
                "too-many-lines",
                "item-unavailable",
                "price-changed",
                "out-of-stock",
                "order-too-large",
                "insufficient-points",
                "idempotency-key-reused",
            ),
            headers=("Idempotency-Key",),
        )
    ]
)
