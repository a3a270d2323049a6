"""The staff's writes to the catalogue: add an item, change it, retire it."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from domain import refusals
from domain.checkout import StockSlot
from domain.events import Origin
from domain.events.items import CatalogItemRetired
from domain.idempotency import Answer, Request
from domain.items import ItemData, StoredItem, decide_item_change, decide_retirement
from domain.refusals import Refusal
from domain.search import item_words
from domain.versions import Expected
from sql.connection import Database
from sql.outbox import enqueue
from sql.queries import Statement, load, part
from sql.transaction import Completed, Transaction, run, snapshot
from sql.transactions.keyed import AcceptedWrite, run_keyed

_ITEMS = load("items")
_READ_ITEM = _ITEMS["read_item"].of(dict)
_FIND_IMAGE = _ITEMS["find_image"]
_INSERT_ITEM = _ITEMS["insert_item"]
_CHANGE_ITEM = _ITEMS["change_item"]
_RETIRE_ITEM = _ITEMS["retire_item"]
_INSERT_WORDS = _ITEMS["insert_item_words"]
_DELETE_OTHER_WORDS = _ITEMS["delete_other_item_words"]
_READ_STOCK = load("stock")["read_stock"].of(StockSlot)


class ItemRecord(NamedTuple):
    """An item as the staff sees it. `stock` is empty where it is unlimited."""

    version: int
    retired_at: datetime | None
    data: ItemData
    stock: tuple[StockSlot, ...]


def read_item(database: Database, item_id: UUID) -> ItemRecord | None:
    """Give an item, retired or not, or None."""
    items, slots = snapshot(database, _READ_ITEM(item_id=item_id), _READ_STOCK(item_id=item_id))
    for row in items:
        data = part(ItemData, row)
        return ItemRecord(**row, data=data, stock=tuple(slots))
    return None


def add_item(
    database: Database,
    request: Request,
    data: ItemData,
    render: Callable[[UUID, ItemData], tuple[int, str]],
) -> Completed[Answer | Refusal]:
    """Put a new item on the shelf; `request.result_id` becomes its id. Raises as `run_keyed` does."""

    def decide(images: list[object]) -> AcceptedWrite | Refusal:
        if not _image_known(data, images):
            return refusals.unknown_image()
        item_id = request.result_id
        writes = [_INSERT_ITEM(item_id=item_id, **data._asdict()), *_words(item_id, data)]
        return AcceptedWrite(*render(item_id, data), writes)

    return run_keyed(database, request, (_image(data),), decide)


def change_item(
    database: Database,
    item_id: UUID,
    expected: Expected,
    data: ItemData,
) -> Completed[int | Refusal]:
    """Store an item's data where it is at an expected version; give the version that it is at then."""

    def attempt(transaction: Transaction) -> int | Refusal:
        rows, images = transaction.read(_READ_ITEM(item_id=item_id), _image(data))
        item = _stored(rows)
        decision = decide_item_change(item_id, item, expected, data, _image_known(data, images))
        if isinstance(decision, Refusal) or (item is not None and decision == item.version):
            return decision
        changed = _CHANGE_ITEM(item_id=item_id, version=decision, **data._asdict())
        transaction.commit(
            changed,
            # guard: an item's words change with it
            *_words(item_id, data),
        )
        return decision

    return run(database, attempt)


def retire_item(database: Database, item_id: UUID, origin: Origin) -> Completed[bool | Refusal]:
    """Take an item off the shelf for good; tell whether that was not done before."""

    def attempt(transaction: Transaction) -> bool | Refusal:
        (rows,) = transaction.read(_READ_ITEM(item_id=item_id))
        version = decide_retirement(item_id, _stored(rows))
        if isinstance(version, Refusal):
            return version
        if version is None:
            return False
        event = CatalogItemRetired(item_id=item_id)
        transaction.commit(
            _RETIRE_ITEM(item_id=item_id, retired_at=origin.now, version=version),
            _DELETE_OTHER_WORDS(item_id=item_id, words=[]),
            enqueue(origin.announce(event, item_id, version)),
        )
        return True

    return run(database, attempt)


def _stored(rows: list[dict[str, Any]]) -> StoredItem | None:
    return next(
        (StoredItem(row["version"], row["retired_at"] is not None, part(ItemData, row)) for row in rows), None
    )


def _words(item_id: UUID, data: ItemData) -> tuple[Statement[Any], ...]:
    """Give the statements that have the search find an item by what it says now, and by nothing else."""
    words = sorted(item_words(data.name, data.description))
    return (_DELETE_OTHER_WORDS(item_id=item_id, words=words), _INSERT_WORDS(item_id=item_id, words=words))


def _image(data: ItemData) -> Statement[Any]:
    return _FIND_IMAGE(image_id=data.thumbnail_id)


def _image_known(data: ItemData, rows: list[object]) -> bool:
    return data.thumbnail_id is None or bool(rows)
