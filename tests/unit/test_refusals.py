from inspect import signature
from typing import Any, get_type_hints
from uuid import UUID, uuid4

import pytest

from domain import refusals
from domain.refusals import KINDS, Refusal
from handlers.edge import problems
from handlers.edge.problems import Problem

_SAMPLES: dict[Any, object] = {int: 7, str: "PLACED", UUID: UUID(int=7), tuple[UUID, ...]: (UUID(int=7),)}


def _sample(kind: "refusals.RefusalKind[...]") -> Refusal:
    hints = get_type_hints(kind._write)
    return kind(**{name: _SAMPLES[hints[name]] for name in signature(kind._write).parameters})


def test_refusals_are_equal_when_they_refuse_the_same() -> None:
    item = uuid4()

    assert refusals.unknown_item(item) == refusals.unknown_item(item_id=item)
    assert hash(refusals.unknown_item(item)) == hash(refusals.unknown_item(item))
    assert refusals.unknown_item(item) != refusals.unknown_item(uuid4())
    assert refusals.too_many_lines(1, 2) != refusals.price_changed(1, 2)


@pytest.mark.parametrize("code", KINDS)
def test_a_refusal_says_what_was_refused_and_what_to_do(code: str) -> None:
    kind = KINDS[code]
    refusal = _sample(kind)

    assert refusal.explain() == f"{refusal.text} {kind.remedy}"
    for sentence in (refusal.text, kind.remedy, kind.when):
        assert sentence.endswith(".")
        assert sentence[0].isupper() or sentence[0].isdigit()
    assert kind.fits(refusal)
    assert [other for other in KINDS.values() if other.fits(refusal)] == [kind]


def test_the_text_names_every_value() -> None:
    refusal = refusals.out_of_stock(item_id=UUID(int=5), requested=31, available=17)

    assert refusal.code == "out-of-stock"
    assert refusal.text == f"Of item {UUID(int=5)} 31 were asked for and 17 are left."


@pytest.mark.parametrize(
    ("values", "named"), [((), {}), ((1, 2, 3), {}), ((1,), {"lines": 1}), ((1,), {"other": 1})]
)
def test_a_refusal_takes_each_of_its_values_once(values: tuple[int, ...], named: dict[str, int]) -> None:
    with pytest.raises(TypeError, match="too_many_lines"):
        refusals.too_many_lines(*values, **named)


@pytest.mark.parametrize("code", KINDS)
def test_a_refusal_is_answered_as_a_problem_of_its_own(code: str) -> None:
    refusal = _sample(KINDS[code])
    problem = Problem.of(refusal)

    assert problem.kind is problems.KINDS[code]
    assert problem.detail == refusal.explain()
    assert 400 <= problem.kind.status < 500
