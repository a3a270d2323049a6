"""What the shop's staff do: the catalogue, stock, points for members, a look at a customer's orders."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID, uuid4

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from domain import refusals
from domain.items import MAX_POINTS_PRICE, ItemData, as_stored
from domain.points import MAX_POINTS_AT_ONCE, BalanceChange, CreditKind
from domain.refusals import Refusal
from domain.stock import MAX_SLOTS, MAX_STOCK
from handlers.edge.http import Api, Call, Reply, Route
from handlers.edge.models import WHOLE, AnswerBody, Body, Id, Parameters, PlainName, PlainText, Versioned
from handlers.edge.paging import Page
from handlers.edge.settings import DatabaseEnvironment
from handlers.edge.writes import counted, origin_of, refusal_in, settle
from handlers.order_views import Order, OrderPage, order_page, order_view
from sql.reads.members import find_members
from sql.transactions.change_item import add_item, change_item, read_item, retire_item
from sql.transactions.change_stock import adjust_stock, set_stock
from sql.transactions.move_points import Boost, Credit, boost_household, credit_points

_ENVIRONMENT = DatabaseEnvironment.read()
_DATABASE = _ENVIRONMENT.database()

_STAFF = frozenset({"staff"})

# --- Items --------------------------------------------------------------------------------------------------

_Measure = Annotated[float, Field(ge=0, le=1_000_000), AfterValidator(as_stored)]
_Points = Annotated[int, Field(ge=1, le=MAX_POINTS_AT_ONCE), WHOLE]


class ItemRequest(Body):
    """All that the staff decide of an item. What is left out or null is not known of it."""

    name: Annotated[PlainName, Field(min_length=1, max_length=50)]
    description: Annotated[PlainText, Field(max_length=200)] | None = None
    category: Annotated[PlainName, Field(min_length=1, max_length=20)] | None = None
    points_price: Annotated[int, Field(ge=0, le=MAX_POINTS_PRICE), WHOLE]
    usd_price: Annotated[str, Field(pattern=r"^[0-9]{1,6}\.[0-9]{2}$", examples=["34.90"])] | None = None
    rating: Annotated[float, Field(ge=0, le=5), AfterValidator(as_stored)] | None = None
    sku: Annotated[PlainText, Field(max_length=20)] | None = None
    weight: _Measure | None = None
    width: _Measure | None = None
    height: _Measure | None = None
    depth: _Measure | None = None
    thumbnail_id: Id | None = None


class Slot(AnswerBody):
    """A part of an item's stock that buyers compete for on its own."""

    slot: int
    available: int


class StaffItem(Versioned):
    """An item as the staff see it. `version` is also the ETag; `stock` is null where it is unlimited."""

    item_id: UUID
    retired_at: datetime | None
    name: str
    description: str | None
    category: str | None
    points_price: int
    usd_price: Decimal | None
    rating: float | None
    sku: str | None
    weight: float | None
    width: float | None
    height: float | None
    depth: float | None
    thumbnail_id: UUID | None
    stock: list[Slot] | None


class ItemVersion(Versioned):
    """An item's id and the version that it has now, which is also its ETag."""

    item_id: UUID


def _data(request: ItemRequest) -> ItemData:
    usd_price = None if request.usd_price is None else Decimal(request.usd_price)
    return ItemData(**{**dict(request), "usd_price": usd_price})


def _show_item(call: Call) -> StaffItem | Refusal:
    item_id = call.path_id("item_id")
    item = read_item(_DATABASE, item_id)
    if item is None:
        return refusals.unknown_item(item_id)
    return StaffItem.of(
        item.data,
        item_id=item_id,
        version=item.version,
        retired_at=item.retired_at,
        stock=list(item.stock) or None,
    )


def _render_item(item_id: UUID, _: ItemData) -> tuple[int, str]:
    return 201, ItemVersion(item_id=item_id, version=1).model_dump_json()


def _add_item(call: Call[ItemRequest]) -> Reply | Refusal:
    request = call.idempotent(result_id=uuid4())
    return settle(call, add_item(_DATABASE, request, _data(call.body), _render_item))


def _change_item(call: Call[ItemRequest]) -> ItemVersion | Refusal:
    item_id = call.path_id("item_id")
    changed = counted(call, change_item(_DATABASE, item_id, call.expected(), _data(call.body)))
    return changed if isinstance(changed, Refusal) else ItemVersion(item_id=item_id, version=changed)


