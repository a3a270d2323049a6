"""The outbox, for the relay: leases of its shards, the messages that wait, and what becomes of them."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import psycopg

from domain.outbox import (
    Failure,
    Held,
    OutboxMessage,
    OutboxUnavailableError,
    Shard,
    Verdict,
    batches,
    pause_after_s,
    share_out,
)
from sql.connection import Database
from sql.errors import RetriesExhaustedError
from sql.outbox import SHARDS
from sql.queries import Statement, load
from sql.transaction import RetryPolicy, Transaction, run

_QUERIES = load("relay")
_ANNOUNCE = _QUERIES["announce_relay"]
_WITHDRAW = _QUERIES["withdraw_relay"]
_TAKE_LEASES = _QUERIES["take_leases"].of(Shard)
_RELEASE = _QUERIES["release_leases"]
_RELEASE_ALL = _QUERIES["release_all_leases"]
_READ_FOREIGN_OUTBOXES = _QUERIES["read_foreign_outboxes"].of(str)
_FIND_STRANDED = _QUERIES["find_stranded_shards"].of(Shard)
_TAKE = _QUERIES["take_outbox_rows"].of(OutboxMessage)
_DELETE = _QUERIES["delete_outbox_rows"]
_COUNT_ATTEMPTS = _QUERIES["count_outbox_attempts"]
_DEAD_LETTER = _QUERIES["dead_letter_outbox_rows"]
_DELETE_DEAD_LETTERED = _QUERIES["delete_dead_lettered_outbox_rows"]

#: A relay tries again by itself all the time: no need to wait long for one statement.
_POLICY = RetryPolicy(attempts=4, deadline_s=3.0)

#: Bytes of events that a transaction moves: each is written in one table and deleted in another, and DSQL
#: takes 10 MiB of changes.
_BATCH_BYTES = 4 * 1024 * 1024

#: Characters of a reason that are kept.
_REASON_LENGTH = 200

T = TypeVar("T")


class _Relay(NamedTuple):
    worker: int
    token: UUID
    lives: bool


class _Lease(NamedTuple):
    region: str
    shard: int
    token: UUID


_READ_RELAYS = _QUERIES["read_relays"].of(_Relay)
_READ_LEASES = _QUERIES["read_leases"].of(_Lease)
_READ_FOREIGN_LEASES = _QUERIES["read_foreign_leases"].of(_Lease)


class Outbox:
    """The outbox as one run of a Region's relay sees it.

    `token` is new for each run and names its leases; `worker` is the succession of runs that it belongs to,
    and `holder` tells people who it is. Every method raises OutboxUnavailableError when the database does not
    answer.
    """

    def __init__(self, database: Database, region: str, token: UUID, holder: str, worker: int = 0) -> None:
        self.region = region
        self._database = database
        self._token = token
        self._holder = holder
        self._worker = worker
        self._announced = False

    def hold(self, lease_s: float) -> Held | None:
        """Renew this run's presence and its leases and take its fair share of the Region's shards.

        Gives fewer shards than the share where others still hold some; None when a newer run of the same
        worker has begun: then `leave`.
        """

        def attempt(transaction: Transaction) -> Held | None:
            relays, leases = transaction.read(
                _READ_RELAYS(region=self.region), _READ_LEASES(region=self.region)
            )
            # guard: a newer run ends the one before
            if self._announced and not any(relay.token == self._token for relay in relays):
                # guard: a run that was overtaken keeps its shards until its messages have landed
                return None
            share = share_out(
                SHARDS,
                [lease.shard for lease in leases if lease.token == self._token],
                [lease.shard for lease in leases if lease.token != self._token],
                1 + sum(relay.lives for relay in relays if relay.worker != self._worker),
            )
            surplus = [Shard(self.region, shard) for shard in share.give_up]
            wanted = [Shard(self.region, shard) for shard in share.take]
            *_, taken = transaction.commit(
                _ANNOUNCE(region=self.region, worker=self._worker, token=self._token, lease_s=lease_s),
                self._lease([*wanted, *surplus], lease_s),
            )
            return _held(taken.rows, surplus)

        held = self._run(attempt)
        self._announced = held is not None
        return held

    def rescue(self, age_s: float, lease_s: float) -> Held:
        """Take over shards of other Regions that nobody holds and whose messages have waited for `age_s`.

        What is held elsewhere and needs no rescue any more is surplus.
        """

        def attempt(transaction: Transaction) -> Held:
            regions, leases = transaction.read(
                _READ_FOREIGN_OUTBOXES(region=self.region), _READ_FOREIGN_LEASES(region=self.region)
            )
            mine = {Shard(lease.region, lease.shard) for lease in leases if lease.token == self._token}
            others = {Shard(lease.region, lease.shard) for lease in leases if lease.token != self._token}
            unheld = {Shard(region, shard) for region in regions for shard in SHARDS} - others
            stranded: list[Shard] = []
            if unheld:
                (stranded,) = transaction.read(_FIND_STRANDED(**_columns(sorted(unheld)), age_s=age_s))
            if not stranded and not mine:
                return Held([], [])
            surplus = sorted(mine.difference(stranded))
            (taken,) = transaction.commit(self._lease([*stranded, *surplus], lease_s))
            return _held(taken.rows, surplus)

        return self._run(attempt)

    def release(self, shards: Sequence[Shard]) -> None:
        """Give some leases back. What was taken of these shards has to have landed: see `Held`."""
        self._alone(_RELEASE(**_columns(shards), token=self._token))

    def release_all(self) -> None:
        """Give all leases back; the run goes on without."""
        self._alone(_RELEASE_ALL(token=self._token))

    def leave(self) -> None:
        """Give all leases back and take this run off the list: it is over."""
        withdraw = _WITHDRAW(region=self.region, worker=self._worker, token=self._token)
        self._run(lambda transaction: transaction.commit(_RELEASE_ALL(token=self._token), withdraw))
        self._announced = False

    def take(self, most: int, skip: Iterable[UUID] = (), served: Iterable[int] = ()) -> list[OutboxMessage]:
        """Read up to `most` messages of the shards whose unexpired lease is ours, in one statement.

        `skip` are messages that are on their way already, `served` shards that are not asked this time.
        """
        return self._alone(_TAKE(token=self._token, most=most, skip=list(skip), served=list(served)))

    def settle(self, accepted: Sequence[OutboxMessage], verdict: Verdict) -> None:
        """Delete what the bus accepted, count attempts, and move what was rejected for good to dead letters.

        Safe to repeat. Deleting needs no lease, as the bus has the message; the other two do.
        """
        for messages in batches(accepted, lambda message: message.detail_bytes, _BATCH_BYTES):
            # guard: what was accepted is deleted
            self._alone(_DELETE(**_addresses(messages)))
        for failures in batches(verdict.counted, _failed_bytes, _BATCH_BYTES):
            pauses_s = [pause_after_s(failure.message.attempts + 1) for failure in failures]
            self._alone(_COUNT_ATTEMPTS(token=self._token, **_failures(failures), pauses_s=pauses_s))
        for failures in batches(verdict.dead_letters, _failed_bytes, _BATCH_BYTES):
            dead_letter = (
                _DEAD_LETTER(token=self._token, **_failures(failures)),
                _DELETE_DEAD_LETTERED(ids=[failure.message.id for failure in failures]),
            )
            self._run(lambda transaction, dead_letter=dead_letter: transaction.commit(*dead_letter))  # type: ignore[misc]

    def _lease(self, shards: Sequence[Shard], lease_s: float) -> Statement[Shard]:
        return _TAKE_LEASES(**_columns(shards), token=self._token, holder=self._holder, lease_s=lease_s)

    def _alone(self, statement: Statement[T]) -> list[T]:
        return self._run(lambda transaction: transaction.alone(statement)).rows

    def _run(self, work: Callable[[Transaction], T]) -> T:
        try:
            return run(self._database, work, _POLICY).value
        except (RetriesExhaustedError, psycopg.OperationalError) as error:
            raise OutboxUnavailableError(str(type(error).__name__)) from error


def _held(taken: Sequence[Shard], surplus: Sequence[Shard]) -> Held:
    return Held(sorted(set(taken).difference(surplus)), surplus)


def _columns(shards: Sequence[Shard]) -> dict[str, list[Any]]:
    return {"regions": [each.region for each in shards], "shards": [each.shard for each in shards]}


def _failed_bytes(failure: Failure) -> int:
    return failure.message.detail_bytes


def _addresses(messages: Sequence[OutboxMessage]) -> dict[str, list[Any]]:
    return {
        "regions": [message.region for message in messages],
        "shards": [message.shard for message in messages],
        "ids": [message.id for message in messages],
    }


def _failures(failures: Sequence[Failure]) -> dict[str, list[Any]]:
    return {
        **_addresses([failure.message for failure in failures]),
        "reasons": [failure.reason[:_REASON_LENGTH] for failure in failures],
        "attempts": [failure.message.attempts + 1 for failure in failures],
    }
