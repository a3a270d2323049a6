"""What e-mails say and to whom: plain names alone, addresses that their owners confirmed, within bounds."""

import unicodedata
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import refusals
from domain.accounts import (
    AccountChange,
    ConfirmedEmail,
    EmailChange,
    Member,
    Profile,
    decide_change,
    decide_confirmation,
)
from domain.checkout import AcceptedLine
from domain.email import (
    MAX_CODE_ATTEMPTS,
    address_form,
    address_hash,
    hash_code,
    make_code,
    show_code,
)
from domain.limits import Bound, Uses, refuse_beyond, wait_s
from domain.messages import MessageText, address_message, item_retired, order_confirmation
from domain.names import MAX_NAME_LENGTH, plain_name, plain_title
from domain.versions import Expected

# --- Names ---

PLAIN = [
    "Ana", "José María", "O'Neill", "D\u2019Arcy", "Anne-Marie", "Jean-Luc de la Tour", "J. R. Tolkien",
    "Jr.", "שלום", "محمد", "Åse-Mørk", "李小龍", "क्षितिज", "Nguyễn", "Ciarán", "Gal·la", "ไพศาล",
    "Jose\u0301",
]  # fmt: skip

HOSTILE = [
    "", " ", "http://evil.example", "evil.com", "www.evil.com", "Ana evil.com", "t.co", "evil\uff0ecom",
    "evil\u3002com", "evil\u2024com", "a@b.example", "mailto:ana", "//evil", "evil/path", "Ana\\",
    "evil com?x=1", "<b>Ana</b>", "<a href=x>", "[link](x)", "**Ana**", "`Ana`", "Ana & Bo",
    "Ana\n\nPay here", "Ana\r\nBcc: x", "Ana\0", "Ana\x1b[31m", "\u202eanA", "A\u200bna", "A\u200dna",
    "A\u2060na", "A\ufeffna", "\u3164", "A\u115fna", "A\uffa0na", "A\ufe0fna", "A\u034fna",
    "A\U000e0101na", "\u2800", "A\u00adna", "A\u00a0na", "A\u2028na", "Z" + "\u0335" * 20, "\u0301", "-",
    "'", ".", "Ana1", "123", "Ana!", "Ana $100", "Ana 💸", "1️⃣", "\ud800", "\ue000",
    "call now you have won big", "A" * (MAX_NAME_LENGTH + 1), "Ana  Maria", "ⓔⓥⓘⓛ", "evil%2ecom",
]  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_names_of_every_script_are_said(name: str) -> None:
    assert plain_name(name) == unicodedata.normalize("NFC", name)
    body = address_message(MessageText("s", "b"), name).body
    assert body.startswith(f"Dear {unicodedata.normalize('NFC', name)},\n")


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_plain_name_is_not_said(name: str) -> None:
    assert plain_name(name) is None
    assert address_message(MessageText("s", "b"), name).body.startswith("Hello,\n\nb\n")


@given(st.text(max_size=60) | st.from_regex(r"[\w.@/:<>-]{1,12} ?[\w.]{1,12}", fullmatch=True))
def test_whatever_is_said_is_letters_and_what_joins_them(name: str) -> None:
    said = plain_name(name)
    if said is None:
        return
    assert 0 < len(said) <= MAX_NAME_LENGTH
    for word in said.split(" "):
        assert "." not in word[:-1], "no domain"
        assert all(unicodedata.category(one)[0] in "LM" or one in "'’-·." for one in word)


@pytest.mark.parametrize(
    ("title", "said"),
    [
        ("Kettle 1.5 l, 2-pack (blue)", True),
        ("USB 3.0 hub & cable", True),
        ("Émeraude", True),
        ("Gift card 50 €", True),
        ("win at evil.example", False),
        ("https://evil.example", False),
        ("<b>Mug</b>", False),
        ("Mug\nPay here", False),
        ("M\u202eug", False),
        ("M\u200bug", False),
        ("shop@evil", False),
        ("", False),
        ("x" * 51, False),
    ],
)
def test_an_items_name_is_said_where_it_is_one(title: str, said: bool) -> None:
    assert plain_title(title) == (title if said else None)
    shown = title if said else "an item"
    assert item_retired(title).subject == f"No longer available: {shown}"
    line = AcceptedLine(UUID(int=1), title, 2, 5)
    assert f"  2 x {shown}: 10 points" in order_confirmation(UUID(int=1), [line], 10).body


# --- Addresses ---


def test_an_address_has_one_form() -> None:
    assert address_form(" Ana.B@Example.COM ") == "ana.b@example.com"
    assert address_hash("Ana@example.com") == address_hash("ana@EXAMPLE.com")
    assert "ana" not in address_hash("ana@example.com")


PROFILE = Profile("Ana", None, "ana@example.com", *([None] * 6))
ANY = Expected(None)


def member(email: str | None = "ana@example.com", pending: str | None = None) -> Member:
    return Member(UUID(int=1), "ana", 3, False, pending, PROFILE._replace(email=email))


