"""A customer's own account: read it, change it without losing another's change, have it erased."""

import json
import time
from typing import Annotated, TypedDict
from uuid import uuid4

from msgspec import Meta
from msgspec.structs import asdict

from domain import refusals
from domain.accounts import Member, Profile
from domain.refusals import Refusal
from handlers.edge.fields import END, IdText, PlainText
from handlers.edge.http import Api, Body, Call, Reply, Route
from handlers.edge.problems import Problem
from handlers.edge.settings import DatabaseEnvironment
from handlers.edge.writes import origin_of, record
from sql.transactions.change_account import change_account, erase_account, read_account

_ENVIRONMENT = DatabaseEnvironment.read()
_DATABASE = _ENVIRONMENT.database()

#: The part of RFC 5321 that mail providers use; it holds no control character either.
_EMAIL = r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+" + END

_Text20 = Annotated[PlainText, Meta(max_length=20)]
_Text50 = Annotated[PlainText, Meta(max_length=50)]


class AccountRequest(Body, frozen=True):
    """All that a customer may change. What is left out or null is no longer known afterwards."""

    first_name: _Text50 | None = None
    last_name: _Text50 | None = None
    email: Annotated[str, Meta(max_length=50, pattern=_EMAIL)] | None = None
    phone_num: _Text20 | None = None
    address: Annotated[PlainText, Meta(max_length=100)] | None = None
    city: _Text50 | None = None
    state: Annotated[PlainText, Meta(max_length=25)] | None = None
    state_code: _Text20 | None = None
    postal_code: Annotated[PlainText, Meta(max_length=10)] | None = None


class Account(TypedDict):
    """An account. `version` is also the ETag."""

    customer_id: IdText
    username: str
    version: int
    first_name: str | None
    last_name: str | None
    email: str | None
    phone_num: str | None
    address: str | None
    city: str | None
    state: str | None
    state_code: str | None
    postal_code: str | None


class AccountChanged(TypedDict):
    """The version, and so the ETag, that the account has now."""

    version: int


class Erasure(TypedDict):
    """What becomes of an account that is erased."""

    status: str


def _account(member: Member) -> Account:
    profile = member.profile
    return {
        "customer_id": str(member.customer_id),
        "username": member.username,
        "version": member.version,
        "first_name": profile.first_name,
        "last_name": profile.last_name,
        "email": profile.email,
        "phone_num": profile.phone_num,
        "address": profile.address,
        "city": profile.city,
        "state": profile.state,
        "state_code": profile.state_code,
        "postal_code": profile.postal_code,
    }


def _show_account(call: Call) -> Reply | Problem:
    member = read_account(_DATABASE, call.caller.customer_id)
    if member is None or member.erased:
        return Problem.of(refusals.unknown_customer())
    return Reply(200, json.dumps(_account(member)), {"ETag": f'"{member.version}"'})


def _change_account(call: Call[AccountRequest]) -> Reply | Problem:
    start_s = time.perf_counter()
    completed = change_account(
        _DATABASE, call.caller.customer_id, call.expected_version(), Profile(**asdict(call.body))
    )
    outcome = completed.value
    record(
        call, "AccountChange", outcome.code if isinstance(outcome, Refusal) else "done", completed, start_s
    )
    if isinstance(outcome, Refusal):
        return Problem.of(outcome)
    answer: AccountChanged = {"version": outcome}
    return Reply(200, json.dumps(answer), {"ETag": f'"{outcome}"'})


def _erase_account(call: Call) -> Reply | Problem:
    start_s = time.perf_counter()
    customer_id = call.caller.customer_id
    origin = origin_of(call, _ENVIRONMENT.region, customer_id)
    completed = erase_account(_DATABASE, customer_id, uuid4(), origin)
    outcome = completed.value
    record(call, "Erasure", outcome.code if isinstance(outcome, Refusal) else "done", completed, start_s)
    if isinstance(outcome, Refusal):
        return Problem.of(outcome)
    answer: Erasure = {"status": "ERASING"}
    return Reply(202, json.dumps(answer))


handler = Api(
    [
        Route(
            "GET",
            "/account",
            _show_account,
            "Show the account",
            answer=Account,
            problems=("unknown-customer",),
            answer_headers=("ETag",),
        ),
        Route(
            "PUT",
            "/account",
            _change_account,
            "Change the account, where it is still as it was read",
            body=AccountRequest,
            answer=AccountChanged,
            problems=("unknown-customer",),
            headers=("If-Match",),
            answer_headers=("ETag",),
        ),
        Route(
            "DELETE",
            "/account",
            _erase_account,
            "Have the account erased",
            answer=Erasure,
            status=202,
            problems=("unknown-customer",),
            description=(
                "From this moment the account is not served any more and its points are forfeited. What is "
                "stored about the customer goes within minutes; orders and the ledger stay without a name."
            ),
        ),
    ]
)
