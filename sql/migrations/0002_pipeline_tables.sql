-- What the order pipeline needs beside the workshop's nine tables.

-- One row an order. The id is also that of the order's PURCHASE ledger entry and of its lines.
create table if not exists xpoints.orders (
    id uuid primary key,
    customer_id uuid not null,
    status varchar(16) not null default 'PLACED',
    total_points bigint not null,
    refunded_points bigint not null default 0,
    placed_at timestamptz not null default now(),
    region varchar(20) not null,
    correlation_id varchar(64),
    version int not null default 1,
    -- When the consumer took the ordered quantities out of the cart. Until then they count as gone all the
    -- same: a checkout sees the cart less what its uncleaned orders hold, so a second click orders nothing.
    cart_cleaned_at timestamptz,
    constraint orders_status_known
        check (status in ('PLACED', 'CANCELLED', 'PART_REFUNDED', 'REFUNDED')),
    -- guard: CHECK of an order's refund
    constraint orders_refund_within_total check (refunded_points between 0 and total_points)
);

-- What happened to an order after it was placed (its version 1): one row a version, insert-only.
create table if not exists xpoints.order_events (
    order_id uuid not null,
    version int not null,
    event_id uuid not null,
    event_type varchar(64) not null,
    points bigint not null,
    lines text not null,
    occurred_at timestamptz not null,
    constraint order_events_pkey primary key (order_id, version)
);

-- The stored answer of every write that a client may send again, in the transaction of that write.
create table if not exists xpoints.idempotency_records (
    customer_id uuid not null,
    idempotency_key varchar(64) not null,
    request_hash varchar(64) not null,
    result_id uuid not null,
    response_status smallint not null,
    response_body text not null,
    created_at timestamptz not null default now(),
    constraint idempotency_records_pkey primary key (customer_id, idempotency_key)
);

-- Stock that is limited. An item without rows here is unlimited. A hot item's units are spread over
-- several slots, so that buyers meet on different rows; an ordinary item has the one slot 0.
create table if not exists xpoints.stock (
    item_id uuid not null,
    slot smallint not null,
    available int not null,
    -- guard: CHECK of the stock
    constraint stock_not_negative check (available >= 0),
    primary key (item_id, slot)
);

-- Messages left by a request's transaction for the relay. Insert-only for requests; deleted once the bus
-- has accepted them. The key starts with what a relay reads by, so that no further index is needed.
create table if not exists xpoints.outbox (
    region varchar(20) not null,
    shard smallint not null,
    id uuid not null,
    event_type varchar(64) not null,
    detail text not null,
    created_at timestamptz not null default now(),
    attempts smallint not null default 0,
    last_error varchar(200),
    -- When a rejected message may be tried again, by the database's clock; null: at once.
    retry_at timestamptz,
    primary key (region, shard, id)
);

-- What the bus never accepted, with the reason, out of the relay's way until an operator decides.
create table if not exists xpoints.outbox_dead_letters (
    id uuid primary key,
    region varchar(20) not null,
    shard smallint not null,
    event_type varchar(64) not null,
    detail text not null,
    created_at timestamptz not null,
    attempts smallint not null,
    reason varchar(200) not null,
    failed_at timestamptz not null default now()
);

-- Which relay may publish a shard's rows, until when, by the database's clock.
create table if not exists xpoints.relay_leases (
    region varchar(20) not null,
    shard smallint not null,
    token uuid not null,
    holder varchar(100) not null,
    expires_at timestamptz not null,
    primary key (region, shard)
);

-- The live relays of a Region, one row a worker. A worker is a succession of runs: a new run puts its token
-- here, by which the run before it sees that it is to end, and others how many share the shards.
create table if not exists xpoints.relays (
    region varchar(20) not null,
    worker smallint not null,
    token uuid not null,
    expires_at timestamptz not null,
    constraint relays_pkey primary key (region, worker)
);

-- Which consumer has had its effect of which event, written in the transaction of that effect.
create table if not exists xpoints.inbox (
    event_id uuid not null,
    consumer varchar(40) not null,
    processed_at timestamptz not null default now(),
    constraint inbox_pkey primary key (event_id, consumer)
);

-- The newest version of an aggregate that a consumer has had an effect of, for effects that depend on order.
create table if not exists xpoints.consumed_versions (
    aggregate_id uuid not null,
    consumer varchar(40) not null,
    version int not null,
    processed_at timestamptz not null default now(),
    constraint consumed_versions_pkey primary key (aggregate_id, consumer)
);

-- Messages to customers. Their addresses are looked up at the moment of sending. Only what goes to another one
-- (a code to a new address, a notice to the former one) holds it, until it is closed.
create table if not exists xpoints.notifications (
    id uuid primary key,
    customer_id uuid not null,
    event_id uuid not null,
    kind varchar(40) not null,
    status varchar(10) not null default 'PENDING',
    subject varchar(200) not null,
    body text not null,
    created_at timestamptz not null default now(),
    sent_at timestamptz,
    -- Which run is sending it, until when, by the database's clock.
    claim_token uuid,
    claimed_until timestamptz,
    email varchar(50),
    -- The hash of the address that it was let go to: it counts against the bounds of that once.
    address_hash varchar(64),
    constraint notifications_status_known check (status in ('PENDING', 'SENT', 'SKIPPED'))
);

-- How far each scan of a table has come, for all its runs in all Regions: a run advances the row in the
-- transaction of what it did, so two runs at once share the work instead of doing it twice.
create table if not exists xpoints.job_progress (
    job varchar(80) primary key,
    -- The last key whose row was done, as a JSON array of texts; null between two passes.
    checkpoint varchar(400),
    started_at timestamptz,
    finished_at timestamptz
);

-- Who tried what, how it ended and how often it had to be tried: the scoreboard of a sale, and which of the
-- staff credited whom.
create table if not exists xpoints.request_log (
    id uuid primary key,
    operation varchar(40) not null,
    subject_id uuid not null,
    actor_id uuid not null,
    region varchar(20) not null,
    outcome varchar(40) not null,
    attempts smallint not null,
    conflicts smallint not null,
    started_at timestamptz not null,
    ended_at timestamptz not null
);

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

-- Who of the customers is one of the shop's staff, whatever a token says that was made before. Beside the
-- customers and not among their columns: whoever may change a customer may not make one of the staff.
create table if not exists xpoints.staff_members (
    customer_id uuid primary key,
    since timestamptz not null default now()
);

-- The catalogue as shoppers see it: what is on the shelf, with what is left of limited stock (null: unlimited).
create view xpoints.items_for_sale as
select i.id, i.name, i.description, i.category, i.usd_price, i.points_price, i.rating, i.sku, i.weight, i.width,
    i.height, i.depth, i.thumbnail_id,
    (select sum(s.available) from xpoints.stock s where s.item_id = i.id)::int as available
from xpoints.catalog_items i
where i.retired_at is null and i.name is not null and i.points_price is not null;