@pytest.mark.parametrize(
    ("email", "pending", "requested", "confirmed", "waits", "asks", "former"),
    [
        ("ana@example.com", None, "bo@example.com", "ana@example.com", "bo@example.com", True, True),
        (None, None, "bo@example.com", None, "bo@example.com", True, False),
        (
            "ana@example.com",
            "bo@example.com",
            "cy@example.com",
            "ana@example.com",
            "cy@example.com",
            True,
            True,
        ),
        # The address that it has, however it is written, ends the waiting.
        ("ana@example.com", "bo@example.com", "ANA@Example.com", "ana@example.com", None, False, False),
        ("ana@example.com", None, None, None, None, False, True),
        (None, "bo@example.com", None, None, None, False, False),
    ],
)
def test_a_new_address_waits_for_its_code(
    email: str | None,
    pending: str | None,
    requested: str | None,
    confirmed: str | None,
    waits: str | None,
    asks: bool,
    former: bool,
) -> None:
    change = decide_change(member(email, pending), ANY, PROFILE._replace(email=requested))
    assert change == AccountChange(
        4, PROFILE._replace(email=confirmed), waits, asks, email if former else None
    )


@pytest.mark.parametrize("again", ["bo@example.com", "BO@example.com"])
def test_an_address_that_waits_is_not_asked_for_once_more(again: str) -> None:
    waiting = member(pending="bo@example.com")
    assert decide_change(waiting, ANY, PROFILE._replace(email=again)) == 3
    other = PROFILE._replace(email=again, city="Lyon")
    assert decide_change(waiting, ANY, other) == AccountChange(
        4, other._replace(email="ana@example.com"), "bo@example.com", False, None
    )


def test_a_code_is_typed_as_people_type() -> None:
    numbers = iter(range(8))
    assert make_code(lambda _most: next(numbers)) == "23456789"
    assert show_code("ABCDEFGH") == "ABCD-EFGH"
    stored = hash_code("ABCDEFGH", UUID(int=1))
    for typed in ("abcd-efgh", " ABCD EFGH ", "ABCDEFGH"):
        assert hash_code(typed, UUID(int=1)) == stored
    assert hash_code("ABCDEFGH", UUID(int=2)) != stored
    assert len(stored) == 64


def waiting(**changes: Any) -> EmailChange:
    return EmailChange(UUID(int=9), "bo@example.com", "right", 0, False, False)._replace(**changes)


def test_a_code_confirms_once_for_a_while_and_after_a_few_attempts_no_more() -> None:
    confirmed = ConfirmedEmail("bo@example.com", 4, "ana@example.com", is_new=True)
    assert decide_confirmation(member(), waiting(), "right") == confirmed
    assert decide_confirmation(member(), waiting(attempts=MAX_CODE_ATTEMPTS - 1), "right") == confirmed
    for change in (waiting(attempts=MAX_CODE_ATTEMPTS), waiting(is_expired=True)):
        for code in ("right", "wrong"):
            assert decide_confirmation(member(), change, code) == refusals.code_expired()
    assert decide_confirmation(member(), waiting(), "wrong") == refusals.wrong_code(attempts_left=4)
    assert decide_confirmation(member(), waiting(code_hash=None), "right") == refusals.wrong_code(
        attempts_left=4
    )
    assert decide_confirmation(member(), None, "right") == refusals.no_email_change()
    assert decide_confirmation(None, waiting(), "right") == refusals.account_closed()
    erased = member()._replace(erased=True)
    assert decide_confirmation(erased, waiting(), "right") == refusals.account_closed()


def test_a_code_that_is_sent_again_finds_itself_done() -> None:
    done = waiting(is_confirmed=True)
    there = member("bo@example.com")
    assert decide_confirmation(there, done, "right") == ConfirmedEmail("bo@example.com", 3, None, False)
    assert decide_confirmation(there, done, "wrong") == refusals.no_email_change()
    assert decide_confirmation(member(), done, "right") == refusals.no_email_change(), "changed since"


# --- Bounds ---

FEW = Bound("few", "things", 2, 3)


@pytest.mark.parametrize(
    ("uses", "wait"),
    [
        ([], None),
        ([Uses("a", 1, 2, 60, 6000)], None),
        ([Uses("a", 2, 2, 60, 6000)], 60),
        ([Uses("a", 0, 3, 60, 6000)], 6000),
        ([Uses("a", 1, 1, 60, 6000), Uses("b", 2, 3, 60, 6000)], 6000),
    ],
)
def test_what_is_beyond_a_bound_waits_for_the_next_hour_or_day(uses: list[Uses], wait: int | None) -> None:
    assert wait_s(FEW, uses) == wait
    refusal = refuse_beyond(FEW, uses)
    assert (refusal and refusal.retry_after_s) == wait
    assert refusal is None or "2 things an hour and 3 a day" in refusal.explain()
