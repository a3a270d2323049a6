"""The customers: names, addresses, balances, carts, and the orders that they have placed before."""

import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import accumulate
from random import Random
from typing import NamedTuple
from uuid import UUID

from domain.events.refunds import OrderRefunded
from local.sample_data.catalogue import TABLES_DIRECTORY, Catalogue, ascii_words, random_id
from local.sample_data.rows import (
    CartItem,
    CatalogItem,
    Customer,
    LedgerEntry,
    Order,
    OrderEvent,
    OrderItem,
    PointsBalance,
)

#: Whom a demonstration signs in as: a comfortable balance, a cart of three lines, three past orders.
DEMO_USERNAME = "carlos_salazar_121"
DEMO_POINTS = 25_000

#: Customers who are of the shop's staff, and so in the `staff` group of the user pool.
STAFF_USERNAMES = ("staff_maria_garcia", "staff_kenji_tanaka")

#: Two of one household, whose points together stay below 1,000: the write skew exercise.
HOUSEHOLD_USERNAMES = ("elena_ruiz_124", "pablo_ruiz_125")

#: The demo customer, the staff and the household.
MIN_CUSTOMERS = 5
#: As MAX_ITEMS.
MAX_CUSTOMERS = 1_000_000

#: A mailbox of SES's simulator, which takes everything and is nobody's: a sample that is loaded into a real
#: shop writes to no one. What stands behind the + is room for a name in the column's 50 characters.
_MAILBOX = "success+{}@simulator.amazonses.com"
_MAILBOX_NAME_LENGTH = 18

_FIRST_NUMBER = 121

_OPENED_FROM = datetime(2025, 1, 10, 8, tzinfo=UTC)
_OPENED_TO = datetime(2026, 6, 30, 20, tzinfo=UTC)
_ORDERED_TO = datetime(2026, 11, 15, 20, tzinfo=UTC)
_REFUNDED_AFTER = timedelta(days=2, hours=3)

_REGIONS = ("us-east-1", "us-east-1", "us-east-2")
_LETTERS = "ABDEFGHJLNPQRSTUWXYZ"


class _Place(NamedTuple):
    women: list[str]
    men: list[str]
    family: list[str]
    streets: list[str]
    towns: list[list[str]]


class _Cast(NamedTuple):
    """A customer whom exercises and demonstrations count on."""

    username: str
    first_name: str
    last_name: str
    gender: str
    address: str
    city: str
    postal_code: str
    points: int
    orders: int
    cart_lines: int


_CAST = (
    _Cast(
        DEMO_USERNAME,
        "Carlos",
        "Salazar",
        "male",
        "Calle Morelos 277",
        "Guadalajara",
        "44127",
        DEMO_POINTS,
        3,
        3,
    ),
    _Cast(
        STAFF_USERNAMES[0],
        "María",
        "García",
        "female",
        "Avenida Insurgentes 12",
        "Puebla",
        "72087",
        18_400,
        1,
        1,
    ),
    _Cast(STAFF_USERNAMES[1], "Kenji", "Tanaka", "male", "13-7 Honcho", "Osaka", "530-0075", 21_750, 1, 2),
    _Cast(HOUSEHOLD_USERNAMES[0], "Elena", "Ruiz", "female", "Calle Mayor 85", "Sevilla", "41023", 283, 0, 0),
    _Cast(HOUSEHOLD_USERNAMES[1], "Pablo", "Ruiz", "male", "Calle Mayor 85", "Sevilla", "41023", 288, 0, 0),
)

#: The most that a line of the demo cart costs, so that the whole cart can be ordered more than once.
_DEMO_LINE_POINTS = 6_000


@dataclass(slots=True)
class Clientele:
    """Rows about customers, in the making."""

    customers: list[Customer] = field(default_factory=list)
    balances: list[PointsBalance] = field(default_factory=list)
    carts: list[CartItem] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    order_events: list[OrderEvent] = field(default_factory=list)
    order_items: list[OrderItem] = field(default_factory=list)
    ledger: list[LedgerEntry] = field(default_factory=list)


@cache
def _places() -> tuple[tuple[_Place, ...], tuple[int, ...]]:
    """Read the places, and the running sum of their shares."""
    table = tomllib.loads((TABLES_DIRECTORY / "people.toml").read_text(encoding="utf-8"))["places"]
    places = tuple(_Place(*(entry[name] for name in _Place._fields)) for entry in table)
    return places, tuple(accumulate(entry["share"] for entry in table))


