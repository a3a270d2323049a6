"""What the shop's staff do: the catalogue, stock, points for members, a look at a customer's orders."""

import json
import time
from decimal import Decimal
from typing import Annotated, Any, Literal, TypedDict
from uuid import UUID, uuid4

from msgspec import Meta
from msgspec.structs import asdict, force_setattr

from domain import refusals
from domain.items import MAX_POINTS_PRICE, ItemData, as_stored
from domain.points import MAX_POINTS_AT_ONCE, BalanceChange, CreditKind
from domain.refusals import Refusal
from domain.stock import MAX_SLOTS, MAX_STOCK
from handlers.edge.fields import END, IdText, PlainName, PlainText, Timestamp
from handlers.edge.http import Api, Body, Call, Parameters, Reply, Route
from handlers.edge.paging import Page
from handlers.edge.problems import FieldError, Problem, ProblemError
from handlers.edge.settings import DatabaseEnvironment
from handlers.edge.writes import origin_of, record, settle
from handlers.order_views import Order, OrderPage, order_page, order_view
from sql.reads import find_members
from sql.transactions.change_item import ItemRecord, add_item, change_item, read_item, retire_item
from sql.transactions.change_stock import adjust_stock, set_stock
from sql.transactions.move_points import Boost, Credit, boost_household, credit_points

_ENVIRONMENT = DatabaseEnvironment.read()
_DATABASE = _ENVIRONMENT.database()

_STAFF = frozenset({"staff"})

# --- Items --------------------------------------------------------------------------------------------------

_Measure = Annotated[float, Meta(ge=0, le=1_000_000)]
_Points = Annotated[int, Meta(ge=1, le=MAX_POINTS_AT_ONCE)]


class ItemRequest(Body, kw_only=True, frozen=True):
    """All that the staff decide of an item. What is left out or null is not known of it."""

    name: Annotated[PlainName, Meta(min_length=1, max_length=50)]
    description: Annotated[PlainText, Meta(max_length=200)] | None = None
    category: Annotated[PlainName, Meta(min_length=1, max_length=20)] | None = None
    points_price: Annotated[int, Meta(ge=0, le=MAX_POINTS_PRICE)]
    usd_price: Annotated[str, Meta(pattern=r"^[0-9]{1,6}\.[0-9]{2}" + END, examples=["34.90"])] | None = None
    rating: Annotated[float, Meta(ge=0, le=5)] | None = None
    sku: Annotated[PlainText, Meta(max_length=20)] | None = None
    weight: _Measure | None = None
    width: _Measure | None = None
    height: _Measure | None = None
    depth: _Measure | None = None
    thumbnail_id: UUID | None = None

    def __post_init__(self) -> None:
        # What is stored alike is the same request, under an Idempotency-Key too.
        for name, value in asdict(self).items():
            if isinstance(value, float):
                force_setattr(self, name, as_stored(value))


class Slot(TypedDict):
    """A part of an item's stock that buyers compete for on its own."""

    slot: int
    available: int


class StaffItem(TypedDict):
    """An item as the staff see it. `version` is also the ETag; `stock` is null where it is unlimited."""

    item_id: IdText
    version: int
    retired_at: Timestamp | None
    name: str
    description: str | None
    category: str | None
    points_price: int
    usd_price: str | None
    rating: float | None
    sku: str | None
    weight: float | None
    width: float | None
    height: float | None
    depth: float | None
    thumbnail_id: IdText | None
    stock: list[Slot] | None


class ItemVersion(TypedDict):
    """An item's id and the version that it has now, which is also its ETag."""

    item_id: IdText
    version: int


def _data(body: ItemRequest) -> ItemData:
    fields: dict[str, Any] = asdict(body)
    fields["usd_price"] = None if body.usd_price is None else Decimal(body.usd_price)
    return ItemData(**fields)


def _staff_item(item_id: UUID, item: ItemRecord) -> StaffItem:
    data = item.data
    return {
        "item_id": str(item_id),
        "version": item.version,
        "retired_at": item.retired_at.isoformat() if item.retired_at else None,
        "name": data.name,
        "description": data.description,
        "category": data.category,
        "points_price": data.points_price,
        "usd_price": None if data.usd_price is None else str(data.usd_price),
        "rating": data.rating,
        "sku": data.sku,
        "weight": data.weight,
        "width": data.width,
        "height": data.height,
        "depth": data.depth,
        "thumbnail_id": str(data.thumbnail_id) if data.thumbnail_id else None,
        "stock": [{"slot": slot.slot, "available": slot.available} for slot in item.stock] or None,
    }


