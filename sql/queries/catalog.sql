-- The catalogue as shoppers read it; its lists are in templates/catalog.sql.
--
-- What is sought is handed in by subqueries: the planner would otherwise count an array's members where it sees
-- them, find each plan for two words dearer than one for any number, and plan every search anew.

-- name: find_items
-- A page of the items with a word in each range, of one category or (null) of all, where one range has few words:
-- these items are all looked at and sorted.
-- Each row says how many words the range with fewest has, counted up to one above the bound; where no item is
-- found, one row says that alone. Each step is bounded by a number that planning sees, so that no step reads a
-- table from end to end: 1,000 is the largest bound that is given. Counting is ordered, so that only the index on
-- words will do.
with wanted as materialized (
    select given.first, given.last, (
        select count(*) from (
            select w.word from xpoints.item_words w
            where w.word >= given.first and w.word < given.last
            order by w.word, w.item_id
            limit %(bound)s + 1
        ) as counted
    ) as words
    from unnest((select %(firsts)s::varchar[]), (select %(lasts)s::varchar[])) as given (first, last)
), rarest as materialized (
    select first, last from wanted where words <= %(bound)s order by words, first limit 1
), found as materialized (
    select distinct near.item_id
    from (
        select w.item_id, rarest.first
        from rarest
        cross join lateral (
            select w.item_id from xpoints.item_words w
            where w.word >= rarest.first and w.word < rarest.last
            order by w.word, w.item_id
            limit 1000
        ) as w
        limit 1000
    ) as near
    where not exists (
        select 1 from wanted
        where wanted.first <> near.first and not exists (
            select 1 from xpoints.item_words w
            where w.item_id = near.item_id and w.word >= wanted.first and w.word < wanted.last
        )
    )
), page as materialized (
    select c.id, c.text_key, c.number_key
    from found
    cross join lateral (
        select i.id, case when %(sort)s = 'name' then i.name else '' end as text_key,
            case %(sort)s when 'points' then i.points_price::float8 when '-points' then -i.points_price::float8
                when '-rating' then -i.rating::float8 else 0 end as number_key
        from xpoints.catalog_items i
        where i.id = found.item_id and i.retired_at is null and i.name is not null and i.points_price is not null
            and i.category is not distinct from coalesce(%(category)s::varchar, i.category)
        limit 1
    ) as c
    where c.number_key > %(number_after)s::float8
        or (c.number_key = %(number_after)s::float8 and (
            c.text_key > %(text_after)s::varchar
            or (c.text_key = %(text_after)s::varchar and (
                (not %(down)s and c.id > %(after_id)s) or (%(down)s and c.id < %(after_id)s)
            ))
        ))
    order by c.number_key, c.text_key, case when not %(down)s then c.id end, case when %(down)s then c.id end desc
    limit %(most)s
)
select counted.rarest, i.id as item_id, i.name, i.description, i.category, i.points_price as points, i.rating,
    i.available, m.id as image_id, m.filename, u.presigned_url as url, u.created, true as is_wanted, false as is_last
from (select min(words)::int as rarest from wanted) as counted
left join (page p join xpoints.items_for_sale i on i.id = p.id) on true
left join xpoints.images m on m.id = i.thumbnail_id
left join xpoints.image_urls u on u.image_id = i.thumbnail_id and u.region = %(region)s
order by p.number_key, p.text_key, case when not %(down)s then p.id end, case when %(down)s then p.id end desc

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
    nullif(i.usd_price, 'NaN') as usd_price, i.sku, i.weight, i.width, i.height, i.depth, i.thumbnail_id
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
