-- What the scheduled jobs read and delete. A job scans a table in key order (sql/scan.py); what it deletes
-- lies between two keys that were read in the same snapshot, at most as many rows as a transaction may change.
-- There is no index by age: it would be a hot spot for every checkout, and a scan reads the table once a pass.

-- name: read_progress
-- How far the scan has come in its pass, and whether a pass is due (one that has begun always is).
select checkpoint, checkpoint is not null or finished_at is null
    or finished_at <= now() - make_interval(secs => %(every_s)s) as is_due
from xpoints.job_progress
where job = %(job)s

-- name: insert_progress
-- A scan's first run ever.
insert into xpoints.job_progress (job) values (%(job)s) on conflict (job) do nothing

-- name: advance_progress
-- In the transaction of what was done up to this key; two runs at once conflict here, and one of them wins.
update xpoints.job_progress
set checkpoint = %(checkpoint)s, started_at = case when checkpoint is null then now() else started_at end
where job = %(job)s

-- name: finish_pass
-- Nothing lies behind the last key.
update xpoints.job_progress set checkpoint = null, finished_at = now() where job = %(job)s

-- name: delete_expired_idempotency_records
-- Answers that no client will ask for again.
-- bounded by: the batch, whose rows were counted in the same snapshot
delete from xpoints.idempotency_records
where customer_id between %(after_0)s and %(upto_0)s
    and (customer_id, idempotency_key) > (%(after_0)s, %(after_1)s) and (customer_id, idempotency_key) <= (%(upto_0)s, %(upto_1)s)
    -- guard: expiry asks for the age of idempotency records
    and created_at < now() - make_interval(secs => %(age_s)s)

-- name: delete_expired_inbox_rows
-- Effects of events that can no longer be delivered again, by dead-letter redrive or archive replay.
-- bounded by: the batch, whose rows were counted in the same snapshot
delete from xpoints.inbox
where event_id between %(after_0)s and %(upto_0)s
    and (event_id, consumer) > (%(after_0)s, %(after_1)s) and (event_id, consumer) <= (%(upto_0)s, %(upto_1)s)
    -- guard: expiry asks for the age of inbox rows
    and processed_at < now() - make_interval(secs => %(age_s)s)

-- name: delete_old_consumed_versions
-- Versions of aggregates of which no event can be delivered any more.
-- bounded by: the batch, whose rows were counted in the same snapshot
delete from xpoints.consumed_versions
where aggregate_id between %(after_0)s and %(upto_0)s
    and (aggregate_id, consumer) > (%(after_0)s, %(after_1)s) and (aggregate_id, consumer) <= (%(upto_0)s, %(upto_1)s)
    and processed_at < now() - make_interval(secs => %(age_s)s)

-- name: delete_stale_cart_lines
-- Lines that their shopper has not touched for long.
-- bounded by: the batch, whose rows were counted in the same snapshot
delete from xpoints.shopping_cart_items
where customer_id between %(after_0)s and %(upto_0)s
    and (customer_id, item_id) > (%(after_0)s, %(after_1)s) and (customer_id, item_id) <= (%(upto_0)s, %(upto_1)s)
    and updated_at < now() - make_interval(secs => %(age_s)s)

-- name: delete_expired_image_urls
-- Presigned URLs that no longer open anything. The column has no time zone and holds UTC.
-- bounded by: the batch, whose rows were counted in the same snapshot
delete from xpoints.image_urls
where image_id between %(after_0)s and %(upto_0)s
    and (image_id, region) > (%(after_0)s, %(after_1)s) and (image_id, region) <= (%(upto_0)s, %(upto_1)s)
    and created < (now() at time zone 'UTC') - make_interval(secs => %(age_s)s)

-- name: delete_closed_notifications
-- Messages that were sent, or had nobody to go to. What is pending stays, however old.
-- bounded by: the batch, whose rows were counted in the same snapshot
delete from xpoints.notifications
where id > %(after_0)s and id <= %(upto_0)s and status <> 'PENDING'
    and sent_at < now() - make_interval(secs => %(age_s)s)

-- name: delete_old_email_changes
-- Addresses whose code nobody sent back, and changes that are done.
-- bounded by: the batch, whose rows were counted in the same snapshot
delete from xpoints.email_changes
where customer_id > %(after_0)s and customer_id <= %(upto_0)s
    and requested_at < now() - make_interval(secs => %(age_s)s)

-- name: delete_old_usage_counts
-- Counts of days that are over.
-- bounded by: the batch, whose rows were counted in the same snapshot
delete from xpoints.usage_counts
where subject between %(after_0)s and %(upto_0)s
    and (subject, operation) > (%(after_0)s, %(after_1)s) and (subject, operation) <= (%(upto_0)s, %(upto_1)s)
    and (day + 1) * 86400::bigint < extract(epoch from now()) - %(age_s)s

