"""Before and after a user is made in a Region's pool: what the database knows of the customer."""

from typing import NamedTuple
from uuid import UUID

from sql.connection import Database
from sql.queries import load
from sql.transaction import first, run, snapshot
from sql.transactions.clean_region import Cleanup, CleanupKind, leave_cleanups


class Standing(NamedTuple):
    """A customer as the database knows them. `erased`: their row is what is left, and they get no user."""

    username: str | None
    erased: bool
    staff: bool


_FIND = load("enrolment")["find_enrollable"].of(Standing)


def find_standing(database: Database, customer_id: UUID) -> Standing | None:
    """Give what the database knows of a customer, or None for an id that it does not know."""
    return first(snapshot(database, _FIND(customer_id=customer_id))[0])


def have_user_deleted(database: Database, customer_id: UUID, username: str, region: str) -> None:
    """Leave every Region the deletion of a user whose customer was erased while the user was made.

    An erasure leaves its own. It may have looked for the user just before there was one.
    """
    left = leave_cleanups(Cleanup(CleanupKind.USER, customer_id, username), region)
    run(database, lambda transaction: transaction.commit(left))
