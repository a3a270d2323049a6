"""Reads for people: one exchange with the server, one snapshot, rows as named tuples.

What a row means stands with its statement in `sql/queries/`. Where a page is read, `after` and `after_id` are
the sort value and the id of the last row that the reader has (or a bound that every row lies behind).
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple
from uuid import UUID

from domain import refusals
from domain.messages import confirmation_of
from domain.points import PointsAccount
from domain.refusals import Refusal
from domain.search import WordRange
from domain.usernames import forms_of
from sql.connection import Database
from sql.queries import Query, load, part
from sql.transaction import RetryPolicy, first, run, snapshot

_CATALOG = load("catalog")
_ORDERS = load("orders")
_LEDGER = load("ledger")
_ACCOUNTS = load("accounts")
_ANSWER = load("health")["answer"].of(int)

#: A question about health is not worth waiting for: one attempt, and one more on a new connection.
_HEALTH = RetryPolicy(attempts=2, base_s=0.01, cap_s=0.05, deadline_s=2.0)

OrderStatus = Literal["PLACED", "CANCELLED", "PART_REFUNDED", "REFUNDED"]

Sort = Literal["name", "points", "-points", "-rating"]


#: Items that one search looks at and sorts; where every word has more, the list is read instead.
MAX_FOUND = 1000
#: Rows of a list that one search reads on the way to what it looks for.
LIST_PART = 1000


class StoredPicture(NamedTuple):
    """An image's file name in the bucket, with the URL that was last presigned for it in this Region.

    `filename` is None where the workshop's own tools stored a picture without a file.
    """

    image_id: UUID
    filename: str | None
    url: str | None
    created: datetime | None


class Item(NamedTuple):
    """An item on the shelf. `available` is None where stock is unlimited."""

    item_id: UUID
    name: str
    description: str | None
    category: str | None
    points: int
    rating: float | None
    available: int | None


class ItemPage(NamedTuple):
    """A page of items, and the sort value and id to go on behind; None where nothing follows."""

    items: list[tuple[Item, StoredPicture | None]]
    end: tuple[Any, UUID] | None


class ItemDetail(NamedTuple):
    """What only an item's own page shows. Measures have the units that the workshop's data has."""

    usd_price: Decimal | None
    sku: str | None
    weight: float | None
    width: float | None
    height: float | None
    depth: float | None
    thumbnail_id: UUID | None


class CartRow(NamedTuple):
    """A cart line with live price and thumbnail; `lines`, `units` and `total_points` are the whole cart's."""

    item_id: UUID
    name: str | None
    quantity: int
    unit_points: int | None
    available: int | None
    lines: int
    units: int
    total_points: int
    image_id: UUID | None
    filename: str | None
    url: str | None
    created: datetime | None

    @property
    def picture(self) -> StoredPicture | None:
        """The item's thumbnail."""
        return _picture(self)


class OrderPicture(NamedTuple):
    """The thumbnail of an item in an order."""

    item_id: UUID
    image_id: UUID
    filename: str | None
    url: str | None
    created: datetime | None

    @property
    def picture(self) -> StoredPicture | None:
        """The picture by itself."""
        return _picture(self)


def _picture(row: CartRow | OrderPicture) -> StoredPicture | None:
    if row.image_id is None:
        return None
    return StoredPicture(row.image_id, row.filename, row.url, row.created)


class OrderSummary(NamedTuple):
    """An order in a list."""

    order_id: UUID
    status: OrderStatus
    total_points: int
    refunded_points: int
    placed_at: datetime
    units: int


class OrderHead(NamedTuple):
    """An order by itself."""

    order_id: UUID
    status: OrderStatus
    total_points: int
    refunded_points: int
    placed_at: datetime
    region: str
    version: int
    cart_cleaned_at: datetime | None


class Confirmation(NamedTuple):
    """What became of an order's confirmation: PENDING, SENT or SKIPPED."""

    status: str
    sent_at: datetime | None


class OrderLineRow(NamedTuple):
    """A line of an order, with how many of its units were given back."""

    item_id: UUID
    name: str
    quantity: int
    refunded: int
    unit_points: int


class OrderEvent(NamedTuple):
    """What happened to an order after it was placed. `lines` is JSON: item ids and quantities."""

    version: int
    event_type: str
    occurred_at: datetime
    points: int
    lines: str


