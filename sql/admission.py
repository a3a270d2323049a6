"""Admission: whether the shop serves the caller, and counts them among its staff, by the database's word.

A token is good for an hour, an account or a staff member's rights may end before. So the first exchange of a
request's first transaction asks, beside what it reads anyway: that takes no round trip of its own.
"""

from collections.abc import Sequence
from uuid import UUID

from domain import refusals
from sql.errors import NotAdmittedError
from sql.queries import Statement, load

_CALLERS = load("callers")
_FIND_CALLER = _CALLERS["find_caller"].of(bool)
_FIND_CALLER_OF_STAFF = _CALLERS["find_caller_of_staff"].of(bool)


class Admission:
    """One caller's way in, for the length of one request; `for_staff`: only as one of the staff.

    `is_granted` tells whether the caller was let in: then later transactions of the request ask no more. One
    that meets a conflict does, as it reads everything again.
    """

    def __init__(self, customer_id: UUID, for_staff: bool) -> None:
        query = _FIND_CALLER_OF_STAFF if for_staff else _FIND_CALLER
        self.question: Statement[bool] = query(customer_id=customer_id)
        self.is_granted = False
        self._for_staff = for_staff

    def check(self, answer: Sequence[bool]) -> None:
        """Let the caller in, or raise NotAdmittedError; `answer` is what the question's statement read."""
        # guard: nobody is served whose account has ended
        if not answer:
            raise NotAdmittedError(refusals.account_closed())
        # guard: staff are who the database says
        if self._for_staff and not answer[0]:
            raise NotAdmittedError(refusals.forbidden())
        self.is_granted = True
