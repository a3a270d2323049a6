-- How often something was done that has bounds: by a customer, or with an address. A row a subject and operation,
-- so those who do not share an address never meet.

-- name: read_uses
-- Uses in this hour and on this day, by the database's clock, and how long both last. No row: none yet.
select u.subject,
    case when u.hour = n.s / 3600 then u.in_hour else 0 end as in_hour,
    case when u.day = n.s / 86400 then u.in_day else 0 end as in_day,
    (3600 - mod(n.s, 3600))::int as hour_left_s,
    (86400 - mod(n.s, 86400))::int as day_left_s
from xpoints.usage_counts u
cross join (select extract(epoch from now())::bigint as s) as n
where u.operation = %(operation)s and u.subject = any(%(subjects)s::text[])

-- name: count_use
-- One use more of each subject, in the transaction of what is counted: of two at once one runs again and reads the
-- other's.
insert into xpoints.usage_counts as u (subject, operation, hour, in_hour, day, in_day)
select t.subject, %(operation)s, n.s / 3600, 1, n.s / 86400, 1
from unnest(%(subjects)s::text[]) as t (subject)
cross join (select extract(epoch from now())::bigint as s) as n
on conflict (subject, operation) do update set
    in_hour = 1 + case when u.hour = excluded.hour then u.in_hour else 0 end, hour = excluded.hour,
    in_day = 1 + case when u.day = excluded.day then u.in_day else 0 end, day = excluded.day
