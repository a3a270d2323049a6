-- What the relay keeps beside its leases.

-- When a refused letter may be tried again, by the database's clock; null: at once.
alter table xpoints.outbox add column if not exists retry_at timestamptz;

-- The live relays of a Region, one row a line. A line is a succession of runs: a new run puts its token
-- here, by which the run before it sees that it is to end, and others how many share the shards.
create table if not exists xpoints.relays (
    region varchar(20) not null,
    line smallint not null,
    token uuid not null,
    expires_at timestamptz not null,
    constraint relays_pkey primary key (region, line)
);

-- The newest version of an aggregate that a consumer has had an effect of, for effects that depend on order.
create table if not exists xpoints.consumed_versions (
    aggregate_id uuid not null,
    consumer varchar(40) not null,
    version int not null,
    processed_at timestamptz not null default now(),
    constraint consumed_versions_pkey primary key (aggregate_id, consumer)
);

grant select, insert, update, delete on xpoints.relays to relay;

grant select, insert, update on xpoints.consumed_versions to consumers;

grant select on xpoints.relays, xpoints.consumed_versions to reports;

grant select, insert, update, delete on xpoints.relays, xpoints.consumed_versions to operations;

grant select, delete on xpoints.consumed_versions to jobs;
