-- The catalogue's lists, which are alike but for the column that they are sorted by, its direction, and whether
-- they are of one category: sql/reads/catalogue.py fills that in, so that each list scans its own index from the
-- place where the last page ended. The bound of the first column is said by itself, too: an engine that does not
-- take a comparison of rows to its index finds the place all the same.

-- name: list_items
-- A page of the shelf. A list reads a bounded part of its index, and of that what has a word in each of the ranges
-- asked for (none: all). The last row of a part that is full comes along whether it has or not: it says where to go
-- on. The bound stands there as a number, too, the largest that is given: of a parameter the planner knows nothing,
-- takes it for a tenth of the table, and in a large one plans anew at each call because of that. The ranges are
-- handed in by subqueries for the same reason: how many there are is not to change the plan.
select i.id as item_id, i.name, i.description, i.category, i.points_price as points, i.rating, i.available,
    m.id as image_id, m.filename, u.presigned_url as url, u.created, part.is_wanted, part.is_last
from (
    select read.id, read.{column}, read.is_last, read.is_wanted
    from (
        select near.id, near.{column}, near.is_last, not exists (
            select 1
            from unnest((select %(firsts)s::varchar[]), (select %(lasts)s::varchar[])) as wanted (first, last)
            where (
                select 1 from xpoints.item_words w
                where w.item_id = near.id and w.word >= wanted.first and w.word < wanted.last
                limit 1
            ) is null
        ) as is_wanted
        from (
            select c.id, c.{column}, row_number() over (order by c.{column}{down}, c.id{down}) = %(part)s as is_last
            from (
                select c.id, c.{column}
                from xpoints.catalog_items c
                where {shelf} and c.{column} {beyond}= %(after)s::{type}
                    and (c.{column}, c.id) {beyond} (%(after)s::{type}, %(after_id)s)
                    and c.retired_at is null and c.name is not null and c.points_price is not null
                order by c.{column}{down}, c.id{down}
                limit 1000
            ) as c
            order by c.{column}{down}, c.id{down}
            limit %(part)s
        ) as near
    ) as read
    where read.is_wanted or read.is_last
    order by read.{column}{down}, read.id{down}
    limit %(most)s
) as part
join xpoints.items_for_sale i on i.id = part.id
left join xpoints.images m on m.id = i.thumbnail_id
left join xpoints.image_urls u on u.image_id = i.thumbnail_id and u.region = %(region)s
order by part.{column}{down}, part.id{down}

-- name: whole_shelf
-- Where a list is of all items.
true

-- name: shelf_of_category
-- Where a list is of one category, in whose own index it then lies.
c.category = %(category)s::varchar
