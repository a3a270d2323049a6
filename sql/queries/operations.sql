-- What an operator asks by the `rewards` command. Read with the role `operations`; lists are cut at %(most)s rows.

-- name: read_outbox_status
-- What waits in each Region: messages, age of the oldest, those rejected at least once, and the last reason.
select region, count(*) as messages, coalesce(extract(epoch from now() - min(created_at)), 0)::bigint as oldest_s,
    count(*) filter (where attempts > 0) as rejected, max(last_error) as last_error
from xpoints.outbox
group by region
order by region

-- name: read_outbox_types
-- What waits, by type.
select event_type, count(*) as messages from xpoints.outbox group by event_type order by event_type

-- name: read_relay_workers
-- The relays, alive or not, and how many shards each holds.
select r.region, r.worker, r.expires_at > now() as alive, extract(epoch from r.expires_at - now())::int as expires_in_s,
    (select count(*) from xpoints.relay_leases l where l.token = r.token and l.expires_at > now()) as shards
from xpoints.relays r
order by r.region, r.worker

-- name: read_lease_holders
-- Who holds how many shards of which Region.
select region, holder, count(*) as shards from xpoints.relay_leases
where expires_at > now()
group by region, holder
order by region, holder

-- name: list_outbox_dead_letters
-- Dead letters, oldest first, a page behind the last one of the one before; a filter that is null lets
-- everything through.
select id, region, event_type, attempts, reason, created_at, failed_at
from xpoints.outbox_dead_letters
where (%(event_type)s::varchar is null or event_type = %(event_type)s::varchar)
    and (%(older_than_s)s::int is null or failed_at < now() - make_interval(secs => %(older_than_s)s::int))
    and (%(newer_than_s)s::int is null or failed_at >= now() - make_interval(secs => %(newer_than_s)s::int))
    and (%(reason)s::varchar is null or position(lower(%(reason)s::varchar) in lower(reason)) > 0)
    and (%(ids)s::uuid[] is null or id = any(%(ids)s::uuid[]))
    and (%(after_id)s::uuid is null or (failed_at, id) > (%(after_at)s::timestamptz, %(after_id)s::uuid))
order by failed_at, id
limit %(most)s

-- name: read_outbox_dead_letter
-- One dead letter, with the event.
select id, region, shard, event_type, attempts, reason, created_at, failed_at, detail
from xpoints.outbox_dead_letters
where id = %(id)s

-- name: requeue_dead_letters
-- Back into the outbox, as if they had just been written: the relay takes them within a second.
insert into xpoints.outbox (region, shard, id, event_type, detail)
select region, shard, id, event_type, detail from xpoints.outbox_dead_letters
where id = any(%(ids)s::uuid[])
on conflict (region, shard, id) do nothing

-- name: delete_dead_letters
-- In the same transaction: a message is in one of the two tables.
-- guard: a message put back is a dead letter no more
delete from xpoints.outbox_dead_letters where id = any(%(ids)s::uuid[]) returning id

-- name: read_order_story_order
-- An order.
select id, customer_id, status, total_points, refunded_points, placed_at, region, correlation_id, version,
    cart_cleaned_at
from xpoints.orders
where id = %(order_id)s

-- name: read_order_story_lines
-- Its lines.
select l.cat_item_id as item_id, i.name, l.unit_cnt as units, coalesce(l.refunded_cnt, 0) as refunded_units,
    l.unit_points_price as unit_points
from xpoints.order_items l
left join xpoints.catalog_items i on i.id = l.cat_item_id
where l.tx_id = %(order_id)s
order by l.cat_item_id

-- name: read_order_story_ledger
-- Its entries in the customer's ledger; what refers to it is found among that customer's entries.
select t.id, t.tx_type as type, t.points, t.tx_dt as at, t.tx_description as description, t.balance_after
from xpoints.orders o
join xpoints.transactions t on t.customer_id = o.customer_id
where o.id = %(order_id)s and (t.id = o.id or t.reference_id = o.id)
order by t.tx_dt, t.id

-- name: read_order_story_events
-- What happened after it was placed.
select event_id, event_type, version, points, occurred_at
from xpoints.order_events
where order_id = %(order_id)s
order by version

-- name: read_order_story_record
-- The record that keeps it from being placed twice.
select r.idempotency_key, r.response_status, r.created_at
from xpoints.orders o
join xpoints.idempotency_records r on r.customer_id = o.customer_id
where o.id = %(order_id)s and r.result_id = o.id

-- name: read_order_story_notifications
-- Messages about it: those whose text names it.
select n.id, n.event_id, n.kind, n.status, n.created_at, n.sent_at
from xpoints.orders o
join xpoints.notifications n on n.customer_id = o.customer_id
where o.id = %(order_id)s and position(o.id::text in n.body) > 0
order by n.created_at, n.id

-- name: read_waiting_messages
-- Messages that name an id and have not left: still in the outbox, or dead letters.
select id, region, event_type, attempts, coalesce(last_error, '') as reason, created_at, 'outbox' as where
from xpoints.outbox
where position(%(id)s::text in detail) > 0
union all
select id, region, event_type, attempts, reason, created_at, 'dead letter'
from xpoints.outbox_dead_letters
where position(%(id)s::text in detail) > 0

-- name: read_effects
-- Which consumers have had their effect of these events: when the bus took the message, and when the effect was.
select event_id, consumer, published_at, processed_at from xpoints.inbox
where event_id = any(%(ids)s::uuid[])
order by processed_at, consumer

-- name: read_attempts
-- Who tried what with it.
select operation, outcome, attempts, conflicts, started_at, ended_at
from xpoints.request_log
where subject_id = %(id)s
order by started_at
limit %(most)s

-- name: find_customers_by_username
-- Whom somebody means who knows the username alone; by its index. One is enough to go on, two are too many.
select id from xpoints.customers where username = %(username)s order by id limit 2

-- name: read_customer_story
-- A customer without what is personal.
select c.id, c.version, c.erased_at, b.points_balance as balance,
    (select coalesce(sum(t.points), 0) from xpoints.transactions t where t.customer_id = c.id)::bigint as ledger_sum
from xpoints.customers c
left join xpoints.points_balances b on b.customer_id = c.id
where c.id = %(customer_id)s

-- name: read_customer_person
-- What is personal about a customer; only when asked for by name.
select username, first_name, last_name, email, phone_num as phone, address, postal_code, city, state
from xpoints.customers
where id = %(customer_id)s

-- name: read_customer_ledger
-- The latest entries of a customer's ledger.
select id, tx_type as type, points, tx_dt as at, tx_description as description, balance_after
from xpoints.transactions
where customer_id = %(customer_id)s
order by tx_dt desc, id desc
limit %(most)s

-- name: read_customer_orders
-- The latest orders of a customer.
select id, status, total_points, refunded_points, placed_at, region, cart_cleaned_at
from xpoints.orders
where customer_id = %(customer_id)s
order by placed_at desc, id desc
limit %(most)s

-- name: read_customer_cart
-- What is in a customer's cart.
select item_id, quantity from xpoints.shopping_cart_items where customer_id = %(customer_id)s order by item_id

-- name: read_customer_notifications
-- The latest messages to a customer, without their texts.
select id, event_id, kind, status, created_at, sent_at
from xpoints.notifications
where customer_id = %(customer_id)s
order by created_at desc, id desc
limit %(most)s
