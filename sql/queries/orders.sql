-- Orders as their owners and the staff see them.

-- name: list_orders
-- A page of a customer's orders, newest first.
select o.id as order_id, o.status, o.total_points, o.refunded_points, o.placed_at,
    (select sum(l.unit_cnt) from xpoints.order_items l where l.tx_id = o.id)::int as units
from xpoints.orders o
where o.customer_id = %(customer_id)s and o.placed_at <= %(after)s::timestamptz
    and (o.placed_at, o.id) < (%(after)s::timestamptz, %(after_id)s)
order by o.placed_at desc, o.id desc
limit %(most)s

-- name: show_order
-- One order, for its owner alone.
select o.id as order_id, o.status, o.total_points, o.refunded_points, o.placed_at, o.region, o.version,
    o.cart_cleaned_at
from xpoints.orders o
where o.id = %(order_id)s and o.customer_id = %(customer_id)s

-- name: list_order_lines
-- The lines of an order with the names that the items have today; for its owner alone.
select l.cat_item_id as item_id, coalesce(i.name, '') as name, l.unit_cnt as quantity, l.refunded_cnt as refunded,
    l.unit_points_price as unit_points
from xpoints.orders o
join xpoints.order_items l on l.tx_id = o.id
left join xpoints.catalog_items i on i.id = l.cat_item_id
where o.id = %(order_id)s and o.customer_id = %(customer_id)s
order by l.cat_item_id

-- name: list_order_pictures
-- The thumbnails of an order's items, with what is cached of their URLs in this Region; for its owner alone.
select l.cat_item_id as item_id, m.id as image_id, m.filename, u.presigned_url as url, u.created
from xpoints.orders o
join xpoints.order_items l on l.tx_id = o.id
join xpoints.catalog_items i on i.id = l.cat_item_id
join xpoints.images m on m.id = i.thumbnail_id
left join xpoints.image_urls u on u.image_id = i.thumbnail_id and u.region = %(region)s
where o.id = %(order_id)s and o.customer_id = %(customer_id)s
order by l.cat_item_id

-- name: read_confirmation
-- What became of an order's confirmation; no row while nobody has written it.
select c.status, c.sent_at
from xpoints.confirmations c
where c.id = %(confirmation_id)s

-- name: list_order_events
-- What happened to an order after it was placed; for its owner alone.
select e.version, e.event_type, e.occurred_at, e.points, e.lines
from xpoints.orders o
join xpoints.order_events e on e.order_id = o.id
where o.id = %(order_id)s and o.customer_id = %(customer_id)s
order by e.version

-- name: read_order_to_refund
-- An order's state with its lines, for its owner alone.
select o.status, o.version, l.cat_item_id as item_id, l.unit_cnt as quantity, coalesce(l.refunded_cnt, 0) as refunded,
    l.unit_points_price as unit_points
from xpoints.orders o
join xpoints.order_items l on l.tx_id = o.id
where o.id = %(order_id)s and o.customer_id = %(customer_id)s
order by l.cat_item_id

-- name: read_stock_of_order
-- The slots of the order's items whose stock is limited.
select s.item_id, s.slot, s.available
from xpoints.order_items l
join xpoints.stock s on s.item_id = l.cat_item_id
where l.tx_id = %(order_id)s
order by s.item_id, s.slot

-- name: refund_order
-- The order's new state. Every refund of an order changes this row: of two at once, one fails and runs again.
update xpoints.orders set status = %(status)s, refunded_points = refunded_points + %(points)s, version = %(version)s
where id = %(order_id)s

-- name: refund_lines
-- Units given back; the CHECK on the column is the last guard against more than were bought.
update xpoints.order_items l set refunded_cnt = coalesce(l.refunded_cnt, 0) + t.quantity
from unnest(%(item_ids)s::uuid[], %(quantities)s::int[]) as t (item_id, quantity)
where l.tx_id = %(order_id)s and l.cat_item_id = t.item_id

-- name: insert_order_event
-- What happened, for the order's history.
insert into xpoints.order_events (order_id, version, event_id, event_type, points, lines, occurred_at)
values (%(order_id)s, %(version)s, %(event_id)s, %(event_type)s, %(points)s, %(lines)s, %(occurred_at)s)
