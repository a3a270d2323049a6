"""A customer's own account: changes that nobody else's change is lost to, and erasure."""

from typing import NamedTuple
from uuid import UUID

from domain import refusals
from domain.points import BalanceChange
from domain.refusals import Refusal
from domain.versions import Expected


class Profile(NamedTuple):
    """What a customer may change of their account; None stands for nothing known."""

    first_name: str | None
    last_name: str | None
    email: str | None
    phone_num: str | None
    address: str | None
    city: str | None
    state: str | None
    state_code: str | None
    postal_code: str | None


class Member(NamedTuple):
    """A customer as stored. `erased` accounts are on their way out."""

    customer_id: UUID
    username: str
    version: int
    erased: bool
    profile: Profile


def decide_change(member: Member | None, expected: Expected, requested: Profile) -> int | Refusal:
    """Decide the version to store what was sent under, or that it is stored already under the present one.

    A change that is sent again after its answer was lost finds itself stored, which is no conflict.
    """
    if member is None or member.erased:
        return refusals.account_closed()
    if member.profile == requested and expected.includes_recent(member.version):
        return member.version
    if not expected.includes(member.version):
        return refusals.precondition_failed(actual=member.version)
    return member.version + 1


def decide_erasure(member: Member | None, balance: int | None) -> BalanceChange | Refusal | None:
    """Decide whether an account is erased; None where that was done before.

    Points are forfeited, by an entry like any other, and in the same transaction: an order or a transfer that
    is under way meets it on the balance and cannot spend or leave points behind it.
    """
    if member is None:
        return refusals.account_closed()
    if member.erased:
        return None
    return BalanceChange(member.customer_id, -(balance or 0), 0)
