"""The checkout: a cart becomes an order, in one transaction of two round trips."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from domain.checkout import AcceptedOrder, PricedCartLine, StockSlot, decide_checkout
from domain.events import Envelope, Origin, event_of
from domain.events.orders import OrderedLine, OrderPlaced, StockExhausted
from domain.idempotency import Answer, Request
from domain.points import BalanceChange, PointsAccount
from domain.refusals import Refusal
from sql.chance import CHANCE
from sql.connection import Database
from sql.ledger import ledger_entry, move_points
from sql.outbox import enqueue
from sql.queries import Statement, load
from sql.transaction import Completed
from sql.transactions.keyed import AcceptedWrite, run_keyed

_CHECKOUT = load("checkout")
_READ_ACCOUNT = load("ledger")["read_account"].of(PointsAccount)
_TAKE_STOCK = _CHECKOUT["take_stock"]
_INSERT_ORDER = _CHECKOUT["insert_order"]
_INSERT_ORDER_LINES = _CHECKOUT["insert_order_lines"]


class CartSlot(NamedTuple):
    """A cart line beside one of its item's stock slots; without a slot where stock is unlimited."""

    item_id: UUID
    name: str
    quantity: int
    unit_points: int | None
    slot: int | None
    available: int | None


READ_CART = _CHECKOUT["read_cart_for_order"].of(CartSlot)


class PlaceOrder(NamedTuple):
    """The command to order the cart. `request.result_id` becomes the order's id."""

    request: Request
    expected_points: int
    now: datetime
    region: str
    correlation_id: str
    trace_id: str | None = None
    #: The version of the cart that the shopper saw; None where the client did not say.
    seen: str | None = None

    @property
    def event_id(self) -> UUID:
        """The id of the order's OrderPlaced."""
        return event_of(self.request.result_id)


#: Renders the accepted order as the HTTP status and body that are stored and answered.
Render = Callable[[PlaceOrder, AcceptedOrder], tuple[int, str]]


def place_order(
    database: Database,
    command: PlaceOrder,
    render: Render,
    pick: Callable[[int], int] = CHANCE.randrange,
) -> Completed[Answer | Refusal]:
    """Place the order, or find that it was placed already, or refuse it. Raises as `run_keyed` does."""

    def decide(accounts: list[PointsAccount], cart: list[CartSlot]) -> AcceptedWrite | Refusal:
        balance = accounts[0].balance if accounts else None
        order = decide_checkout(cart_lines(cart), balance, command.expected_points, pick, seen=command.seen)
        if isinstance(order, Refusal):
            return order
        return AcceptedWrite(*render(command, order), _writes(command, order))

    customer_id = command.request.customer_id
    reads = (_READ_ACCOUNT(customer_id=customer_id), READ_CART(customer_id=customer_id))
    return run_keyed(database, command.request, reads, decide)


def cart_lines(rows: Iterable[CartSlot]) -> list[PricedCartLine]:
    """Gather the stock slots of each line."""
    lines: list[PricedCartLine] = []
    for row in rows:
        slots = () if row.slot is None else (StockSlot(row.slot, row.available or 0),)
        if lines and lines[-1].item_id == row.item_id:
            slots = (*(lines.pop().stock or ()), *slots)
        lines.append(PricedCartLine(row.item_id, row.name, row.quantity, row.unit_points, slots or None))
    return lines


def _writes(command: PlaceOrder, order: AcceptedOrder) -> list[Statement[Any]]:
    customer_id, order_id = command.request.customer_id, command.request.result_id
    quantities = [line.quantity for line in order.lines]
    debit = BalanceChange(customer_id, -order.total_points, order.balance_after)
    writes = [move_points(debit)]
    if order.stock:
        writes.append(
            _TAKE_STOCK(
                item_ids=[take.item_id for take in order.stock],
                slots=[take.slot for take in order.stock],
                quantities=[take.quantity for take in order.stock],
            )
        )
    writes += (
        _INSERT_ORDER(
            order_id=order_id,
            customer_id=customer_id,
            points=order.total_points,
            placed_at=command.now,
            region=command.region,
            correlation_id=command.correlation_id,
        ),
        _INSERT_ORDER_LINES(
            order_id=order_id,
            item_ids=[line.item_id for line in order.lines],
            quantities=quantities,
            unit_points=[line.unit_points for line in order.lines],
        ),
        ledger_entry(debit, order_id, "PURCHASE", f"Order of {sum(quantities)} item(s)", order_id),
        # guard: outbox row in the order's transaction
        enqueue(_announcement(command, order)),
        *(enqueue(_last_unit(command, item_id)) for item_id in order.exhausted),
    )
    return writes


def _last_unit(command: PlaceOrder, item_id: UUID) -> "Envelope[StockExhausted]":
    # Too rare for the caller to have an id ready: one that follows from the order's own.
    sale_id = uuid5(command.event_id, item_id.hex)
    sale = StockExhausted(item_id=item_id, order_id=command.request.result_id)
    return _origin(command, sale_id).announce(sale, sale_id)


def _announcement(command: PlaceOrder, order: AcceptedOrder) -> "Envelope[OrderPlaced]":
    request = command.request
    placed = OrderPlaced(
        order_id=request.result_id,
        customer_id=request.customer_id,
        total_points=order.total_points,
        lines=tuple(
            OrderedLine(item_id=line.item_id, quantity=line.quantity, unit_points=line.unit_points)
            for line in order.lines
        ),
    )
    return _origin(command, command.event_id).announce(placed, request.result_id)


def _origin(command: PlaceOrder, event_id: UUID) -> Origin:
    return Origin(event_id, command.now, command.region, command.correlation_id, command.trace_id)