class OrderView(NamedTuple):
    """An order as its owner follows it. `confirmation` is None until somebody has written it."""

    head: OrderHead
    lines: list[OrderLineRow]
    events: list[OrderEvent]
    pictures: list[OrderPicture]
    confirmation: Confirmation | None


class LedgerEntry(NamedTuple):
    """A ledger entry. `at` is UTC."""

    entry_id: UUID
    kind: str
    points: int
    at: datetime
    description: str | None
    reference_id: UUID | None


class FoundMember(NamedTuple):
    """A customer whom the staff looked for. `balance` is None for one without a points account."""

    customer_id: UUID
    username: str
    balance: int | None
    erased: bool


_LISTS: dict[str, Query[dict[str, Any]]] = {
    "name": _CATALOG["list_items_by_name"].of(dict),
    "points": _CATALOG["list_items_by_points"].of(dict),
    "-points": _CATALOG["list_items_by_points_down"].of(dict),
    "-rating": _CATALOG["list_items_by_rating_down"].of(dict),
}
_FIND_ITEMS = _CATALOG["find_items"].of(dict)
_SHOW_ITEM = _CATALOG["show_item"].of(dict)
_LIST_PICTURES = _CATALOG["list_item_pictures"].of(StoredPicture)
_KEEP_URLS = _CATALOG["keep_picture_urls"]
_SHOW_CART = load("cart")["show_cart"].of(CartRow)
_LIST_ORDERS = _ORDERS["list_orders"].of(OrderSummary)
_SHOW_ORDER = _ORDERS["show_order"].of(OrderHead)
_LIST_LINES = _ORDERS["list_order_lines"].of(OrderLineRow)
_LIST_ORDER_PICTURES = _ORDERS["list_order_pictures"].of(OrderPicture)
_READ_CONFIRMATION = _ORDERS["read_confirmation"].of(Confirmation)
_LIST_CATEGORIES = _CATALOG["list_categories"].of(str)
_LIST_EVENTS = _ORDERS["list_order_events"].of(OrderEvent)
_FIND_MEMBERS = _ACCOUNTS["find_members"].of(FoundMember)
_READ_ACCOUNT = _LEDGER["read_account"].of(PointsAccount)
_READ_BALANCE_AT = _LEDGER["read_balance_at"].of(int)
_LIST_LEDGER = _LEDGER["list_ledger"].of(LedgerEntry)


def list_items(
    database: Database,
    region: str,
    sort: Sort,
    after: Any,
    after_id: UUID,
    wanted: Sequence[WordRange],
    limit: int,
) -> ItemPage:
    """Give a page of the items that have a word in each range, each with its thumbnail.

    A search of which one word is rare looks at all items with that word. What is common is found on the way
    along the list, of which one call reads a bounded part: then a page may hold fewer items than its limit,
    or none, and still lead on.
    """
    ranges = {"firsts": [one.first for one in wanted], "lasts": [one.last for one in wanted]}
    place = {"region": region, "after_id": after_id, "most": limit + 1, **ranges}
    if wanted:
        is_text = isinstance(after, str)
        sign = -1 if sort.startswith("-") else 1
        (rows,) = snapshot(
            database,
            _FIND_ITEMS(
                bound=MAX_FOUND,
                sort=sort,
                down=sign < 0,
                text_after=after if is_text else "",
                number_after=0 if is_text else sign * after,
                **place,
            ),
        )
        if rows[0]["rarest"] <= MAX_FOUND:
            return _page([row for row in rows if row["item_id"]], sort, limit)
    # guard: a search reads a bounded part of a list
    rows_read = max(LIST_PART, limit + 1) if wanted else limit + 1
    (rows,) = snapshot(database, _LISTS[sort](after=after, part=rows_read, **place))
    return _page(rows, sort, limit)


def _page(rows: list[dict[str, Any]], sort: Sort, limit: int) -> ItemPage:
    """Give what is wanted of a page's rows, and where to go on, if more may follow."""
    found: list[tuple[Item, StoredPicture | None]] = []
    end: Item | None = None
    for row in rows:
        item = part(Item, row)
        picture = part(StoredPicture, row)
        if row["is_wanted"] and len(found) < limit:
            found.append((item, picture if picture.image_id is not None else None))
        elif row["is_wanted"]:
            end = found[-1][0]
            break
        if row["is_last"]:
            end = item
    if end is None:
        return ItemPage(found, None)
    value = {"name": end.name, "rating": end.rating}.get(sort.lstrip("-"), end.points)
    return ItemPage(found, (value, end.item_id))


