"""The statements that change a balance: never without the ledger entry that explains it."""

from typing import Any
from uuid import UUID

from domain.points import BalanceChange
from sql.queries import Statement, load

_LEDGER = load("ledger")
_CREDIT = _LEDGER["credit_balance"]
_DEBIT = _LEDGER["debit_balance"]
_INSERT_ENTRY = _LEDGER["insert_ledger_entry"]


def move_points(change: BalanceChange) -> Statement[Any]:
    """Change the balance; a ledger entry has to be written in the same transaction."""
    if change.points < 0:
        return _DEBIT(customer_id=change.customer_id, points=-change.points)
    return _CREDIT(customer_id=change.customer_id, points=change.points)


def ledger_entry(
    change: BalanceChange, entry_id: UUID, kind: str, description: str, reference_id: UUID
) -> Statement[Any]:
    """Say why a balance changed. `description` holds no personal data: it outlives the customer's account."""
    return _INSERT_ENTRY(
        id=entry_id,
        customer_id=change.customer_id,
        tx_type=kind,
        points=change.points,
        description=description,
        balance_after=change.balance_after,
        reference_id=reference_id,
    )


def forfeit_entry(change: BalanceChange, entry_id: UUID) -> Statement[Any]:
    """Say that points ended with their account."""
    return ledger_entry(change, entry_id, "FORFEIT", "Account closed", entry_id)
