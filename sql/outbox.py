"""The outbox: leaving a letter in the transaction of what it tells about, and the relay's side of it."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar
from uuid import UUID

import psycopg

from domain.events import Envelope
from domain.outbox import Failure, Letter, OutboxUnavailableError, Verdict, pause_after_s, share_out
from sql.connection import Database
from sql.errors import RetriesExhaustedError
from sql.queries import Statement, load
from sql.transaction import RetryPolicy, Transaction, run

#: Shards of a Region's outbox: as many relays as that can share the work of a Region.
SHARDS = range(16)

_QUERIES = load("outbox")
_INSERT = _QUERIES["insert_outbox_row"]
_READ_RELAYS = _QUERIES["read_relays"]
_READ_LEASES = _QUERIES["read_leases"]
_ANNOUNCE = _QUERIES["announce_relay"]
_WITHDRAW = _QUERIES["withdraw_relay"]
_TAKE_LEASES = _QUERIES["take_leases"]
_RELEASE = _QUERIES["release_leases"]
_RELEASE_ALL = _QUERIES["release_all_leases"]
_READ_FOREIGN_OUTBOXES = _QUERIES["read_foreign_outboxes"]
_READ_FOREIGN_LEASES = _QUERIES["read_foreign_leases"]
_FIND_STRANDED = _QUERIES["find_stranded_shards"]
_TAKE = _QUERIES["take_outbox_rows"]
_DELETE = _QUERIES["delete_outbox_rows"]
_COUNT_ATTEMPTS = _QUERIES["count_outbox_attempts"]
_BURY = _QUERIES["bury_outbox_rows"]
_DELETE_BURIED = _QUERIES["delete_buried_outbox_rows"]

#: A relay tries again by itself all the time: no need to wait long for one statement.
_POLICY = RetryPolicy(attempts=4, deadline_s=3.0)

#: Characters of a reason that are kept.
_REASON_LENGTH = 200

T = TypeVar("T")
Place = tuple[str, int]


def letter(event: Envelope[Any]) -> Statement:
    """Give the statement that puts an event into its Region's outbox."""
    return _INSERT(
        region=event.region,
        shard=SHARDS[event.id.int % len(SHARDS)],
        id=event.id,
        event_type=event.type,
        detail=event.model_dump_json(),
    )


