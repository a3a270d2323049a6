"""What every write under an Idempotency-Key has in common: read, decide, write, remember the answer."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from domain.idempotency import Answer, Request, StoredAnswer, answer_again
from domain.refusals import Refusal
from sql.connection import Database
from sql.queries import Statement, load
from sql.transaction import Completed, Transaction, run

_IDEMPOTENCY = load("idempotency")
_FIND_RECORD = _IDEMPOTENCY["find_idempotency_record"].of(StoredAnswer)
_INSERT_RECORD = _IDEMPOTENCY["insert_idempotency_record"]


class AcceptedWrite(NamedTuple):
    """A decision in favour: the HTTP status and body that are stored and answered, and what to write."""

    status: int
    body: str
    writes: Sequence[Statement[Any]]


#: Decides from what each statement read: one list of records for each.
Decide = Callable[..., AcceptedWrite | Refusal]


def run_keyed(
    database: Database,
    request: Request,
    reads: Sequence[Statement[Any]],
    decide: Decide,
) -> Completed[Answer | Refusal]:
    """Run a write in two exchanges, or find that it was done already, or refuse it with nothing written.

    `decide` is called once an attempt. Raises sql.errors.RetriesExhaustedError and psycopg.Error as
    `sql.transaction.run` does.
    """
    find = _FIND_RECORD(customer_id=request.customer_id, idempotency_key=request.key)

    def attempt(transaction: Transaction) -> Answer | Refusal:
        stored, *facts = transaction.read(find, *reads)
        # guard: idempotency read
        if stored:
            return answer_again(stored[0], request)
        outcome = decide(*facts)
        if isinstance(outcome, Refusal):
            return outcome
        remember = _INSERT_RECORD(
            customer_id=request.customer_id,
            idempotency_key=request.key,
            request_hash=request.hash,
            result_id=request.result_id,
            response_status=outcome.status,
            response_body=outcome.body,
        )
        transaction.commit(
            *outcome.writes,
            # guard: idempotency record in the write's transaction
            remember,
        )
        return Answer(outcome.status, outcome.body, replayed=False)

    return run(database, attempt)
