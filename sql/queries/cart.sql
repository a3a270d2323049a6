-- The cart as its owner sees and changes it. Until the cleanup has followed an order, the quantities of that
-- order count as gone: every reader subtracts them, every writer adds them.

-- name: show_cart
-- The first lines of the cart with live prices, each with its thumbnail and what is cached of its URL in this
-- Region, and the sums of all its lines.
with ordered as (
    select l.cat_item_id, sum(l.unit_cnt) as units
    from xpoints.orders o
    join xpoints.order_items l on l.tx_id = o.id
    where o.customer_id = %(customer_id)s and o.cart_cleaned_at is null
    group by l.cat_item_id
)
select c.item_id, i.name, (c.quantity - coalesce(ordered.units, 0))::int as quantity,
    case when i.retired_at is null then i.points_price end as unit_points,
    (select sum(s.available) from xpoints.stock s where s.item_id = c.item_id)::int as available,
    count(*) over () as lines,
    (sum(c.quantity - coalesce(ordered.units, 0)) over ())::bigint as units,
    coalesce(sum(case when i.retired_at is null then (c.quantity - coalesce(ordered.units, 0)) * i.points_price end)
        over (), 0)::bigint as total_points,
    m.id as image_id, m.filename, u.presigned_url as url, u.created
from xpoints.shopping_cart_items c
left join ordered on ordered.cat_item_id = c.item_id
left join xpoints.catalog_items i on i.id = c.item_id
left join xpoints.images m on m.id = i.thumbnail_id
left join xpoints.image_urls u on u.image_id = i.thumbnail_id and u.region = %(region)s
where c.customer_id = %(customer_id)s and c.quantity > coalesce(ordered.units, 0)
order by c.item_id
limit %(most)s

-- name: sum_cart
-- What the cart comes to. It goes along with a change of the cart, and counts it.
with ordered as (
    select l.cat_item_id, sum(l.unit_cnt) as units
    from xpoints.orders o
    join xpoints.order_items l on l.tx_id = o.id
    where o.customer_id = %(customer_id)s and o.cart_cleaned_at is null
    group by l.cat_item_id
)
select count(*) as lines,
    coalesce(sum(c.quantity - coalesce(ordered.units, 0)), 0)::bigint as units,
    coalesce(sum(case when i.retired_at is null then (c.quantity - coalesce(ordered.units, 0)) * i.points_price end), 0)
        ::bigint as total_points
from xpoints.shopping_cart_items c
left join ordered on ordered.cat_item_id = c.item_id
left join xpoints.catalog_items i on i.id = c.item_id
where c.customer_id = %(customer_id)s and c.quantity > coalesce(ordered.units, 0)

-- name: read_line_to_set
-- What setting one line's quantity depends on: the item's price, the stored quantity (null: no line), the units
-- of it that uncleaned orders hold, and how many other lines there are (counted only as far as it matters).
select
    %(item_id)s::uuid as item_id,
    (select i.points_price from xpoints.items_for_sale i where i.id = %(item_id)s) as unit_points,
    (select c.quantity from xpoints.shopping_cart_items c
        where c.customer_id = %(customer_id)s and c.item_id = %(item_id)s) as stored,
    (select coalesce(sum(l.unit_cnt), 0)::int
        from xpoints.orders o
        join xpoints.order_items l on l.tx_id = o.id and l.cat_item_id = %(item_id)s
        where o.customer_id = %(customer_id)s and o.cart_cleaned_at is null) as ordered,
    (select count(*) from (
        select 1 from xpoints.shopping_cart_items c
        where c.customer_id = %(customer_id)s and c.item_id <> %(item_id)s
        limit %(most)s
    ) as others) as other_lines

-- name: insert_held_line
-- A line of just the units that uncleaned orders hold, where it was removed while they were placed: so that the
-- cleanup and whoever sets the line next meet on its row.
insert into xpoints.shopping_cart_items (customer_id, item_id, quantity, updated_at)
values (%(customer_id)s, %(item_id)s, %(quantity)s, now())
on conflict (customer_id, item_id) do update set quantity = excluded.quantity, updated_at = excluded.updated_at

-- name: insert_line
-- A line that was not there. A duplicate request that came first makes this one fail and run again, and find the line.
insert into xpoints.shopping_cart_items (customer_id, item_id, quantity, updated_at)
values (%(customer_id)s, %(item_id)s, %(quantity)s, now())
on conflict (customer_id, item_id) do update set quantity = excluded.quantity, updated_at = excluded.updated_at

-- name: change_line
-- A line that was there. Never an upsert: where the cleanup deleted it meanwhile, this must fail and run again,
-- because the units that uncleaned orders hold have changed with it.
update xpoints.shopping_cart_items set quantity = %(quantity)s, updated_at = now()
where customer_id = %(customer_id)s and item_id = %(item_id)s

-- name: delete_line
-- A line of which no uncleaned order holds anything.
delete from xpoints.shopping_cart_items where customer_id = %(customer_id)s and item_id = %(item_id)s

-- name: hold_ordered_lines
-- Clearing the cart leaves what uncleaned orders hold, for the cleanup to take.
-- bounded by: the lines of one cart, of which the shop lets a shopper put in 100
update xpoints.shopping_cart_items c set quantity = ordered.units, updated_at = now()
from (
    select l.cat_item_id, sum(l.unit_cnt)::int as units
    from xpoints.orders o
    join xpoints.order_items l on l.tx_id = o.id
    where o.customer_id = %(customer_id)s and o.cart_cleaned_at is null
    group by l.cat_item_id
) as ordered
where c.customer_id = %(customer_id)s and c.item_id = ordered.cat_item_id and c.quantity > ordered.units

-- name: delete_other_lines
-- The rest of the cart, as much of it as a transaction should hold.
delete from xpoints.shopping_cart_items c
where c.customer_id = %(customer_id)s and c.item_id in (
    select d.item_id
    from xpoints.shopping_cart_items d
    where d.customer_id = %(customer_id)s and not exists (
        select 1
        from xpoints.orders o
        join xpoints.order_items l on l.tx_id = o.id
        where o.customer_id = %(customer_id)s and o.cart_cleaned_at is null and l.cat_item_id = d.item_id
    )
    limit %(most)s
)