class Outbox:
    """The outbox as one run of a Region's relay sees it.

    `token` is new for each run and names its leases; `line` is the succession of runs that it belongs to, and
    `holder` tells people who it is. Every method raises OutboxUnavailableError when the database does not
    answer.
    """

    def __init__(self, database: Database, region: str, token: UUID, holder: str, line: int = 0) -> None:
        self.region = region
        self._database = database
        self._token = token
        self._holder = holder
        self._line = line
        self._announced = False

    def hold(self, lease_s: float) -> list[int] | None:
        """Renew this run's presence and its leases, take its fair share and give up what is beyond it.

        Gives the shards held, fewer than the share where others still hold some; None, with every lease given
        back, when a newer run of the same line has begun.
        """

        def attempt(transaction: Transaction) -> list[int] | None:
            relays, leases = transaction.read(
                _READ_RELAYS(region=self.region), _READ_LEASES(region=self.region)
            )
            if self._announced and not any(token == self._token for _, token, _ in relays):
                transaction.commit(_RELEASE_ALL(token=self._token))
                return None
            share = share_out(
                SHARDS,
                [shard for shard, token in leases if token == self._token],
                [shard for shard, token in leases if token != self._token],
                1 + sum(live for line, _, live in relays if line != self._line),
            )
            *_, taken = transaction.commit(
                _ANNOUNCE(region=self.region, line=self._line, token=self._token, lease_s=lease_s),
                _RELEASE(**_places((self.region, shard) for shard in share.give_up), token=self._token),
                self._lease(((self.region, shard) for shard in share.take), lease_s),
            )
            return sorted(shard for _, shard in taken.rows)

        held = self._run(attempt)
        self._announced = held is not None
        return held

    def rescue(self, age_s: float, lease_s: float) -> list[Place]:
        """Take over shards of other Regions that nobody holds and whose letters have waited for `age_s`.

        Gives what is held elsewhere; what needs no rescue any more is given back.
        """

        def attempt(transaction: Transaction) -> list[Place]:
            regions, leases = transaction.read(
                _READ_FOREIGN_OUTBOXES(region=self.region), _READ_FOREIGN_LEASES(region=self.region)
            )
            mine = {(region, shard) for region, shard, token in leases if token == self._token}
            others = {(region, shard) for region, shard, token in leases if token != self._token}
            unheld = [(r, shard) for (r,) in regions for shard in SHARDS if (r, shard) not in others]
            (stranded,) = (
                transaction.read(_FIND_STRANDED(**_places(unheld), age_s=age_s)) if unheld else ([],)
            )
            wanted = [(region, shard) for region, shard in stranded]
            if not wanted and not mine:
                return []
            *_, taken = transaction.commit(
                _RELEASE(**_places(mine.difference(wanted)), token=self._token), self._lease(wanted, lease_s)
            )
            return sorted((region, shard) for region, shard in taken.rows)

        return self._run(attempt)

    def release(self) -> None:
        """Give all leases back; the run goes on without."""
        self._alone(_RELEASE_ALL(token=self._token))

    def leave(self) -> None:
        """Give all leases back and take this run off the list: it is over."""
        withdraw = _WITHDRAW(region=self.region, line=self._line, token=self._token)
        self._run(lambda transaction: transaction.commit(_RELEASE_ALL(token=self._token), withdraw))
        self._announced = False

    def take(self, most: int, skip: Iterable[UUID] = (), served: Iterable[int] = ()) -> list[Letter]:
        """Read up to `most` letters of the shards whose unexpired lease is ours, in one statement.

        `skip` are letters that are on their way already, `served` shards that are not asked this time.
        """
        rows = self._alone(_TAKE(token=self._token, most=most, skip=list(skip), served=list(served)))
        return [Letter(*row) for row in rows]

    def settle(self, accepted: Sequence[Letter], verdict: Verdict) -> None:
        """Delete what the bus accepted, count attempts, and move what is hopeless to the dead letters.

        Safe to repeat. Deleting needs no lease, as the bus has the letter; the other two do.
        """
        if accepted:
            self._alone(_DELETE(**_addresses(accepted)))
        statements: list[Statement] = []
        if verdict.counted:
            attempts = [failure.letter.attempts + 1 for failure in verdict.counted]
            statements.append(
                _COUNT_ATTEMPTS(
                    token=self._token,
                    **_failures(verdict.counted),
                    pauses_s=[pause_after_s(count) for count in attempts],
                )
            )
        if verdict.dead:
            statements += (
                _BURY(token=self._token, **_failures(verdict.dead)),
                _DELETE_BURIED(ids=[failure.letter.id for failure in verdict.dead]),
            )
        if statements:
            self._run(lambda transaction: transaction.commit(*statements))

    def _lease(self, places: Iterable[Place], lease_s: float) -> Statement:
        return _TAKE_LEASES(**_places(places), token=self._token, holder=self._holder, lease_s=lease_s)

    def _alone(self, statement: Statement) -> list[tuple[Any, ...]]:
        return self._run(lambda transaction: transaction.alone(statement)).rows

    def _run(self, work: Callable[[Transaction], T]) -> T:
        try:
            return run(self._database, work, _POLICY).value
        except (RetriesExhaustedError, psycopg.OperationalError) as error:
            raise OutboxUnavailableError(str(type(error).__name__)) from error


def _places(places: Iterable[Place]) -> dict[str, list[Any]]:
    listed = list(places)
    return {"regions": [region for region, _ in listed], "shards": [shard for _, shard in listed]}


def _addresses(letters: Sequence[Letter]) -> dict[str, list[Any]]:
    return {
        "regions": [letter.region for letter in letters],
        "shards": [letter.shard for letter in letters],
        "ids": [letter.id for letter in letters],
    }


def _failures(failures: Sequence[Failure]) -> dict[str, list[Any]]:
    return {
        **_addresses([failure.letter for failure in failures]),
        "reasons": [failure.reason[:_REASON_LENGTH] for failure in failures],
        "attempts": [failure.letter.attempts + 1 for failure in failures],
    }
