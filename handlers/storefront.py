"""What a customer looks at: the catalogue, their cart (which they also change here), orders and points."""

import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from domain import refusals
from domain.checkout import MAX_LINE_QUANTITY, MAX_ORDER_LINES, ShownLine, cart_version
from domain.refusals import Refusal
from domain.search import wanted_words
from handlers.edge.http import Api, Call, Reply, Route
from handlers.edge.models import WHOLE, AnswerBody, Body, PlainText
from handlers.edge.paging import (
    FIRST_ID,
    LAST_ID,
    LAST_TIME,
    Column,
    Page,
    column_id,
    column_points,
    column_rating,
    column_text,
    column_time_without_zone,
    read_cursor,
    write_cursor,
)
from handlers.edge.pictures import PictureUrls
from handlers.edge.problems import FieldError, ProblemError
from handlers.edge.settings import DatabaseEnvironment, NonEmpty
from handlers.edge.writes import TOLD, told
from handlers.order_views import Order, OrderLine, OrderPage, history, order_page
from sql.reads.cart import show_cart
from sql.reads.catalogue import ItemPage, Sort, list_categories, list_items, show_item
from sql.reads.followed_order import follow_order
from sql.reads.health import ask_database
from sql.reads.points import list_ledger, read_balance
from sql.transactions.change_cart import clear_cart, remove_line, set_quantity


class StorefrontEnvironment(DatabaseEnvironment):
    """The environment of this function. Without a bucket, items have no pictures."""

    pictures_bucket: NonEmpty | None = None


_ENVIRONMENT = StorefrontEnvironment.read()
_DATABASE = _ENVIRONMENT.database()
_PICTURES = PictureUrls(_ENVIRONMENT.pictures_bucket, _ENVIRONMENT.region)

# --- The catalogue ------------------------------------------------------------------------------------------

#: For each order of sorting: what lies before the first row, and the column sorted by.
_STARTS: dict[Sort, tuple[Any, UUID, Column]] = {
    "name": ("", FIRST_ID, column_text),
    "points": (-1, FIRST_ID, column_points),
    "-points": (2**53, LAST_ID, column_points),
    "-rating": (float("inf"), LAST_ID, column_rating),
}


class CatalogQuery(Page):
    """Which items, in which order."""

    category: (
        Annotated[
            PlainText,
            Field(
                min_length=1,
                max_length=20,
                description="A category as items show it, letter by letter.",
            ),
        ]
        | None
    ) = None
    q: (
        Annotated[
            PlainText,
            Field(
                min_length=1,
                max_length=50,
                description="Beginnings of words of the name or description, without case and accents.",
            ),
        ]
        | None
    ) = None
    sort: Annotated[
        Sort, Field(description="By -rating, best first, items that nobody rated are left out.")
    ] = "name"


class CatalogItem(AnswerBody):
    """An item of the catalogue. `available` is null where stock is unlimited."""

    item_id: UUID
    name: str
    description: str | None
    category: str | None
    points: int
    rating: float | None
    available: int | None
    picture_url: str | None


class CatalogPage(AnswerBody):
    """A page of the catalogue; `next_cursor` is null on the last one.

    A search may find fewer items than the limit on its way, or none, and lead on all the same.
    """

    items: list[CatalogItem]
    next_cursor: str | None


class Categories(AnswerBody):
    """What the items on the shelf are filed under, in the order of the alphabet; 100 at most."""

    categories: list[str]


class Picture(AnswerBody):
    """A picture of an item; the URL works for at least ten minutes."""

    image_id: UUID
    url: str


class CatalogItemDetail(CatalogItem):
    """An item with all that is known of it, and up to 20 of its pictures, the thumbnail among them."""

    usd_price: Decimal | None
    sku: str | None
    weight: float | None
    width: float | None
    height: float | None
    depth: float | None
    pictures: list[Picture]


def _list_catalog(call: Call[None, CatalogQuery]) -> CatalogPage:
    query = call.query
    after, after_id, column = _STARTS[query.sort]
    if query.cursor is not None:
        sort, after, after_id = read_cursor(query.cursor, column_text, column, column_id)
        if sort != query.sort:
            raise ProblemError(
                "invalid-request",
                "Use a cursor with the sort that it was given for.",
                [FieldError("query:cursor", "is of a list in another order")],
            )
    wanted = wanted_words(query.q)
    if wanted is None:
        page = ItemPage([], None)
    else:
        page = list_items(
            *(_DATABASE, _ENVIRONMENT.region, query.sort, after, after_id),
            *(wanted, query.category, query.limit),
        )
    pictures = [picture for _, picture in page.items if picture]
    urls = _PICTURES.resolve(_DATABASE, pictures, datetime.now(UTC))
    cursor = None if page.end is None else write_cursor(query.sort, page.end[0], str(page.end[1]))
    items = [
        CatalogItem.of(item, picture_url=urls.get(picture.image_id) if picture else None)
        for item, picture in page.items
    ]
    return CatalogPage(items=items, next_cursor=cursor)