def _show_item(call: Call) -> Reply | Problem:
    item_id = call.path_id("item_id")
    item = read_item(_DATABASE, item_id)
    if item is None:
        return Problem.of(refusals.unknown_item(item_id))
    return Reply(200, json.dumps(_staff_item(item_id, item)), {"ETag": f'"{item.version}"'})


def _render_item(item_id: UUID, _: ItemData) -> tuple[int, str]:
    answer: ItemVersion = {"item_id": str(item_id), "version": 1}
    return 201, json.dumps(answer)


def _add_item(call: Call[ItemRequest]) -> Reply | Problem:
    start_s = time.perf_counter()
    request = call.idempotent("POST /staff/items", result_id=uuid4())
    completed = add_item(_DATABASE, request, _data(call.body), _render_item)
    return settle(call, "ItemAddition", "added", completed, start_s)


def _change_item(call: Call[ItemRequest]) -> Reply | Problem:
    start_s = time.perf_counter()
    item_id = call.path_id("item_id")
    completed = change_item(_DATABASE, item_id, call.expected_version(), _data(call.body))
    outcome = completed.value
    record(
        call, "ItemChange", outcome.code if isinstance(outcome, Refusal) else "changed", completed, start_s
    )
    if isinstance(outcome, Refusal):
        return Problem.of(outcome)
    answer: ItemVersion = {"item_id": str(item_id), "version": outcome}
    return Reply(200, json.dumps(answer), {"ETag": f'"{outcome}"'})


def _retire_item(call: Call) -> Reply | Problem:
    start_s = time.perf_counter()
    item_id = call.path_id("item_id")
    completed = retire_item(_DATABASE, item_id, origin_of(call, _ENVIRONMENT.region, item_id))
    outcome = completed.value
    done = outcome.code if isinstance(outcome, Refusal) else "retired" if outcome else "unchanged"
    record(call, "ItemRetirement", done, completed, start_s)
    return Problem.of(outcome) if isinstance(outcome, Refusal) else Reply(204, "")


# --- Stock --------------------------------------------------------------------------------------------------


class StockRequest(Body, frozen=True):
    """The stock that an item shall have.

    One slot does for an ordinary item. For a drop that thousands wait for, lay the units into many: buyers of
    one slot queue up behind each other, buyers of different slots do not.
    """

    available: Annotated[
        Annotated[int, Meta(ge=0, le=MAX_STOCK)] | None, Meta(description="Units; null for unlimited stock.")
    ]
    slots: Annotated[
        int, Meta(ge=1, le=MAX_SLOTS, description="Slots to lay the units into, at most one a unit.")
    ] = 1


class Stock(TypedDict):
    """An item's stock; null where it is unlimited."""

    available: int | None
    slots: int


class StockChange(Body, frozen=True):
    """Units that came in, or, negative, that went missing."""

    delta: Annotated[
        int,
        Meta(ge=-MAX_STOCK, le=MAX_STOCK, description="Not 0.", extra_json_schema={"not": {"const": 0}}),
    ]


class StockLeft(TypedDict):
    """An item's stock after a change."""

    item_id: IdText
    available: int


def _render_stock_set(available: int | None, slots: int) -> tuple[int, str]:
    answer: Stock = {"available": available, "slots": slots}
    return 200, json.dumps(answer)


def _set_stock(call: Call[StockRequest]) -> Reply | Problem:
    start_s = time.perf_counter()
    item_id, body = call.path_id("item_id"), call.body
    request = call.idempotent(f"PUT /staff/items/{item_id}/stock", result_id=uuid4())
    completed = set_stock(_DATABASE, request, item_id, body.available, body.slots, _render_stock_set)
    return settle(call, "StockSetting", "set", completed, start_s)


def _render_stock(item_id: UUID, available: int) -> tuple[int, str]:
    answer: StockLeft = {"item_id": str(item_id), "available": available}
    return 201, json.dumps(answer)


