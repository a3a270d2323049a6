"""The rules of a checkout, for every cart that can be made up."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from domain import refusals
from domain.checkout import (
    MAX_LINE_QUANTITY,
    MAX_ORDER_LINES,
    MAX_STOCK_TAKES,
    AcceptedOrder,
    PricedCartLine,
    ShownLine,
    StockSlot,
    allocate,
    cart_version,
    decide_checkout,
    total,
)
from domain.refusals import Refusal
from domain.stock import MAX_SLOTS

#: DSQL's limit on a transaction.
MAX_CHANGED_ROWS = 3_000

slots = st.lists(
    st.builds(StockSlot, st.integers(0, 63), st.integers(0, 50)), max_size=8, unique_by=lambda s: s.slot
).map(tuple)
lines = st.builds(
    PricedCartLine,
    item_id=st.uuids(),
    name=st.text(max_size=5),
    quantity=st.integers(1, 20),
    unit_points=st.one_of(st.none(), st.integers(0, 10_000)),
    stock=st.one_of(st.none(), slots),
)
carts = st.lists(lines, max_size=12, unique_by=lambda line: line.item_id)


def line(
    number: int = 1, quantity: int = 1, points: int | None = 10, stock: tuple[StockSlot, ...] | None = None
) -> PricedCartLine:
    return PricedCartLine(UUID(int=number), "Mug", quantity, points, stock)


@given(cart=carts, balance=st.integers(0, 100_000), pick=st.integers(0, 1000))
def test_an_accepted_order_costs_what_its_lines_cost_and_leaves_no_negative_balance(
    cart: list[PricedCartLine], balance: int, pick: int
) -> None:
    decision = decide_checkout(cart, balance, total(cart), lambda n: pick % n)
    if isinstance(decision, AcceptedOrder):
        assert decision.total_points == sum(line.quantity * line.unit_points for line in decision.lines)
        assert decision.balance_after == balance - decision.total_points >= 0
        assert {(line.item_id, line.quantity) for line in decision.lines} == {
            (line.item_id, line.quantity) for line in cart
        }
    else:
        assert isinstance(decision, Refusal)


@given(cart=carts, balance=st.integers(0, 100_000), pick=st.integers(0, 1000))
def test_stock_is_taken_for_exactly_the_limited_lines_and_never_more_than_a_slot_holds(
    cart: list[PricedCartLine], balance: int, pick: int
) -> None:
    decision = decide_checkout(cart, balance, total(cart), lambda n: pick % n)
    if not isinstance(decision, AcceptedOrder):
        return
    taken: dict[UUID, int] = {}
    for take in decision.stock:
        taken[take.item_id] = taken.get(take.item_id, 0) + take.quantity
        held = {line.item_id: line.stock for line in cart}[take.item_id]
        assert held is not None
        assert 0 < take.quantity <= {slot.slot: slot.available for slot in held}[take.slot]
    assert taken == {line.item_id: line.quantity for line in cart if line.stock is not None}
    keys = [(take.item_id, take.slot) for take in decision.stock]
    assert keys == sorted(set(keys)), "rows are touched in key order, each once"


@given(cart=carts, spare=st.integers(-50, 50), pick=st.integers(0, 1000))
def test_an_order_is_accepted_exactly_when_nothing_speaks_against_it(
    cart: list[PricedCartLine], spare: int, pick: int
) -> None:
    balance = max(0, total(cart) + spare)
    decision = decide_checkout(cart, balance, total(cart), lambda n: pick % n)
    in_order = (
        cart != []
        and all(line.unit_points is not None for line in cart)
        and all(
            line.stock is None or sum(slot.available for slot in line.stock) >= line.quantity for line in cart
        )
        and balance >= total(cart)
    )
    assert isinstance(decision, AcceptedOrder) == in_order, decision


@given(
    lines=st.integers(1, MAX_ORDER_LINES),
    slots=st.integers(1, MAX_SLOTS),
    units=st.integers(1, 3),
    quantity=st.integers(1, MAX_LINE_QUANTITY),
)
def test_an_order_never_changes_more_rows_than_one_transaction_may(
    lines: int, slots: int, units: int, quantity: int
) -> None:
    held = tuple(StockSlot(number, units) for number in range(slots))
    cart = [line(number, quantity, 0, held) for number in range(lines)]
    decision = decide_checkout(cart, 0, 0)
    takes = lines * -(-quantity // units)
    if quantity > slots * units:
        assert refusals.out_of_stock.fits(decision)
    elif takes > MAX_STOCK_TAKES:
        assert decision == refusals.order_too_large(slots=takes, most=MAX_STOCK_TAKES)
    else:
        assert isinstance(decision, AcceptedOrder)
        assert len(decision.stock) == takes
        rows_of_every_order = 5
        assert len(decision.stock) + lines + len(decision.exhausted) + rows_of_every_order <= MAX_CHANGED_ROWS


@given(cart=carts, balance=st.integers(0, 100_000), expected=st.integers(0, 100_000))
def test_no_order_is_accepted_at_a_total_that_the_shopper_did_not_see(
    cart: list[PricedCartLine], balance: int, expected: int
) -> None:
    decision = decide_checkout(cart, balance, expected)
    if isinstance(decision, AcceptedOrder):
        assert decision.total_points == expected


@given(held=slots, quantity=st.integers(1, 100), start=st.integers(0, 100))
def test_allocation_succeeds_exactly_when_there_are_enough_units(
    held: tuple[StockSlot, ...], quantity: int, start: int
) -> None:
    taken = allocate(held, quantity, start)
    if sum(slot.available for slot in held) < quantity:
        assert taken is None
    else:
        assert taken is not None
        assert sum(slot.available for slot in taken) == quantity


def test_buyers_who_start_at_different_places_take_from_different_slots() -> None:
    held = tuple(StockSlot(number, 10) for number in range(8))
    chosen = {taken[0].slot for start in range(8) if (taken := allocate(held, 1, start))}
    assert chosen == set(range(8))


def test_each_reason_to_refuse_has_its_own_refusal() -> None:
    assert decide_checkout([line()], None, 10) == refusals.unknown_customer()
    assert decide_checkout([], 100, 0) == refusals.empty_cart()
    assert decide_checkout([line(points=None)], 100, 0) == refusals.item_unavailable((UUID(int=1),))
    assert decide_checkout([line()], 100, 11) == refusals.price_changed(expected_points=11, actual_points=10)
    assert decide_checkout([line()], 9, 10) == refusals.insufficient_points(
        required_points=10, available_points=9
    )
    assert decide_checkout([line(quantity=2, stock=(StockSlot(0, 1),))], 100, 20) == refusals.out_of_stock(
        UUID(int=1), requested=2, available=1
    )
    assert decide_checkout([line(stock=())], 100, 10) == refusals.out_of_stock(UUID(int=1), 1, 0)
    many = [line(number) for number in range(MAX_ORDER_LINES + 1)]
    assert decide_checkout(many, 10_000, total(many)) == refusals.too_many_lines(
        MAX_ORDER_LINES + 1, MAX_ORDER_LINES
    )


def test_an_order_of_the_largest_size_and_of_the_whole_balance_is_accepted() -> None:
    many = [line(number) for number in range(MAX_ORDER_LINES)]
    decision = decide_checkout(many, total(many), total(many))
    assert isinstance(decision, AcceptedOrder)
    assert decision.balance_after == 0


def test_a_carts_version_is_of_items_quantities_and_prices_whatever_their_order() -> None:
    lines = [ShownLine(UUID(int=number), 1 + number, 10 * number) for number in range(3)]
    version = cart_version(lines)
    assert cart_version(reversed(lines)) == version
    for changed in (
        [*lines[1:], lines[0]._replace(item_id=UUID(int=9))],
        [*lines[1:], lines[0]._replace(quantity=7)],
        [*lines[1:], lines[0]._replace(unit_points=None)],
        lines[1:],
    ):
        assert cart_version(changed) != version
