"""What must hold in the whole database, checked by reading all of it."""

from typing import NamedTuple

from sql.connection import Database
from sql.queries import load
from sql.transaction import run

_QUERIES = load("invariants")

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
    "messages_in_outbox",
    "outbox_dead_letters",
)


class Breach(NamedTuple):
    """What breaks an invariant: the row's id, and the two figures that should agree."""

    id: str
    is_points: int | None
    should_be_points: int | None


def breaches(database: Database, names: tuple[str, ...] = ALWAYS) -> dict[str, list[Breach]]:
    """Check invariants in one snapshot; give what breaks each of those that do not hold."""
    rows = run(database, lambda transaction: transaction.commit(*(_QUERIES[name]() for name in names))).value
    return {
        name: [Breach(*row) for row in written.rows]
        for name, written in zip(names, rows, strict=True)
        if written.rows
    }


def count_effects(database: Database) -> dict[str, int]:
    """Give how many events each consumer has had its effect of."""
    written = run(database, lambda transaction: transaction.commit(_QUERIES["count_effects"]())).value
    return dict(written[0].rows)


def count_orders(database: Database) -> tuple[int, int]:
    """Give the number of orders, and of ledger entries that paid for one."""
    written = run(database, lambda transaction: transaction.commit(_QUERIES["count_orders"]())).value
    orders, debits = written[0].rows[0]
    return orders, debits
