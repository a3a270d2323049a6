-- The catalogue as the staff changes it.

-- name: read_item
-- An item, on the shelf or retired, with all that the staff decide of it.
select coalesce(version, 1) as version, retired_at, coalesce(name, '') as name, description, category, usd_price,
    coalesce(points_price, 0) as points_price,
    rating, sku, weight, width, height, depth, thumbnail_id
from xpoints.catalog_items
where id = %(item_id)s

-- name: find_image
-- Whether there is such a picture.
select 1 from xpoints.images where id = %(image_id)s

-- name: insert_item
-- A new item.
insert into xpoints.catalog_items
    (id, name, description, category, usd_price, points_price, rating, sku, weight, width, height, depth,
    thumbnail_id)
values
    (%(item_id)s, %(name)s, %(description)s, %(category)s, %(usd_price)s, %(points_price)s, %(rating)s, %(sku)s,
    %(weight)s, %(width)s, %(height)s, %(depth)s, %(thumbnail_id)s)

-- name: change_item
-- An item's new data and version. Orders keep the price that they were placed at.
update xpoints.catalog_items
set name = %(name)s, description = %(description)s, category = %(category)s, usd_price = %(usd_price)s,
    points_price = %(points_price)s, rating = %(rating)s, sku = %(sku)s, weight = %(weight)s, width = %(width)s,
    height = %(height)s, depth = %(depth)s, thumbnail_id = %(thumbnail_id)s, version = %(version)s
where id = %(item_id)s

-- name: retire_item
-- Off the shelf for good.
update xpoints.catalog_items set retired_at = %(retired_at)s, version = %(version)s where id = %(item_id)s