def _list_categories(_call: Call) -> Categories:
    return Categories(categories=list_categories(_DATABASE))


def _show_item(call: Call) -> CatalogItemDetail | Refusal:
    item_id = call.path_id("item_id")
    found = show_item(_DATABASE, _ENVIRONMENT.region, item_id)
    if found is None:
        return refusals.unknown_item(item_id)
    item, detail, pictures = found
    urls = _PICTURES.resolve(_DATABASE, pictures, datetime.now(UTC))
    return CatalogItemDetail.of(
        item,
        detail,
        picture_url=urls.get(detail.thumbnail_id) if detail.thumbnail_id else None,
        pictures=[Picture(image_id=image_id, url=url) for image_id, url in sorted(urls.items())],
    )


# --- The cart -----------------------------------------------------------------------------------------------


class Quantity(Body):
    """How many units of the item the cart shall hold."""

    quantity: Annotated[int, Field(ge=1, le=MAX_LINE_QUANTITY), WHOLE]


class CartLine(AnswerBody):
    """A line of the cart at today's price; `unit_points` is null where the item is no longer for sale."""

    item_id: UUID
    name: str | None
    quantity: int
    unit_points: int | None
    line_points: int | None
    available: int | None
    picture_url: str | None


class CartTotals(AnswerBody):
    """What the cart comes to: all its lines and units, and today's prices of what is for sale."""

    line_count: int = Field(validation_alias="lines")
    unit_count: int = Field(validation_alias="units")
    total_points: int


class Cart(AnswerBody):
    """The cart with live totals: order it with its `total_points` and its `cart_version`.

    The totals are those of all lines; `lines` holds the first 100, as many as one order may have.
    `cart_version` stands for their items, quantities and prices. `balance` is null for a customer without a
    points account.
    """

    lines: list[CartLine]
    line_count: int
    unit_count: int
    total_points: int
    balance: int | None
    cart_version: str


def _show_cart(call: Call) -> Cart:
    rows, balance = show_cart(_DATABASE, _ENVIRONMENT.region, call.caller.customer_id, MAX_ORDER_LINES)
    urls = _PICTURES.resolve(_DATABASE, [row.picture for row in rows if row.picture], datetime.now(UTC))
    lines = [
        CartLine.of(
            row,
            line_points=None if row.unit_points is None else row.unit_points * row.quantity,
            picture_url=urls.get(row.image_id) if row.image_id else None,
        )
        for row in rows
    ]
    first = rows[0] if rows else None
    return Cart(
        balance=balance,
        cart_version=cart_version(ShownLine(row.item_id, row.quantity, row.unit_points) for row in rows),
        lines=lines,
        line_count=first.lines if first else 0,
        unit_count=first.units if first else 0,
        total_points=first.total_points if first else 0,
    )


def _set_cart_item(call: Call[Quantity]) -> Reply | Refusal:
    item_id = call.path_id("item_id")
    completed = set_quantity(_DATABASE, call.caller.customer_id, item_id, call.body.quantity)
    sums = completed.value
    return sums if isinstance(sums, Refusal) else told(call, completed, CartTotals.of(sums))


def _remove_cart_item(call: Call) -> Reply:
    completed = remove_line(_DATABASE, call.caller.customer_id, call.path_id("item_id"))
    return told(call, completed, CartTotals.of(completed.value))


def _clear_cart(call: Call) -> None:
    clear_cart(_DATABASE, call.caller.customer_id)


# --- Orders and points --------------------------------------------------------------------------------------


def _list_orders(call: Call[None, Page]) -> OrderPage:
    return order_page(_DATABASE, call.caller.customer_id, call.query)


class FollowedLine(OrderLine):
    """A line of an order with its item's thumbnail."""

    picture_url: str | None


class FollowedOrder(Order):
    """An order with what followed it.

    `cart_cleaned_at` is null until what was ordered has left the cart; `confirmation` is PENDING until the
    e-mail was SENT, or SKIPPED for somebody without an address; `confirmed_at` is when that was.
    """

    lines: list[FollowedLine]  # type: ignore[assignment]  # each with its picture
    cart_cleaned_at: datetime | None
    confirmation: Literal["PENDING", "SENT", "SKIPPED"]
    confirmed_at: datetime | None


def _show_order(call: Call) -> FollowedOrder | Refusal:
    found = follow_order(_DATABASE, _ENVIRONMENT.region, call.caller.customer_id, call.path_id("order_id"))
    if isinstance(found, Refusal):
        return found
    shown = [row.picture for row in found.pictures if row.picture]
    urls = _PICTURES.resolve(_DATABASE, shown, datetime.now(UTC))
    by_item = {row.item_id: urls.get(row.image_id) for row in found.pictures}
    confirmation = found.confirmation
    return FollowedOrder.of(
        found.head,
        lines=[FollowedLine.of(line, picture_url=by_item.get(line.item_id)) for line in found.lines],
        history=history(found.head, found.lines, found.events),
        confirmation=confirmation.status if confirmation else "PENDING",
        confirmed_at=confirmation.sent_at if confirmation else None,
    )


