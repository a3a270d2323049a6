"""The staff's writes to stock: set it, lift its limit, add to it or take from it."""

from collections.abc import Callable, Sequence
from uuid import UUID

from domain import refusals
from domain.checkout import StockSlot
from domain.idempotency import Answer, Request
from domain.refusals import Refusal
from domain.stock import decide_adjustment, spread
from sql.connection import Database
from sql.queries import load
from sql.transaction import Completed
from sql.transactions.keyed import AcceptedWrite, run_keyed

_STOCK = load("stock")
_READ_STOCK = _STOCK["read_stock"].of(StockSlot)
_SET_STOCK = _STOCK["set_stock"]
_DROP_FROM = _STOCK["drop_stock_from"]
_GIVE_STOCK = _STOCK["give_stock"]
_READ_ITEM = load("items")["read_item"]


def set_stock(
    database: Database,
    request: Request,
    item_id: UUID,
    available: int | None,
    slots: int,
    render: Callable[[int | None, int], tuple[int, str]],
) -> Completed[Answer | Refusal]:
    """Have `available` units in up to `slots` slots, whatever there was; None lifts the limit.

    Keyed, although it says what shall be: done a second time, it would bring back what was sold in between.
    `render` gets the units and the slots that they lie in. Raises as `run_keyed` does.
    """
    laid = () if available is None else spread(available, slots)

    def decide(items: list[object]) -> AcceptedWrite | Refusal:
        if not items:
            return refusals.unknown_item(item_id)
        writes = [
            _DROP_FROM(item_id=item_id, slot=len(laid)),
            _SET_STOCK(
                item_id=item_id,
                slots=[slot.slot for slot in laid],
                quantities=[slot.available for slot in laid],
            ),
        ]
        return AcceptedWrite(*render(available, len(laid)), writes)

    return run_keyed(database, request, (_READ_ITEM(item_id=item_id),), decide)


def adjust_stock(
    database: Database,
    request: Request,
    item_id: UUID,
    delta: int,
    render: Callable[[UUID, int], tuple[int, str]],
) -> Completed[Answer | Refusal]:
    """Change an item's stock by `delta` units; `render` gets what is left. Raises as `run_keyed` does."""

    def decide(items: list[object], slots: list[StockSlot]) -> AcceptedWrite | Refusal:
        if not items:
            return refusals.unknown_item(item_id)
        changes = decide_adjustment(slots, delta)
        if isinstance(changes, Refusal):
            return changes
        write = _GIVE_STOCK(
            item_ids=[item_id] * len(changes),
            slots=[change.slot for change in changes],
            quantities=[change.available for change in changes],
        )
        return AcceptedWrite(*render(item_id, _sum(slots) + delta), [write])

    reads = (_READ_ITEM(item_id=item_id), _READ_STOCK(item_id=item_id))
    return run_keyed(database, request, reads, decide)


def _sum(slots: Sequence[StockSlot]) -> int:
    return sum(slot.available for slot in slots)
