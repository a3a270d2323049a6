-- The relay's side of the outbox. Its lists are long, so they travel as bytes (%b).

-- name: read_relays
-- The run that each relay worker of a Region is in, and which of them live.
select worker, token, expires_at > now() as lives from xpoints.relays where region = %(region)s

-- name: read_leases
-- Who holds a Region's shards; expired leases are nobody's.
select region, shard, token from xpoints.relay_leases where region = %(region)s and expires_at > now()

-- name: announce_relay
-- This run is its worker's newest, and lives for a while. Two runs that begin at once write one row, so one of
-- them runs again and sees the other.
insert into xpoints.relays (region, worker, token, expires_at)
values (%(region)s, %(worker)s, %(token)s, now() + make_interval(secs => %(lease_s)s))
on conflict (region, worker) do update set token = excluded.token, expires_at = excluded.expires_at

-- name: withdraw_relay
-- This run is over, unless a newer one has already taken its place.
delete from xpoints.relays where region = %(region)s and worker = %(worker)s and token = %(token)s

-- name: take_leases
-- Take or renew leases that are free, expired or already ours, by the database's clock. Two relays that want
-- one shard at once write one row, so one of them gets it.
insert into xpoints.relay_leases as held (region, shard, token, holder, expires_at)
select wanted.region, wanted.shard, %(token)s, %(holder)s, now() + make_interval(secs => %(lease_s)s)
from unnest(%(regions)b::varchar[], %(shards)b::smallint[]) as wanted (region, shard)
order by wanted.region, wanted.shard
on conflict (region, shard) do update
    set token = excluded.token, holder = excluded.holder, expires_at = excluded.expires_at
    where held.token = excluded.token
        -- guard: a lease has one holder
        -- guard: a lease ends
        or held.expires_at <= now()
returning region, shard

-- name: release_leases
-- Give leases back, so that the next relay need not wait for their end.
delete from xpoints.relay_leases l
using unnest(%(regions)b::varchar[], %(shards)b::smallint[]) as done (region, shard)
where l.region = done.region and l.shard = done.shard and l.token = %(token)s

-- name: release_all_leases
-- Give up everything that this run holds, wherever.
-- bounded by: a few Regions have 16 shards each
delete from xpoints.relay_leases where token = %(token)s

-- name: read_foreign_outboxes
-- Other Regions with messages waiting: the nearest by name on either side, each found by one look at the key.
select region from (
    select max(region) as region from xpoints.outbox where region < %(region)s
    union all
    select min(region) as region from xpoints.outbox where region > %(region)s
) as neighbours
where region is not null

-- name: read_foreign_leases
-- Which shards of other Regions somebody holds.
select region, shard, token from xpoints.relay_leases where region <> %(region)s and expires_at > now()

-- name: find_stranded_shards
-- Of these shards, those with a message that has waited for longer than a live relay would let it.
select s.region, s.shard
from unnest(%(regions)b::varchar[], %(shards)b::smallint[]) as s (region, shard)
where exists (
    select 1 from xpoints.outbox o
    where o.region = s.region and o.shard = s.shard
        -- guard: age of a takeover
        and o.created_at < now() - make_interval(secs => %(age_s)s)
        and (o.retry_at is null or o.retry_at <= now())
)

-- name: take_outbox_rows
-- What waits in the shards that this token holds. Presence is all that is asked: no order, no watermark,
-- because rows do not become visible in the order in which they were made. `skip` is what is on its way,
-- `served` the shards that are not asked this time.
select o.region, o.shard, o.id, o.event_type, o.detail, o.attempts,
    (extract(epoch from now() - o.created_at) * 1000)::bigint as lag_ms
from xpoints.relay_leases l
join xpoints.outbox o on o.region = l.region and o.shard = l.shard
where l.token = %(token)s
    -- guard: nothing is read without a lease in force
    and l.expires_at > now()
    and l.shard <> all(%(served)b::smallint[])
    and (o.retry_at is null or o.retry_at <= now())
    and o.id <> all(%(skip)b::uuid[])
limit %(most)s

-- name: delete_outbox_rows
-- The bus has accepted these, so they go, whoever holds the shard by now.
delete from xpoints.outbox o
using unnest(%(regions)b::varchar[], %(shards)b::smallint[], %(ids)b::uuid[]) as done (region, shard, id)
where o.region = done.region and o.shard = done.shard and o.id = done.id

-- name: count_outbox_attempts
-- The bus rejected these for now: so many attempts, why, and when to try again. Safe to repeat. Only for the
-- holder of the lease: a relay that was overtaken has nothing to say about a message.
update xpoints.outbox o
set attempts = greatest(o.attempts, failed.attempts), last_error = failed.reason,
    retry_at = now() + make_interval(secs => failed.pause_s)
from unnest(
    %(regions)b::varchar[], %(shards)b::smallint[], %(ids)b::uuid[], %(reasons)s::varchar[],
    %(attempts)s::smallint[], %(pauses_s)s::int[]
) as failed (region, shard, id, reason, attempts, pause_s)
join xpoints.relay_leases l on l.region = failed.region and l.shard = failed.shard
where o.region = failed.region and o.shard = failed.shard and o.id = failed.id
    and l.token = %(token)s and l.expires_at > now()

-- name: dead_letter_outbox_rows
-- The bus will never accept these: keep them, with the reason, where an operator finds them. The deletion
-- that goes with it names only what arrived here, so a row is in one of the two tables, never in neither.
insert into xpoints.outbox_dead_letters
    (id, region, shard, event_type, detail, created_at, attempts, reason)
select o.id, o.region, o.shard, o.event_type, o.detail, o.created_at, dead.attempts, dead.reason
from unnest(
    %(regions)b::varchar[], %(shards)b::smallint[], %(ids)b::uuid[], %(reasons)s::varchar[],
    %(attempts)s::smallint[]
) as dead (region, shard, id, reason, attempts)
join xpoints.relay_leases l on l.region = dead.region and l.shard = dead.shard
join xpoints.outbox o on o.region = dead.region and o.shard = dead.shard and o.id = dead.id
-- guard: only the holder of a lease dead-letters
where l.token = %(token)s and l.expires_at > now()
on conflict (id) do nothing

-- name: delete_dead_lettered_outbox_rows
-- What stands among the dead letters is no longer in the outbox.
delete from xpoints.outbox o
using xpoints.outbox_dead_letters d
where d.id = any(%(ids)b::uuid[]) and o.region = d.region and o.shard = d.shard and o.id = d.id
