"""The outbox: leaving a letter in the transaction of what it tells about, and the relay's side of it."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from domain.events import Envelope
from domain.outbox import Failure, Letter
from sql.connection import Database
from sql.queries import Statement, load
from sql.transaction import Transaction, run

#: Shards of a Region's outbox. A relay holds one or more; 16 let a Region spread over as many relays.
SHARDS = 16

_QUERIES = load("outbox")
_INSERT = _QUERIES["insert_outbox_row"]
_HOLD = _QUERIES["hold_shards"]
_RELEASE = _QUERIES["release_shards"]
_TAKE = _QUERIES["take_outbox_rows"]
_DELETE = _QUERIES["delete_outbox_rows"]
_COUNT_ATTEMPTS = _QUERIES["count_outbox_attempts"]
_BURY = _QUERIES["bury_outbox_rows"]


def letter(event: Envelope[Any]) -> Statement:
    """Give the statement that puts an event into its Region's outbox."""
    return _INSERT(
        region=event.region,
        shard=event.id.int % SHARDS,
        id=event.id,
        event_type=event.type,
        detail=event.model_dump_json(),
    )


class Outbox:
    """One Region's outbox as one relay sees it. `token` is new for each relay run and names its leases."""

    def __init__(self, database: Database, region: str, token: UUID, holder: str) -> None:
        self.region = region
        self._database = database
        self._token = token
        self._holder = holder

    def hold(self, shards: Sequence[int], lease_s: float) -> list[int]:
        """Take or renew leases for `lease_s` seconds; give the shards that this relay now holds."""
        statement = _HOLD(
            region=self.region,
            shards=list(shards),
            token=self._token,
            holder=self._holder,
            lease_s=lease_s,
        )
        written = run(self._database, lambda transaction: transaction.commit(statement)).value
        return sorted(shard for (shard,) in written[0].rows)

    def release(self, shards: Sequence[int]) -> None:
        """Give the leases back."""
        statement = _RELEASE(region=self.region, shards=list(shards), token=self._token)
        run(self._database, lambda transaction: transaction.commit(statement))

    def take(self, most: int) -> list[Letter]:
        """Read up to `most` letters of the shards whose unexpired lease is ours."""
        statement = _TAKE(region=self.region, token=self._token, most=most)
        written = run(self._database, lambda transaction: transaction.commit(statement)).value
        return [Letter(*row) for row in written[0].rows]

    def settle(self, accepted: Sequence[Letter], failed: Sequence[Failure], dead: Sequence[Failure]) -> None:
        """Delete what the bus accepted, count an attempt where it failed, bury what it never will accept.

        Safe to repeat: a deleted row stays deleted, and attempts are a lower bound that only delays burial.
        """
        buried = [failure.letter for failure in dead]
        statements: list[Statement] = []
        if failed:
            statements.append(_COUNT_ATTEMPTS(region=self.region, **_columns(failed)))
        if dead:
            statements.append(_BURY(region=self.region, **_columns(dead)))
        if accepted or dead:
            gone = (*accepted, *buried)
            statements.append(
                _DELETE(
                    region=self.region,
                    shards=[letter.shard for letter in gone],
                    ids=[letter.id for letter in gone],
                )
            )

        def write(transaction: Transaction) -> None:
            transaction.commit(*statements)

        if statements:
            run(self._database, write)


def _columns(failures: Sequence[Failure]) -> dict[str, list[Any]]:
    return {
        "shards": [failure.letter.shard for failure in failures],
        "ids": [failure.letter.id for failure in failures],
        "reasons": [failure.reason[:200] for failure in failures],
    }
