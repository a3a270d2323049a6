-- What belongs to a Region and not to the shared tables (a user pool, a bucket) is cleaned by that Region itself.

-- The Regions that this shop runs in. Each enters itself; who takes one down for good deletes its row.
create table if not exists xpoints.regions (
    region varchar(20) primary key
);

-- What a Region has still to delete outside the database. A user's name stands here until its Region has
-- deleted the user: the row of the customer has forgotten it by then.
create table if not exists xpoints.region_cleanups (
    region varchar(20) not null,
    kind varchar(10) not null,
    subject_id uuid not null,
    name varchar(100) not null,
    created_at timestamptz not null default now(),
    constraint region_cleanups_pkey primary key (region, kind, subject_id),
    constraint region_cleanups_kind_known check (kind in ('user', 'picture'))
);

grant select on xpoints.regions to cascades;

grant select, insert on xpoints.region_cleanups to cascades;

-- To touch a picture, so that two items that let go of it at once do not both leave it to the other.
grant update on xpoints.images to cascades;

grant select, insert on xpoints.regions to jobs;

grant select, delete on xpoints.region_cleanups to jobs;

grant select on xpoints.regions, xpoints.region_cleanups to reports;

grant select, insert, update, delete on xpoints.regions, xpoints.region_cleanups to operations;
