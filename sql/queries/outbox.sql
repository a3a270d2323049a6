-- The outbox, as its writers see it.

-- name: insert_outbox_row
-- The message to whoever follows; the relay takes it from here.
insert into xpoints.outbox (region, shard, id, event_type, detail)
values (%(region)s, %(shard)s, %(id)s, %(event_type)s, %(detail)s)
