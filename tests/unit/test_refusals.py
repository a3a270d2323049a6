from uuid import uuid4

import pytest

from domain.refusals import EmptyCart, OutOfStock, PriceChanged, TooManyLines, UnknownItem


def test_refusals_are_equal_when_they_refuse_the_same() -> None:
    item = uuid4()

    assert UnknownItem(item) == UnknownItem(item_id=item)
    assert hash(UnknownItem(item)) == hash(UnknownItem(item))
    assert UnknownItem(item) != UnknownItem(uuid4())
    assert TooManyLines(1, 2) != PriceChanged(1, 2)
    assert EmptyCart()


def test_a_refusal_cannot_be_changed() -> None:
    refusal = PriceChanged(expected_points=1, actual_points=2)

    with pytest.raises(AttributeError, match="PriceChanged is frozen"):
        refusal.actual_points = 1  # type: ignore[misc]


def test_a_refusal_shows_what_it_holds() -> None:
    assert repr(PriceChanged(1, 2)) == "PriceChanged(expected_points=1, actual_points=2)"
    assert repr(EmptyCart()) == "EmptyCart()"


@pytest.mark.parametrize(
    ("values", "named"), [((), {}), ((1, 2, 3), {}), ((1,), {"lines": 1}), ((1,), {"other": 1})]
)
def test_a_refusal_takes_each_of_its_values_once(values: tuple[int, ...], named: dict[str, int]) -> None:
    with pytest.raises(TypeError, match="TooManyLines takes each of these once: lines, most"):
        TooManyLines(*values, **named)


def test_a_refusal_is_matched_by_its_name() -> None:
    refusal = OutOfStock(item_id=uuid4(), requested=2, available=1)

    match refusal:
        case OutOfStock(_, requested, available):
            assert (requested, available) == (2, 1)