def build_clientele(customers: int, seed: int, catalogue: Catalogue) -> Clientele:
    """Build customers who shop in a catalogue; raises ValueError for fewer than MIN_CUSTOMERS.

    All ids depend on how many customers and items there are: two samples of different size have no customer
    in common, so that one is never mistaken for a part of the other.
    """
    if customers < MIN_CUSTOMERS:
        raise ValueError(f"A sample has at least {MIN_CUSTOMERS} customers, not {customers}: ask for more.")
    random = Random(f"customers/{seed}/{customers}/{len(catalogue.items)}")
    reserved = (catalogue.hot_drop_item_id, catalogue.single_seat_item_id)
    on_sale = [item for item in catalogue.items if item.id not in reserved]
    limited = {row.item_id for row in catalogue.stock}
    affordable = [
        item for item in on_sale if item.points_price <= _DEMO_LINE_POINTS and item.id not in limited
    ]
    clientele = Clientele()
    for number in range(customers):
        cast = _CAST[number] if number < len(_CAST) else None
        customer = _customer(random, number, cast)
        clientele.customers.append(customer)
        if cast:
            orders, points, cart_lines, wanted = cast.orders, cast.points, cast.cart_lines, affordable
        else:
            orders = random.choices(range(6), (38, 24, 18, 11, 6, 3))[0]
            points = 0 if random.random() < 0.03 else min(250_000, int(random.lognormvariate(9.4, 0.9)))
            cart_lines = random.choices(range(6), (55, 17, 12, 8, 5, 3))[0]
            wanted = on_sale
        _shop(clientele, random, customer.id, points, orders, on_sale, refunds=cast is None)
        clientele.carts.extend(
            CartItem(customer.id, item.id, 1 if cast else _quantity(random))
            for item in random.sample(wanted, min(cart_lines, len(wanted)))
        )
    return clientele


def mailbox_of(username: str) -> str:
    """Give a sample customer's e-mail address; of a long username the end, which has its number."""
    return _MAILBOX.format(username[-_MAILBOX_NAME_LENGTH:].lstrip("_"))


def _customer(random: Random, number: int, cast: _Cast | None) -> Customer:
    places, shares = _places()
    if cast:
        town = next(town for place in places for town in place.towns if town[0] == cast.city)
        username, gender, first, last, maiden = (
            cast.username,
            cast.gender,
            cast.first_name,
            cast.last_name,
            None,
        )
        address, postal_code = cast.address, cast.postal_code
    else:
        place = random.choices(places, cum_weights=shares)[0]
        town = random.choice(place.towns)
        gender = random.choices(("female", "male", "nonbinary"), (49, 49, 2))[0]
        names = {"female": place.women, "male": place.men}.get(gender) or place.women + place.men
        first, last = random.choice(names), random.choice(place.family)
        maiden = random.choice(place.family) if gender == "female" and random.random() < 0.4 else None
        username = "_".join([*ascii_words(f"{first} {last}"), str(_FIRST_NUMBER + number)])
        address = random.choice(place.streets).format(n=random.randrange(1, 320))
        postal_code = "".join(_postal_mark(random, mark) for mark in town[3])
    city, state, state_code, _ = town
    return Customer(
        random_id(random),
        username,
        first,
        last,
        maiden if maiden != last else None,
        gender,
        mailbox_of(username),
        f"555-01{random.randrange(100):02d}",
        int(random.triangular(18, 88, 36)),
        address,
        city,
        state,
        state_code,
        postal_code,
    )


def _postal_mark(random: Random, mark: str) -> str:
    match mark:
        case "#":
            return str(random.randrange(10))
        case "@":
            return random.choice(_LETTERS)
        case _:
            return mark


def _quantity(random: Random) -> int:
    return random.choices((1, 2, 3), (82, 14, 4))[0]


@dataclass(frozen=True, slots=True)
class _Purchase:
    order_id: UUID
    placed_at: datetime
    lines: list[OrderItem]

    @property
    def total_points(self) -> int:
        return sum(line.unit_cnt * line.unit_points_price for line in self.lines)

    @property
    def refunded_points(self) -> int:
        return sum(line.refunded_cnt * line.unit_points_price for line in self.lines)

    @property
    def refunded_units(self) -> int:
        return sum(line.refunded_cnt for line in self.lines)

    @property
    def units(self) -> int:
        return sum(line.unit_cnt for line in self.lines)

    @property
    def status(self) -> str:
        if not self.refunded_units:
            return "PLACED"
        return "REFUNDED" if self.refunded_units == self.units else "PART_REFUNDED"


