"""Limited stock: an item's units lie in slots, rows of their own, so that buyers meet on different ones.

One row sells about as many units a second as it takes commits a second, one after the other. A hot drop lays
its units into many slots; each buyer starts at a slot chosen at random. How many units are left is the sum.
"""

from collections.abc import Sequence

from domain import refusals
from domain.checkout import StockSlot
from domain.refusals import Refusal

MAX_SLOTS = 500

#: The most units of an item that the staff may lay in.
MAX_STOCK = 1_000_000


def spread(units: int, slots: int) -> tuple[StockSlot, ...]:
    """Lay units into slots 0 to `slots` - 1 as evenly as they go; with few units, into fewer slots."""
    if not (0 <= units <= MAX_STOCK and 1 <= slots <= MAX_SLOTS):
        raise ValueError("units or slots are out of range; check them before spreading")
    used = max(1, min(slots, units))
    each, more = divmod(units, used)
    return tuple(StockSlot(slot, each + (slot < more)) for slot in range(used))


def decide_adjustment(slots: Sequence[StockSlot], delta: int) -> tuple[StockSlot, ...] | Refusal:
    """Decide what each slot gets (or gives, where negative) so that the sum changes by `delta`, not 0.

    Only slots that change are named. What is added goes to the emptiest slots, what is taken comes from the
    fullest, so that slots stay even.
    """
    if not slots:
        return refusals.stock_unlimited()
    together = sum(slot.available for slot in slots)
    if together + delta < 0:
        return refusals.stock_too_low(available=together, delta=delta)
    # Units that buyers gave back may have led beyond it: taking some out is never refused for that.
    # guard: stock is laid in up to a limit
    if delta > 0 and together + delta > MAX_STOCK:
        return refusals.stock_limit(available=together, most=MAX_STOCK)
    goal = {slot.slot: slot.available for slot in slots}
    each, more = divmod(together + delta, len(slots))
    # The largest parts to the slots that are fullest already: fewer rows change.
    by_fullness = sorted(slots, key=lambda slot: (-slot.available, slot.slot))
    changes = [
        StockSlot(slot.slot, each + (rank < more) - goal[slot.slot]) for rank, slot in enumerate(by_fullness)
    ]
    return tuple(sorted((c for c in changes if c.available), key=lambda change: change.slot))


def give_back(slots: Sequence[StockSlot], quantity: int, start: int) -> StockSlot | None:
    """Choose the slot for returned units: the one at `start`, counted round; None for unlimited stock."""
    if not slots:
        return None
    return StockSlot(slots[start % len(slots)].slot, quantity)
