-- Database roles, one a purpose. On DSQL the migration links each to the IAM roles of the functions that
-- use it (AWS IAM GRANT); no role has a password.

-- The workshop's two roles, over its nine tables.
create role rewards_ro with login;

create role rewards_rw with login;

-- Customers' own reads and small writes.
create role storefront with login;

-- The money path: orders, refunds, transfers.
create role checkout with login;

-- Publishes the outbox.
create role relay with login;

-- What follows an event: cascades and notifications.
create role consumers with login;

-- Scheduled expiry, sweeps, audit and backlog measurement.
create role jobs with login;

-- People: read-only reports, and hands-on operations.
create role reports with login;

create role operations with login;

grant usage on schema xpoints to rewards_ro, rewards_rw, storefront, checkout, relay, consumers, jobs, reports, operations;

grant select on
    xpoints.customers, xpoints.catalog_items, xpoints.catalog_images, xpoints.shopping_cart_items,
    xpoints.points_balances, xpoints.transactions, xpoints.order_items, xpoints.images, xpoints.image_urls
    to rewards_ro;

grant select, insert, update, delete on
    xpoints.customers, xpoints.catalog_items, xpoints.catalog_images, xpoints.shopping_cart_items,
    xpoints.points_balances, xpoints.transactions, xpoints.order_items, xpoints.images, xpoints.image_urls
    to rewards_rw;

grant select on
    xpoints.customers, xpoints.catalog_items, xpoints.catalog_images, xpoints.shopping_cart_items,
    xpoints.points_balances, xpoints.transactions, xpoints.order_items, xpoints.images, xpoints.image_urls,
    xpoints.orders, xpoints.stock
    to storefront;

grant insert, update, delete on xpoints.shopping_cart_items, xpoints.image_urls to storefront;

grant select on
    xpoints.customers, xpoints.catalog_items, xpoints.shopping_cart_items, xpoints.points_balances,
    xpoints.transactions, xpoints.order_items, xpoints.orders, xpoints.stock, xpoints.idempotency_records
    to checkout;

grant update on xpoints.points_balances, xpoints.stock, xpoints.orders, xpoints.order_items to checkout;

grant insert on
    xpoints.orders, xpoints.order_items, xpoints.transactions, xpoints.idempotency_records, xpoints.outbox
    to checkout;

grant select, update, delete on xpoints.outbox to relay;

grant select, insert, update, delete on xpoints.relay_leases to relay;

grant select, insert on xpoints.outbox_dead_letters to relay;

grant select on
    xpoints.customers, xpoints.catalog_items, xpoints.shopping_cart_items, xpoints.orders,
    xpoints.order_items, xpoints.inbox, xpoints.notifications
    to consumers;

grant insert on xpoints.inbox, xpoints.notifications, xpoints.outbox to consumers;

grant update, delete on xpoints.shopping_cart_items, xpoints.notifications to consumers;

grant update on xpoints.orders to consumers;

grant select on all tables in schema xpoints to jobs;

grant delete on
    xpoints.idempotency_records, xpoints.inbox, xpoints.shopping_cart_items, xpoints.image_urls,
    xpoints.notifications
    to jobs;

grant select on all tables in schema xpoints to reports;

grant select, insert, update, delete on all tables in schema xpoints to operations;

-- What was applied is written by the migration alone.
revoke insert, update, delete on xpoints.schema_migrations from operations;
