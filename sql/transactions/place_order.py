"""The checkout: a cart becomes an order, in one transaction of two round trips."""

import random
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID, uuid5

from domain.checkout import AcceptedOrder, CartLine, StockSlot, decide_checkout
from domain.events import Envelope, OrderedLine, OrderPlaced, Origin, StockExhausted, event_of
from domain.idempotency import Answer, Request, StoredAnswer, answer_again
from domain.refusals import Refusal
from sql.connection import Database
from sql.outbox import enqueue
from sql.queries import Statement, load
from sql.transaction import DEFAULT_POLICY, Completed, RetryPolicy, Row, Transaction, run

_CHECKOUT = load("checkout")
_LEDGER = load("ledger")
_IDEMPOTENCY = load("idempotency")

_FIND_RECORD = _IDEMPOTENCY["find_idempotency_record"]
_INSERT_RECORD = _IDEMPOTENCY["insert_idempotency_record"]
_READ_ACCOUNT = _LEDGER["read_account"]
_DEBIT_BALANCE = _LEDGER["debit_balance"]
_INSERT_LEDGER_ENTRY = _LEDGER["insert_ledger_entry"]
_READ_CART = _CHECKOUT["read_cart_for_order"]
_TAKE_STOCK = _CHECKOUT["take_stock"]
_INSERT_ORDER = _CHECKOUT["insert_order"]
_INSERT_ORDER_LINES = _CHECKOUT["insert_order_lines"]


class PlaceOrder(NamedTuple):
    """The command to order the cart. `request.result_id` becomes the order's id."""

    request: Request
    expected_points: int
    now: datetime
    region: str
    correlation_id: str
    trace_id: str | None = None

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
    policy: RetryPolicy = DEFAULT_POLICY,
    pick: Callable[[int], int] = random.randrange,
) -> Completed[Answer | Refusal]:
    """Place the order, or find that it was placed already, or refuse it with nothing written.

    Raises sql.errors.RetriesExhaustedError and psycopg.Error as `sql.transaction.run` does.
    """

    def attempt(transaction: Transaction) -> Answer | Refusal:
        request = command.request
        record, account, cart = transaction.read(
            _FIND_RECORD(customer_id=request.customer_id, idempotency_key=request.key),
            _READ_ACCOUNT(customer_id=request.customer_id),
            _READ_CART(customer_id=request.customer_id),
        )
        # guard: idempotency read of the checkout
        if record:
            return answer_again(StoredAnswer(*record[0]), request)
        decision = decide_checkout(
            cart_lines(cart), account[0][1] if account else None, command.expected_points, pick
        )
        if isinstance(decision, Refusal):
            return decision
        status, body = render(command, decision)
        transaction.commit(*_writes(command, decision, status, body))
        return Answer(status, body, replayed=False)

    return run(database, attempt, policy)


def cart_lines(rows: Iterable[Row]) -> list[CartLine]:
    """Map the rows of `read_cart_for_order` to lines, gathering each line's stock slots."""
    lines: list[CartLine] = []
    for item_id, name, quantity, unit_points, slot, available in rows:
        stock: tuple[StockSlot, ...] | None = None if slot is None else (StockSlot(slot, available),)
        if lines and lines[-1].item_id == item_id:
            stock = (lines.pop().stock or ()) + (stock or ())
        lines.append(CartLine(item_id, name, quantity, unit_points, stock))
    return lines


def _writes(command: PlaceOrder, order: AcceptedOrder, status: int, body: str) -> list[Statement]:
    request = command.request
    order_id = request.result_id
    item_ids = [line.item_id for line in order.lines]
    quantities = [line.quantity for line in order.lines]
    unit_points = [line.unit_points for line in order.lines]
    writes = [_DEBIT_BALANCE(customer_id=request.customer_id, points=order.total_points)]
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
            customer_id=request.customer_id,
            points=order.total_points,
            placed_at=command.now,
            region=command.region,
            correlation_id=command.correlation_id,
        ),
        _INSERT_ORDER_LINES(
            order_id=order_id, item_ids=item_ids, quantities=quantities, unit_points=unit_points
        ),
        _INSERT_LEDGER_ENTRY(
            id=order_id,
            customer_id=request.customer_id,
            tx_type="PURCHASE",
            points=-order.total_points,
            description=f"Order of {sum(quantities)} item(s)",
            balance_after=order.balance_after,
            reference_id=order_id,
        ),
        _INSERT_RECORD(
            customer_id=request.customer_id,
            idempotency_key=request.key,
            request_hash=request.hash,
            result_id=order_id,
            response_status=status,
            response_body=body,
        ),
        # guard: outbox row in the order's transaction
        enqueue(_announcement(command, order)),
        *(enqueue(_last_unit(command, item_id)) for item_id in order.exhausted),
    )
    return writes


def _last_unit(command: PlaceOrder, item_id: UUID) -> Envelope[StockExhausted]:
    # Too rare for the caller to have an id ready: one that follows from the order's own.
    sale_id = uuid5(command.event_id, item_id.hex)
    sale = StockExhausted(item_id=item_id, order_id=command.request.result_id)
    return _origin(command, sale_id).announce(sale, sale_id)


def _announcement(command: PlaceOrder, order: AcceptedOrder) -> Envelope[OrderPlaced]:
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
