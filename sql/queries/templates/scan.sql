-- Statements that are the same for every table but for the names, which sql/scan.py fills in from the
-- declared tables and references. Keys are compared as rows, in the order of the primary key. The bounds of the
-- key's first column are said once more by themselves: the planner estimates a range by them, and not by rows, and
-- an engine that does not take a comparison of rows to its index finds the place all the same.

-- name: read_batch_end
-- The last key of the next rows in key order; no row behind the end.
select {key}
from (
    select {key} from xpoints.{table}
    where {lead} >= %(after_0)s and ({key}) > ({after})
    order by {key}
    limit %(most)s
) as batch
order by {key_down}
limit 1

-- name: delete_orphans
-- Rows of the batch whose parent is missing or gone.
-- bounded by: the batch, whose rows were counted in the same snapshot
delete from xpoints.{table} as child
where {lead} between %(after_0)s and %(upto_0)s and ({key}) > ({after}) and ({key}) <= ({upto})
    and child.{column} is not null
    -- guard: the sweep spares what has its parent
    and not exists (select 1 from xpoints.{parent} as parent where parent.id = child.{column} and ({alive}))

-- name: find_orphans
-- The parents that rows of the batch miss.
select distinct child.{column}
from xpoints.{table} as child
where {lead} between %(after_0)s and %(upto_0)s and ({key}) > ({after}) and ({key}) <= ({upto})
    and child.{column} is not null
    and not exists (select 1 from xpoints.{parent} as parent where parent.id = child.{column} and ({alive}))

-- name: parent_there
-- Where a parent counts as soon as it is there.
true

-- name: parent_not_gone
-- Where a parent that is erased or retired no longer counts.
-- guard: the sweep counts the erased and retired as gone
parent.{gone_column} is null