class Points(AnswerBody):
    """The balance."""

    balance: int


class Entry(AnswerBody):
    """A ledger entry: signed points and the balance that it left. `at` is UTC."""

    entry_id: UUID
    kind: str
    points: int
    balance_after: int
    at: datetime
    description: str | None
    reference_id: UUID | None


class LedgerPage(AnswerBody):
    """A page of the ledger, newest entry first; `next_cursor` is null on the last one."""

    entries: list[Entry]
    next_cursor: str | None


def _show_points(call: Call) -> Points | Refusal:
    balance = read_balance(_DATABASE, call.caller.customer_id)
    return refusals.unknown_customer() if balance is None else Points(balance=balance)


def _list_ledger(call: Call[None, Page]) -> LedgerPage | Refusal:
    page = call.query
    after, after_id = LAST_TIME, LAST_ID
    if page.cursor is not None:
        after, after_id = read_cursor(page.cursor, column_time_without_zone, column_id)
    # What entries left behind is reckoned back from the balance: rows of other tools have no such column.
    running, rows = list_ledger(_DATABASE, call.caller.customer_id, after, after_id, page.limit + 1)
    if running is None:
        return refusals.unknown_customer()
    entries = []
    for row in rows[: page.limit]:
        entries.append(Entry.of(row, balance_after=running, at=row.at.replace(tzinfo=UTC)))
        running -= row.points
    cursor = None
    if len(rows) > page.limit:
        last = rows[page.limit - 1]
        cursor = write_cursor(last.at.isoformat(), str(last.entry_id))
    return LedgerPage(entries=entries, next_cursor=cursor)


# --- Health -------------------------------------------------------------------------------------------------


class Health(AnswerBody):
    """This Region answers, and so does its database."""

    region: str
    status: Literal["ok"]


#: How long one environment keeps the database's answer: anybody may ask for health, as often as they like.
_HEALTH_KEPT_S = 1.0
_healthy_until_s = 0.0


def _show_health(_: Call) -> Health:
    global _healthy_until_s
    # guard: questions about health do not all reach the database
    if time.monotonic() >= _healthy_until_s:
        ask_database(_DATABASE)
        _healthy_until_s = time.monotonic() + _HEALTH_KEPT_S
    return Health(region=_ENVIRONMENT.region, status="ok")


handler = Api(
    [
        Route(
            "GET",
            "/health",
            _show_health,
            "Tell whether this Region can serve",
            is_public=True,
            answer=Health,
            description=(
                "Without signing in: for a page that chooses a Region, and for health checks. 503 where the "
                "database does not answer."
            ),
        ),
        Route(
            "GET",
            "/catalog",
            _list_catalog,
            "Browse the catalogue",
            query=CatalogQuery,
            answer=CatalogPage,
            headers=("If-None-Match",),
            answer_headers=("ETag",),
        ),
        Route(
            "GET",
            "/catalog/categories",
            _list_categories,
            "List the categories",
            answer=Categories,
            headers=("If-None-Match",),
            answer_headers=("ETag",),
        ),
        Route(
            "GET",
            "/catalog/{item_id}",
            _show_item,
            "Show an item with its pictures",
            answer=CatalogItemDetail,
            problems=("unknown-item",),
            headers=("If-None-Match",),
            answer_headers=("ETag",),
        ),
        Route(
            "GET",
            "/cart",
            _show_cart,
            "Show the cart with live totals",
            answer=Cart,
        ),
        Route("DELETE", "/cart", _clear_cart, "Clear the cart", status=204),
        Route(
            "PUT",
            "/cart/items/{item_id}",
            _set_cart_item,
            "Set how many units of an item the cart holds",
            body=Quantity,
            counted="CartChange",
            answer=CartTotals,
            answer_headers=TOLD,
            problems=("unknown-item", "cart-full"),
        ),
        Route(
            "DELETE",
            "/cart/items/{item_id}",
            _remove_cart_item,
            "Remove an item from the cart",
            counted="CartChange",
            answer=CartTotals,
            answer_headers=TOLD,
        ),
        Route(
            "GET",
            "/orders",
            _list_orders,
            "List past orders, newest first",
            query=Page,
            answer=OrderPage,
        ),
        Route(
            "GET",
            "/orders/{order_id}",
            _show_order,
            "Show an order with its lines and history",
            answer=FollowedOrder,
            problems=("unknown-order",),
        ),
        Route(
            "GET",
            "/points",
            _show_points,
            "Show the points balance",
            answer=Points,
            problems=("unknown-customer",),
        ),
        Route(
            "GET",
            "/points/ledger",
            _list_ledger,
            "List the ledger with the running balance, newest first",
            query=Page,
            answer=LedgerPage,
            problems=("unknown-customer",),
        ),
    ],
    lambda: _DATABASE,
)
