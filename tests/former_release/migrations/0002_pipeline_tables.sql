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
    constraint orders_refund_within_total check (refunded_points between 0 and total_points)
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
    constraint stock_not_negative check (available >= 0),
    primary key (item_id, slot)
);

-- Letters left by a request's transaction for the relay. Insert-only for requests; deleted once the bus
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

-- Which consumer has had its effect of which event, written in the transaction of that effect.
create table if not exists xpoints.inbox (
    event_id uuid not null,
    consumer varchar(40) not null,
    processed_at timestamptz not null default now(),
    constraint inbox_pkey primary key (event_id, consumer)
);

-- Messages to customers. Addresses are looked up at the moment of sending and never stored here.
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
    constraint notifications_status_known check (status in ('PENDING', 'SENT', 'SKIPPED'))
);
