"""Changes of the cart: set a line, remove a line, clear it all. Each is idempotent by its nature."""

from typing import Any, NamedTuple
from uuid import UUID

from domain.cart import LineFacts, StoredLine, decide_quantity, decide_removal
from domain.checkout import MAX_ORDER_LINES
from domain.refusals import Refusal
from sql.connection import Database
from sql.queries import Statement, load
from sql.transaction import Completed, Transaction, run

#: Lines that clearing deletes in one transaction. Carts that the API filled are far below it.
CLEARED_AT_ONCE = 1000

_CART = load("cart")


class CartSums(NamedTuple):
    """What a cart comes to: all its lines and units, and today's prices of what is for sale."""

    lines: int
    units: int
    total_points: int


_READ_LINE = _CART["read_line_to_set"].of(LineFacts)
_INSERT_HELD_LINE = _CART["insert_held_line"]
_INSERT_LINE = _CART["insert_line"]
_CHANGE_LINE = _CART["change_line"]
_DELETE_LINE = _CART["delete_line"]
_SUM_CART = _CART["sum_cart"].of(CartSums)
_HOLD_ORDERED = _CART["hold_ordered_lines"]
_DELETE_OTHERS = _CART["delete_other_lines"]


def set_quantity(
    database: Database, customer_id: UUID, item_id: UUID, quantity: int
) -> Completed[CartSums | Refusal]:
    """Have `quantity` units of the item in the cart, whatever there was; give what the cart comes to.

    Raises sql.errors.RetriesExhaustedError and psycopg.Error as `sql.transaction.run` does.
    """

    def attempt(transaction: Transaction) -> CartSums | Refusal | None:
        facts = _read(transaction, customer_id, item_id)
        decision = decide_quantity(facts, quantity)
        if isinstance(decision, Refusal):
            return decision
        # guard: a removed line is held before it is set again
        if facts.stored is None and facts.ordered > 0:
            # The line was removed while it was ordered. A new one would share no row with the cleanup, which
            # may commit before we write, and the units that it takes would come back: first hold them alone.
            held = {"customer_id": customer_id, "item_id": item_id, "quantity": facts.ordered}
            transaction.commit(_INSERT_HELD_LINE(**held))
            return None
        return _commit(transaction, customer_id, _write(customer_id, item_id, decision))

    while True:
        done = run(database, attempt)
        if done.value is not None:
            return Completed(done.value, done.attempts, done.round_trips, done.faults)


def remove_line(database: Database, customer_id: UUID, item_id: UUID) -> Completed[CartSums]:
    """Have nothing of the item in the cart; give what the cart comes to."""

    def attempt(transaction: Transaction) -> CartSums:
        facts = _read(transaction, customer_id, item_id)
        line = decide_removal(facts)
        if line is None:
            (sums,) = transaction.read(_SUM_CART(customer_id=customer_id))
            return sums[0]
        return _commit(transaction, customer_id, _write(customer_id, item_id, line))

    return run(database, attempt)


def clear_cart(database: Database, customer_id: UUID) -> None:
    """Have nothing in the cart. A cart that outgrew a transaction is cleared by several."""

    def attempt(transaction: Transaction) -> int:
        _, deleted = transaction.commit(
            _HOLD_ORDERED(customer_id=customer_id),
            _DELETE_OTHERS(customer_id=customer_id, most=CLEARED_AT_ONCE),
        )
        return deleted.touched

    while run(database, attempt).value == CLEARED_AT_ONCE:
        pass


def _read(transaction: Transaction, customer_id: UUID, item_id: UUID) -> LineFacts:
    """Read what a change of a line depends on."""
    (rows,) = transaction.read(_READ_LINE(customer_id=customer_id, item_id=item_id, most=MAX_ORDER_LINES))
    return rows[0]


def _commit(transaction: Transaction, customer_id: UUID, write: Statement[Any]) -> CartSums:
    """Write a line, and read in the same exchange what the cart comes to with it."""
    _, sums = transaction.commit(write, _SUM_CART(customer_id=customer_id))
    found: CartSums = sums.rows[0]
    return found


def _write(customer_id: UUID, item_id: UUID, line: StoredLine) -> Statement[Any]:
    if line.quantity == 0:
        return _DELETE_LINE(customer_id=customer_id, item_id=item_id)
    # guard: a line that was there is changed, never put back
    write = _CHANGE_LINE if line.existed else _INSERT_LINE
    return write(customer_id=customer_id, item_id=item_id, quantity=line.quantity)
