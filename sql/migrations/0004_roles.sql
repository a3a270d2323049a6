-- Database roles, one a purpose, and everything that each may do. On DSQL the migration links each to the IAM
-- roles of the functions that use it (AWS IAM GRANT); no role has a password.

-- The workshop's two roles, over its nine tables.
create role rewards_ro with login;

grant usage on schema xpoints to rewards_ro;

grant select on
    xpoints.catalog_images, xpoints.catalog_items, xpoints.customers, xpoints.image_urls, xpoints.images,
    xpoints.order_items, xpoints.points_balances, xpoints.shopping_cart_items, xpoints.transactions
    to rewards_ro;

create role rewards_rw with login;

grant usage on schema xpoints to rewards_rw;

grant select, insert, update, delete on
    xpoints.catalog_images, xpoints.catalog_items, xpoints.customers, xpoints.image_urls, xpoints.images,
    xpoints.order_items, xpoints.points_balances, xpoints.shopping_cart_items, xpoints.transactions
    to rewards_rw;

-- Customers' own reads, and their carts.
create role storefront with login;

grant usage on schema xpoints to storefront;

grant select on
    xpoints.catalog_images, xpoints.catalog_items, xpoints.customers, xpoints.image_urls, xpoints.images,
    xpoints.items_for_sale, xpoints.order_events, xpoints.order_items, xpoints.orders,
    xpoints.points_balances, xpoints.shopping_cart_items, xpoints.stock, xpoints.transactions
    to storefront;

grant insert, update on xpoints.image_urls, xpoints.shopping_cart_items to storefront;

grant delete on xpoints.shopping_cart_items to storefront;

-- The money path: orders, refunds, transfers.
create role checkout with login;

grant usage on schema xpoints to checkout;

grant select on
    xpoints.catalog_items, xpoints.customers, xpoints.idempotency_records, xpoints.order_events,
    xpoints.order_items, xpoints.orders, xpoints.points_balances, xpoints.shopping_cart_items,
    xpoints.stock, xpoints.transactions
    to checkout;

grant insert on
    xpoints.idempotency_records, xpoints.order_events, xpoints.order_items, xpoints.orders, xpoints.outbox,
    xpoints.request_log, xpoints.transactions
    to checkout;

grant update on xpoints.order_items, xpoints.orders, xpoints.points_balances, xpoints.stock to checkout;

-- Customers' own data: changes it, and marks it as erased.
create role accounts with login;

grant usage on schema xpoints to accounts;

grant select on xpoints.customers, xpoints.points_balances, xpoints.transactions to accounts;

grant insert on xpoints.outbox, xpoints.transactions to accounts;

grant update on xpoints.customers, xpoints.points_balances to accounts;

-- The staff's catalogue, stock and credits.
create role staff with login;

grant usage on schema xpoints to staff;

grant select on
    xpoints.catalog_items, xpoints.customers, xpoints.idempotency_records, xpoints.images,
    xpoints.order_events, xpoints.order_items, xpoints.orders, xpoints.points_balances,
    xpoints.staff_members, xpoints.stock, xpoints.transactions
    to staff;

grant insert on
    xpoints.catalog_items, xpoints.idempotency_records, xpoints.outbox, xpoints.request_log, xpoints.stock,
    xpoints.transactions
    to staff;

grant update on xpoints.catalog_items, xpoints.points_balances, xpoints.stock to staff;

grant delete on xpoints.stock to staff;

-- Publishes the outbox.
create role relay with login;

grant usage on schema xpoints to relay;

grant select on xpoints.outbox, xpoints.outbox_dead_letters, xpoints.relay_leases, xpoints.relays to relay;

grant insert on xpoints.outbox_dead_letters, xpoints.relay_leases, xpoints.relays to relay;

grant update, delete on xpoints.outbox, xpoints.relay_leases, xpoints.relays to relay;

-- What follows an order: its cart, its messages.
create role consumers with login;

grant usage on schema xpoints to consumers;

grant select on
    xpoints.catalog_items, xpoints.consumed_versions, xpoints.customers, xpoints.inbox,
    xpoints.notifications, xpoints.order_events, xpoints.order_items, xpoints.orders,
    xpoints.shopping_cart_items
    to consumers;

grant insert on xpoints.consumed_versions, xpoints.inbox, xpoints.notifications to consumers;

grant update on
    xpoints.consumed_versions, xpoints.notifications, xpoints.orders, xpoints.shopping_cart_items
    to consumers;

grant delete on xpoints.shopping_cart_items to consumers;

-- Removes what belonged to an erased customer or a retired item.
create role cascades with login;

