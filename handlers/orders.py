"""What a customer does with points beside ordering: cancel, refund, give to another member."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

from pydantic import Field

from domain.checkout import MAX_LINE_QUANTITY, MAX_ORDER_LINES
from domain.points import MAX_POINTS_AT_ONCE, AcceptedTransfer
from domain.refunds import requested_units
from domain.refusals import Refusal
from handlers.edge.http import Api, Call, Reply, Route
from handlers.edge.models import WHOLE, AnswerBody, Body, Id, PlainText
from handlers.edge.settings import DatabaseEnvironment
from handlers.edge.writes import origin_of, settle
from sql.transactions.move_points import Transfer, transfer_points
from sql.transactions.refund_order import Refunded, RefundOrder, refund_order

_ENVIRONMENT = DatabaseEnvironment.read()
_DATABASE = _ENVIRONMENT.database()


class RefundRequestLine(Body):
    """Units of one line to give back."""

    item_id: Id
    quantity: Annotated[int, Field(ge=1, le=MAX_LINE_QUANTITY), WHOLE]


class RefundRequest(Body):
    """What to give back; without `lines`, all that is left of the order."""

    lines: Annotated[list[RefundRequestLine], Field(min_length=1, max_length=MAX_ORDER_LINES)] | None = None


class RefundedLine(AnswerBody):
    """Units that were given back."""

    item_id: UUID
    quantity: int
    unit_points: int


class Refund(AnswerBody):
    """A refund: the order's state after it, the points credited, the balance that they leave."""

    refund_id: UUID
    order_id: UUID
    status: Literal["CANCELLED", "PART_REFUNDED", "REFUNDED"]
    refunded_at: datetime
    points: int
    balance_after: int
    lines: tuple[RefundedLine, ...]


def _render_refund(command: RefundOrder, done: Refunded) -> tuple[int, str]:
    answer = Refund.of(
        done.refund,
        refund_id=command.request.result_id,
        order_id=command.order_id,
        refunded_at=command.origin.now,
        balance_after=done.balance_after,
    )
    return 201, answer.model_dump_json()


def _refund_order(call: Call[RefundRequest]) -> Reply | Refusal:
    lines = call.body.lines
    units = None if lines is None else requested_units([(line.item_id, line.quantity) for line in lines])
    return _give_back(call, units)


def _cancel_order(call: Call) -> Reply | Refusal:
    return _give_back(call, cancel=True)


def _give_back(
    call: Call[Any], units: dict[UUID, int] | None = None, cancel: bool = False
) -> Reply | Refusal:
    order_id = call.path_id("order_id")
    request = call.idempotent(result_id=uuid4())
    origin = origin_of(call, _ENVIRONMENT.region, request.result_id)
    command = RefundOrder(request, origin, order_id, units=units, cancel=cancel)
    return settle(call, refund_order(_DATABASE, command, _render_refund))


class TransferRequest(Body):
    """Points for another member."""

    payee_username: Annotated[PlainText, Field(min_length=1, max_length=50)]
    points: Annotated[int, Field(ge=1, le=MAX_POINTS_AT_ONCE), WHOLE]


class TransferDone(AnswerBody):
    """A transfer, and the balance that it leaves the payer."""

    transfer_id: UUID
    transferred_at: datetime
    points: int
    balance_after: int


def _render_transfer(command: Transfer, done: AcceptedTransfer) -> tuple[int, str]:
    answer = TransferDone(
        transfer_id=command.request.result_id,
        transferred_at=command.origin.now,
        points=command.points,
        balance_after=done.payer.balance_after,
    )
    return 201, answer.model_dump_json()


def _transfer_points(call: Call[TransferRequest]) -> Reply | Refusal:
    request = call.idempotent(result_id=uuid4())
    command = Transfer(
        request=request,
        origin=origin_of(call, _ENVIRONMENT.region, request.result_id),
        payee_username=call.body.payee_username,
        points=call.body.points,
        payee_entry_id=uuid4(),
    )
    return settle(call, transfer_points(_DATABASE, command, _render_transfer))


handler = Api(
    [
        Route(
            "POST",
            "/orders/{order_id}/cancel",
            _cancel_order,
            "Cancel an order of which nothing was given back yet",
            counted="Cancellation",
            done="cancelled",
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
            counted="Refund",
            done="refunded",
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
            counted="Transfer",
            done="transferred",
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
    ],
    lambda: _DATABASE,
)
