"""Folding, words and ranges: what the search compares; and how much of a list it reads."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.search import MAX_WORD_LENGTH, fold, item_words, wanted_words
from handlers.edge.paging import LARGEST_PAGE
from sql.queries import load
from sql.reads.catalogue import LIST_PART


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Émeraude", "emeraude"),
        ("E\u0301meraude", "emeraude"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("ﬁne", "fine"),
        ("Å", "a"),
        ("ΣΊΣΥΦΟΣ", "σισυφοσ"),
        ("İstanbul", "istanbul"),
        ("ISPARTA", "isparta"),
        ("ısparta", "isparta"),
        ("kırmızı KIRMIZI", "kirmizi kirmizi"),
        ("ｍｕｇ", "mug"),
        ("Smørrebrød", "smorrebrod"),
        ("Łódź", "lodz"),
        ("Æble, Œuvre", "aeble, oeuvre"),
        ("Þórr", "thorr"),
        ("EMERAUDE", "emeraude"),
        ("e\u0301meraude", "emeraude"),
    ],
)
def test_a_text_is_folded(text: str, folded: str) -> None:
    assert fold(text) == folded


@given(st.text(max_size=50))
def test_folding_twice_changes_nothing_more(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.text(max_size=50), st.text(max_size=200))
def test_an_item_is_found_by_each_of_its_words_and_each_beginning_of_one(name: str, description: str) -> None:
    words = item_words(name, description)

    assert all(len(word) <= MAX_WORD_LENGTH for word in words)
    for text in (name, description, *name.split(), description[:7]):
        wanted = wanted_words(text)
        if wanted is not None and (text in (name, description) or not text):
            assert all(any(one.first <= word < one.last for word in words) for one in wanted)
    for word in words:
        for end in range(1, len(word) + 1):
            ranges = wanted_words(word[:end])
            assert ranges is not None
            assert all(any(one.first <= other < one.last for other in words) for one in ranges)


def test_a_text_without_a_letter_or_digit_is_of_no_item() -> None:
    assert wanted_words("%_ !") is None
    assert wanted_words("") is None
    assert wanted_words(None) == []


def test_a_list_says_its_largest_part_as_a_number_that_a_planner_sees() -> None:
    """It would be taken for a tenth of the catalogue, which of a large one is planned anew at each call."""
    text = load("templates/catalog")["list_items"].text.decode()
    (innermost,) = re.findall(r"from xpoints\.catalog_items c\n[^;]*?limit (\S+)", text)
    assert innermost == str(LIST_PART)
    assert LIST_PART > LARGEST_PAGE
