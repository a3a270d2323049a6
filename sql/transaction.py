"""Transactions as functions that are run again from their start after a conflict.

A transaction has two exchanges with the server: one reads what a decision needs, one writes what was decided
and commits. Pipelined, each is a single round trip; with pipelining off the same statements go one by one.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, overload

import psycopg
from psycopg import pq

from domain.refusals import Refusal
from sql.chance import CHANCE
from sql.connection import Database
from sql.connection import RetryPolicy as RetryPolicy
from sql.errors import Fault, RetriesExhaustedError, classify
from sql.pipeline import Connection
from sql.pipeline import Row as Row
from sql.pipeline import Written as Written
from sql.queries import Query, Statement

if TYPE_CHECKING:
    from sql.admission import Admission

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")

_BEGIN: Statement[object] = Query("begin", b"BEGIN", "")()
_COMMIT: Statement[object] = Query("commit", b"COMMIT", "")()
_ROLLBACK: Statement[object] = Query("rollback", b"ROLLBACK", "")()


class Transaction:
    """One attempt at a transaction: `read` any number of times, then `commit` once or not at all.

    `attempt_s` bounds the seconds that it waits for all answers together; then the connection is closed. The
    first exchange asks the question of the `admission`, if any, and may raise NotAdmittedError.
    """

    def __init__(
        self, connection: Connection, pipelined: bool, attempt_s: float, admission: "Admission | None" = None
    ) -> None:
        self._connection = connection
        self._admission = admission
        self._pipelined = pipelined
        self._until = time.monotonic() + attempt_s
        self._begun = False
        self.round_trips = 0
        self.commit_sent = False

    @overload
    def read(self, first: Statement[A], /) -> tuple[list[A]]: ...
    @overload
    def read(self, first: Statement[A], second: Statement[B], /) -> tuple[list[A], list[B]]: ...
    @overload
    def read(
        self, first: Statement[A], second: Statement[B], third: Statement[C], /
    ) -> tuple[list[A], list[B], list[C]]: ...
    @overload
    def read(self, *statements: Statement[Any]) -> Sequence[list[Any]]: ...
    def read(self, *statements: Statement[Any]) -> Sequence[list[Any]]:
        """Send statements in one exchange (the first brings BEGIN along) and give each one's rows."""
        written = self._exchange(self._opening(statements))
        return [done.rows for done in written[len(written) - len(statements) :]]

    def commit(self, *statements: Statement[Any]) -> list[Written[Any]]:
        """Send the last statements and COMMIT in one exchange; give what each statement did.

        COMMIT is sent before the statements' outcomes are seen: what must hold has to be a constraint, which
        makes the statement fail and the COMMIT a rollback. So with an admission, what writes has read before.
        """
        # guard: nothing is written before the caller is admitted
        if self._admission is not None and not self._begun:
            self.read()
        return self.snapshot(*statements)

    def snapshot(self, *statements: Statement[Any]) -> list[Written[Any]]:
        """Do as `commit` for statements that write nothing: an admission is asked for with them."""
        written = self._exchange((*self._opening(statements), _COMMIT), committing=True)
        return written[len(written) - len(statements) - 1 : -1]

    def alone(self, statement: Statement[A]) -> Written[A]:
        """Send one statement that is a transaction of its own, and give what it did: no BEGIN, no COMMIT.

        For work of the shop's own, which no caller has asked for.
        """
        assert self._admission is None, "what is done for a caller begins with a reading"
        self.round_trips += 1
        self.commit_sent = True
        return self._connection.alone(statement, self._until)

    def _opening(self, statements: tuple[Statement[Any], ...]) -> tuple[Statement[Any], ...]:
        if self._begun:
            return statements
        self._begun = True
        if self._admission is None:
            return (_BEGIN, *statements)
        return (_BEGIN, self._admission.question, *statements)

    def _exchange(
        self, statements: tuple[Statement[Any], ...], committing: bool = False
    ) -> list[Written[Any]]:
        self.round_trips += 1 if self._pipelined else len(statements)
        if self._pipelined:
            self.commit_sent = committing
            written = self._connection.exchange(statements, self._until)
        else:
            written = []
            for statement in statements:
                # Only a COMMIT that was sent can have an unknown outcome.
                self.commit_sent = statement is _COMMIT
                written.append(self._connection.alone(statement, self._until))
        if self._admission is not None and len(statements) > 1 and statements[1] is self._admission.question:
            self._admission.check(written[1].rows)
        return written

    def close(self) -> None:
        """End the attempt: roll back what was not committed; a broken connection is closed."""
        connection = self._connection
        status = connection.pgconn.transaction_status
        if status == pq.TransactionStatus.IDLE:
            return
        if status in (pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR):
            self.round_trips += 1
            with suppress(psycopg.Error):
                connection.alone(_ROLLBACK, self._until)
                return
            # It cannot be used again, which is what closing it says.
        connection.close()


