-- Orders as their owners and the staff see them.

-- name: list_orders
-- A page of a customer's orders, newest first.
select o.id, o.status, o.total_points, o.refunded_points, o.placed_at,
    (select sum(l.unit_cnt) from xpoints.order_items l where l.tx_id = o.id)::int
from xpoints.orders o
where o.customer_id = %(customer_id)s and (o.placed_at, o.id) < (%(after)s::timestamptz, %(after_id)s)
order by o.placed_at desc, o.id desc
limit %(most)s

-- name: show_order
-- One order, for its owner alone.
select o.id, o.status, o.total_points, o.refunded_points, o.placed_at, o.region, o.version
from xpoints.orders o
where o.id = %(order_id)s and o.customer_id = %(customer_id)s

-- name: list_order_lines
-- The lines of an order with the names that the items have today; for its owner alone.
select l.cat_item_id, coalesce(i.name, ''), l.unit_cnt, l.refunded_cnt, l.unit_points_price
from xpoints.orders o
join xpoints.order_items l on l.tx_id = o.id
left join xpoints.catalog_items i on i.id = l.cat_item_id
where o.id = %(order_id)s and o.customer_id = %(customer_id)s
order by l.cat_item_id

-- name: list_order_events
-- What happened to an order after it was placed; for its owner alone.
select e.version, e.event_type, e.occurred_at, e.points, e.lines
from xpoints.orders o
join xpoints.order_events e on e.order_id = o.id
where o.id = %(order_id)s and o.customer_id = %(customer_id)s
order by e.version
