"""The ledger audit: compares balances, ledger, orders and their records, each window in one snapshot.

A sample begins anywhere and is done in seconds; the whole audit is a walk of as many runs as it needs.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from domain.audit import (
    AccountFacts,
    Difference,
    OrderFacts,
    audit_account,
    audit_order,
    is_chain,
    looks_broken,
)
from sql.connection import Database
from sql.queries import Query, load
from sql.references import TABLES
from sql.transaction import Transaction, run
from sql.walk import Key, Table, Window, fill, next_window, walk

#: Between the end of a whole audit and the beginning of the next.
AUDIT_EVERY_S = 24 * 3600

#: Rows of the table walked over, a transaction. Each may bring hundreds of ledger entries along.
WINDOW_ROWS = 200

#: Ledger entries of one customer that are compared one by one; a longer chain is left to its sums.
MAX_CHAIN = 20_000

#: Items reported at once; one is enough for the alarm.
MAX_ITEMS = 100

_QUERIES = load("jobs")
_READ_ACCOUNTS = _QUERIES["read_accounts_for_audit"]
_READ_CHAIN = _QUERIES["read_chain_for_audit"]
_READ_ORDERS = _QUERIES["read_orders_for_audit"]
_READ_STOCK = _QUERIES["read_negative_stock"]

Check = Callable[[Transaction, Window], list[Difference]]


@dataclass(slots=True)
class Audited:
    """What one run looked at and found. `done`: nothing is left to do until the next audit is due."""

    windows: int = 0
    differences: set[Difference] = field(default_factory=set)
    done: bool = True


def audit_whole(database: Database, time_is_up: Callable[[], bool], every_s: int = AUDIT_EVERY_S) -> Audited:
    """Go on with the audit of everything. Raises as `sql.walk.walk` does."""
    audited = Audited()
    for table, check in _CHECKS:

        def visit(transaction: Transaction, window: Window, check: Check = check) -> tuple[()]:
            # A set: a window that is visited again after a conflict adds nothing.
            audited.differences.update(check(transaction, window))
            return ()

        walked = walk(
            database, f"audit {table.name}", table, visit, time_is_up, most=WINDOW_ROWS, every_s=every_s
        )
        audited.windows += walked.windows
        audited.done = audited.done and walked.done
    audited.differences.update(_audit_stock(database))
    return audited


def audit_sample(
    database: Database, start: UUID, time_is_up: Callable[[], bool], windows: int = 5
) -> Audited:
    """Audit up to `windows` windows of each table behind the id `start`, which is best a random one."""
    audited = Audited()
    for table, check in _CHECKS:
        read_window = fill("read_window", table)
        after: Key = (str(start),)
        beginnings = 1
        for _ in range(windows):
            if time_is_up():
                break
            upto, differences = run(database, partial(_look, check, read_window, after)).value
            audited.differences.update(differences)
            audited.windows += upto is not None
            if upto is None:
                if beginnings == 0:
                    break
                beginnings -= 1
            after = upto or table.first  # behind the last row comes the first
    audited.differences.update(_audit_stock(database))
    return audited


def _look(
    check: Check, read_window: Query, after: Key, transaction: Transaction
) -> tuple[Key | None, list[Difference]]:
    """Audit the window behind a key; give the window's last key, None when there is no row."""
    (window,) = transaction.read(next_window(read_window, after, WINDOW_ROWS))
    if not window:
        return None, []
    upto = tuple(str(value) for value in window[0])
    return upto, check(transaction, Window(after, upto))


def _check_accounts(transaction: Transaction, window: Window) -> list[Difference]:
    (rows,) = transaction.read(_READ_ACCOUNTS(**window.parameters()))
    differences = []
    for row in rows:
        facts = AccountFacts(*row)
        differences += audit_account(facts)
        if looks_broken(facts) and facts.entries <= MAX_CHAIN:
            (entries,) = transaction.read(_READ_CHAIN(customer_id=facts.customer_id, most=MAX_CHAIN))
            if not is_chain(entries):
                differences.append(Difference("chain-broken", facts.customer_id, facts.customer_id))
    return differences


def _check_orders(transaction: Transaction, window: Window) -> list[Difference]:
    (rows,) = transaction.read(_READ_ORDERS(**window.parameters()))
    return [difference for row in rows for difference in audit_order(OrderFacts(*row))]


def _audit_stock(database: Database) -> list[Difference]:
    (rows,) = run(database, lambda transaction: transaction.read(_READ_STOCK(most=MAX_ITEMS))).value
    return [Difference("stock-negative", item_id) for (item_id,) in rows]


_CHECKS: tuple[tuple[Table, Check], ...] = (
    (TABLES["customers"], _check_accounts),
    (TABLES["orders"], _check_orders),
)
