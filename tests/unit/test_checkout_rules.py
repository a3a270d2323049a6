"""The rules of a checkout, for every cart that can be made up."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from domain.checkout import (
    MAX_ORDER_LINES,
    AcceptedOrder,
    CartLine,
    StockSlot,
    allocate,
    decide_checkout,
    total,
)
from domain.refusals import (
    EmptyCart,
    InsufficientPoints,
    ItemUnavailable,
    OutOfStock,
    PriceChanged,
    Refusal,
    TooManyLines,
    UnknownCustomer,
)

slots = st.lists(
    st.builds(StockSlot, st.integers(0, 63), st.integers(0, 50)), max_size=8, unique_by=lambda s: s.slot
).map(tuple)
lines = st.builds(
    CartLine,
    item_id=st.uuids(),
    name=st.text(max_size=5),
    quantity=st.integers(1, 20),
    unit_points=st.one_of(st.none(), st.integers(0, 10_000)),
    stock=st.one_of(st.none(), slots),
)
carts = st.lists(lines, max_size=12, unique_by=lambda line: line.item_id)


def line(
    number: int = 1, quantity: int = 1, points: int | None = 10, stock: tuple[StockSlot, ...] | None = None
) -> CartLine:
    return CartLine(UUID(int=number), "Mug", quantity, points, stock)


@given(cart=carts, balance=st.integers(0, 100_000), pick=st.integers(0, 1000))
def test_an_accepted_order_costs_what_its_lines_cost_and_leaves_no_negative_balance(
    cart: list[CartLine], balance: int, pick: int
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
    cart: list[CartLine], balance: int, pick: int
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


@given(cart=carts, balance=st.integers(0, 100_000), expected=st.integers(0, 100_000))
def test_no_order_is_accepted_at_a_total_that_the_shopper_did_not_see(
    cart: list[CartLine], balance: int, expected: int
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
    assert decide_checkout([line()], None, 10) == UnknownCustomer()
    assert decide_checkout([], 100, 0) == EmptyCart()
    assert decide_checkout([line(points=None)], 100, 0) == ItemUnavailable((UUID(int=1),))
    assert decide_checkout([line()], 100, 11) == PriceChanged(expected_points=11, actual_points=10)
    assert decide_checkout([line()], 9, 10) == InsufficientPoints(required_points=10, available_points=9)
    assert decide_checkout([line(quantity=2, stock=(StockSlot(0, 1),))], 100, 20) == OutOfStock(
        UUID(int=1), requested=2, available=1
    )
    assert decide_checkout([line(stock=())], 100, 10) == OutOfStock(UUID(int=1), 1, 0)
    many = [line(number) for number in range(MAX_ORDER_LINES + 1)]
    assert decide_checkout(many, 10_000, total(many)) == TooManyLines(MAX_ORDER_LINES + 1, MAX_ORDER_LINES)


def test_an_order_of_the_largest_size_and_of_the_whole_balance_is_accepted() -> None:
    many = [line(number) for number in range(MAX_ORDER_LINES)]
    decision = decide_checkout(many, total(many), total(many))
    assert isinstance(decision, AcceptedOrder)
    assert decision.balance_after == 0


def test_every_refusal_explains_itself_with_a_remedy() -> None:
    refusals: list[Refusal] = [
        UnknownCustomer(),
        EmptyCart(),
        TooManyLines(101, 100),
        ItemUnavailable((UUID(int=1),)),
        PriceChanged(1, 2),
        InsufficientPoints(2, 1),
        OutOfStock(UUID(int=1), 2, 1),
    ]
    for refusal in refusals:
        assert refusal.explain().count(".") >= 2, "one sentence says what is wrong, one what to do"
