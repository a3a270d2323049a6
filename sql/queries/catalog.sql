-- The catalogue as shoppers read it. Each order of sorting has a statement of its own, so that each scans its
-- own index from the place where the last page ended.

-- name: list_items_by_name
-- A page by name.
select i.id as item_id, i.name, i.description, i.category, i.points_price as points, i.rating, i.available,
    m.id as image_id, m.filename, u.presigned_url as url, u.created
from xpoints.items_for_sale i
left join xpoints.images m on m.id = i.thumbnail_id
left join xpoints.image_urls u on u.image_id = i.thumbnail_id and u.region = %(region)s
where (i.name, i.id) > (%(after)s::varchar, %(after_id)s)
    and (%(category)s::varchar is null or i.category = %(category)s)
    and (%(pattern)s::varchar is null or i.name ilike %(pattern)s or i.description ilike %(pattern)s)
order by i.name, i.id
limit %(most)s

-- name: list_items_by_points
-- A page by price in points, cheapest first.
select i.id as item_id, i.name, i.description, i.category, i.points_price as points, i.rating, i.available,
    m.id as image_id, m.filename, u.presigned_url as url, u.created
from xpoints.items_for_sale i
left join xpoints.images m on m.id = i.thumbnail_id
left join xpoints.image_urls u on u.image_id = i.thumbnail_id and u.region = %(region)s
where (i.points_price, i.id) > (%(after)s::bigint, %(after_id)s)
    and (%(category)s::varchar is null or i.category = %(category)s)
    and (%(pattern)s::varchar is null or i.name ilike %(pattern)s or i.description ilike %(pattern)s)
order by i.points_price, i.id
limit %(most)s

-- name: list_items_by_points_down
-- A page by price in points, dearest first.
select i.id as item_id, i.name, i.description, i.category, i.points_price as points, i.rating, i.available,
    m.id as image_id, m.filename, u.presigned_url as url, u.created
from xpoints.items_for_sale i
left join xpoints.images m on m.id = i.thumbnail_id
left join xpoints.image_urls u on u.image_id = i.thumbnail_id and u.region = %(region)s
where (i.points_price, i.id) < (%(after)s::bigint, %(after_id)s)
    and (%(category)s::varchar is null or i.category = %(category)s)
    and (%(pattern)s::varchar is null or i.name ilike %(pattern)s or i.description ilike %(pattern)s)
order by i.points_price desc, i.id desc
limit %(most)s

-- name: list_items_by_rating_down
-- A page by rating, best first; items that nobody rated are left out.
select i.id as item_id, i.name, i.description, i.category, i.points_price as points, i.rating, i.available,
    m.id as image_id, m.filename, u.presigned_url as url, u.created
from xpoints.items_for_sale i
left join xpoints.images m on m.id = i.thumbnail_id
left join xpoints.image_urls u on u.image_id = i.thumbnail_id and u.region = %(region)s
where (i.rating, i.id) < (%(after)s::real, %(after_id)s)
    and (%(category)s::varchar is null or i.category = %(category)s)
    and (%(pattern)s::varchar is null or i.name ilike %(pattern)s or i.description ilike %(pattern)s)
order by i.rating desc, i.id desc
limit %(most)s

-- name: list_categories
-- What an item on the shelf is filed under: each category from the one before by a step in the index, whatever the
-- number of items.
with recursive step (category) as (
    (select i.category from xpoints.catalog_items i
        where i.retired_at is null and i.category is not null
        order by i.category limit 1)
    union all
    select (select i.category from xpoints.catalog_items i
        where i.retired_at is null and i.category > step.category
        order by i.category limit 1)
    from step
    where step.category is not null
)
select step.category from step where step.category is not null limit 100

-- name: show_item
-- One item on the shelf.
select i.id as item_id, i.name, i.description, i.category, i.points_price as points, i.rating, i.available,
    i.usd_price, i.sku, i.weight, i.width, i.height, i.depth, i.thumbnail_id
from xpoints.items_for_sale i
where i.id = %(item_id)s

-- name: list_item_pictures
-- An item's pictures, its thumbnail before all others, with what is cached of their URLs in this Region.
select m.id as image_id, m.filename, u.presigned_url as url, u.created
from (
    select c.image_id from xpoints.catalog_images c where c.item_id = %(item_id)s
    union
    select i.thumbnail_id from xpoints.catalog_items i where i.id = %(item_id)s
) as wanted
join xpoints.images m on m.id = wanted.image_id
left join xpoints.image_urls u on u.image_id = m.id and u.region = %(region)s
order by coalesce(m.id = (select i.thumbnail_id from xpoints.catalog_items i where i.id = %(item_id)s), false) desc, m.id
limit 20

-- name: keep_picture_urls
-- Fresh URLs, for whoever asks next in this Region.
insert into xpoints.image_urls (image_id, region, presigned_url, created)
select t.image_id, %(region)s, t.url, %(created)s
from unnest(%(image_ids)s::uuid[], %(urls)s::varchar[]) as t (image_id, url)
order by t.image_id
on conflict (image_id, region) do update set presigned_url = excluded.presigned_url, created = excluded.created