def _retire_item(call: Call) -> Refusal | None:
    item_id = call.path_id("item_id")
    completed = retire_item(_DATABASE, item_id, origin_of(call, _ENVIRONMENT.region, item_id))
    return refusal_in(counted(call, completed, None if completed.value else "unchanged"))


# --- Stock --------------------------------------------------------------------------------------------------


class StockRequest(Body):
    """The stock that an item shall have.

    One slot does for an ordinary item. For a drop that thousands wait for, lay the units into many: buyers of
    one slot queue up behind each other, buyers of different slots do not.
    """

    available: Annotated[
        Annotated[int, Field(ge=0, le=MAX_STOCK), WHOLE] | None,
        Field(description="Units; null for unlimited stock."),
    ]
    slots: Annotated[
        int,
        Field(ge=1, le=MAX_SLOTS, description="Slots to lay the units into, at most one a unit."),
        WHOLE,
    ] = 1


class Stock(AnswerBody):
    """An item's stock; null where it is unlimited."""

    available: int | None
    slots: int


def _not_0(delta: int) -> int:
    if delta == 0:
        raise PydanticCustomError("zero", "must not be 0")
    return delta


class StockChange(Body):
    """Units that came in, or, negative, that went missing."""

    delta: Annotated[
        int,
        Field(ge=-MAX_STOCK, le=MAX_STOCK, description="Not 0.", json_schema_extra={"not": {"const": 0}}),
        AfterValidator(_not_0),
        WHOLE,
    ]


class StockLeft(AnswerBody):
    """An item's stock after a change."""

    item_id: UUID
    available: int


def _render_stock_set(available: int | None, slots: int) -> tuple[int, str]:
    return 200, Stock(available=available, slots=slots).model_dump_json()


def _set_stock(call: Call[StockRequest]) -> Reply | Refusal:
    item_id, wanted = call.path_id("item_id"), call.body
    request = call.idempotent(result_id=uuid4())
    completed = set_stock(_DATABASE, request, item_id, wanted.available, wanted.slots, _render_stock_set)
    return settle(call, completed)


def _render_stock(item_id: UUID, available: int) -> tuple[int, str]:
    return 201, StockLeft(item_id=item_id, available=available).model_dump_json()


def _adjust_stock(call: Call[StockChange]) -> Reply | Refusal:
    item_id = call.path_id("item_id")
    request = call.idempotent(result_id=uuid4())
    return settle(call, adjust_stock(_DATABASE, request, item_id, call.body.delta, _render_stock))


# --- Points -------------------------------------------------------------------------------------------------


class CreditRequest(Body):
    """Points for a member, and what for. The description is not about the member: it outlives the account."""

    points: _Points
    kind: CreditKind
    description: Annotated[PlainName, Field(min_length=1, max_length=50)] = "Credited by the shop"


class CreditDone(AnswerBody):
    """A credit, and the balance that it leaves."""

    credit_id: UUID
    customer_id: UUID
    points: int
    balance_after: int


class BoostRequest(Body):
    """Points for one of a household's two members, while both together have fewer than `below_points`."""

    beneficiary: Id
    partner: Id
    points: _Points = 429
    below_points: _Points = 1000


def _render_credit(command: Credit | Boost, change: BalanceChange) -> tuple[int, str]:
    return 201, CreditDone.of(change, credit_id=command.request.result_id).model_dump_json()


def _credit_points(call: Call[CreditRequest]) -> Reply | Refusal:
    customer_id = call.path_id("customer_id")
    request = call.idempotent(result_id=uuid4())
    command = Credit(
        request=request,
        origin=origin_of(call, _ENVIRONMENT.region, request.result_id),
        customer_id=customer_id,
        **dict(call.body),
    )
    return settle(call, credit_points(_DATABASE, command, _render_credit))


def _boost_household(call: Call[BoostRequest]) -> Reply | Refusal:
    request = call.idempotent(result_id=uuid4())
    origin = origin_of(call, _ENVIRONMENT.region, request.result_id)
    command = Boost(request=request, origin=origin, **dict(call.body))
    return settle(call, boost_household(_DATABASE, command, _render_credit))


# --- Customers ----------------------------------------------------------------------------------------------


class MemberQuery(Parameters):
    """Whom to look for."""

    username: Annotated[PlainText, Field(min_length=1, max_length=50)]


class MemberFound(AnswerBody):
    """A customer of that username; `status` says ERASING for one who asked to be forgotten."""

    customer_id: UUID
    username: str
    balance: int | None
    status: Literal["ACTIVE", "ERASING"]


