"""A copy of every message, kept by the database, to tell afterwards what became of each.

The outbox forgets a message once the bus has it. Who wants to prove that none was lost needs another record,
made in the same transaction: a trigger on a server of this machine, which DSQL does not have.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self
from uuid import UUID

import psycopg

from local_dsql.postgres import EmbeddedPostgres

_OPEN = """
create schema drill;
create table drill.messages (
    id uuid primary key, region varchar(20), shard smallint, event_type varchar(64), detail text
);
create function drill.copy_message() returns trigger language plpgsql security definer as $$
begin
    insert into drill.messages select new.id, new.region, new.shard, new.event_type, new.detail
    on conflict do nothing;
    return new;
end
$$;
create trigger copy_message after insert on xpoints.outbox for each row execute function drill.copy_message();
"""
_CLOSE = "drop trigger copy_message on xpoints.outbox; drop schema drill cascade;"

_ORDERS_AND_CONSUMERS = """
    from drill.messages m
    cross join (values ('clean-cart'), ('notify')) as c (consumer)
    left join xpoints.inbox i on i.event_id = m.id and i.consumer = c.consumer
    left join xpoints.notifications n on n.event_id = m.id and c.consumer = 'notify'
"""
#: Who consumes an OrderPlaced. A message that was written and never sent is no effect yet.
_MISSING = f"""
    select distinct m.id {_ORDERS_AND_CONSUMERS}
    where m.event_type = 'OrderPlaced.v1' and (i.event_id is null or n.status = 'PENDING')
    and (m.detail::json ->> 'occurred_at')::timestamptz < %s
"""
_EFFECTS = f"""
    select m.id, m.region, (m.detail::json ->> 'occurred_at')::timestamptz, i.processed_at
    {_ORDERS_AND_CONSUMERS} where m.event_type = 'OrderPlaced.v1' and i.event_id is not null
"""
_CONFIRMED = """
    select m.detail::json -> 'data' ->> 'order_id' from drill.messages m
    join xpoints.notifications n on n.event_id = m.id
    where m.event_type = 'OrderPlaced.v1' and n.status = 'SENT'
"""


class Happened(NamedTuple):
    """One effect of one event."""

    message_id: UUID
    region: str
    occurred_at: datetime
    processed_at: datetime

    @property
    def lag_ms(self) -> float:
        """The time from the order to the transaction of the effect."""
        return (self.processed_at - self.occurred_at).total_seconds() * 1000


class OutboxRecorder:
    """What was written to a server's outbox during a `with` block, and what came of it."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server

    def __enter__(self) -> Self:
        """Begin to copy."""
        self._connection = psycopg.connect(self._server.conninfo(), autocommit=True)
        self._connection.execute(_OPEN)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop copying and forget the copies."""
        self._connection.execute(_CLOSE)
        self._connection.close()

    def waiting(self, region: str) -> set[UUID]:
        """Give the messages that stand in a Region's outbox."""
        return self._ids("select id from xpoints.outbox where region = %s", region)

    def written(self, region: str) -> set[UUID]:
        """Give the copies of all messages of a Region."""
        return self._ids("select id from drill.messages where region = %s", region)

    def without_effect(self, before: datetime | None = None) -> set[UUID]:
        """Give the orders' messages, of those `before` a time, that a consumer has not had its effect of."""
        return self._ids(_MISSING, before or datetime.max.replace(tzinfo=UTC))

    def effects(self) -> list[Happened]:
        """Give every effect of every order's message."""
        return [Happened(*row) for row in self._connection.execute(_EFFECTS).fetchall()]

    def confirmed(self) -> set[str]:
        """Give the orders whose confirmation was sent: beyond a customer's bound an hour it is skipped."""
        return {str(order_id) for (order_id,) in self._connection.execute(_CONFIRMED).fetchall()}

    def live_leases(self, region: str) -> int:
        """Count the shards of a Region that some relay holds at this moment."""
        query = "select count(*) from xpoints.relay_leases where region = %s and expires_at > now()"
        row = self._connection.execute(query, (region,)).fetchone()
        assert row is not None
        return int(row[0])

    def messages(self, ids: Iterable[UUID]) -> list[tuple[str, str]]:
        """Give the type and the detail of messages, as they were written."""
        query = "select event_type, detail from drill.messages where id = any(%s)"
        return self._connection.execute(query, (list(ids),)).fetchall()

    def rows(self, query: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Ask the database anything."""
        return self._connection.execute(query.encode(), parameters).fetchall()

    def _ids(self, query: str, *parameters: object) -> set[UUID]:
        return {id_ for (id_,) in self._connection.execute(query.encode(), parameters).fetchall()}
