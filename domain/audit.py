"""The audit's rules: what must hold between balances, ledger, orders and their records.

Facts come from one snapshot; a difference is a finding, never corrected by a program.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID


class Difference(NamedTuple):
    """Two records that disagree. `kind` is stable; `subject_id` is a customer's, order's or item's id."""

    kind: str
    subject_id: UUID
    customer_id: UUID | None = None


class AccountFacts(NamedTuple):
    """A customer's balance (None: no row) and ledger.

    `unchained` counts entries without a balance_after (written by programs that know the workshop's tables
    alone), `breaks` those that do not follow from the entry before them by time.
    """

    customer_id: UUID
    erased: bool
    erased_long_ago: bool
    balance: int | None
    entries: int
    points: int
    unchained: int
    breaks: int


class OrderFacts(NamedTuple):
    """An order with what its lines and ledger entries add up to, in points (`units` in units).

    `purchase` is None where the order's PURCHASE entry is missing or another customer's. `stuck`: its cart
    was not cleaned within an hour. `unguarded`: the record that keeps it from being placed twice is missing.
    """

    order_id: UUID
    customer_id: UUID
    status: str
    total: int
    refunded: int
    lines: int
    lines_refunded: int
    purchase: int | None
    refunds: int
    units: int
    units_refunded: int
    stuck: bool
    unguarded: bool


def audit_account(facts: AccountFacts) -> list[Difference]:
    """Compare a balance with its ledger. An erased customer's ledger adds up to 0."""
    balance = facts.balance
    rules = {
        "balance-differs": balance is not None and balance != facts.points,
        "balance-missing": balance is None and facts.entries > 0 and not facts.erased,
        "closed-account-holds-points": balance is None and facts.erased and facts.points != 0,
        "erasure-unfinished": balance is not None and facts.erased_long_ago,
    }
    return [
        Difference(kind, facts.customer_id, facts.customer_id) for kind, broken in rules.items() if broken
    ]


def looks_broken(facts: AccountFacts) -> bool:
    """Tell whether the customer's entries have to be looked at one by one."""
    return facts.breaks > 0 and facts.unchained == 0


def is_chain(entries: Iterable[tuple[int, int]]) -> bool:
    """Tell whether entries of (points, balance_after) can stand in some order that begins at a balance of 0.

    Whatever the order: each balance that an entry found is the one that another entry left, but for the
    first one's 0, and each balance that was left was found, but for the last. Times do not enter into it,
    because the clocks of two Regions may disagree about entries that are milliseconds apart.
    """
    found: Counter[int] = Counter()
    left: Counter[int] = Counter([0])
    for points, balance_after in entries:
        found[balance_after - points] += 1
        left[balance_after] += 1
    return found.total() == 0 or ((found - left).total() == 0 and (left - found).total() == 1)


def audit_order(facts: OrderFacts) -> list[Difference]:
    """Compare an order with its lines, its debit, its refunds, its state and its record."""
    given_back = facts.units_refunded
    status_after = {
        "PLACED": given_back == 0,
        "PART_REFUNDED": 0 < given_back < facts.units,
        "REFUNDED": given_back == facts.units,
        "CANCELLED": given_back == facts.units,
    }
    rules = {
        "order-differs-from-lines": facts.lines != facts.total,
        "order-without-debit": facts.purchase is None,
        "order-differs-from-debit": facts.purchase is not None and facts.purchase != -facts.total,
        "order-differs-from-refunds": facts.refunds != facts.refunded,
        "lines-differ-from-refunds": facts.lines_refunded != facts.refunded,
        "status-differs-from-refunds": not status_after.get(facts.status, False),
        "order-without-effect": facts.stuck,
        "order-without-record": facts.unguarded,
    }
    return [Difference(kind, facts.order_id, facts.customer_id) for kind, broken in rules.items() if broken]