grant usage on schema xpoints to cascades;

grant select on
    xpoints.catalog_images, xpoints.catalog_items, xpoints.customers, xpoints.idempotency_records,
    xpoints.image_urls, xpoints.images, xpoints.inbox, xpoints.notifications, xpoints.points_balances,
    xpoints.region_cleanups, xpoints.regions, xpoints.shopping_cart_items, xpoints.staff_members
    to cascades;

grant insert on
    xpoints.inbox, xpoints.notifications, xpoints.outbox, xpoints.region_cleanups, xpoints.transactions
    to cascades;

grant update on xpoints.catalog_items, xpoints.customers, xpoints.images, xpoints.notifications to cascades;

grant delete on
    xpoints.catalog_images, xpoints.idempotency_records, xpoints.image_urls, xpoints.images,
    xpoints.notifications, xpoints.points_balances, xpoints.shopping_cart_items, xpoints.staff_members
    to cascades;

-- Scheduled expiry, sweeps, audit, cleaning and backlog measurement.
create role jobs with login;

grant usage on schema xpoints to jobs;

grant select on
    xpoints.catalog_images, xpoints.catalog_items, xpoints.consumed_versions, xpoints.customers,
    xpoints.idempotency_records, xpoints.image_urls, xpoints.images, xpoints.inbox, xpoints.job_progress,
    xpoints.notifications, xpoints.order_events, xpoints.order_items, xpoints.orders, xpoints.outbox,
    xpoints.outbox_dead_letters, xpoints.points_balances, xpoints.region_cleanups, xpoints.regions,
    xpoints.request_log, xpoints.shopping_cart_items, xpoints.staff_members, xpoints.stock,
    xpoints.transactions
    to jobs;

grant insert on xpoints.job_progress, xpoints.regions to jobs;

grant update on xpoints.job_progress to jobs;

grant delete on
    xpoints.catalog_images, xpoints.consumed_versions, xpoints.idempotency_records, xpoints.image_urls,
    xpoints.inbox, xpoints.notifications, xpoints.region_cleanups, xpoints.request_log,
    xpoints.shopping_cart_items, xpoints.staff_members
    to jobs;

-- Gives sample customers a sign-in, after a look at who they are.
create role enrolment with login;

grant usage on schema xpoints to enrolment;

grant select on xpoints.customers, xpoints.region_cleanups, xpoints.regions, xpoints.staff_members to enrolment;

grant insert on xpoints.region_cleanups to enrolment;

-- People who count what the shop does: what is sold, bought and paid, by ids. Left out is what says who a
-- customer is (`customers`, usernames in `region_cleanups`), what was written or answered to one
-- (`notifications`, `idempotency_records`), and what the pipeline keeps for itself.
create role reports with login;

grant usage on schema xpoints to reports;

grant select on
    xpoints.catalog_images, xpoints.catalog_items, xpoints.images, xpoints.items_for_sale,
    xpoints.order_events, xpoints.order_items, xpoints.orders, xpoints.points_balances, xpoints.request_log,
    xpoints.shopping_cart_items, xpoints.stock, xpoints.transactions
    to reports;

-- People who look after the pipeline: what the `rewards` command reads, and the progress of jobs (runbook). It
-- writes what was written once (ledger, orders, stored answers, logs) nowhere.
create role operations with login;

grant usage on schema xpoints to operations;

grant select on
    xpoints.catalog_items, xpoints.customers, xpoints.idempotency_records, xpoints.inbox,
    xpoints.job_progress, xpoints.notifications, xpoints.order_events, xpoints.order_items, xpoints.orders,
    xpoints.outbox, xpoints.outbox_dead_letters, xpoints.points_balances, xpoints.region_cleanups,
    xpoints.regions, xpoints.relay_leases, xpoints.relays, xpoints.request_log, xpoints.shopping_cart_items,
    xpoints.staff_members, xpoints.stock, xpoints.transactions
    to operations;

-- `rewards outbox requeue` moves outbox dead letters back into the outbox.
grant insert on xpoints.outbox to operations;

grant delete on xpoints.outbox_dead_letters to operations;

-- `rewards invite` makes a customer with an empty account, and leaves a user to be deleted whose customer was
-- erased meanwhile.
grant insert on xpoints.customers, xpoints.points_balances, xpoints.region_cleanups to operations;

-- `rewards invite --staff` and `rewards staff dismiss` say who is one of the shop's staff.
grant insert, delete on xpoints.staff_members to operations;

-- Who takes a Region down for good takes it off the list, with what waits for it (docs/cascades.md).
grant delete on xpoints.region_cleanups, xpoints.regions to operations;