class _Change(NamedTuple):
    """A ledger entry whose place in the chain is not known yet."""

    at: datetime
    id: UUID
    tx_type: str
    points: int
    description: str
    reference_id: UUID | None


def _shop(
    clientele: Clientele,
    random: Random,
    customer_id: UUID,
    points: int,
    orders: int,
    on_sale: list[CatalogItem],
    *,
    refunds: bool,
) -> None:
    """Add a customer's past: the opening entry, orders, refunds, and the balance that they leave.

    The opening entry is what makes the past end at `points`; that end is raised where refunds came back, so
    that the balance was never below zero on the way.
    """
    opened_at = _moment(random, _OPENED_FROM, _OPENED_TO)
    seconds = int((_ORDERED_TO - opened_at).total_seconds())
    purchases = [
        _purchase(random, opened_at + timedelta(seconds=second), on_sale, refunds=refunds)
        for second in sorted(random.sample(range(1, seconds), orders))
    ]
    changes: list[_Change] = []
    for purchase in purchases:
        changes += _add_order(clientele, random, customer_id, purchase)
    points = max(points, sum(purchase.refunded_points for purchase in purchases))
    opening = points - sum(change.points for change in changes)
    changes.append(_Change(opened_at, random_id(random), "OPENING", opening, "Opening balance", None))
    balance = 0
    for change in sorted(changes, key=lambda change: change.at):
        balance += change.points
        clientele.ledger.append(
            LedgerEntry(
                change.id,
                customer_id,
                change.tx_type,
                change.points,
                change.at.replace(tzinfo=None),
                change.description,
                balance,
                change.reference_id,
            )
        )
    clientele.balances.append(PointsBalance(customer_id, balance))


def _add_order(
    clientele: Clientele, random: Random, customer_id: UUID, purchase: _Purchase
) -> Iterator[_Change]:
    """Add an order and its refund, if any; yield what they change on the balance."""
    order_id, refunded_units = purchase.order_id, purchase.refunded_units
    clientele.orders.append(
        Order(
            order_id,
            customer_id,
            purchase.status,
            purchase.total_points,
            purchase.refunded_points,
            purchase.placed_at,
            random.choice(_REGIONS),
            2 if refunded_units else 1,
            purchase.placed_at + timedelta(seconds=1),
        )
    )
    clientele.order_items.extend(purchase.lines)
    bought = f"Order of {purchase.units} item(s)"
    yield _Change(purchase.placed_at, order_id, "PURCHASE", -purchase.total_points, bought, order_id)
    if not refunded_units:
        return
    points, refunded_at = purchase.refunded_points, purchase.placed_at + _REFUNDED_AFTER
    lines = [
        {"item_id": str(line.cat_item_id), "quantity": line.refunded_cnt}
        for line in purchase.lines
        if line.refunded_cnt
    ]
    clientele.order_events.append(
        OrderEvent(
            order_id,
            2,
            random_id(random),
            OrderRefunded.type_name,
            points,
            json.dumps(lines),
            refunded_at,
        )
    )
    returned = f"Refund of {refunded_units} item(s)"
    yield _Change(refunded_at, random_id(random), "REFUND", points, returned, order_id)


def _moment(random: Random, earliest: datetime, latest: datetime) -> datetime:
    return earliest + timedelta(seconds=random.randrange(int((latest - earliest).total_seconds())))


def _purchase(random: Random, at: datetime, on_sale: list[CatalogItem], *, refunds: bool) -> _Purchase:
    """Make an order of up to four lines; a few in a hundred were given back in part or whole."""
    order_id = random_id(random)
    fate = random.random() if refunds else 1.0
    lines: list[OrderItem] = []
    for item in random.sample(on_sale, random.choices((1, 2, 3, 4), (45, 30, 15, 10))[0]):
        quantity = _quantity(random)
        returned = quantity if fate < 0.02 else 1 if fate < 0.04 and not lines else 0
        lines.append(OrderItem(order_id, item.id, quantity, item.points_price, returned))
    lines.sort(key=lambda line: line.cat_item_id)
    return _Purchase(order_id, at, lines)
