-- What the scheduled jobs read and delete. Every delete is bounded by %(most)s rows.

-- name: delete_expired_idempotency_records
-- Answers that no client will ask for again. No index leads here: it would be a hot spot for every checkout,
-- and the job has the time to read the table once a day.
delete from xpoints.idempotency_records
where (customer_id, idempotency_key) in (
    select customer_id, idempotency_key from xpoints.idempotency_records
    where created_at < now() - make_interval(secs => %(age_s)s)
    limit %(most)s
)

-- name: delete_expired_inbox_rows
-- Effects of events that can no longer be delivered again, by dead-letter redrive or archive replay.
delete from xpoints.inbox
where (event_id, consumer) in (
    select event_id, consumer from xpoints.inbox
    where processed_at < now() - make_interval(secs => %(age_s)s)
    limit %(most)s
)

-- name: measure_outbox
-- Depth and age of the outbox, measured from outside the relay, a Region a row.
select region, count(*), coalesce(extract(epoch from now() - min(created_at)), 0)::bigint as age_s
from xpoints.outbox
group by region
order by region

-- name: count_outbox_dead_letters
-- Letters that the bus never accepted and nobody has dealt with.
select count(*) from xpoints.outbox_dead_letters