-- name: delete_old_logged_requests
-- The log of who tried what. Which of the staff credited whom stays as long as the ledger's entry.
-- bounded by: the batch, whose rows were counted in the same snapshot
delete from xpoints.request_log
where id > %(after_0)s and id <= %(upto_0)s and started_at < now() - make_interval(secs => %(age_s)s)
    and operation <> 'staff-credit'

-- name: read_accounts_for_audit
-- A batch of customers: balance and ledger side by side. A break is an entry whose balance_after is not that
-- of the entry before it, by time, plus its points; entries of other programs have no balance_after.
with entries as (
    select customer_id, points, balance_after,
        lag(balance_after, 1, 0::bigint) over (partition by customer_id order by tx_dt, id) as balance_before
    from xpoints.transactions
    where customer_id > %(after_0)s and customer_id <= %(upto_0)s
), ledgers as (
    select customer_id, count(*) as entries, sum(points)::bigint as points,
        count(*) filter (where balance_after is null) as unchained,
        count(*) filter (where balance_after <> balance_before + points) as breaks
    from entries
    group by customer_id
)
select c.id as customer_id, c.erased_at is not null as erased,
    coalesce(c.erased_at < now() - interval '1 day', false) as erased_long_ago, b.points_balance as balance,
    coalesce(l.entries, 0) as entries, coalesce(l.points, 0) as points, coalesce(l.unchained, 0) as unchained,
    coalesce(l.breaks, 0) as breaks
from xpoints.customers c
left join xpoints.points_balances b on b.customer_id = c.id
left join ledgers l on l.customer_id = c.id
where c.id > %(after_0)s and c.id <= %(upto_0)s
order by c.id

-- name: read_chain_for_audit
-- The entries of one customer whose chain looks broken by time, which clocks of two Regions may make it.
select points, balance_after from xpoints.transactions where customer_id = %(customer_id)s limit %(most)s

-- name: read_orders_for_audit
-- A batch of orders beside their lines, ledger entries and the records that guard their repetition (of orders
-- that came through the API, which have a correlation id, and not of erased customers, whose records are gone).
with lines as (
    select tx_id, sum(unit_cnt::bigint * unit_points_price)::bigint as points,
        sum(refunded_cnt::bigint * unit_points_price)::bigint as refunded,
        sum(unit_cnt) as units, sum(refunded_cnt) as units_refunded
    from xpoints.order_items
    where tx_id > %(after_0)s and tx_id <= %(upto_0)s
    group by tx_id
), refunds as (
    select t.reference_id, sum(t.points)::bigint as points
    from xpoints.transactions t
    where t.tx_type = 'REFUND' and t.reference_id > %(after_0)s and t.reference_id <= %(upto_0)s
        and t.customer_id in (
            select w.customer_id from xpoints.orders w where w.id > %(after_0)s and w.id <= %(upto_0)s
        )
    group by t.reference_id
)
select o.id as order_id, o.customer_id, o.status, o.total_points as total, o.refunded_points as refunded,
    coalesce(l.points, 0) as lines, coalesce(l.refunded, 0) as lines_refunded,
    case when p.customer_id = o.customer_id then p.points end as purchase, coalesce(r.points, 0) as refunds,
    coalesce(l.units, 0) as units, coalesce(l.units_refunded, 0) as units_refunded,
    o.cart_cleaned_at is null and o.placed_at < now() - interval '1 hour' as stuck,
    o.correlation_id is not null and o.placed_at > now() - interval '1 day'
        and c.erased_at is null and not exists (
            select 1 from xpoints.idempotency_records i
            where i.customer_id = o.customer_id and i.result_id = o.id
        ) as unguarded
from xpoints.orders o
left join xpoints.customers c on c.id = o.customer_id
left join lines l on l.tx_id = o.id
left join xpoints.transactions p on p.id = o.id and p.tx_type = 'PURCHASE'
left join refunds r on r.reference_id = o.id
where o.id > %(after_0)s and o.id <= %(upto_0)s
order by o.id

-- name: read_negative_stock
-- The constraint forbids it; the audit does not trust that the constraint is there.
select item_id from xpoints.stock where available < 0 limit %(most)s

-- name: measure_outbox
-- Depth and age of the outbox, measured from outside the relay, a Region a row.
select region, count(*) as depth, coalesce(extract(epoch from now() - min(created_at)), 0)::bigint as age_s
from xpoints.outbox
group by region
order by region

-- name: count_outbox_dead_letters
-- Messages that the bus never accepted and nobody has dealt with.
select count(*) from xpoints.outbox_dead_letters

-- name: measure_region_cleanups
-- Age of the oldest of what Regions have still to delete, over all of them: one that is lost cannot say so.
select coalesce(extract(epoch from now() - min(created_at)), 0)::bigint as age_s
-- guard: a lost Region's cleanups are measured by the others
from xpoints.region_cleanups
