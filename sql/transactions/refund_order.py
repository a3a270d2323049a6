"""An order's units and points go back: cancelled as a whole, or refunded by line."""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from domain import refusals
from domain.checkout import StockSlot
from domain.events import Origin
from domain.events.orders import OrderedLine
from domain.events.refunds import OrderCancelled, OrderRefunded
from domain.idempotency import Answer, Request
from domain.limits import CANCELLATIONS, Uses, refuse_beyond
from domain.points import BalanceChange, PointsAccount, add_points
from domain.refunds import AcceptedRefund, BoughtLine, BoughtOrder, decide_cancellation, decide_refund
from domain.refusals import Refusal
from domain.stock import give_back
from sql.chance import CHANCE
from sql.connection import Database
from sql.ledger import ledger_entry, move_points
from sql.limits import count_use, read_uses
from sql.outbox import enqueue
from sql.queries import Statement, load, part
from sql.transaction import Completed
from sql.transactions.keyed import AcceptedWrite, run_keyed

_ORDERS = load("orders")
_READ_ORDER = _ORDERS["read_order_to_refund"].of(dict)
_REFUND_ORDER = _ORDERS["refund_order"]
_REFUND_LINES = _ORDERS["refund_lines"]
_INSERT_EVENT = _ORDERS["insert_order_event"]
_READ_ACCOUNT = load("ledger")["read_account"].of(PointsAccount)
_GIVE_STOCK = load("stock")["give_stock"]


class _ItemSlot(NamedTuple):
    item_id: UUID
    slot: int
    available: int


_READ_STOCK = _ORDERS["read_stock_of_order"].of(_ItemSlot)


class RefundOrder(NamedTuple):
    """The command to give an order back: `units` by item, None for all that is left; or to cancel it.

    `request.result_id` becomes the refund's id, which is its ledger entry's.
    """

    request: Request
    origin: Origin
    order_id: UUID
    units: Mapping[UUID, int] | None = None
    cancel: bool = False


class Refunded(NamedTuple):
    """A refund with the balance that it leaves."""

    refund: AcceptedRefund
    balance_after: int


def refund_order(
    database: Database,
    command: RefundOrder,
    render: Callable[[RefundOrder, Refunded], tuple[int, str]],
    pick: Callable[[int], int] = CHANCE.randrange,
) -> Completed[Answer | Refusal]:
    """Give an order's points, and its limited items' stock, back. Raises as `run_keyed` does."""

    def decide(
        accounts: list[PointsAccount],
        rows: list[dict[str, Any]],
        stock: list[_ItemSlot],
        cancellations: list[Uses],
    ) -> AcceptedWrite | Refusal:
        if not accounts:
            return refusals.unknown_customer()
        if not rows:
            return refusals.unknown_order(command.order_id)
        lines = tuple(part(BoughtLine, row) for row in rows)
        order = BoughtOrder(**rows[0], lines=lines)
        decision = decide_cancellation(order) if command.cancel else decide_refund(order, command.units)
        if isinstance(decision, Refusal):
            return decision
        # guard: cancellations have a bound
        beyond = refuse_beyond(CANCELLATIONS, cancellations) if command.cancel else None
        if beyond is not None:
            return beyond
        change = add_points(accounts[0], decision.points)
        if isinstance(change, Refusal):
            return change
        writes = _writes(command, decision, change, _slots(stock), pick)
        return AcceptedWrite(*render(command, Refunded(decision, change.balance_after)), writes)

    customer_id = command.request.customer_id
    reads = (
        _READ_ACCOUNT(customer_id=customer_id),
        _READ_ORDER(order_id=command.order_id, customer_id=customer_id),
        _READ_STOCK(order_id=command.order_id),
        read_uses(CANCELLATIONS, [str(customer_id)]),
    )
    return run_keyed(database, command.request, reads, decide)


def _slots(rows: list[_ItemSlot]) -> dict[UUID, list[StockSlot]]:
    slots: dict[UUID, list[StockSlot]] = {}
    for row in rows:
        slots.setdefault(row.item_id, []).append(StockSlot(row.slot, row.available))
    return slots


def _writes(
    command: RefundOrder,
    refund: AcceptedRefund,
    change: BalanceChange,
    slots: Mapping[UUID, list[StockSlot]],
    pick: Callable[[int], int],
) -> list[Statement[Any]]:
    refund_id = command.request.result_id
    event = _event(command, refund)
    units = sum(line.quantity for line in refund.lines)
    given = [
        (line.item_id, back)
        for line in refund.lines
        if (there := slots.get(line.item_id)) and (back := give_back(there, line.quantity, pick(len(there))))
    ]
    writes = [move_points(change)]
    if command.cancel:
        writes.append(count_use(CANCELLATIONS, [str(command.request.customer_id)]))
    if given:
        writes.append(
            _GIVE_STOCK(
                item_ids=[item_id for item_id, _ in given],
                slots=[back.slot for _, back in given],
                quantities=[back.available for _, back in given],
            )
        )
    writes += (
        _REFUND_ORDER(
            order_id=command.order_id, status=refund.status, points=refund.points, version=refund.version
        ),
        _REFUND_LINES(
            order_id=command.order_id,
            item_ids=[line.item_id for line in refund.lines],
            quantities=[line.quantity for line in refund.lines],
        ),
        ledger_entry(change, refund_id, "REFUND", f"Refund of {units} item(s)", command.order_id),
        _INSERT_EVENT(
            order_id=command.order_id,
            version=refund.version,
            event_id=command.origin.event_id,
            event_type=event.type_name,
            points=refund.points,
            lines=json.dumps(
                [{"item_id": str(line.item_id), "quantity": line.quantity} for line in refund.lines]
            ),
            occurred_at=command.origin.now,
        ),
        enqueue(command.origin.announce(event, command.order_id, refund.version)),
    )
    return writes


def _event(command: RefundOrder, refund: AcceptedRefund) -> OrderCancelled | OrderRefunded:
    lines = tuple(
        OrderedLine(item_id=line.item_id, quantity=line.quantity, unit_points=line.unit_points)
        for line in refund.lines
    )
    order_id, customer_id = command.order_id, command.request.customer_id
    if command.cancel:
        return OrderCancelled(order_id=order_id, customer_id=customer_id, points=refund.points, lines=lines)
    return OrderRefunded(
        order_id=order_id,
        customer_id=customer_id,
        refund_id=command.request.result_id,
        points=refund.points,
        complete=refund.status == "REFUNDED",
        lines=lines,
    )
