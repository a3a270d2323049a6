-- The staff's function gets a role of its own: `operations` is for people and may do anything to the data.
create role staff with login;

grant usage on schema xpoints to staff;

grant select on
    xpoints.customers, xpoints.catalog_items, xpoints.images, xpoints.stock, xpoints.points_balances,
    xpoints.transactions, xpoints.orders, xpoints.order_items, xpoints.order_events,
    xpoints.idempotency_records
    to staff;

grant insert on
    xpoints.catalog_items, xpoints.stock, xpoints.transactions, xpoints.idempotency_records, xpoints.outbox
    to staff;

grant update on xpoints.catalog_items, xpoints.stock, xpoints.points_balances to staff;

grant delete on xpoints.stock to staff;

-- contract: no release has used these.
revoke insert on xpoints.outbox from consumers;

-- contract: no release has used these.
revoke delete on xpoints.notifications from consumers;
