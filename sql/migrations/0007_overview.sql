-- What the staff's operations page and the story of an order are read with.

-- When the bus took the message, by the bus itself (whole seconds): the row of the outbox is gone by then. Null
-- for effects that are older than this column.
alter table xpoints.inbox add column if not exists published_at timestamptz;

-- What became of messages about events, without their texts and without whom they are to.
create view xpoints.notification_states as
select n.id, n.event_id, n.kind, n.status, n.created_at, n.sent_at from xpoints.notifications n;

-- What waits, without the events themselves.
create view xpoints.outbox_states as
select o.region, o.shard, o.id, o.event_type, o.created_at, o.attempts, o.last_error, o.retry_at from xpoints.outbox o;

create view xpoints.outbox_dead_letter_states as
select d.id, d.region, d.event_type, d.created_at, d.attempts, d.reason, d.failed_at from xpoints.outbox_dead_letters d;

-- The function behind the operations page. It looks, at states and not at contents, and writes nothing. Who calls
-- is asked of customers and staff_members.
create role overview with login;

grant usage on schema xpoints to overview;

grant select on
    xpoints.customers, xpoints.inbox, xpoints.notification_states, xpoints.order_events, xpoints.orders,
    xpoints.outbox_dead_letter_states, xpoints.outbox_states, xpoints.regions, xpoints.relay_leases, xpoints.relays,
    xpoints.staff_members
    to overview;
