"""A customer's own account: read it, change it without losing another's change, have it erased."""

from typing import Annotated, Literal
from uuid import UUID, uuid4

from pydantic import Field

from domain import refusals
from domain.accounts import Profile
from domain.refusals import Refusal
from handlers.edge.http import Api, Call, Route
from handlers.edge.models import AnswerBody, Body, PlainText, Versioned
from handlers.edge.settings import DatabaseEnvironment
from handlers.edge.writes import counted, origin_of
from sql.transactions.change_account import change_account, erase_account, read_account

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
    """An account. `version` is also the ETag."""

    customer_id: UUID
    username: str
    first_name: str | None
    last_name: str | None
    email: str | None
    phone_num: str | None
    address: str | None
    city: str | None
    state: str | None
    state_code: str | None
    postal_code: str | None


class AccountChanged(Versioned):
    """The version, and so the ETag, that the account has now."""


class Erasure(AnswerBody):
    """What becomes of an account that is erased."""

    status: Literal["ERASING"]


def _show_account(call: Call) -> Account | Refusal:
    member = read_account(_DATABASE, call.caller.customer_id)
    if member is None or member.erased:
        return refusals.account_closed()
    return Account.of(member, member.profile)


def _change_account(call: Call[AccountRequest]) -> AccountChanged | Refusal:
    changed = counted(
        call,
        change_account(_DATABASE, call.caller.customer_id, call.expected(), Profile(**dict(call.body))),
    )
    return changed if isinstance(changed, Refusal) else AccountChanged(version=changed)


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