def first(rows: Sequence[T]) -> T | None:
    """Give the only row of a statement that finds one or none."""
    return rows[0] if rows else None


class Completed(NamedTuple, Generic[T]):
    """A transaction function's value, with what it took: attempts, round trips, faults by kind."""

    value: T
    attempts: int
    round_trips: int
    faults: Counter[Fault]


def run(
    database: Database,
    work: Callable[[Transaction], T],
    policy: RetryPolicy | None = None,
    *,
    sleep: Callable[[float], None] = time.sleep,
    uniform: Callable[[float, float], float] = CHANCE.uniform,
    monotonic: Callable[[], float] = time.monotonic,
) -> Completed[T]:
    """Run a transaction function, again from its start after a fault that another attempt can fix.

    `work` must have no effect outside the database and must begin by reading the record that its own commit
    would have left (idempotency record, inbox row, or a state that makes it do nothing): so a commit with an
    unknown outcome is settled by the next attempt, on a new connection, and never repeated blindly. How often
    it is tried stands in the database's settings; `policy` is for what is not worth that patience.

    Raises RetriesExhaustedError when the policy is used up, or when an attempt refuses what an earlier one
    with an unknown outcome may do after all; and at once any psycopg.Error that is no passing fault (a
    violated constraint, a missing privilege), or NotAdmittedError for a caller who is not let in.
    """
    policy = policy or database.settings.retries
    faults: Counter[Fault] = Counter()
    round_trips = 0
    give_up_at = monotonic() + policy.deadline_s
    asks = database.admission is not None and not database.admission.is_granted
    for attempt in range(1, policy.attempts + 1):
        transaction: Transaction | None = None
        try:
            settings = database.settings
            # Whoever was let in is let finish: what an earlier attempt has done has to be found out.
            # guard: an unknown commit is settled, whatever became of the caller
            admission = database.admission if asks and not faults[Fault.UNKNOWN_COMMIT] else None
            transaction = Transaction(
                database.connection(), settings.pipelined, settings.attempt_s, admission
            )
            value = work(transaction)
            transaction.close()
            # guard: a refusal after an unknown commit is no answer
            if isinstance(value, Refusal) and faults[Fault.UNKNOWN_COMMIT]:
                # "Nothing was written" would be premature: an earlier COMMIT may still be under way.
                raise RetriesExhaustedError(attempt, Fault.UNKNOWN_COMMIT)
            return Completed(value, attempt, round_trips + transaction.round_trips, faults)
        except psycopg.Error as error:
            fault = classify(error, transaction is not None and transaction.commit_sent)
            if fault is None:
                raise
            faults[fault] += 1
            if fault is not Fault.CONFLICT and fault is not Fault.DUPLICATE_RECORD:
                # guard: a new session after a failure of the server
                database.discard()
            pause_s = uniform(0, min(policy.cap_s, policy.base_s * 2**attempt))
            # guard: retry after a fault
            # guard: deadline of the retries
            if attempt == policy.attempts or monotonic() + pause_s > give_up_at:
                raise RetriesExhaustedError(attempt, fault) from error
        finally:
            if transaction is not None:
                # guard: rollback after a failed attempt
                transaction.close()
                round_trips += transaction.round_trips
        sleep(pause_s)
    raise AssertionError("unreachable: the last attempt returns or raises")


@overload
def snapshot(database: Database, first: Statement[A], /) -> tuple[list[A]]: ...
@overload
def snapshot(database: Database, first: Statement[A], second: Statement[B], /) -> tuple[list[A], list[B]]: ...
@overload
def snapshot(
    database: Database, first: Statement[A], second: Statement[B], third: Statement[C], /
) -> tuple[list[A], list[B], list[C]]: ...
@overload
def snapshot(database: Database, /, *statements: Statement[Any]) -> Sequence[list[Any]]: ...
def snapshot(database: Database, /, *statements: Statement[Any]) -> Sequence[list[Any]]:
    """Send statements in one exchange and give each one's rows, all of one snapshot. Raises as `run` does."""
    return [one.rows for one in run(database, lambda transaction: transaction.snapshot(*statements)).value]
