"""The shop's tables as tuples: a row's field names are its columns, in the order of the table."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple
from uuid import UUID


class Customer(NamedTuple):
    """A row of `customers`."""

    id: UUID
    username: str
    first_name: str
    last_name: str
    maiden_name: str | None
    gender: str
    email: str
    phone_num: str
    age: int
    address: str
    city: str
    state: str
    state_code: str
    postal_code: str


class StaffMember(NamedTuple):
    """A row of `staff_members`."""

    customer_id: UUID


class CatalogItem(NamedTuple):
    """A row of `catalog_items`; weight in kg, the other measures in cm."""

    id: UUID
    name: str
    description: str
    category: str
    usd_price: Decimal
    points_price: int
    rating: float
    sku: str
    weight: float
    width: float
    height: float
    depth: float
    thumbnail_id: UUID


class ItemWord(NamedTuple):
    """A row of `item_words`: what the search finds an item by."""

    item_id: UUID
    word: str


class CatalogImage(NamedTuple):
    """A row of `catalog_images`."""

    item_id: UUID
    image_id: UUID


class Image(NamedTuple):
    """A row of `images`; the file's name is its key in the bucket."""

    id: UUID
    filename: str


class CartItem(NamedTuple):
    """A row of `shopping_cart_items`. Its age counts from the loading, so that carts arrive fresh."""

    customer_id: UUID
    item_id: UUID
    quantity: int


class PointsBalance(NamedTuple):
    """A row of `points_balances`."""

    customer_id: UUID
    points_balance: int


class LedgerEntry(NamedTuple):
    """A row of `transactions`; points are signed, the time is UTC without a zone."""

    id: UUID
    customer_id: UUID
    tx_type: str
    points: int
    tx_dt: datetime
    tx_description: str
    balance_after: int
    reference_id: UUID | None


class OrderItem(NamedTuple):
    """A row of `order_items`."""

    tx_id: UUID
    cat_item_id: UUID
    unit_cnt: int
    unit_points_price: int
    refunded_cnt: int


class Order(NamedTuple):
    """A row of `orders`."""

    id: UUID
    customer_id: UUID
    status: str
    total_points: int
    refunded_points: int
    placed_at: datetime
    region: str
    version: int
    cart_cleaned_at: datetime


class OrderEvent(NamedTuple):
    """A row of `order_events`; `lines` is JSON."""

    order_id: UUID
    version: int
    event_id: UUID
    event_type: str
    points: int
    lines: str
    occurred_at: datetime


class Stock(NamedTuple):
    """A row of `stock`."""

    item_id: UUID
    slot: int
    available: int


class Picture(NamedTuple):
    """What to draw for a row of `images`: a drawing in an item's dress, seen in one of three ways."""

    filename: str
    kind: str
    colourway: str
    variant: int
    view: Literal["front", "detail", "thumbnail"]


@dataclass(frozen=True, slots=True)
class SampleData:
    """Everything that a shop full of customers starts with; the fields named like tables hold their rows."""

    images: tuple[Image, ...]
    catalog_items: tuple[CatalogItem, ...]
    item_words: tuple[ItemWord, ...]
    catalog_images: tuple[CatalogImage, ...]
    stock: tuple[Stock, ...]
    customers: tuple[Customer, ...]
    staff_members: tuple[StaffMember, ...]
    points_balances: tuple[PointsBalance, ...]
    shopping_cart_items: tuple[CartItem, ...]
    orders: tuple[Order, ...]
    order_events: tuple[OrderEvent, ...]
    order_items: tuple[OrderItem, ...]
    transactions: tuple[LedgerEntry, ...]
    pictures: tuple[Picture, ...]
    #: The item whose 1,000 units are spread over 64 slots of stock.
    hot_drop_item_id: UUID
    #: The item of which there is one unit.
    single_seat_item_id: UUID

    def rows(self, table: str) -> Sequence[tuple[Any, ...]]:
        """Give a table's rows. Raises AttributeError for a table that the sample leaves empty."""
        rows: Sequence[tuple[Any, ...]] = getattr(self, table)
        return rows


class Table(NamedTuple):
    """A table of the sample and its columns.

    The first `key_columns` are the primary key, the first `workshop_columns` the workshop's own (0: its
    schema has no such table).
    """

    name: str
    columns: tuple[str, ...]
    key_columns: int
    workshop_columns: int


#: In the order of loading. The ledger comes last and is never edited: its last row says that all is there.
TABLES = (
    Table("images", Image._fields, 1, 2),
    Table("catalog_items", CatalogItem._fields, 1, 13),
    Table("item_words", ItemWord._fields, 2, 0),
    Table("catalog_images", CatalogImage._fields, 2, 2),
    Table("stock", Stock._fields, 2, 0),
    Table("customers", Customer._fields, 1, 14),
    Table("staff_members", StaffMember._fields, 1, 0),
    Table("points_balances", PointsBalance._fields, 1, 2),
    Table("shopping_cart_items", CartItem._fields, 2, 3),
    Table("orders", Order._fields, 1, 0),
    Table("order_events", OrderEvent._fields, 2, 0),
    Table("order_items", OrderItem._fields, 2, 4),
    Table("transactions", LedgerEntry._fields, 1, 6),
)