def _adjust_stock(call: Call[StockChange]) -> Reply | Problem:
    start_s = time.perf_counter()
    item_id = call.path_id("item_id")
    if call.body.delta == 0:
        raise ProblemError(
            "invalid-request", "Name a change other than 0.", [FieldError("/delta", "must not be 0")]
        )
    request = call.idempotent(f"POST /staff/items/{item_id}/stock/adjustments", result_id=uuid4())
    completed = adjust_stock(_DATABASE, request, item_id, call.body.delta, _render_stock)
    return settle(call, "StockAdjustment", "adjusted", completed, start_s)


# --- Points -------------------------------------------------------------------------------------------------


class CreditRequest(Body, frozen=True):
    """Points for a member, and what for. The description is not about the member: it outlives the account."""

    points: _Points
    kind: CreditKind
    description: Annotated[PlainName, Meta(min_length=1, max_length=50)] = "Credited by the shop"


class CreditDone(TypedDict):
    """A credit, and the balance that it leaves."""

    credit_id: IdText
    customer_id: IdText
    points: int
    balance_after: int


class BoostRequest(Body, frozen=True):
    """Points for one of a household's two members, while both together have fewer than `below_points`."""

    beneficiary: UUID
    partner: UUID
    points: _Points = 429
    below_points: _Points = 1000


def _render_credit(command: Credit | Boost, change: BalanceChange) -> tuple[int, str]:
    answer: CreditDone = {
        "credit_id": str(command.request.result_id),
        "customer_id": str(change.customer_id),
        "points": change.points,
        "balance_after": change.balance_after,
    }
    return 201, json.dumps(answer)


def _credit_points(call: Call[CreditRequest]) -> Reply | Problem:
    start_s = time.perf_counter()
    customer_id = call.path_id("customer_id")
    request = call.idempotent(f"POST /staff/customers/{customer_id}/credits", result_id=uuid4())
    command = Credit(
        request=request,
        origin=origin_of(call, _ENVIRONMENT.region, request.result_id),
        customer_id=customer_id,
        points=call.body.points,
        kind=call.body.kind,
        description=call.body.description,
    )
    completed = credit_points(_DATABASE, command, _render_credit)
    return settle(call, "Credit", "credited", completed, start_s)


def _boost_household(call: Call[BoostRequest]) -> Reply | Problem:
    start_s = time.perf_counter()
    request = call.idempotent("POST /staff/boosts", result_id=uuid4())
    command = Boost(
        request=request,
        origin=origin_of(call, _ENVIRONMENT.region, request.result_id),
        beneficiary=call.body.beneficiary,
        partner=call.body.partner,
        points=call.body.points,
        below_points=call.body.below_points,
    )
    completed = boost_household(_DATABASE, command, _render_credit)
    return settle(call, "Boost", "boosted", completed, start_s)


# --- Customers ----------------------------------------------------------------------------------------------


class MemberQuery(Parameters, frozen=True):
    """Whom to look for."""

    username: Annotated[PlainText, Meta(min_length=1, max_length=50)]


class MemberFound(TypedDict):
    """A customer of that username; `status` says ERASING for one who asked to be forgotten."""

    customer_id: IdText
    username: str
    balance: int | None
    status: Literal["ACTIVE", "ERASING"]


class Members(TypedDict):
    """The customers of that username, normally one."""

    customers: list[MemberFound]


def _find_members(call: Call[None, MemberQuery]) -> Reply:
    answer: Members = {
        "customers": [
            {
                "customer_id": str(member.customer_id),
                "username": member.username,
                "balance": member.balance,
                "status": "ERASING" if member.erased else "ACTIVE",
            }
            for member in find_members(_DATABASE, call.query.username)
        ]
    }
    return Reply(200, json.dumps(answer))


def _list_orders(call: Call[None, Page]) -> Reply | Problem:
    page = order_page(_DATABASE, call.path_id("customer_id"), call.query, by_staff=True)
    return Problem.of(page) if isinstance(page, Refusal) else Reply(200, json.dumps(page))


def _show_order(call: Call) -> Reply | Problem:
    order = order_view(_DATABASE, call.path_id("customer_id"), call.path_id("order_id"), by_staff=True)
    return Problem.of(order) if isinstance(order, Refusal) else Reply(200, json.dumps(order))


handler = Api(
    [
        Route(
            "POST",
            "/staff/items",
            _add_item,
            "Add an item to the catalogue",
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
            groups=_STAFF,
            status=204,
            problems=("unknown-item",),
        ),
        Route(
            "PUT",
            "/staff/items/{item_id}/stock",
            _set_stock,
            "Set an item's stock, or lift its limit",
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
    ]
)
