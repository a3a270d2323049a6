-- What cascades and scheduled jobs need beyond the tables that they work on.

-- How far each walk over a table has come, for all its runs in all Regions: a run advances the row in the
-- transaction of what it did, so two runs at once share the work instead of doing it twice.
create table if not exists xpoints.job_progress (
    job varchar(80) primary key,
    -- The last key that was passed, as a JSON array of texts; null between two passes.
    passed varchar(400),
    started_at timestamptz,
    finished_at timestamptz
);

-- A retired item leaves millions of carts in the order of this index; the workshop has none on the item alone.
create index async if not exists shopping_cart_items_item_customer on xpoints.shopping_cart_items (item_id, customer_id);

drop index if exists xpoints.shopping_cart_items_item;

-- The messages of one retirement, in the order in which they are sent.
create index async if not exists notifications_event on xpoints.notifications (event_id, id);

-- Who else shows a picture.
create index async if not exists catalog_images_image on xpoints.catalog_images (image_id);

create index async if not exists catalog_items_thumbnail on xpoints.catalog_items (thumbnail_id);

-- Removes what belonged to an erased customer or a retired item.
create role cascades with login;

grant usage on schema xpoints to cascades;

grant select on
    xpoints.customers, xpoints.points_balances, xpoints.shopping_cart_items, xpoints.notifications,
    xpoints.idempotency_records, xpoints.catalog_items, xpoints.catalog_images, xpoints.images,
    xpoints.image_urls, xpoints.inbox
    to cascades;

grant delete on
    xpoints.points_balances, xpoints.shopping_cart_items, xpoints.notifications,
    xpoints.idempotency_records, xpoints.catalog_images, xpoints.images, xpoints.image_urls
    to cascades;

grant update on xpoints.customers, xpoints.catalog_items, xpoints.notifications to cascades;

grant insert on xpoints.transactions, xpoints.notifications, xpoints.inbox, xpoints.outbox to cascades;

grant select, insert, update on xpoints.job_progress to jobs;

grant delete on xpoints.catalog_images, xpoints.operations_log to jobs;

grant select on xpoints.job_progress to reports;

grant select, insert, update, delete on xpoints.job_progress to operations;
