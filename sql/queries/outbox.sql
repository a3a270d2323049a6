-- The outbox, as its writers and the relay see it.

-- name: insert_outbox_row
-- The letter to whoever follows; the relay takes it from here.
insert into xpoints.outbox (region, shard, id, event_type, detail)
values (%(region)s, %(shard)s, %(id)s, %(event_type)s, %(detail)s)

-- name: hold_shards
-- Take or renew the leases of shards that are free, expired or already ours, by the database's clock.
-- The insert makes two relays that want one shard at once conflict, so that one of them gets it.
insert into xpoints.relay_leases as held (region, shard, token, holder, expires_at)
select %(region)s, shard, %(token)s, %(holder)s, now() + make_interval(secs => %(lease_s)s)
from unnest(%(shards)s::smallint[]) as wanted (shard)
order by shard
on conflict (region, shard) do update
    set token = excluded.token, holder = excluded.holder, expires_at = excluded.expires_at
    where held.token = excluded.token or held.expires_at < now()
returning shard

-- name: release_shards
-- Give leases back, so that the next relay need not wait for their end.
delete from xpoints.relay_leases
where region = %(region)s and shard = any(%(shards)s::smallint[]) and token = %(token)s

-- name: take_outbox_rows
-- What waits in the shards that this token holds. Presence is all that is asked: no order, no watermark,
-- because rows do not become visible in the order in which they were made.
select o.shard, o.id, o.event_type, o.detail, o.attempts,
    (extract(epoch from now() - o.created_at) * 1000)::bigint as lag_ms
from xpoints.relay_leases l
join xpoints.outbox o on o.region = l.region and o.shard = l.shard
where l.region = %(region)s and l.token = %(token)s and l.expires_at > now()
limit %(most)s

-- name: delete_outbox_rows
-- The bus has accepted these.
delete from xpoints.outbox o
using unnest(%(shards)s::smallint[], %(ids)s::uuid[]) as done (shard, id)
where o.region = %(region)s and o.shard = done.shard and o.id = done.id

-- name: count_outbox_attempts
-- The bus refused these for now: one attempt more, and why.
update xpoints.outbox o set attempts = (o.attempts + 1)::smallint, last_error = failed.reason
from unnest(%(shards)s::smallint[], %(ids)s::uuid[], %(reasons)s::varchar[]) as failed (shard, id, reason)
where o.region = %(region)s and o.shard = failed.shard and o.id = failed.id

-- name: bury_outbox_rows
-- The bus will never accept these: keep them, with the reason, where an operator finds them.
insert into xpoints.outbox_dead_letters
    (id, region, shard, event_type, detail, created_at, attempts, reason)
select o.id, o.region, o.shard, o.event_type, o.detail, o.created_at, (o.attempts + 1)::smallint, dead.reason
from unnest(%(shards)s::smallint[], %(ids)s::uuid[], %(reasons)s::varchar[]) as dead (shard, id, reason)
join xpoints.outbox o on o.region = %(region)s and o.shard = dead.shard and o.id = dead.id
on conflict (id) do nothing
