"""The database's part of an invitation: who has the name already, and the customer with an empty account."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sql.connection import Database
from sql.queries import load
from sql.transaction import run, snapshot


class Namesake(NamedTuple):
    """A customer of a username. `email` is None where none is stored."""

    customer_id: UUID
    email: str | None
    erased: bool


_QUERIES = load("invitations")
_FIND = _QUERIES["find_by_usernames"].of(Namesake)
_ENTER = _QUERIES["enter_customer"]
_OPEN = _QUERIES["open_account"]
_ENTER_STAFF = _QUERIES["enter_staff_member"]
_LIST_STAFF = _QUERIES["list_staff_members"].of(dict)
_DISMISS = load("cascades")["dismiss_staff_member"]


def find_namesakes(database: Database, usernames: Sequence[str]) -> list[Namesake]:
    """Give who has a username, in any of its forms: two at most."""
    return snapshot(database, _FIND(usernames=[*usernames]))[0]


def enter_customer(database: Database, customer_id: UUID, username: str, email: str, staff: bool) -> None:
    """Enter a customer with an empty account, and among the staff; what is there stays as it is."""
    writes = [
        _ENTER(customer_id=customer_id, username=username, email=email),
        _OPEN(customer_id=customer_id),
        *([_ENTER_STAFF(customer_id=customer_id)] if staff else []),
    ]
    run(database, lambda transaction: transaction.commit(*writes))


def list_staff(database: Database) -> list[dict[str, Any]]:
    """Give the staff, 1,000 at most: customer_id, username, since."""
    return snapshot(database, _LIST_STAFF())[0]


def dismiss(database: Database, customer_id: UUID) -> bool:
    """Make one of the staff a customer again, and tell whether they were one of the staff."""
    written = run(database, lambda transaction: transaction.commit(_DISMISS(customer_id=customer_id))).value
    return written[0].touched > 0
