"""The staff's writes to the catalogue: add an item, change it, retire it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from domain import refusals
from domain.checkout import StockSlot
from domain.events import CatalogItemRetired, Origin
from domain.idempotency import Answer, Request
from domain.items import ItemData, StoredItem, decide_item_change, decide_retirement
from domain.refusals import Refusal
from sql.connection import Database
from sql.outbox import enqueue
from sql.queries import Statement, load
from sql.reads import snapshot
from sql.transaction import DEFAULT_POLICY, Completed, RetryPolicy, Row, Transaction, run
from sql.transactions.keyed import Outcome, run_keyed

_ITEMS = load("items")
_READ_ITEM = _ITEMS["read_item"]
_FIND_IMAGE = _ITEMS["find_image"]
_INSERT_ITEM = _ITEMS["insert_item"]
_CHANGE_ITEM = _ITEMS["change_item"]
_RETIRE_ITEM = _ITEMS["retire_item"]
_READ_STOCK = load("stock")["read_stock"]


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """An item as the staff sees it. `stock` is empty where it is unlimited."""

    version: int
    retired_at: datetime | None
    data: ItemData
    stock: tuple[StockSlot, ...]


def read_item(database: Database, item_id: UUID) -> ItemRecord | None:
    """Give an item, retired or not, or None."""
    items, slots = snapshot(database, _READ_ITEM(item_id=item_id), _READ_STOCK(item_id=item_id))
    if not items:
        return None
    version, retired_at, *data = items[0]
    return ItemRecord(version, retired_at, ItemData(*data), tuple(StockSlot(*row) for row in slots))


def add_item(
    database: Database,
    request: Request,
    data: ItemData,
    render: Callable[[UUID, ItemData], tuple[int, str]],
    policy: RetryPolicy = DEFAULT_POLICY,
) -> Completed[Answer | Refusal]:
    """Put a new item on the shelf; `request.result_id` becomes its id. Raises as `run_keyed` does."""

    def decide(facts: list[list[Row]]) -> Outcome | Refusal:
        if not _image_known(data, facts[0]):
            return refusals.unknown_image()
        item_id = request.result_id
        return Outcome(*render(item_id, data), [_INSERT_ITEM(item_id=item_id, **asdict(data))])

    return run_keyed(database, request, (_image(data),), decide, policy)


def change_item(
    database: Database,
    item_id: UUID,
    expected_version: int,
    data: ItemData,
    policy: RetryPolicy = DEFAULT_POLICY,
) -> Completed[int | Refusal]:
    """Store an item's data where it is at the expected version; give the version that it is at then."""

    def attempt(transaction: Transaction) -> int | Refusal:
        rows, images = transaction.read(_READ_ITEM(item_id=item_id), _image(data))
        item = _stored(rows)
        decision = decide_item_change(item_id, item, expected_version, data, _image_known(data, images))
        if isinstance(decision, Refusal) or (item is not None and decision == item.version):
            return decision
        transaction.commit(_CHANGE_ITEM(item_id=item_id, version=decision, **asdict(data)))
        return decision

    return run(database, attempt, policy)


def retire_item(
    database: Database, item_id: UUID, origin: Origin, policy: RetryPolicy = DEFAULT_POLICY
) -> Completed[bool | Refusal]:
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
            enqueue(origin.announce(event, item_id, version)),
        )
        return True

    return run(database, attempt, policy)


def _stored(rows: list[Row]) -> StoredItem | None:
    if not rows:
        return None
    version, retired_at, *data = rows[0]
    return StoredItem(version, retired_at is not None, ItemData(*data))


def _image(data: ItemData) -> Statement:
    return _FIND_IMAGE(image_id=data.thumbnail_id)


def _image_known(data: ItemData, rows: list[Row]) -> bool:
    return data.thumbnail_id is None or bool(rows)
