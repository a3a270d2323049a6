"""Checkout: what turns a cart into an order, decided from facts that were read in one snapshot."""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

from domain import refusals
from domain.refusals import Refusal

#: With its stock takes an order has to stay below the 3,000 rows that DSQL lets one transaction change. A
#: line is one of them, and so is a message for an item whose last unit goes; every order has five more.
MAX_ORDER_LINES = 100

#: Slots that one order takes stock from. Usually it is one a limited line; many only where units lie thinly.
MAX_STOCK_TAKES = 2_000

#: Units of one item in one cart line.
MAX_LINE_QUANTITY = 999


class StockSlot(NamedTuple):
    """One row of a limited item's stock: `available` units that buyers of this slot compete for."""

    slot: int
    available: int


class PricedCartLine(NamedTuple):
    """A cart line joined with its catalogue item.

    `unit_points` is None where the item is unknown or retired; `stock` is None where it is unlimited.
    """

    item_id: UUID
    name: str
    quantity: int
    unit_points: int | None
    stock: tuple[StockSlot, ...] | None = None


class AcceptedLine(NamedTuple):
    """A line of an order: what was bought, how many, and the price in points of one."""

    item_id: UUID
    name: str
    quantity: int
    unit_points: int


class StockTake(NamedTuple):
    """Units to take from one slot of an item's stock."""

    item_id: UUID
    slot: int
    quantity: int


class AcceptedOrder(NamedTuple):
    """The decision to sell: lines in item order, what to debit, the balance that remains, stock to take.

    `exhausted` are the limited items whose last unit this order takes, as far as it can see.
    """

    lines: tuple[AcceptedLine, ...]
    total_points: int
    balance_after: int
    stock: tuple[StockTake, ...]
    exhausted: tuple[UUID, ...] = ()


def total(lines: Sequence[PricedCartLine | AcceptedLine]) -> int:
    """Price of all lines in points; lines without a price count nothing."""
    return sum(line.quantity * (line.unit_points or 0) for line in lines)


class ShownLine(NamedTuple):
    """What a shopper sees of a cart line. `unit_points` is None where the item is not for sale."""

    item_id: UUID
    quantity: int
    unit_points: int | None


def cart_version(lines: Iterable[ShownLine]) -> str:
    """Give a fingerprint of what a shopper sees: items, quantities and prices, in whatever order.

    Two carts of one total have different ones, so that nobody orders what they did not see.
    """
    seen = sorted(f"{line.item_id} {line.quantity} {line.unit_points}" for line in lines)
    return sha256("\n".join(seen).encode()).hexdigest()[:32]


def allocate(slots: Sequence[StockSlot], quantity: int, start: int) -> list[StockSlot] | None:
    """Choose where `quantity` units come from, or None when there are too few.

    Prefers the one slot that can serve the whole quantity, looking round from position `start`, so that
    buyers who start at different places change different rows; otherwise gathers from slot after slot.
    """
    filled = [slot for slot in slots if slot.available > 0]
    if sum(slot.available for slot in filled) < quantity:
        return None
    at = start % len(filled)
    ring = filled[at:] + filled[:at]
    for slot in ring:
        if slot.available >= quantity:
            return [StockSlot(slot.slot, quantity)]
    taken: list[StockSlot] = []
    missing = quantity
    for slot in ring:
        units = min(slot.available, missing)
        taken.append(StockSlot(slot.slot, units))
        missing -= units
        if missing == 0:
            break
    return taken


def decide_checkout(
    cart: Sequence[PricedCartLine],
    balance: int | None,
    expected_points: int,
    pick: Callable[[int], int] = lambda _: 0,
    seen: str | None = None,
) -> AcceptedOrder | Refusal:
    """Decide whether the cart becomes an order.

    `balance` is None for a customer without a points account; `expected_points` is the total that the shopper
    saw; `pick(n)` gives a number from 0 to n-1 and spreads buyers over a limited item's slots. `seen` is the
    `cart_version` of what the shopper saw, None where they did not say.
    """
    if balance is None:
        return refusals.unknown_customer()
    if not cart:
        return refusals.empty_cart()
    if len(cart) > MAX_ORDER_LINES:
        return refusals.too_many_lines(lines=len(cart), most=MAX_ORDER_LINES)
    unavailable = tuple(line.item_id for line in cart if line.unit_points is None)
    if unavailable:
        return refusals.item_unavailable(unavailable)
    required = total(cart)
    if required != expected_points:
        return refusals.price_changed(expected_points=expected_points, actual_points=required)
    # guard: nobody orders what they did not see, even for the same total
    if seen is not None and seen != cart_version(
        ShownLine(line.item_id, line.quantity, line.unit_points) for line in cart
    ):
        return refusals.cart_changed()
    stock: list[StockTake] = []
    exhausted: list[UUID] = []
    for line in cart:
        if line.stock is None:
            continue
        available = sum(slot.available for slot in line.stock)
        taken = allocate(line.stock, line.quantity, pick(len(line.stock)) if line.stock else 0)
        if taken is None:
            return refusals.out_of_stock(item_id=line.item_id, requested=line.quantity, available=available)
        if available == line.quantity:
            exhausted.append(line.item_id)
        stock.extend(StockTake(line.item_id, slot.slot, slot.available) for slot in taken)
    # guard: an order takes from so many slots and no more
    if len(stock) > MAX_STOCK_TAKES:
        return refusals.order_too_large(slots=len(stock), most=MAX_STOCK_TAKES)
    if required > balance:
        return refusals.insufficient_points(required_points=required, available_points=balance)
    lines = tuple(
        AcceptedLine(line.item_id, line.name, line.quantity, line.unit_points or 0)
        for line in sorted(cart, key=lambda line: line.item_id)
    )
    # Rows are touched in key order, so that two transactions meet on the first shared row and not crosswise.
    stock.sort(key=lambda take: (take.item_id, take.slot))
    return AcceptedOrder(lines, required, balance - required, tuple(stock), tuple(exhausted))