class Members(AnswerBody):
    """The customers of that username, normally one."""

    customers: list[MemberFound]


def _find_members(call: Call[None, MemberQuery]) -> Members:
    found = find_members(_DATABASE, call.query.username)
    return Members(
        customers=[MemberFound.of(one, status="ERASING" if one.erased else "ACTIVE") for one in found]
    )


def _list_orders(call: Call[None, Page]) -> OrderPage:
    return order_page(_DATABASE, call.path_id("customer_id"), call.query)


def _show_order(call: Call) -> Order | Refusal:
    return order_view(_DATABASE, call.path_id("customer_id"), call.path_id("order_id"))


handler = Api(
    [
        Route(
            "POST",
            "/staff/items",
            _add_item,
            "Add an item to the catalogue",
            counted="ItemAddition",
            done="added",
            body=ItemRequest,
            groups=_STAFF,
            answer=ItemVersion,
            status=201,
            problems=("unknown-image", "idempotency-key-reused"),
            headers=("Idempotency-Key",),
        ),
        Route(
            "GET",
            "/staff/items/{item_id}",
            _show_item,
            "Show an item, retired or not, with its stock",
            groups=_STAFF,
            answer=StaffItem,
            problems=("unknown-item",),
            answer_headers=("ETag",),
        ),
        Route(
            "PUT",
            "/staff/items/{item_id}",
            _change_item,
            "Change an item, where it is still as it was read",
            counted="ItemChange",
            done="changed",
            body=ItemRequest,
            groups=_STAFF,
            answer=ItemVersion,
            problems=("unknown-item", "item-retired", "unknown-image"),
            headers=("If-Match",),
            answer_headers=("ETag",),
        ),
        Route(
            "DELETE",
            "/staff/items/{item_id}",
            _retire_item,
            "Retire an item",
            counted="ItemRetirement",
            done="retired",
            groups=_STAFF,
            status=204,
            problems=("unknown-item",),
        ),
        Route(
            "PUT",
            "/staff/items/{item_id}/stock",
            _set_stock,
            "Set an item's stock, or lift its limit",
            counted="StockSetting",
            done="set",
            body=StockRequest,
            groups=_STAFF,
            answer=Stock,
            problems=("unknown-item", "idempotency-key-reused"),
            headers=("Idempotency-Key",),
            description=(
                "Under a key, unlike other PUTs: done a second time, it would bring back what was sold "
                "in between."
            ),
        ),
        Route(
            "POST",
            "/staff/items/{item_id}/stock/adjustments",
            _adjust_stock,
            "Add units to an item's stock, or take some out",
            counted="StockAdjustment",
            done="adjusted",
            body=StockChange,
            groups=_STAFF,
            answer=StockLeft,
            status=201,
            problems=(
                "unknown-item",
                "stock-unlimited",
                "stock-too-low",
                "stock-limit",
                "idempotency-key-reused",
            ),
            headers=("Idempotency-Key",),
        ),
        Route(
            "POST",
            "/staff/customers/{customer_id}/credits",
            _credit_points,
            "Credit points to a member",
            counted="Credit",
            done="credited",
            body=CreditRequest,
            groups=_STAFF,
            answer=CreditDone,
            status=201,
            problems=("unknown-customer", "self-credit", "balance-limit", "idempotency-key-reused"),
            headers=("Idempotency-Key",),
        ),
        Route(
            "POST",
            "/staff/boosts",
            _boost_household,
            "Boost a household that has few points",
            counted="Boost",
            done="boosted",
            body=BoostRequest,
            groups=_STAFF,
            answer=CreditDone,
            status=201,
            problems=(
                "unknown-customer",
                "not-a-household",
                "self-credit",
                "household-above-limit",
                "balance-limit",
                "idempotency-key-reused",
            ),
            headers=("Idempotency-Key",),
        ),
        Route(
            "GET",
            "/staff/customers",
            _find_members,
            "Find a customer by username",
            query=MemberQuery,
            groups=_STAFF,
            answer=Members,
        ),
        Route(
            "GET",
            "/staff/customers/{customer_id}/orders",
            _list_orders,
            "List a customer's orders, newest first",
            query=Page,
            groups=_STAFF,
            answer=OrderPage,
        ),
        Route(
            "GET",
            "/staff/customers/{customer_id}/orders/{order_id}",
            _show_order,
            "Show a customer's order with its lines and history",
            groups=_STAFF,
            answer=Order,
            problems=("unknown-order",),
        ),
    ],
    lambda: _DATABASE,
)
