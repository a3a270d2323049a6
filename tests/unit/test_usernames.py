"""The one form of a username."""

import unicodedata

import pytest

from domain.usernames import one_form


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ana", "ANA"),
        ("Carlos_Salazar_121", "carlos_salazar_121"),
        ("jos\u00e9", "JOSE\u0301"),
        ("\uff41na", "ana"),  # a wide letter
        ("stra\u00dfe", "STRASSE"),
        ("\u01c4", "d\u017e"),  # one character that folds to two
        ("\u0390", "\u1fd3"),  # two that are canonically one
        ("K", "\u212a"),  # the kelvin sign
    ],
)
def test_a_name_is_one_however_it_is_typed(one: str, other: str) -> None:
    assert one_form(one) == one_form(other)
    assert one_form(one_form(one)) == one_form(one)
    assert unicodedata.is_normalized("NFC", one_form(one))


@pytest.mark.parametrize(("one", "other"), [("ana", "anna"), ("ana", "\u0430na"), ("jose", "jos\u00e9")])
def test_different_names_stay_different(one: str, other: str) -> None:
    assert one_form(one) != one_form(other)


def test_every_letter_has_a_form_that_is_its_own() -> None:
    letters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    assert [letter for letter in letters if one_form(one_form(letter)) != one_form(letter)] == []
