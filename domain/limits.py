"""How often something may be done: bounds an hour and a day, counted for each customer and each address.

Hours and days are those of the clock (UTC), so that one small row holds both counts. Around the end of an
hour twice as much is possible as within it; the day's bound stands above that.
"""

from collections.abc import Iterable
from typing import NamedTuple

from domain import refusals
from domain.refusals import Refusal


class Bound(NamedTuple):
    """What is bounded: its name where it is counted, in words for people, and the bounds."""

    operation: str
    what: str
    an_hour: int
    a_day: int


#: Far above what a person does, and far below what hurts somebody else.
ACCOUNT_CHANGES = Bound("account-change", "changes of the account", 30, 100)
CANCELLATIONS = Bound("cancellation", "cancelled orders", 20, 60)

#: Codes go to addresses that are nobody's yet, so a stranger may get as many: by customer and by address.
EMAIL_CODES = Bound("email-code", "codes for a new e-mail address", 4, 6)

#: Messages of every kind, by customer and by address. What is beyond is skipped, and counted.
MAILS = Bound("mail", "e-mails", 30, 100)


class Uses(NamedTuple):
    """How often a subject had something in this hour and on this day, and the seconds that these last."""

    subject: str
    in_hour: int
    in_day: int
    hour_left_s: int
    day_left_s: int


def wait_s(bound: Bound, uses: Iterable[Uses]) -> int | None:
    """Give the seconds until one use more is within the bounds of all subjects; None where it is now."""
    waits = [0]
    for use in uses:
        # guard: a day has a bound
        if use.in_day >= bound.a_day:
            waits.append(use.day_left_s)
        # guard: an hour has a bound
        elif use.in_hour >= bound.an_hour:
            waits.append(use.hour_left_s)
    return max(waits) or None


def refuse_beyond(bound: Bound, uses: Iterable[Uses]) -> Refusal | None:
    """Refuse what is beyond a bound."""
    wait = wait_s(bound, uses)
    if wait is None:
        return None
    return refusals.too_many_requests(
        what=bound.what, an_hour=bound.an_hour, a_day=bound.a_day, retry_after_s=wait
    )
