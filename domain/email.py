"""E-mail addresses and the codes that confirm them."""

from collections.abc import Callable
from hashlib import pbkdf2_hmac, sha256
from uuid import UUID, uuid5

#: How long a code holds, and how many others may be tried.
CODE_VALID_S = 3600
MAX_CODE_ATTEMPTS = 5

#: What nobody takes for something else when they type it: 40 bits in 8 of them.
_CODE_SIGNS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
_CODE_LENGTH = 8

#: A hash of a code takes some 10 ms, so that who reads the table cannot try all codes within the hour.
_HASH_ROUNDS = 20_000


def address_form(email: str) -> str:
    """Give the one form in which addresses are compared. No provider of today tells case apart."""
    return email.strip().lower()


def address_hash(email: str) -> str:
    """Give the name that an address goes by where it must not stand itself: a hash of its form, in hex."""
    return sha256(address_form(email).encode()).hexdigest()


def sending_of(notification_id: UUID, hashed: str) -> UUID:
    """Give the name of a message's being sent to an address, by the address's hash.

    Who knows neither cannot tell from it whose address it is, nor that two messages went to one.
    """
    return uuid5(notification_id, hashed)


def make_code(pick: Callable[[int], int]) -> str:
    """Make a code; `pick` gives a secret random number below another."""
    return "".join(_CODE_SIGNS[pick(len(_CODE_SIGNS))] for _ in range(_CODE_LENGTH))


def show_code(code: str) -> str:
    """Write a code as people read it."""
    return f"{code[:4]}-{code[4:]}"


def hash_code(code: str, customer_id: UUID) -> str:
    """Give what is stored of a code, however it was typed."""
    typed = "".join(code.split()).replace("-", "").upper()
    return pbkdf2_hmac("sha256", typed.encode(), customer_id.bytes, _HASH_ROUNDS).hex()
