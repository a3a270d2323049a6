"""The ledger audit: compares balances, ledger, orders and their records, each batch in one snapshot.

Scheduled, a sample begins anywhere and is done in seconds, and a pass is a scan of as many runs as it needs.
A person's audit of everything keeps its place to itself: it looks at all there is, whatever a pass has done.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple
from uuid import UUID

from domain.audit import (
    AccountFacts,
    Difference,
    OrderFacts,
    audit_account,
    audit_order,
    is_chain,
    looks_broken,
)
from sql.connection import Database
from sql.queries import Query, load
from sql.references import TABLES
from sql.scan import Batch, Key, ScanResult, Table, fill, next_batch, scan
from sql.transaction import Row, Transaction, run

#: Between the end of a pass and the beginning of the next: less than the day for which the alarm remembers a
#: difference, so that one which stays is found again before the alarm forgets it.
AUDIT_EVERY_S = 20 * 3600

#: Rows of the scanned table, a transaction. Each may bring hundreds of ledger entries along.
BATCH_ROWS = 200

#: Ledger entries of one customer that are compared one by one; a longer chain is left to its sums.
MAX_CHAIN = 20_000

#: Items reported at once; one is enough for the alarm.
MAX_ITEMS = 100

_QUERIES = load("jobs")
_READ_ACCOUNTS = _QUERIES["read_accounts_for_audit"].of(AccountFacts)
_READ_ORDERS = _QUERIES["read_orders_for_audit"].of(OrderFacts)
_READ_STOCK = _QUERIES["read_negative_stock"].of(UUID)


class _ChainEntry(NamedTuple):
    points: int
    balance_after: int


_READ_CHAIN = _QUERIES["read_chain_for_audit"].of(_ChainEntry)

#: Told of the differences of each batch, before the batch counts as looked at: so none is lost, and of a
#: batch that is looked at again after a conflict it is told again.
Found = Callable[[Sequence[Difference]], None]


class Part(NamedTuple):
    """What is audited by scanning one table."""

    table: Table
    check: Callable[[Transaction, Batch], list[Difference]]

    def __str__(self) -> str:
        return f"audit {self.table.name}"


def audit_pass(
    database: Database,
    part: Part,
    found: Found,
    time_is_up: Callable[[], bool],
    every_s: int = AUDIT_EVERY_S,
) -> ScanResult:
    """Go on with the pass that all scheduled runs share. Raises as `sql.scan.scan` does."""

    def visit(transaction: Transaction, batch: Batch) -> tuple[()]:
        _tell(found, part.check(transaction, batch))
        return ()

    return scan(database, str(part), part.table, visit, time_is_up, most=BATCH_ROWS, every_s=every_s)


def audit_sample(
    database: Database,
    part: Part,
    found: Found,
    start: UUID,
    time_is_up: Callable[[], bool],
    batches: int = 5,
) -> int:
    """Audit up to `batches` batches behind the id `start`, best a random one; give how many there were."""
    read_batch_end = fill("read_batch_end", part.table)
    after: Key = (str(start),)
    looked = 0
    is_wrapped = False
    for _ in range(batches):
        if time_is_up():
            break
        upto = _look(database, part, found, read_batch_end, after)
        looked += upto is not None
        if upto is None and is_wrapped:
            break
        is_wrapped = is_wrapped or upto is None
        after = upto or part.table.first  # behind the last row comes the first
    return looked


def audit_everything(
    database: Database, part: Part, found: Found, looked_at: Callable[[int], None] = lambda _: None
) -> int:
    """Audit all rows from the first to the last, past the shared pass; give the batches.

    `looked_at` is told of each batch by its number.
    """
    read_batch_end = fill("read_batch_end", part.table)
    after: Key | None = part.table.first
    batches = 0
    while after and (after := _look(database, part, found, read_batch_end, after)):
        batches += 1
        looked_at(batches)
    return batches


def audit_stock(database: Database, found: Found) -> None:
    """Look for negative stock."""
    (rows,) = run(database, lambda transaction: transaction.read(_READ_STOCK(most=MAX_ITEMS))).value
    _tell(found, [Difference("stock-negative", item_id) for item_id in rows])


def _tell(found: Found, differences: Sequence[Difference]) -> None:
    if differences:
        found(differences)


def _look(database: Database, part: Part, found: Found, read_batch_end: Query[Row], after: Key) -> Key | None:
    """Audit the batch behind a key; give the batch's last key, None when there is no row."""

    def look(transaction: Transaction) -> tuple[Key | None, list[Difference]]:
        (batch,) = transaction.read(next_batch(read_batch_end, after, BATCH_ROWS))
        if not batch:
            return None, []
        upto = tuple(str(value) for value in batch[0])
        return upto, part.check(transaction, Batch(after, upto))

    upto, differences = run(database, look).value
    _tell(found, differences)
    return upto


def _check_accounts(transaction: Transaction, batch: Batch) -> list[Difference]:
    (rows,) = transaction.read(_READ_ACCOUNTS(**batch.parameters()))
    differences = []
    for facts in rows:
        differences += audit_account(facts)
        if looks_broken(facts) and facts.entries <= MAX_CHAIN:
            (entries,) = transaction.read(_READ_CHAIN(customer_id=facts.customer_id, most=MAX_CHAIN))
            if not is_chain(entries):
                differences.append(Difference("chain-broken", facts.customer_id, facts.customer_id))
    return differences


def _check_orders(transaction: Transaction, batch: Batch) -> list[Difference]:
    (rows,) = transaction.read(_READ_ORDERS(**batch.parameters()))
    return [difference for row in rows for difference in audit_order(row)]


PARTS = (Part(TABLES["customers"], _check_accounts), Part(TABLES["orders"], _check_orders))
