-- Limited stock as those who refill it change it; buyers' own statement is in checkout.sql.

-- name: read_stock
-- An item's slots; no row where its stock is unlimited.
select slot, available from xpoints.stock where item_id = %(item_id)s order by slot

-- name: give_stock
-- Add units to slots (or take them, where negative), in key order; the CHECK on the column is the last guard.
update xpoints.stock s set available = s.available + t.quantity
from unnest(%(item_ids)s::uuid[], %(slots)s::smallint[], %(quantities)s::int[]) as t (item_id, slot, quantity)
where s.item_id = t.item_id and s.slot = t.slot

-- name: set_stock
-- Have just these units in these slots. A buyer who read a slot before runs again.
insert into xpoints.stock (item_id, slot, available)
select %(item_id)s, t.slot, t.available
from unnest(%(slots)s::smallint[], %(quantities)s::int[]) as t (slot, available)
order by t.slot
on conflict (item_id, slot) do update set available = excluded.available

-- name: drop_stock_from
-- Slots from a number on, that is all of them from 0.
-- bounded by: the slots of one item, at most 500
delete from xpoints.stock where item_id = %(item_id)s and slot >= %(slot)s
