"""The rules around the checkout for whatever can be made up: carts, refunds, points, stock, accounts."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import refusals
from domain.accounts import AccountChange, Member, Profile, decide_change, decide_erasure
from domain.cart import LineFacts, StoredLine, decide_quantity, decide_removal
from domain.checkout import MAX_ORDER_LINES, StockSlot, allocate
from domain.items import ItemData, StoredItem, decide_item_change
from domain.points import (
    MAX_BALANCE,
    MAX_POINTS_AT_ONCE,
    AcceptedTransfer,
    BalanceChange,
    PointsAccount,
    decide_boost,
    decide_credit,
    decide_transfer,
)
from domain.refunds import (
    AcceptedRefund,
    BoughtLine,
    BoughtOrder,
    decide_cancellation,
    decide_refund,
    requested_units,
)
from domain.refusals import Refusal
from domain.stock import MAX_SLOTS, MAX_STOCK, decide_adjustment, give_back, spread
from domain.versions import Expected

points = st.integers(1, MAX_POINTS_AT_ONCE)
balances = st.integers(0, MAX_BALANCE)

# --- Cart ---

facts = st.builds(
    LineFacts,
    item_id=st.uuids(),
    unit_points=st.none() | st.integers(0, 1000),
    stored=st.none() | st.integers(1, 2000),
    ordered=st.integers(0, 1000),
    other_lines=st.integers(0, MAX_ORDER_LINES),
)


@given(facts=facts, requested=st.integers(1, 999))
def test_what_is_stored_less_what_orders_hold_is_what_was_requested(facts: LineFacts, requested: int) -> None:
    decision = decide_quantity(facts, requested)
    if isinstance(decision, StoredLine):
        assert decision.quantity - facts.ordered == requested
        assert decision.existed == (facts.stored is not None)
    else:
        assert (refusals.unknown_item.fits(decision) and facts.unit_points is None) or (
            refusals.cart_full.fits(decision) and facts.other_lines >= MAX_ORDER_LINES
        )


@given(facts=facts)
def test_after_a_removal_nothing_is_left_but_what_orders_hold(facts: LineFacts) -> None:
    line = decide_removal(facts)
    after = facts.stored or 0 if line is None else line.quantity
    assert max(0, after - facts.ordered) == 0
    assert line is None or line.quantity == facts.ordered


@pytest.mark.parametrize("requested", [0, -1, 1000])
def test_a_quantity_that_no_line_may_have_is_a_fault_of_the_caller(requested: int) -> None:
    with pytest.raises(ValueError, match="1 to 999"):
        decide_quantity(LineFacts(UUID(int=1), 1, None, 0, 0), requested)


# --- Refunds ---

lines = st.lists(
    st.tuples(st.integers(1, 20), st.integers(0, 20), st.integers(0, 1000)), min_size=1, max_size=6
).map(
    lambda rows: tuple(
        BoughtLine(UUID(int=number), bought, min(refunded, bought), price)
        for number, (bought, refunded, price) in enumerate(rows)
    )
)
orders = lines.map(
    lambda rows: BoughtOrder(
        "REFUNDED"
        if all(line.left == 0 for line in rows)
        else "PART_REFUNDED"
        if any(line.refunded for line in rows)
        else "PLACED",
        1,
        rows,
    )
)


def refunded(order: BoughtOrder, refund: AcceptedRefund) -> BoughtOrder:
    units = {line.item_id: line.quantity for line in refund.lines}
    return BoughtOrder(
        refund.status,
        refund.version,
        tuple(
            BoughtLine(
                line.item_id, line.quantity, line.refunded + units.get(line.item_id, 0), line.unit_points
            )
            for line in order.lines
        ),
    )


@given(order=orders, data=st.data())
def test_however_an_order_is_refunded_it_gives_back_what_it_cost_and_no_more(
    order: BoughtOrder, data: st.DataObject
) -> None:
    left = sum(line.left * line.unit_points for line in order.lines)
    given_back = 0
    for _ in range(6):
        requested = data.draw(
            st.none()
            | st.dictionaries(
                st.sampled_from([line.item_id for line in order.lines]), st.integers(1, 21), min_size=1
            )
        )
        decision = decide_refund(order, requested)
        if isinstance(decision, AcceptedRefund):
            assert decision.points == sum(line.quantity * line.unit_points for line in decision.lines)
            assert decision.version == order.version + 1
            given_back += decision.points
            order = refunded(order, decision)
            assert all(0 <= line.refunded <= line.quantity for line in order.lines)
            assert (order.status == "REFUNDED") == all(line.left == 0 for line in order.lines)
    assert given_back <= left
    rest = decide_refund(order, None)
    if isinstance(rest, AcceptedRefund):
        given_back += rest.points
        assert refusals.already_refunded.fits(decide_refund(refunded(order, rest), None))
    assert given_back == left


def test_the_picture_of_an_orders_life_shows_every_change_that_there_is() -> None:
    page = (Path(__file__).parents[2] / "docs" / "events.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"^    ([A-Z_]+) --> ([A-Z_]+): ", page, re.MULTILINE))
    lines = (BoughtLine(UUID(int=1), 3, 0, 10), BoughtLine(UUID(int=2), 1, 0, 20))
    waiting, changes = [BoughtOrder("PLACED", 1, lines)], set()
    while waiting:
        order = waiting.pop()
        requests: list[dict[UUID, int] | None] = [None, {UUID(int=1): 1}, {UUID(int=2): 1}]
        for decision in [
            decide_cancellation(order),
            *(decide_refund(order, requested) for requested in requests),
        ]:
            if isinstance(decision, AcceptedRefund):
                changes.add((order.status, decision.status))
                waiting.append(refunded(order, decision))

    assert changes == shown


@given(order=orders)
def test_an_order_is_cancelled_whole_or_not_at_all(order: BoughtOrder) -> None:
    decision = decide_cancellation(order)
    assert isinstance(decision, AcceptedRefund) == (order.status == "PLACED")
    if isinstance(decision, AcceptedRefund):
        assert decision.points == sum(line.quantity * line.unit_points for line in order.lines)
        assert isinstance(decide_cancellation(refunded(order, decision)), Refusal)


def test_an_item_that_is_named_twice_is_asked_for_in_sum() -> None:
    first, second = UUID(int=1), UUID(int=2)
    assert requested_units([(first, 1), (second, 2), (first, 3)]) == {first: 4, second: 2}


# --- Points ---


@given(payer=balances, payee=balances, moved=points)
def test_a_transfer_moves_points_and_makes_none(payer: int, payee: int, moved: int) -> None:
    decision = decide_transfer(PointsAccount(UUID(int=2), payer), [PointsAccount(UUID(int=1), payee)], moved)
    if isinstance(decision, AcceptedTransfer):
        assert decision.payer.points + decision.payee.points == 0
        assert decision.payer.balance_after + decision.payee.balance_after == payer + payee
        assert decision.payer.balance_after >= 0
        assert [change.customer_id.int for change in decision.in_key_order] == [1, 2]
    else:
        assert moved > payer or payee + moved > MAX_BALANCE


@given(count=st.sampled_from([0, 2, 3]))
def test_nobody_is_paid_where_a_name_stands_for_none_or_several(count: int) -> None:
    payees = [PointsAccount(UUID(int=number), 0) for number in range(10, 10 + count)]
    assert decide_transfer(PointsAccount(UUID(int=1), 100), payees, 1) == refusals.unknown_payee()


@given(one=balances, other=balances, boost=points, below=points)
def test_a_boost_is_for_households_below_the_limit_alone(
    one: int, other: int, boost: int, below: int
) -> None:
    first, second, staff = UUID(int=1), UUID(int=2), UUID(int=3)
    decision = decide_boost({first: one, second: other}, first, second, boost, below, staff)
    if isinstance(decision, BalanceChange):
        assert one + other < below
        assert (decision.customer_id, decision.balance_after) == (first, one + boost)
    else:
        assert one + other >= below
    assert decide_boost({first: one}, first, second, boost, below, staff) == refusals.unknown_customer()
    assert decide_boost({first: one}, first, first, boost, below, staff) == refusals.not_a_household()
    for member in (first, second):
        assert (
            decide_boost({first: one, second: other}, first, second, boost, below, member)
            == refusals.self_credit()
        )


def test_nobody_credits_themselves() -> None:
    assert decide_credit(PointsAccount(UUID(int=1), 0), 5, UUID(int=1)) == refusals.self_credit()
    assert decide_credit(PointsAccount(UUID(int=1), 0), 5, UUID(int=2)) == BalanceChange(UUID(int=1), 5, 5)


@pytest.mark.parametrize("requested", [0, -5, MAX_POINTS_AT_ONCE + 1, 2**63])
def test_points_that_nobody_may_move_are_a_fault_of_the_caller(requested: int) -> None:
    with pytest.raises(ValueError, match="points must be"):
        decide_credit(PointsAccount(UUID(int=1), 0), requested, UUID(int=2))


# --- Stock ---


@given(units=st.integers(0, MAX_STOCK), slots=st.integers(1, MAX_SLOTS))
def test_units_are_spread_evenly_and_none_is_lost(units: int, slots: int) -> None:
    laid = spread(units, slots)
    assert sum(slot.available for slot in laid) == units
    assert 1 <= len(laid) <= slots
    assert max(slot.available for slot in laid) - min(slot.available for slot in laid) <= 1
    assert [slot.slot for slot in laid] == list(range(len(laid)))


stock = st.lists(st.integers(0, 50), max_size=8).map(
    lambda amounts: [StockSlot(slot, amount) for slot, amount in enumerate(amounts)]
)


@given(slots=stock, delta=st.integers(-300, 300).filter(bool))
def test_an_adjustment_changes_the_sum_by_just_that_and_no_slot_below_nothing(
    slots: list[StockSlot], delta: int
) -> None:
    changes = decide_adjustment(slots, delta)
    together = sum(slot.available for slot in slots)
    if isinstance(changes, Refusal):
        assert not slots or together + delta < 0
        return
    before = {slot.slot: slot.available for slot in slots}
    assert sum(change.available for change in changes) == delta
    assert all(before[change.slot] + change.available >= 0 for change in changes)


@given(slots=stock, wanted=st.integers(1, 20), start=st.integers(0, 100), back=st.integers(0, 100))
def test_what_was_taken_and_given_back_leaves_as_much_as_before(
    slots: list[StockSlot], wanted: int, start: int, back: int
) -> None:
    taken = allocate(slots, wanted, start) if any(slot.available for slot in slots) else None
    if taken is not None:
        returned = give_back(slots, sum(slot.available for slot in taken), back)
        assert returned is not None
        assert returned.available == wanted
        assert returned.slot in {slot.slot for slot in slots}


@given(there=st.integers(0, MAX_STOCK + 50), delta=st.integers(-60, 60).filter(bool))
def test_what_is_added_to_stock_stays_within_what_an_item_may_have(there: int, delta: int) -> None:
    there = max(there, MAX_STOCK - 50)  # near the limit, or beyond it by what buyers gave back
    decision = decide_adjustment([StockSlot(0, there)], delta)
    if delta > 0 and there + delta > MAX_STOCK:
        assert decision == refusals.stock_limit(available=there, most=MAX_STOCK)
    else:
        assert decision == (StockSlot(0, delta),)


# --- Items ---


def expected(*versions: int) -> Expected:
    return Expected(frozenset(versions))


def test_an_item_change_meets_the_version_that_was_read_or_is_stored_already() -> None:
    # What single precision makes of 4.3 is not 4.3, and of 0.1234567891 less than was sent.
    sent = ItemData("Mug", None, None, Decimal("9.50"), 5, 4.3, None, 0.1234567891, None, None, None, None)
    stored = sent._replace(usd_price=Decimal("9.5"), weight=0.12345679)
    other = sent._replace(points_price=6)

    def decide(version: int, data: ItemData, at: int, requested: ItemData, image_known: bool = True) -> Any:
        return decide_item_change(
            UUID(int=1), StoredItem(version, False, data), expected(at), requested, image_known
        )

    assert decide(3, other, 3, sent) == 4
    assert decide(4, other, 3, sent) == refusals.precondition_failed(actual=4)
    assert decide(4, stored, 3, sent) == 4, "sent again after its answer was lost"
    assert decide(4, stored, 2, sent) == refusals.precondition_failed(actual=4)
    assert decide(3, other, 3, sent, image_known=False) == refusals.unknown_image()
    retired = StoredItem(4, True, stored)
    assert decide_item_change(UUID(int=1), retired, expected(3), sent, True) == refusals.item_retired(
        UUID(int=1)
    )


# --- Account ---

EMPTY = Profile(*([None] * 9))


def member(version: int = 3, erased: bool = False, name: str | None = None) -> Member:
    return Member(UUID(int=1), "ana", version, erased, None, Profile(name, *([None] * 8)))


def version_of(decision: AccountChange | int | Refusal) -> int | Refusal:
    return decision.version if isinstance(decision, AccountChange) else decision


def test_a_change_meets_the_version_that_was_read_or_is_stored_already() -> None:
    requested = Profile("Ana", *([None] * 8))
    assert version_of(decide_change(member(3), expected(3), requested)) == 4
    assert version_of(decide_change(member(4), expected(3), requested)) == refusals.precondition_failed(
        actual=4
    )
    assert version_of(decide_change(member(4, name="Ana"), expected(3), requested)) == 4, (
        "sent again after its answer was lost"
    )
    assert version_of(
        decide_change(member(4, name="Ana"), expected(2), requested)
    ) == refusals.precondition_failed(actual=4)
    assert (
        version_of(decide_change(member(3, erased=True), expected(3), requested)) == refusals.account_closed()
    )
    assert version_of(decide_change(None, expected(3), requested)) == refusals.account_closed()


def test_a_change_may_be_for_several_versions_or_for_any_and_for_none_it_is_not_made() -> None:
    requested = Profile("Ana", *([None] * 8))
    assert version_of(decide_change(member(3), expected(1, 3, 9), requested)) == 4
    assert version_of(decide_change(member(3), Expected(None), requested)) == 4
    assert version_of(decide_change(member(3, name="Ana"), Expected(None), requested)) == 3
    assert version_of(decide_change(member(3), expected(1, 2), requested)) == refusals.precondition_failed(
        actual=3
    )
    assert version_of(decide_change(member(3), expected(), requested)) == refusals.precondition_failed(
        actual=3
    )
    assert version_of(decide_change(None, Expected(None), requested)) == refusals.account_closed()


@given(balance=st.none() | balances)
def test_erasure_forfeits_all_points_once(balance: int | None) -> None:
    assert decide_erasure(member(), balance) == BalanceChange(UUID(int=1), -(balance or 0), 0)
    assert decide_erasure(member(erased=True), balance) is None
    assert decide_erasure(None, balance) == refusals.account_closed()
