"""The audit's rules by themselves."""

import random
from uuid import uuid4

import pytest

from domain.audit import (
    AccountFacts,
    Difference,
    OrderFacts,
    audit_account,
    audit_order,
    is_chain,
    looks_broken,
)

ACCOUNT = AccountFacts(uuid4(), False, False, 70, 2, 70, 0, 0)
ORDER = OrderFacts(uuid4(), uuid4(), "PLACED", 30, 0, 30, 0, -30, 0, 3, 0, False, False)


def kinds(differences: list[Difference]) -> list[str]:
    return [difference.kind for difference in differences]


def test_a_sound_account_and_a_sound_order_differ_in_nothing() -> None:
    assert audit_account(ACCOUNT) == []
    assert audit_order(ORDER) == []


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"balance": 71}, ["balance-differs"]),
        ({"balance": None}, ["balance-missing"]),
        ({"balance": None, "entries": 0, "points": 0}, []),
        ({"balance": None, "points": 0, "erased": True}, []),
        ({"balance": None, "erased": True}, ["closed-account-holds-points"]),
        ({"erased": True}, []),
        ({"erased": True, "erased_long_ago": True}, ["erasure-unfinished"]),
        ({"erased": True, "balance": 0}, ["balance-differs"]),
    ],
)
def test_an_account_is_held_against_its_ledger(changes: dict[str, object], found: list[str]) -> None:
    assert kinds(audit_account(ACCOUNT._replace(**changes))) == found  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"lines": 29}, ["order-differs-from-lines"]),
        ({"purchase": None}, ["order-without-debit"]),
        ({"purchase": -29}, ["order-differs-from-debit"]),
        ({"refunds": 10}, ["order-differs-from-refunds"]),
        ({"stuck": True}, ["order-without-effect"]),
        ({"unguarded": True}, ["order-without-record"]),
        ({"status": "CANCELLED"}, ["status-differs-from-refunds"]),
        ({"status": "LOST"}, ["status-differs-from-refunds"]),
        ({"units_refunded": 1}, ["status-differs-from-refunds"]),
    ],
)
def test_an_order_is_held_against_what_belongs_to_it(changes: dict[str, object], found: list[str]) -> None:
    assert kinds(audit_order(ORDER._replace(**changes))) == found  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "units_refunded", "points"),
    [("PLACED", 0, 0), ("PART_REFUNDED", 1, 10), ("REFUNDED", 3, 30), ("CANCELLED", 3, 30)],
)
def test_each_status_fits_what_was_given_back(status: str, units_refunded: int, points: int) -> None:
    facts = ORDER._replace(
        status=status,
        units_refunded=units_refunded,
        refunded=points,
        refunds=points,
        lines_refunded=points,
    )
    assert audit_order(facts) == []


def test_a_refund_of_what_cost_nothing_is_told_by_its_units() -> None:
    free = ORDER._replace(total=0, lines=0, purchase=0, status="REFUNDED", units_refunded=3)
    assert audit_order(free) == []


def test_a_chain_holds_in_whatever_order_its_entries_are_read() -> None:
    draw = random.Random(7)
    for _ in range(200):
        balance, entries = 0, []
        for _ in range(draw.randrange(12)):
            points = draw.choice((-3, -1, 0, 2, 5))
            balance += points
            entries.append((points, balance))
        draw.shuffle(entries)
        assert is_chain(entries)


def test_a_chain_with_an_entry_lost_or_changed_is_none() -> None:
    entries = [(100, 100), (-30, 70), (5, 75), (-20, 55)]
    assert is_chain(entries)
    assert not is_chain([(100, 100), (5, 75), (-20, 55)]), "an entry in the middle is missing"
    assert not is_chain(entries[1:]), "the first entry is missing"
    assert not is_chain([(100, 100), (-30, 71), (5, 75), (-20, 55)]), "an entry was edited"
    assert not is_chain([(100, 100), (-30, 70), (-30, 70)]), "two debits met one balance: a lost update"


def test_entries_are_looked_at_one_by_one_only_where_they_look_broken_and_all_know_their_balance() -> None:
    assert not looks_broken(ACCOUNT)
    assert looks_broken(ACCOUNT._replace(breaks=1))
    assert not looks_broken(ACCOUNT._replace(breaks=1, unchained=1))
