"""What a customer does with points beside ordering: cancel, refund, give to another member."""

import json
import time
from typing import Annotated, Literal, TypedDict
from uuid import UUID, uuid4

from msgspec import Meta

from domain.checkout import MAX_LINE_QUANTITY, MAX_ORDER_LINES
from domain.points import MAX_POINTS_AT_ONCE, AcceptedTransfer
from domain.refunds import requested_units
from handlers.edge.fields import IdText, PlainText, Timestamp
from handlers.edge.http import Api, Body, Call, Reply, Route
from handlers.edge.problems import Problem
from handlers.edge.settings import DatabaseEnvironment
from handlers.edge.writes import origin_of, settle
from sql.transactions.move_points import Transfer, transfer_points
from sql.transactions.refund_order import Refunded, RefundOrder, refund_order

_ENVIRONMENT = DatabaseEnvironment.read()
_DATABASE = _ENVIRONMENT.database()


class RefundRequestLine(Body, frozen=True):
    """Units of one line to give back."""

    item_id: UUID
    quantity: Annotated[int, Meta(ge=1, le=MAX_LINE_QUANTITY)]


class RefundRequest(Body, frozen=True):
    """What to give back; without `lines`, all that is left of the order."""

    lines: Annotated[list[RefundRequestLine], Meta(min_length=1, max_length=MAX_ORDER_LINES)] | None = None


class RefundedLine(TypedDict):
    """Units that were given back."""

    item_id: IdText
    quantity: int
    unit_points: int


class Refund(TypedDict):
    """A refund: the order's state after it, the points credited, the balance that they leave."""

    refund_id: IdText
    order_id: IdText
    status: Literal["CANCELLED", "PART_REFUNDED", "REFUNDED"]
    refunded_at: Timestamp
    points: int
    balance_after: int
    lines: list[RefundedLine]


def _render_refund(command: RefundOrder, done: Refunded) -> tuple[int, str]:
    answer: Refund = {
        "refund_id": str(command.request.result_id),
        "order_id": str(command.order_id),
        "status": done.refund.status,
        "refunded_at": command.origin.now.isoformat(),
        "points": done.refund.points,
        "balance_after": done.balance_after,
        "lines": [
            {"item_id": str(line.item_id), "quantity": line.quantity, "unit_points": line.unit_points}
            for line in done.refund.lines
        ],
    }
    return 201, json.dumps(answer)


def _refund_order(call: Call[RefundRequest]) -> Reply | Problem:
    start_s = time.perf_counter()
    order_id = call.path_id("order_id")
    lines = call.body.lines
    request = call.idempotent(f"POST /orders/{order_id}/refunds", result_id=uuid4())
    command = RefundOrder(
        request=request,
        origin=origin_of(call, _ENVIRONMENT.region, request.result_id),
        order_id=order_id,
        units=None if lines is None else requested_units([(line.item_id, line.quantity) for line in lines]),
    )
    completed = refund_order(_DATABASE, command, _render_refund)
    return settle(call, "Refund", "refunded", completed, start_s)


def _cancel_order(call: Call) -> Reply | Problem:
    start_s = time.perf_counter()
    order_id = call.path_id("order_id")
    request = call.idempotent(f"POST /orders/{order_id}/cancel", result_id=uuid4())
    command = RefundOrder(
        request=request,
        origin=origin_of(call, _ENVIRONMENT.region, request.result_id),
        order_id=order_id,
        cancel=True,
    )
    completed = refund_order(_DATABASE, command, _render_refund)
    return settle(call, "Cancellation", "cancelled", completed, start_s)


class TransferRequest(Body, frozen=True):
    """Points for another member."""

    payee_username: Annotated[PlainText, Meta(min_length=1, max_length=50)]
    points: Annotated[int, Meta(ge=1, le=MAX_POINTS_AT_ONCE)]


class TransferDone(TypedDict):
    """A transfer, and the balance that it leaves the payer."""

    transfer_id: IdText
    transferred_at: Timestamp
    points: int
    balance_after: int


def _render_transfer(command: Transfer, done: AcceptedTransfer) -> tuple[int, str]:
    answer: TransferDone = {
        "transfer_id": str(command.request.result_id),
        "transferred_at": command.origin.now.isoformat(),
        "points": command.points,
        "balance_after": done.payer.balance_after,
    }
    return 201, json.dumps(answer)


def _transfer_points(call: Call[TransferRequest]) -> Reply | Problem:
    start_s = time.perf_counter()
    request = call.idempotent("POST /points/transfers", result_id=uuid4())
    command = Transfer(
        request=request,
        origin=origin_of(call, _ENVIRONMENT.region, request.result_id),
        payee_username=call.body.payee_username,
        points=call.body.points,
        payee_entry_id=uuid4(),
    )
    completed = transfer_points(_DATABASE, command, _render_transfer)
    return settle(call, "Transfer", "transferred", completed, start_s)


handler = Api(
    [
        Route(
            "POST",
            "/orders/{order_id}/cancel",
            _cancel_order,
            "Cancel an order of which nothing was given back yet",
            answer=Refund,
            status=201,
            problems=(
                "unknown-customer",
                "unknown-order",
                "not-cancellable",
                "balance-limit",
                "idempotency-key-reused",
            ),
            headers=("Idempotency-Key",),
        ),
        Route(
            "POST",
            "/orders/{order_id}/refunds",
            _refund_order,
            "Give an order back, whole or by line and quantity",
            body=RefundRequest,
            answer=Refund,
            status=201,
            problems=(
                "unknown-customer",
                "unknown-order",
                "already-refunded",
                "not-in-order",
                "refund-too-large",
                "balance-limit",
                "idempotency-key-reused",
            ),
            headers=("Idempotency-Key",),
        ),
        Route(
            "POST",
            "/points/transfers",
            _transfer_points,
            "Give points to another member",
            body=TransferRequest,
            answer=TransferDone,
            status=201,
            problems=(
                "unknown-customer",
                "unknown-payee",
                "self-transfer",
                "insufficient-points",
                "balance-limit",
                "idempotency-key-reused",
            ),
            headers=("Idempotency-Key",),
        ),
    ]
)
