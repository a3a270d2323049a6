-- The catalogue as shoppers read it. Each order of sorting has a statement of its own, so that each scans its
-- own index from the place where the last page ended. The bound of the first column is said by itself, too: an
-- engine that does not take a comparison of rows to its index finds the place all the same.
--
-- A list reads a bounded part of its index, and of that what has a word in each of the ranges asked for (none:
-- all). The last row of a part that is full comes along whether it has or not: it says where to go on.
-- The bound stands there as a number, too, the largest that is given: of a parameter the planner knows nothing,
-- takes it for a tenth of the table, and in a large one plans anew at each call because of that.

-- name: list_items_by_name
-- A page by name.
select i.id as item_id, i.name, i.description, i.category, i.points_price as points, i.rating, i.available,
    m.id as image_id, m.filename, u.presigned_url as url, u.created, part.is_wanted, part.is_last
from (
    select read.id, read.name, read.is_last, read.is_wanted
    from (
        select near.id, near.name, near.is_last, not exists (
            select 1 from unnest(%(firsts)s::varchar[], %(lasts)s::varchar[]) as wanted (first, last)
            where not exists (
                select 1 from xpoints.item_words w
                where w.item_id = near.id and w.word >= wanted.first and w.word < wanted.last
            )
        ) as is_wanted
        from (
            select c.id, c.name, row_number() over (order by c.name, c.id) = %(part)s as is_last
            from (
                select c.id, c.name
                from xpoints.catalog_items c
                where c.name >= %(after)s::varchar and (c.name, c.id) > (%(after)s::varchar, %(after_id)s)
                    and c.retired_at is null and c.name is not null and c.points_price is not null
                order by c.name, c.id
                limit 1000
            ) as c
            order by c.name, c.id
            limit %(part)s
        ) as near
    ) as read
    where read.is_wanted or read.is_last
    order by read.name, read.id
    limit %(most)s
) as part
join xpoints.items_for_sale i on i.id = part.id
left join xpoints.images m on m.id = i.thumbnail_id
left join xpoints.image_urls u on u.image_id = i.thumbnail_id and u.region = %(region)s
order by part.name, part.id

-- name: list_items_by_points
-- A page by price in points, cheapest first.
select i.id as item_id, i.name, i.description, i.category, i.points_price as points, i.rating, i.available,
    m.id as image_id, m.filename, u.presigned_url as url, u.created, part.is_wanted, part.is_last
from (
    select read.id, read.points_price, read.is_last, read.is_wanted
    from (
        select near.id, near.points_price, near.is_last, not exists (
            select 1 from unnest(%(firsts)s::varchar[], %(lasts)s::varchar[]) as wanted (first, last)
            where not exists (
                select 1 from xpoints.item_words w
                where w.item_id = near.id and w.word >= wanted.first and w.word < wanted.last
            )
        ) as is_wanted
        from (
            select c.id, c.points_price, row_number() over (order by c.points_price, c.id) = %(part)s as is_last
            from (
                select c.id, c.points_price
                from xpoints.catalog_items c
                where c.points_price >= %(after)s::bigint and (c.points_price, c.id) > (%(after)s::bigint, %(after_id)s)
                    and c.retired_at is null and c.name is not null and c.points_price is not null
                order by c.points_price, c.id
                limit 1000
            ) as c
            order by c.points_price, c.id
            limit %(part)s
        ) as near
    ) as read
    where read.is_wanted or read.is_last
    order by read.points_price, read.id
    limit %(most)s
) as part
join xpoints.items_for_sale i on i.id = part.id
left join xpoints.images m on m.id = i.thumbnail_id
left join xpoints.image_urls u on u.image_id = i.thumbnail_id and u.region = %(region)s
order by part.points_price, part.id

-- name: list_items_by_points_down
-- A page by price in points, dearest first.
select i.id as item_id, i.name, i.description, i.category, i.points_price as points, i.rating, i.available,
    m.id as image_id, m.filename, u.presigned_url as url, u.created, part.is_wanted, part.is_last
from (
    select read.id, read.points_price, read.is_last, read.is_wanted
    from (
        select near.id, near.points_price, near.is_last, not exists (
            select 1 from unnest(%(firsts)s::varchar[], %(lasts)s::varchar[]) as wanted (first, last)
            where not exists (
                select 1 from xpoints.item_words w
                where w.item_id = near.id and w.word >= wanted.first and w.word < wanted.last
            )
        ) as is_wanted
        from (
            select c.id, c.points_price, row_number() over (order by c.points_price desc, c.id desc) = %(part)s as is_last
            from (
                select c.id, c.points_price
                from xpoints.catalog_items c
                where c.points_price <= %(after)s::bigint and (c.points_price, c.id) < (%(after)s::bigint, %(after_id)s)
                    and c.retired_at is null and c.name is not null and c.points_price is not null
                order by c.points_price desc, c.id desc
                limit 1000
            ) as c
            order by c.points_price desc, c.id desc
            limit %(part)s
        ) as near
    ) as read
    where read.is_wanted or read.is_last
    order by read.points_price desc, read.id desc
    limit %(most)s
) as part
join xpoints.items_for_sale i on i.id = part.id
left join xpoints.images m on m.id = i.thumbnail_id
left join xpoints.image_urls u on u.image_id = i.thumbnail_id and u.region = %(region)s
order by part.points_price desc, part.id desc

-- name: list_items_by_rating_down
-- A page by rating, best first; items that nobody rated are left out.
select i.id as item_id, i.name, i.description, i.category, i.points_price as points, i.rating, i.available,
    m.id as image_id, m.filename, u.presigned_url as url, u.created, part.is_wanted, part.is_last
from (
    select read.id, read.rating, read.is_last, read.is_wanted
    from (
        select near.id, near.rating, near.is_last, not exists (
            select 1 from unnest(%(firsts)s::varchar[], %(lasts)s::varchar[]) as wanted (first, last)
            where not exists (
                select 1 from xpoints.item_words w
                where w.item_id = near.id and w.word >= wanted.first and w.word < wanted.last
            )
        ) as is_wanted
        from (
            select c.id, c.rating, row_number() over (order by c.rating desc, c.id desc) = %(part)s as is_last
            from (
                select c.id, c.rating
                from xpoints.catalog_items c
                where c.rating <= %(after)s::real and (c.rating, c.id) < (%(after)s::real, %(after_id)s)
                    and c.retired_at is null and c.name is not null and c.points_price is not null
                order by c.rating desc, c.id desc
                limit 1000
            ) as c
            order by c.rating desc, c.id desc
            limit %(part)s
        ) as near
    ) as read
    where read.is_wanted or read.is_last
    order by read.rating desc, read.id desc
    limit %(most)s
) as part
join xpoints.items_for_sale i on i.id = part.id
left join xpoints.images m on m.id = i.thumbnail_id
left join xpoints.image_urls u on u.image_id = i.thumbnail_id and u.region = %(region)s
order by part.rating desc, part.id desc

-- name: find_items
-- A page of the items with a word in each range, where one range has few: these are all looked at and sorted.
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
    from unnest(%(firsts)s::varchar[], %(lasts)s::varchar[]) as given (first, last)
), rarest as materialized (
    select first, last from wanted where words <= %(bound)s order by words, first limit 1
), found as materialized (
    select distinct near.item_id
    from (
        select w.item_id
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
        where not exists (
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
