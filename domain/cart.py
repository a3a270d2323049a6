"""The cart: what is stored so that the shopper sees the quantity that they set.

An order does not touch the cart. Until the cleanup has followed it, the units that it holds count as gone:
what the shopper sees is the stored quantity less those, so stored is what was requested plus those.
"""

from typing import NamedTuple
from uuid import UUID

from domain import refusals
from domain.checkout import MAX_LINE_QUANTITY, MAX_ORDER_LINES
from domain.refusals import Refusal


class LineFacts(NamedTuple):
    """What is known of one cart line in one snapshot.

    `unit_points` is None where the item is not on the shelf, `stored` where there is no line; `ordered` is
    what orders hold whose cart is not cleaned yet; `other_lines` counts the rest of the cart.
    """

    item_id: UUID
    unit_points: int | None
    stored: int | None
    ordered: int
    other_lines: int


class StoredLine(NamedTuple):
    """The quantity to store; 0 stands for no line. `existed` tells a change from an insert."""

    quantity: int
    existed: bool


def decide_quantity(facts: LineFacts, requested: int) -> StoredLine | Refusal:
    """Decide what to store so that `requested` units (1 to MAX_LINE_QUANTITY) are in the cart."""
    if not 1 <= requested <= MAX_LINE_QUANTITY:
        raise ValueError(
            f"a line holds 1 to {MAX_LINE_QUANTITY} units; check the request before deciding on it"
        )
    if facts.unit_points is None:
        return refusals.unknown_item(facts.item_id)
    if facts.other_lines >= MAX_ORDER_LINES:
        return refusals.cart_full(most=MAX_ORDER_LINES)
    # guard: what was ordered counts as gone (setting a quantity)
    return StoredLine(requested + facts.ordered, existed=facts.stored is not None)


def decide_removal(facts: LineFacts) -> StoredLine | None:
    """Decide what to store so that nothing of the item is in the cart; None where that is so already."""
    if facts.stored is None or facts.stored <= facts.ordered:
        return None
    return StoredLine(facts.ordered, existed=True)
