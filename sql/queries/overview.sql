-- What the staff's operations page asks, every two seconds, and what one order's story is told from. Each looks
-- up keys or stops after a number of rows: a backlog of a million costs what one of some thousands does.

-- name: read_outboxes
-- What waits in each Region that the database knows of: messages and the age of the oldest, both of the first
-- %(most)s rows (is_capped: there are more, perhaps older ones), those rejected at least once, and a reason.
with known as (
    select region from xpoints.regions union select region from xpoints.relays union select %(region)s::varchar
)
select known.region, least(count(waiting.region), %(most)s)::int as messages,
    count(waiting.region) > %(most)s as is_capped,
    greatest(coalesce(extract(epoch from now() - min(waiting.created_at)), 0), 0)::int as oldest_s,
    (count(*) filter (where waiting.attempts > 0))::int as rejected, max(waiting.last_error) as last_error
from known
left join lateral (
    select o.region, o.created_at, o.attempts, o.last_error from xpoints.outbox_states o
    where o.region = known.region
    limit %(most)s + 1
) as waiting on true
group by known.region
order by known.region

-- name: count_some_dead_letters
-- Outbox dead letters, up to %(most)s.
select count(*)::int as messages from (select 1 from xpoints.outbox_dead_letter_states limit %(most)s) as counted

-- name: read_workers
-- The relay workers, alive or not, and how many shards each holds. A few rows a Region.
select r.region, r.worker::int as worker, r.expires_at > now() as is_alive,
    (select count(*) from xpoints.relay_leases l where l.token = r.token and l.expires_at > now())::int as shards
from xpoints.relays r
order by r.region, r.worker

-- name: read_story_order
-- An order, by its key.
select id as order_id, customer_id, status, total_points, placed_at, region, correlation_id
from xpoints.orders
where id = %(order_id)s

-- name: read_story_events
-- What happened to it after it was placed.
select event_id, event_type, version, occurred_at
from xpoints.order_events
where order_id = %(order_id)s
order by version

-- name: read_story_messages
-- Its messages that have not left, wherever they were written: by the key of each in every Region's outbox, and
-- among the dead letters.
select o.id as event_id, o.region, o.created_at, o.attempts::int as attempts, o.last_error as reason, o.retry_at,
    null::timestamptz as failed_at
from (
    select region from xpoints.regions union select region from xpoints.relays union select %(region)s::varchar
) as known
cross join unnest(%(shards)s::smallint[], %(ids)s::uuid[]) as written (shard, id)
join xpoints.outbox_states o on o.region = known.region and o.shard = written.shard and o.id = written.id
union all
select d.id, d.region, d.created_at, d.attempts::int, d.reason, null, d.failed_at
from xpoints.outbox_dead_letter_states d
where d.id = any(%(ids)s::uuid[])

-- name: read_story_effects
-- Which consumers have had their effect of these events; when the bus took the message, and when the effect was.
select event_id, consumer, published_at, processed_at
from xpoints.inbox
where event_id = any(%(ids)s::uuid[])
order by processed_at, consumer

-- name: read_story_notifications
-- Messages to the customer about these events, without text and address.
select id as notification_id, event_id, kind, status, created_at, sent_at
from xpoints.notification_states
where event_id = any(%(ids)s::uuid[])
order by created_at, id