def show_item(
    database: Database, region: str, item_id: UUID
) -> tuple[Item, ItemDetail, list[StoredPicture]] | None:
    """Give one item of the shelf with its pictures, or None."""
    items, pictures = snapshot(
        database, _SHOW_ITEM(item_id=item_id), _LIST_PICTURES(item_id=item_id, region=region)
    )
    for row in items:
        return part(Item, row), ItemDetail(**row), pictures
    return None


def keep_picture_urls(database: Database, region: str, urls: dict[UUID, str], created: datetime) -> None:
    """Store presigned URLs for the next reader in this Region. `created` is UTC without a zone.

    One attempt: raises RetriesExhaustedError for what another could fix, and psycopg.Error for the rest.
    """
    statement = _KEEP_URLS(region=region, created=created, image_ids=list(urls), urls=list(urls.values()))
    run(database, lambda transaction: transaction.commit(statement), RetryPolicy(attempts=1))


def list_categories(database: Database) -> list[str]:
    """Give what the items on the shelf are filed under, 100 categories at most."""
    (rows,) = snapshot(database, _LIST_CATEGORIES())
    return rows


def show_cart(
    database: Database, region: str, customer_id: UUID, most: int
) -> tuple[list[CartRow], int | None]:
    """Give the first `most` lines of a cart, and the customer's balance, of one snapshot.

    The balance is None for a customer without a points account.
    """
    rows, accounts = snapshot(
        database,
        _SHOW_CART(customer_id=customer_id, region=region, most=most),
        _READ_ACCOUNT(customer_id=customer_id),
    )
    return rows, accounts[0].balance if accounts else None


def list_orders(
    database: Database, customer_id: UUID, after: datetime, after_id: UUID, most: int
) -> list[OrderSummary]:
    """Give a page of a customer's orders, newest first."""
    query = _LIST_ORDERS(customer_id=customer_id, after=after, after_id=after_id, most=most)
    (rows,) = snapshot(database, query)
    return rows


def show_order(
    database: Database, customer_id: UUID, order_id: UUID
) -> tuple[OrderHead, list[OrderLineRow], list[OrderEvent]] | Refusal:
    """Give a customer's order with its lines and what happened to it."""
    key = {"order_id": order_id, "customer_id": customer_id}
    heads, lines, events = snapshot(database, _SHOW_ORDER(**key), _LIST_LINES(**key), _LIST_EVENTS(**key))
    if not heads:
        return refusals.unknown_order(order_id)
    return heads[0], lines, events


def follow_order(database: Database, region: str, customer_id: UUID, order_id: UUID) -> OrderView | Refusal:
    """Give a customer's order with what followed it."""
    key = {"order_id": order_id, "customer_id": customer_id}
    heads, lines, events, pictures, confirmations = snapshot(
        database,
        _SHOW_ORDER(**key),
        _LIST_LINES(**key),
        _LIST_EVENTS(**key),
        _LIST_ORDER_PICTURES(**key, region=region),
        _READ_CONFIRMATION(confirmation_id=confirmation_of(order_id)),
    )
    if not heads:
        return refusals.unknown_order(order_id)
    return OrderView(heads[0], lines, events, pictures, first(confirmations))


def read_balance(database: Database, customer_id: UUID) -> int | None:
    """Give a customer's points, or None for one without an account or on the way out."""
    (accounts,) = snapshot(database, _READ_ACCOUNT(customer_id=customer_id))
    return accounts[0].balance if accounts else None


def list_ledger(
    database: Database, customer_id: UUID, after: datetime, after_id: UUID, most: int
) -> tuple[int | None, list[LedgerEntry]]:
    """Give a page of the ledger, newest first, and the balance that its first entry left, of one snapshot.

    The balance is None for a customer without an account or on the way out.
    """
    place = {"customer_id": customer_id, "after": after, "after_id": after_id}
    balances, rows = snapshot(database, _READ_BALANCE_AT(**place), _LIST_LEDGER(**place, most=most))
    return first(balances), rows


def find_members(database: Database, username: str) -> list[FoundMember]:
    """Give the customers of a username: normally one, or none."""
    (rows,) = snapshot(database, _FIND_MEMBERS(usernames=forms_of(username)))
    return rows


def ask_database(database: Database) -> None:
    """Have the database answer, whatever it says. Raises as `sql.transaction.run` does, and soon."""
    run(database, lambda transaction: transaction.commit(_ANSWER()), _HEALTH)
