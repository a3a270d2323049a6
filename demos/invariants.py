"""What must hold in the whole database, checked by reading all of it."""

from pathlib import Path
from typing import NamedTuple

from sql.connection import Database
from sql.queries import load
from sql.transaction import snapshot

#: The statements stand beside the demos: nothing that is deployed reads whole tables.
QUERIES = Path(__file__).parent / "queries"
_QUERIES = load(str(QUERIES / "invariants"))

#: True at any moment, whatever is under way.
ALWAYS = (
    "balances_that_differ_from_their_ledger",
    "orders_without_exactly_one_debit",
    "debits_without_an_order",
    "orders_that_differ_from_their_lines",
    "orders_that_differ_from_their_refunds",
)

#: True as well once the follow-up has come to rest.
AT_REST = (
    "orders_whose_cart_is_not_cleaned",
    "messages_not_sent",
    "messages_in_the_outbox",
    "outbox_dead_letters",
)


class Breach(NamedTuple):
    """What breaks an invariant: the row's id, and the two figures that should agree."""

    id: str
    is_points: int | None
    should_be_points: int | None


class Effects(NamedTuple):
    """How many events a consumer has had its effect of."""

    consumer: str
    events: int


class Orders(NamedTuple):
    """The number of orders, and of ledger entries that paid for one."""

    orders: int
    debits: int


_INVARIANTS = {name: _QUERIES[name].of(Breach) for name in (*ALWAYS, *AT_REST)}
_COUNT_EFFECTS = _QUERIES["count_effects"].of(Effects)
_COUNT_ORDERS = _QUERIES["count_orders"].of(Orders)


def breaches(database: Database, names: tuple[str, ...] = ALWAYS) -> dict[str, list[Breach]]:
    """Check invariants in one snapshot; give what breaks each of those that do not hold."""
    found = snapshot(database, *(_INVARIANTS[name]() for name in names))
    return {name: rows for name, rows in zip(names, found, strict=True) if rows}


def count_effects(database: Database) -> dict[str, int]:
    """Give how many events each consumer has had its effect of."""
    (rows,) = snapshot(database, _COUNT_EFFECTS())
    return {row.consumer: row.events for row in rows}


def count_orders(database: Database) -> Orders:
    """Count orders and the ledger entries that paid for one, in one snapshot."""
    ((counted,),) = snapshot(database, _COUNT_ORDERS())
    return counted
