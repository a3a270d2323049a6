"""Points that change hands: credits, transfers between members, and the household boost.

Whatever is decided here becomes a change of a balance and a ledger entry in one transaction. Nothing is ever
edited: what was wrong is put right by a further entry.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple
from uuid import UUID

from domain import refusals
from domain.refusals import Refusal

#: The largest balance: every JSON reader can hold it exactly.
MAX_BALANCE = 2**53

#: The most that one credit or transfer moves.
MAX_POINTS_AT_ONCE = 1_000_000_000

CreditKind = Literal["EARN", "GIFT"]


class PointsAccount(NamedTuple):
    """A customer's points as they were read."""

    customer_id: UUID
    balance: int


class BalanceChange(NamedTuple):
    """Signed points for one account, and the balance that they leave."""

    customer_id: UUID
    points: int
    balance_after: int


class AcceptedTransfer(NamedTuple):
    """The decision to move points: both changes, in the order in which their rows are to be touched."""

    payer: BalanceChange
    payee: BalanceChange

    @property
    def in_key_order(self) -> tuple[BalanceChange, BalanceChange]:
        """Two transfers between the same two members meet on the first row and not crosswise."""
        if self.payer.customer_id < self.payee.customer_id:
            return self.payer, self.payee
        return self.payee, self.payer


def decide_credit(account: PointsAccount | None, points: int, by: UUID) -> BalanceChange | Refusal:
    """Decide whether an account (None: there is none) gets points, 1 to MAX_POINTS_AT_ONCE, from `by`."""
    _check(points)
    if account is None:
        return refusals.unknown_customer()
    # guard: nobody credits themselves
    if account.customer_id == by:
        return refusals.self_credit()
    return add_points(account, points)


def add_points(account: PointsAccount, points: int) -> BalanceChange | Refusal:
    """Decide whether an account can hold points more, wherever they come from: a credit or a refund."""
    # guard: no balance above the largest
    if account.balance + points > MAX_BALANCE:
        return refusals.balance_limit(most=MAX_BALANCE)
    return BalanceChange(account.customer_id, points, account.balance + points)


def decide_transfer(
    payer: PointsAccount | None, payees: Sequence[PointsAccount], points: int
) -> AcceptedTransfer | Refusal:
    """Decide whether the payer's points go to the one member whom the request names.

    `payees` are the accounts of that name: where there is none or more than one, nobody is paid.
    """
    _check(points)
    if payer is None:
        return refusals.unknown_customer()
    if len(payees) != 1:
        return refusals.unknown_payee()
    (payee,) = payees
    if payee.customer_id == payer.customer_id:
        return refusals.self_transfer()
    if payer.balance < points:
        return refusals.insufficient_points(required_points=points, available_points=payer.balance)
    credit = decide_credit(payee, points, payer.customer_id)
    if isinstance(credit, Refusal):
        return credit
    return AcceptedTransfer(BalanceChange(payer.customer_id, -points, payer.balance - points), credit)


def decide_boost(
    balances: Mapping[UUID, int], beneficiary: UUID, partner: UUID, points: int, below: int, by: UUID
) -> BalanceChange | Refusal:
    """Decide whether one of a household's two members gets points: only while their sum is below a limit.

    `by` is who boosts, and nobody of the household. The decision rests on both balances, of which it changes
    one: whoever reads them has to lock both.
    """
    _check(points)
    if beneficiary == partner:
        return refusals.not_a_household()
    # guard: nobody boosts their own household
    if by in (beneficiary, partner):
        return refusals.self_credit()
    if beneficiary not in balances or partner not in balances:
        return refusals.unknown_customer()
    together = balances[beneficiary] + balances[partner]
    if together >= below:
        return refusals.household_above_limit(together_points=together, below_points=below)
    return decide_credit(PointsAccount(beneficiary, balances[beneficiary]), points, by)


def _check(points: int) -> None:
    if not 1 <= points <= MAX_POINTS_AT_ONCE:
        raise ValueError(f"points must be 1 to {MAX_POINTS_AT_ONCE}; check the request before deciding on it")
