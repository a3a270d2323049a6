"""A customer's own account: changes that nobody else's change is lost to, and erasure.

An e-mail address is the customer's once they have sent back the code that went to it. Until then it waits,
and messages go to the address before it.
"""

from hmac import compare_digest
from typing import NamedTuple
from uuid import UUID

from domain import refusals
from domain.email import MAX_CODE_ATTEMPTS, address_form
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
    """A customer as stored. `erased` accounts are on their way out.

    The profile's address is the one that its owner has confirmed; `pending_email` waits for its code.
    """

    customer_id: UUID
    username: str
    version: int
    erased: bool
    pending_email: str | None
    profile: Profile


class AccountChange(NamedTuple):
    """An account as it is to be: its version, its data with the confirmed address, the address that waits.

    `asks_code`: that address is new and a code goes there. `former`: the address that hears of the change.
    """

    version: int
    profile: Profile
    pending_email: str | None
    asks_code: bool
    former: str | None


class EmailChange(NamedTuple):
    """A customer's last change of address. Without a hash the message with the code has not been sent."""

    change_id: UUID
    email: str
    code_hash: str | None
    attempts: int
    is_expired: bool
    is_confirmed: bool


class ConfirmedEmail(NamedTuple):
    """An address that is the customer's now, with the account's version, and the address before it.

    `is_new` is false where that was so already, and nothing is to be written.
    """

    email: str
    version: int
    former: str | None
    is_new: bool


def decide_change(
    member: Member | None, expected: Expected, requested: Profile
) -> AccountChange | int | Refusal:
    """Decide what to store, or that it is stored already: then the present version.

    A change that is sent again after its answer was lost finds itself stored, which is no conflict.
    """
    if member is None or member.erased:
        return refusals.account_closed()
    confirmed, pending = member.profile.email, member.pending_email
    asks_code = False
    if requested.email is None:
        confirmed = pending = None
    elif confirmed is not None and address_form(requested.email) == address_form(confirmed):
        pending = None
    elif pending is None or address_form(requested.email) != address_form(pending):
        # guard: an address is its owner's only when they have confirmed it
        pending, asks_code = requested.email, True
    profile = requested._replace(email=confirmed)
    if (member.profile, member.pending_email) == (profile, pending) and expected.includes_recent(
        member.version
    ):
        return member.version
    if not expected.includes(member.version):
        return refusals.precondition_failed(actual=member.version)
    former = member.profile.email if asks_code or confirmed != member.profile.email else None
    return AccountChange(member.version + 1, profile, pending, asks_code, former)


def decide_confirmation(
    member: Member | None, change: EmailChange | None, code_hash: str
) -> ConfirmedEmail | Refusal:
    """Decide whether a code makes the address that waits the customer's.

    Where it gives `wrong_code` the attempt is to be counted. The same code again finds itself done.
    """
    if member is None or member.erased:
        return refusals.account_closed()
    if change is None:
        return refusals.no_email_change()
    fits = change.code_hash is not None and compare_digest(change.code_hash, code_hash)
    if change.is_confirmed:
        if fits and change.email == member.profile.email:
            return ConfirmedEmail(change.email, member.version, None, is_new=False)
        return refusals.no_email_change()
    # guard: a code holds for a while and for so many attempts
    if change.is_expired or change.attempts >= MAX_CODE_ATTEMPTS:
        return refusals.code_expired()
    # guard: an address is confirmed by its code alone
    if not fits:
        return refusals.wrong_code(attempts_left=MAX_CODE_ATTEMPTS - change.attempts - 1)
    return ConfirmedEmail(change.email, member.version + 1, member.profile.email, is_new=True)


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
