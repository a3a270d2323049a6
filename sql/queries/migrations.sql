-- What the migration runner itself asks and records.

-- name: create_schema
-- The schema that holds everything, the record of migrations included.
create schema if not exists xpoints

-- name: create_record
-- One row a statement that is in effect. A file's statements are numbered from 1.
create table if not exists xpoints.schema_migrations (
    file varchar(100) not null,
    statement smallint not null,
    checksum varchar(64) not null,
    applied_at timestamptz not null default now(),
    primary key (file, statement)
)

-- name: read_applied
-- What earlier runs have done.
select file, statement, checksum from xpoints.schema_migrations

-- name: record_applied
-- Two deployments that run at once both get here; the first one's row stays.
insert into xpoints.schema_migrations (file, statement, checksum)
values (%(file)s, %(statement)s, %(checksum)s)
on conflict do nothing

-- name: wait_for_job
-- Returns once the background job has ended, well or badly.
call sys.wait_for_job(%(job_id)s)

-- name: find_running_job
-- The job that builds an index or validates a table's constraint, when another session started it.
select job_id from sys.jobs
where object_name = %(object_name)s and status in ('submitted', 'processing')

-- name: read_job
-- How a job ended; ended jobs are listed for half an hour.
select status, details from sys.jobs where job_id = %(job_id)s

-- name: is_index_valid
-- Whether an index may be used; no row when there is none of that name.
select i.indisvalid
from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indexrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = %(schema)s and c.relname = %(name)s

-- name: is_constraint_valid
-- Whether every row was checked against a constraint; no row when the table has none of that name.
select k.convalidated
from pg_catalog.pg_constraint k
join pg_catalog.pg_class c on c.oid = k.conrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = %(schema)s and c.relname = %(table)s and k.conname = %(name)s

-- name: read_role_links
-- Which IAM roles may connect as which database roles.
select pg_role_name, arn from sys.iam_pg_role_mappings
