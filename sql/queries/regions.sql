-- What each Region deletes outside the database, in its own user pool and bucket.

-- name: enter_region
-- The Region is there; whatever goes from now on is left to it, too.
insert into xpoints.regions (region) values (%(region)s) on conflict (region) do nothing

-- name: leave_region_cleanups
-- One row for every Region, in the transaction that forgets the name.
-- bounded by: there is one row a Region, and AWS has a few dozen
insert into xpoints.region_cleanups (region, kind, subject_id, name)
select known.region, %(kind)s, %(subject_id)s, %(name)s
-- guard: every Region is left what it has to delete
from (select region from xpoints.regions union select %(region)s::varchar) as known
on conflict (region, kind, subject_id) do nothing

-- name: read_region_cleanups
-- The next of what a Region has to delete, in the order of the key.
select kind, subject_id, name from xpoints.region_cleanups
where region = %(region)s and kind >= %(kind)s and (kind, subject_id) > (%(kind)s, %(after)s)
order by kind, subject_id
limit %(most)s

-- name: delete_region_cleanup
-- It is deleted there.
delete from xpoints.region_cleanups
where region = %(region)s and kind = %(kind)s and subject_id = %(subject_id)s
