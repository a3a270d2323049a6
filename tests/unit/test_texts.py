"""Text as it comes in: composed, with something to see in it, measured as it is stored."""

import json
import math
import re
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from api.document import routes
from domain.contract import PLAIN
from handlers.orders import TransferRequest
from handlers.staff import ItemRequest, MemberQuery
from handlers.storefront import CatalogQuery
from local.sample_data import generate
from tests.unit.test_edge import send

MUG = {"name": "Mug", "points_price": 1}


def read(model: type[BaseModel], **values: Any) -> Any:
    return model.model_validate_json(json.dumps(values))


def test_text_comes_in_composed() -> None:
    composed, decomposed = "\u00c9meraude", "E\u0301meraude"
    for field in ("name", "description", "category", "sku"):
        assert getattr(read(ItemRequest, **{**MUG, field: decomposed}), field) == composed
    assert read(TransferRequest, payee_username=decomposed, points=1).payee_username == composed
    assert MemberQuery(username=decomposed).username == composed
    query = CatalogQuery(q=decomposed, category=decomposed)
    assert (query.q, query.category) == (composed, composed)


def test_a_text_is_as_long_as_it_is_stored() -> None:
    assert len(read(ItemRequest, **{**MUG, "name": "e\u0301" * 50}).name) == 50
    with pytest.raises(ValidationError):
        read(ItemRequest, **{**MUG, "name": "\u0958" * 26})  # composed, it is two characters


#: One of each kind of what shows nothing by itself.
UNSEEN = {
    "spaces": " \u00a0\u3000",
    "zero width": "\u200c\u200d\u2060",
    "soft hyphen": "\u00ad",
    "Hangul fillers": "\u115f\u1160\u3164\uffa0",
    "combining marks": "\u0301\u0327\u20dd",
    "variation selectors": "\ufe0f\ufe00\U000e0100",
    "tags": "\U000e0041\U000e007f",
    "empty braille": "\u2800",
    "Mongolian and Khmer": "\u180e\u17b4",
    "invisible operators": "\u2061\u2064",
    "musical formats": "\U0001d173",
    "shorthand formats": "\U0001bca0",
}


@pytest.mark.parametrize("kind", UNSEEN)
def test_a_name_of_what_shows_nothing_is_refused_and_named(kind: str) -> None:
    handlers = {route.body: route for _, route in routes()}
    assert ItemRequest in handlers
    from handlers import orders, staff

    for text in (UNSEEN[kind], *UNSEEN[kind], UNSEEN[kind] * 3):
        for field in ("name", "category", "description", "sku"):
            answer = send(staff.handler, "POST", "/staff/items", json.dumps({**MUG, field: text}))
            (error,) = answer["body"]["errors"]
            assert (answer["statusCode"], error["pointer"]) == (400, f"/{field}"), (text, field)
            assert "shows nothing" in error["detail"]
        body = json.dumps({"payee_username": text, "points": 1})
        assert send(orders.handler, "POST", "/points/transfers", body)["statusCode"] == 400


WRITTEN = (
    *("\u05e9\u05dc\u05d5\u05dd", "\u0645\u062d\u0645\u062f", "\u674e\u5c0f\u9f8d", "Ren\u00e9e"),
    *("\u0915\u094d\u0937\u093f\u0924\u093f\u091c", "\U0001f469\u200d\U0001f52c", "\u2764\ufe0f"),
    *("\u1112\u1161\u11ab", "\u0e01\u0e33", "\u1234", "\U00013000", "\u0301a", " a ", "7", "?"),
)


@pytest.mark.parametrize("text", WRITTEN)
def test_what_people_write_is_taken(text: str) -> None:
    assert read(ItemRequest, **{**MUG, "name": text}).name == unicodedata.normalize("NFC", text)


#: Signs that stand before Arabic, Syriac or other digits, and Egyptian joiners: formats by name, and drawn.
DRAWN = "\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd" + "".join(map(chr, range(0x13430, 0x13440)))


@given(
    st.text(st.characters(categories=["Cf", "Zs", "Cc"], exclude_characters=DRAWN), min_size=1, max_size=5)
)
def test_no_text_is_of_formats_spaces_and_controls_alone(text: str) -> None:
    assert re.fullmatch(PLAIN, text) is None


def test_the_samples_texts_are_composed_and_such_as_the_api_takes() -> None:
    data = generate(customers=300)
    for table in ("customers", "catalog_items", "item_words"):
        for row in data.rows(table):
            for value in row:
                if isinstance(value, str):
                    assert value == unicodedata.normalize("NFC", value)
                    assert re.fullmatch(PLAIN, value)
                assert not isinstance(value, float) or math.isfinite(value)
