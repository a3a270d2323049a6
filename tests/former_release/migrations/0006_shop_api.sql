-- What the shop's whole API needs beside the checkout.

-- The catalogue as shoppers see it: what is on the shelf, with what is left of limited stock (null: unlimited).
create view xpoints.items_for_sale as
select i.id, i.name, i.description, i.category, i.usd_price, i.points_price, i.rating, i.sku, i.weight, i.width,
    i.height, i.depth, i.thumbnail_id,
    (select sum(s.available) from xpoints.stock s where s.item_id = i.id)::int as available
from xpoints.catalog_items i
where i.retired_at is null and i.name is not null and i.points_price is not null;

create index async if not exists catalog_items_name on xpoints.catalog_items (name, id);

create index async if not exists catalog_items_points on xpoints.catalog_items (points_price, id);

create index async if not exists catalog_items_rating on xpoints.catalog_items (rating, id);

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

-- Who tried what, how it ended and how often it had to be tried: the scoreboard of a sale.
create table if not exists xpoints.operations_log (
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

create index async if not exists operations_log_subject on xpoints.operations_log (subject_id, started_at);

-- Writes customers' own data, and erases it.
create role accounts with login;

grant usage on schema xpoints to accounts;

grant select on xpoints.items_for_sale to storefront, reports, operations;

grant select on xpoints.order_events to storefront, checkout, jobs, reports, operations;

grant insert on xpoints.order_events to checkout, operations;

grant select on xpoints.operations_log to jobs, reports, operations;

grant insert on xpoints.operations_log to checkout, operations;

grant select on xpoints.customers, xpoints.points_balances, xpoints.transactions to accounts;

grant update on xpoints.customers, xpoints.points_balances to accounts;

grant insert on xpoints.transactions, xpoints.outbox to accounts;
