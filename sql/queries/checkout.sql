-- The statements that are a checkout's own.

-- name: read_cart_for_order
-- The cart joined with today's prices and stock, less what orders already took whose cart is not cleaned yet.
-- One row a line, or one a stock slot for an item of limited stock.
with ordered as (
    select l.cat_item_id, sum(l.unit_cnt) as units
    from xpoints.orders o
    join xpoints.order_items l on l.tx_id = o.id
    where o.customer_id = %(customer_id)s
        -- guard: what was ordered counts as gone (checkout)
        and o.cart_cleaned_at is null
    group by l.cat_item_id
)
select c.item_id, coalesce(i.name, '') as name, (c.quantity - coalesce(ordered.units, 0))::int as quantity,
    case when i.retired_at is null then i.points_price end as unit_points, s.slot, s.available
from xpoints.shopping_cart_items c
left join ordered on ordered.cat_item_id = c.item_id
left join xpoints.catalog_items i on i.id = c.item_id
left join xpoints.stock s on s.item_id = c.item_id
where c.customer_id = %(customer_id)s and c.quantity > coalesce(ordered.units, 0)
order by c.item_id, s.slot

-- name: take_stock
-- Take units from slots, in key order; the CHECK on the column is the last guard.
update xpoints.stock s set available = s.available - t.quantity
from unnest(%(item_ids)s::uuid[], %(slots)s::smallint[], %(quantities)s::int[]) as t (item_id, slot, quantity)
where s.item_id = t.item_id and s.slot = t.slot

-- name: insert_order
-- The order itself.
insert into xpoints.orders (id, customer_id, status, total_points, placed_at, region, correlation_id)
values (%(order_id)s, %(customer_id)s, 'PLACED', %(points)s, %(placed_at)s, %(region)s, %(correlation_id)s)

-- name: insert_order_lines
-- The order's lines with the prices that were agreed to.
insert into xpoints.order_items (tx_id, cat_item_id, unit_cnt, unit_points_price)
select %(order_id)s, t.item_id, t.quantity, t.unit_points
from unnest(%(item_ids)s::uuid[], %(quantities)s::int[], %(unit_points)s::int[]) as t (item_id, quantity, unit_points)
