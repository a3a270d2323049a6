"""POST /orders: the caller's cart becomes an order."""

from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID, uuid4

from pydantic import Field

from domain.checkout import AcceptedOrder
from domain.refusals import Refusal
from handlers.edge.http import Api, Call, Reply, Route
from handlers.edge.models import WHOLE, AnswerBody, Body
from handlers.edge.settings import DatabaseEnvironment
from handlers.edge.writes import settle
from sql.transactions.place_order import PlaceOrder, place_order

_ENVIRONMENT = DatabaseEnvironment.read()
_DATABASE = _ENVIRONMENT.database()


class OrderRequest(Body):
    """The request to order the cart as it was shown."""

    expected_total_points: Annotated[
        int, Field(ge=0, le=2**53, description="The cart's total in points as the shopper saw it."), WHOLE
    ]
    cart_version: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=64,
            description=(
                "The cart's `cart_version` as it was shown: where the cart or a price in it has changed "
                "since, nothing is ordered. Without it the total alone is compared."
            ),
        ),
    ] = None


class PlacedLine(AnswerBody):
    """A line of a new order."""

    item_id: UUID
    name: str
    quantity: int
    unit_points: int


class PlacedOrder(AnswerBody):
    """A new order, and the balance that it leaves."""

    order_id: UUID
    status: Literal["PLACED"]
    placed_at: datetime
    total_points: int
    balance_after: int
    lines: tuple[PlacedLine, ...]


def _render(command: PlaceOrder, order: AcceptedOrder) -> tuple[int, str]:
    answer = PlacedOrder.of(order, order_id=command.request.result_id, status="PLACED", placed_at=command.now)
    return 201, answer.model_dump_json()


def _place_order(call: Call[OrderRequest]) -> Reply | Refusal:
    command = PlaceOrder(
        request=call.idempotent(result_id=uuid4()),
        expected_points=call.body.expected_total_points,
        now=datetime.now(UTC),
        region=_ENVIRONMENT.region,
        correlation_id=call.correlation_id,
        trace_id=call.trace_id,
        seen=call.body.cart_version,
    )
    return settle(call, place_order(_DATABASE, command, _render))


handler = Api(
    [
        Route(
            "POST",
            "/orders",
            _place_order,
            "Order the cart",
            body=OrderRequest,
            counted="Checkout",
            done="placed",
            answer=PlacedOrder,
            status=201,
            problems=(
                "unknown-customer",
                "empty-cart",
                "too-many-lines",
                "item-unavailable",
                "price-changed",
                "cart-changed",
                "out-of-stock",
                "order-too-large",
                "insufficient-points",
                "idempotency-key-reused",
            ),
            headers=("Idempotency-Key",),
        )
    ],
    lambda: _DATABASE,
)
