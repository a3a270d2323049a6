"""A customer's own account: read it, change it without losing another's change, have it erased.

Another e-mail address is the account's once the code that goes there has come back.
"""

from typing import Annotated, Literal
from uuid import UUID, uuid4

from pydantic import Field

from domain import refusals
from domain.accounts import Profile
from domain.email import hash_code
from domain.refusals import Refusal
from handlers.edge.http import Api, Call, Route
from handlers.edge.models import AnswerBody, Body, PlainText, Versioned
from handlers.edge.settings import DatabaseEnvironment
from handlers.edge.writes import counted, origin_of
from sql.transactions.change_account import (
    change_account,
    confirm_email,
    erase_account,
    read_account,
    send_code_again,
)

_ENVIRONMENT = DatabaseEnvironment.read()
_DATABASE = _ENVIRONMENT.database()

#: The part of RFC 5321 that mail providers use; it holds no control character either.
_EMAIL = r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$"

_Text20 = Annotated[PlainText, Field(max_length=20)]
_Text50 = Annotated[PlainText, Field(max_length=50)]


class AccountRequest(Body):
    """All that a customer may change. What is left out or null is no longer known afterwards."""

    first_name: _Text50 | None = None
    last_name: _Text50 | None = None
    email: Annotated[str, Field(max_length=50, pattern=_EMAIL)] | None = None
    phone_num: _Text20 | None = None
    address: Annotated[PlainText, Field(max_length=100)] | None = None
    city: _Text50 | None = None
    state: Annotated[PlainText, Field(max_length=25)] | None = None
    state_code: _Text20 | None = None
    postal_code: Annotated[PlainText, Field(max_length=10)] | None = None


class Account(Versioned):
    """An account. `version` is also the ETag.

    Messages go to `email`; `pending_email` waits for the code that was sent to it.
    """

    customer_id: UUID
    username: str
    first_name: str | None
    last_name: str | None
    email: str | None
    pending_email: str | None
    phone_num: str | None
    address: str | None
    city: str | None
    state: str | None
    state_code: str | None
    postal_code: str | None


class AccountChanged(Versioned):
    """The version, and so the ETag, that the account has now, and the address that waits for its code."""

    pending_email: str | None


class EmailCode(Body):
    """The code that was sent to the new address. Case, spaces and hyphens do not matter."""

    code: Annotated[str, Field(max_length=20, pattern=r"^[0-9A-Za-z -]*$")]


class EmailConfirmed(Versioned):
    """The address that the account has now; `version` as in the account."""

    email: str


class EmailCodeSent(AnswerBody):
    """Where another code goes."""

    pending_email: str


class Erasure(AnswerBody):
    """What becomes of an account that is erased."""

    status: Literal["ERASING"]


def _show_account(call: Call) -> Account | Refusal:
    member = read_account(_DATABASE, call.caller.customer_id)
    if member is None or member.erased:
        return refusals.account_closed()
    return Account.of(member, member.profile)


def _change_account(call: Call[AccountRequest]) -> AccountChanged | Refusal:
    change_id = uuid4()
    changed = counted(
        call,
        change_account(
            _DATABASE,
            call.caller.customer_id,
            call.expected(),
            Profile(**dict(call.body)),
            change_id,
            origin_of(call, _ENVIRONMENT.region, change_id),
        ),
    )
    return changed if isinstance(changed, Refusal) else AccountChanged.of(changed)


def _send_code(call: Call) -> EmailCodeSent | Refusal:
    change_id = uuid4()
    origin = origin_of(call, _ENVIRONMENT.region, change_id)
    sent = counted(call, send_code_again(_DATABASE, call.caller.customer_id, change_id, origin))
    return sent if isinstance(sent, Refusal) else EmailCodeSent.of(sent)


def _confirm_email(call: Call[EmailCode]) -> EmailConfirmed | Refusal:
    customer_id, notice_id = call.caller.customer_id, uuid4()
    code_hash = hash_code(call.body.code, customer_id)
    origin = origin_of(call, _ENVIRONMENT.region, notice_id)
    confirmed = counted(call, confirm_email(_DATABASE, customer_id, code_hash, notice_id, origin))
    return confirmed if isinstance(confirmed, Refusal) else EmailConfirmed.of(confirmed)


def _erase_account(call: Call) -> Erasure | Refusal:
    customer_id = call.caller.customer_id
    origin = origin_of(call, _ENVIRONMENT.region, customer_id)
    erased = counted(call, erase_account(_DATABASE, customer_id, uuid4(), origin))
    return erased if isinstance(erased, Refusal) else Erasure(status="ERASING")


handler = Api(
    [
        Route(
            "GET",
            "/account",
            _show_account,
            "Show the account",
            answer=Account,
            answer_headers=("ETag",),
        ),
        Route(
            "PUT",
            "/account",
            _change_account,
            "Change the account, where it is still as it was read",
            body=AccountRequest,
            counted="AccountChange",
            answer=AccountChanged,
            headers=("If-Match",),
            answer_headers=("ETag",),
            description=(
                "Another e-mail address waits until its code has come back: a code is sent there, and the "
                "address before it hears of that and stays the account's. With the address that the account "
                "has, nothing waits any more; without one it has none at once."
            ),
        ),
        Route(
            "POST",
            "/account/email-confirmations",
            _confirm_email,
            "Confirm the new e-mail address with the code that was sent there",
            body=EmailCode,
            counted="EmailConfirmation",
            done="confirmed",
            answer=EmailConfirmed,
            problems=("no-email-change", "wrong-code", "code-expired"),
            answer_headers=("ETag",),
            description=(
                "The address before it is told. A code holds for an hour and for five attempts; the same "
                "code again has the same answer."
            ),
        ),
        Route(
            "POST",
            "/account/email-codes",
            _send_code,
            "Have another code sent to the e-mail address that waits",
            counted="EmailCode",
            done="sent",
            answer=EmailCodeSent,
            status=202,
            problems=("no-email-change",),
            description="The code before it no longer holds.",
        ),
        Route(
            "DELETE",
            "/account",
            _erase_account,
            "Have the account erased",
            counted="Erasure",
            answer=Erasure,
            status=202,
            description=(
                "From this moment the account is not served any more and its points are forfeited. What is "
                "stored about the customer goes within minutes; orders and the ledger stay without a name."
            ),
        ),
    ],
    lambda: _DATABASE,
)
