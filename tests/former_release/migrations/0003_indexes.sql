-- Indexes are built in the background on DSQL (ASYNC); the migration waits for each job. A stock
-- PostgreSQL builds them at once: the runner takes the word ASYNC out there.

create index async if not exists customers_username on xpoints.customers (username);

create index async if not exists catalog_images_item on xpoints.catalog_images (item_id);

create index async if not exists shopping_cart_items_customer on xpoints.shopping_cart_items (customer_id);

create index async if not exists shopping_cart_items_item on xpoints.shopping_cart_items (item_id);

create index async if not exists transactions_customer on xpoints.transactions (customer_id, tx_dt, id);

create index async if not exists order_items_tx on xpoints.order_items (tx_id);

create index async if not exists catalog_items_category on xpoints.catalog_items (category, points_price, id);

create index async if not exists orders_customer on xpoints.orders (customer_id, placed_at, id);

create index async if not exists notifications_customer on xpoints.notifications (customer_id);

create index async if not exists orders_cart_uncleaned on xpoints.orders (customer_id) where cart_cleaned_at is null;
