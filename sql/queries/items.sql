-- The catalogue as the staff changes it.

-- name: read_item
-- An item, on the shelf or retired, with all that the staff decide of it.
select coalesce(version, 1) as version, retired_at, coalesce(name, '') as name, description, category,
    nullif(usd_price, 'NaN') as usd_price, coalesce(points_price, 0) as points_price,
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

-- name: insert_item_words
-- What the search finds an item by, but for what is there already.
insert into xpoints.item_words (item_id, word)
select %(item_id)s, t.word
from unnest(%(words)s::varchar[]) as t (word)
order by t.word
on conflict (item_id, word) do nothing

-- name: delete_other_item_words
-- What the search found an item by and shall no more.
-- bounded by: an item has some 130 words at the most, as its texts are long
delete from xpoints.item_words where item_id = %(item_id)s and word <> all(%(words)s::varchar[])

-- name: read_texts_of_items
-- What the search finds the items of a batch by.
select id, name, description
from xpoints.catalog_items
where id > %(after_0)s and id <= %(upto_0)s and retired_at is null

-- name: read_words_of_items
-- The words of a batch's items on the shelf. Those of others go with the sweep.
select w.item_id, w.word
from xpoints.item_words w
join xpoints.catalog_items c on c.id = w.item_id and c.retired_at is null
where w.item_id > %(after_0)s and w.item_id <= %(upto_0)s

-- name: insert_words_of_items
-- Words that are missing.
insert into xpoints.item_words (item_id, word)
select t.item_id, t.word
from unnest(%(item_ids)s::uuid[], %(words)s::varchar[]) as t (item_id, word)
order by t.item_id, t.word
on conflict (item_id, word) do nothing

-- name: delete_words_of_items
-- Words that their items have no more.
-- bounded by: the list, which is cut where a transaction would be too large
delete from xpoints.item_words w
using unnest(%(item_ids)s::uuid[], %(words)s::varchar[]) as t (item_id, word)
where w.item_id = t.item_id and w.word = t.word
