"""Points that change hands: transfers between members, the staff's credits, the household boost."""

from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import UUID

from domain.events import Origin
from domain.events.points import PointsCredited, PointsTransferred
from domain.idempotency import Answer, Request
from domain.points import (
    AcceptedTransfer,
    BalanceChange,
    CreditKind,
    PointsAccount,
    decide_boost,
    decide_credit,
    decide_transfer,
)
from domain.refusals import Refusal
from domain.usernames import forms_of
from sql.connection import Database
from sql.ledger import ledger_entry, move_points
from sql.outbox import enqueue
from sql.queries import Statement, load
from sql.transaction import Completed, first
from sql.transactions.keyed import AcceptedWrite, run_keyed

_LEDGER = load("ledger")
_READ_ACCOUNT = _LEDGER["read_account"].of(PointsAccount)
_FIND_PAYEE = _LEDGER["find_payee"].of(PointsAccount)
_LOCK_BALANCES = _LEDGER["lock_balances"].of(PointsAccount)
_FIND_MEMBERS = _LEDGER["find_members_by_id"].of(UUID)
_LOG_REQUEST = load("request_log")["insert_logged_request"]


#: What the request log calls points that the staff gave.
STAFF_CREDIT = "staff-credit"


class Transfer(NamedTuple):
    """The command to give points to another member. `request.result_id` becomes the transfer's id."""

    request: Request
    origin: Origin
    payee_username: str
    points: int
    payee_entry_id: UUID


class Credit(NamedTuple):
    """The staff's command to give points to a member. `request.result_id` becomes the ledger entry's id."""

    request: Request
    origin: Origin
    customer_id: UUID
    points: int
    kind: CreditKind
    description: str


class Boost(NamedTuple):
    """The command to boost one of a household's two members while their points together are under a limit."""

    request: Request
    origin: Origin
    beneficiary: UUID
    partner: UUID
    points: int
    below_points: int


def transfer_points(
    database: Database,
    command: Transfer,
    render: Callable[[Transfer, AcceptedTransfer], tuple[int, str]],
) -> Completed[Answer | Refusal]:
    """Move points from the caller to the member of that username. Raises as `run_keyed` does."""

    def decide(payers: list[PointsAccount], payees: list[PointsAccount]) -> AcceptedWrite | Refusal:
        decision = decide_transfer(first(payers), payees, command.points)
        if isinstance(decision, Refusal):
            return decision
        transfer_id = command.request.result_id
        event = PointsTransferred(
            transfer_id=transfer_id,
            payer_id=decision.payer.customer_id,
            payee_id=decision.payee.customer_id,
            points=command.points,
        )
        writes = [
            *(move_points(change) for change in decision.in_key_order),
            ledger_entry(decision.payer, transfer_id, "TRANSFER", "Points sent to a member", transfer_id),
            ledger_entry(
                decision.payee,
                command.payee_entry_id,
                "TRANSFER",
                "Points received from a member",
                transfer_id,
            ),
            enqueue(command.origin.announce(event, transfer_id)),
        ]
        return AcceptedWrite(*render(command, decision), writes)

    reads = (
        _READ_ACCOUNT(customer_id=command.request.customer_id),
        _FIND_PAYEE(usernames=forms_of(command.payee_username)),
    )
    return run_keyed(database, command.request, reads, decide)


def credit_points(
    database: Database,
    command: Credit,
    render: Callable[[Credit, BalanceChange], tuple[int, str]],
) -> Completed[Answer | Refusal]:
    """Give a member points. Raises as `run_keyed` does."""

    def decide(accounts: list[PointsAccount]) -> AcceptedWrite | Refusal:
        decision = decide_credit(first(accounts), command.points, command.request.customer_id)
        if isinstance(decision, Refusal):
            return decision
        writes = _credit(command, decision, command.kind, command.description)
        return AcceptedWrite(*render(command, decision), writes)

    reads = (_READ_ACCOUNT(customer_id=command.customer_id),)
    return run_keyed(database, command.request, reads, decide)


def boost_household(
    database: Database,
    command: Boost,
    render: Callable[[Boost, BalanceChange], tuple[int, str]],
) -> Completed[Answer | Refusal]:
    """Give a household's member points while both together have few. Raises as `run_keyed` does.

    Both balances are locked although one changes: two boosts of one household, of either member, conflict.
    """

    def decide(accounts: list[PointsAccount], served: list[UUID]) -> AcceptedWrite | Refusal:
        decision = decide_boost(
            {each.customer_id: each.balance for each in accounts if each.customer_id in served},
            command.beneficiary,
            command.partner,
            command.points,
            command.below_points,
            command.request.customer_id,
        )
        if isinstance(decision, Refusal):
            return decision
        writes = _credit(command, decision, "BOOST", "Household boost")
        return AcceptedWrite(*render(command, decision), writes)

    members = sorted((command.beneficiary, command.partner))
    reads = (_LOCK_BALANCES(customer_ids=members), _FIND_MEMBERS(customer_ids=members))
    return run_keyed(database, command.request, reads, decide)


def _credit(
    command: Credit | Boost, change: BalanceChange, kind: Any, description: str
) -> list[Statement[Any]]:
    origin = command.origin
    entry_id = command.request.result_id
    event = PointsCredited(
        credit_id=entry_id, customer_id=change.customer_id, points=change.points, kind=kind
    )
    return [
        move_points(change),
        ledger_entry(change, entry_id, kind, description, entry_id),
        # Who did it, under the entry's id: the stored answer, which also says so, goes after two days.
        _LOG_REQUEST(
            id=entry_id,
            operation=STAFF_CREDIT,
            subject_id=change.customer_id,
            actor_id=command.request.customer_id,
            region=origin.region,
            outcome=kind.lower(),
            attempts=1,
            conflicts=0,
            started_at=origin.now,
            ended_at=origin.now,
        ),
        enqueue(origin.announce(event, entry_id)),
    ]
