"""Members, as the staff look for them."""

from typing import NamedTuple
from uuid import UUID

from domain.usernames import forms_of
from sql.connection import Database
from sql.queries import load
from sql.transaction import snapshot


class FoundMember(NamedTuple):
    """A customer whom the staff looked for. `balance` is None for one without a points account."""

    customer_id: UUID
    username: str
    balance: int | None
    erased: bool


_FIND_MEMBERS = load("accounts")["find_members"].of(FoundMember)


def find_members(database: Database, username: str) -> list[FoundMember]:
    """Give the customers of a username: normally one, or none."""
    (rows,) = snapshot(database, _FIND_MEMBERS(usernames=forms_of(username)))
    return rows
