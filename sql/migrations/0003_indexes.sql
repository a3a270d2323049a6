-- Indexes are built in the background on DSQL (ASYNC); the migration waits for each job. A stock
-- PostgreSQL builds them at once: the runner takes the word ASYNC out there.

create index async if not exists customers_username on xpoints.customers (username);

create index async if not exists catalog_images_item on xpoints.catalog_images (item_id);

create index async if not exists shopping_cart_items_customer on xpoints.shopping_cart_items (customer_id);

-- A retired item leaves millions of carts in the order of this index; the workshop has none on the item alone.
create index async if not exists shopping_cart_items_item_customer on xpoints.shopping_cart_items (item_id, customer_id);

create index async if not exists transactions_customer on xpoints.transactions (customer_id, tx_dt, id);

-- How many units an order has, without its lines.
create index async if not exists order_items_tx on xpoints.order_items (tx_id) include (unit_cnt);

create index async if not exists catalog_items_category on xpoints.catalog_items (category, points_price, id);

-- A category in each order of sorting: a page of one reads no item of another.
create index async if not exists catalog_items_category_name on xpoints.catalog_items (category, name, id);

create index async if not exists catalog_items_category_rating on xpoints.catalog_items (category, rating, id);

create index async if not exists catalog_items_name on xpoints.catalog_items (name, id);

create index async if not exists catalog_items_points on xpoints.catalog_items (points_price, id);

create index async if not exists catalog_items_rating on xpoints.catalog_items (rating, id);

-- Who else shows a picture.
create index async if not exists catalog_images_image on xpoints.catalog_images (image_id);

create index async if not exists catalog_items_thumbnail on xpoints.catalog_items (thumbnail_id);

-- A list of orders is read from here alone, without a look at each order.
create index async if not exists orders_customer on xpoints.orders (customer_id, placed_at, id)
include (status, total_points, refunded_points);

create index async if not exists notifications_customer on xpoints.notifications (customer_id);

-- The messages of one retirement, in the order in which they are sent.
create index async if not exists notifications_event on xpoints.notifications (event_id, id);

create index async if not exists request_log_subject on xpoints.request_log (subject_id, started_at);

create index async if not exists orders_cart_uncleaned on xpoints.orders (customer_id) where cart_cleaned_at is null;
