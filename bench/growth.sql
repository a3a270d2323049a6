-- A shop of any size in which customers have what they have in a small one: ten orders each, three lines in the
-- cart. Ids are as random as real ones (md5 of a number), names are words.

insert into xpoints.catalog_items (id, name, description, category, points_price, rating)
select md5('item' || n)::uuid, 'Cup ' || substr(md5('name' || n), 1, 8), 'A thing of number ' || n,
    'Category ' || n %% 8, 100 + n * 7919 %% 900, (n %% 50) / 10.0
from generate_series(1, %(items)s) n;

insert into xpoints.item_words (item_id, word)
select id, word
from xpoints.catalog_items,
    unnest(array['cup', substr(name, 5), 'a', 'thing', 'of', 'number', substr(description, 19)]) as word
on conflict do nothing;

insert into xpoints.customers (id, username, email)
select md5('customer' || c)::uuid, 'customer' || c, c || '@example.com'
from generate_series(1, %(customers)s) c;

insert into xpoints.shopping_cart_items (customer_id, item_id, quantity)
select md5('customer' || c)::uuid, md5('item' || (1 + (c * 7 + l * 31) %% %(items)s))::uuid, l
from generate_series(1, %(customers)s) c, generate_series(1, 3) l;

insert into xpoints.transactions (customer_id, tx_type, points, tx_dt, balance_after)
select id, 'OPENING', 1000000000, now() - interval '1 year', 1000000000 from xpoints.customers;

insert into xpoints.orders (id, customer_id, total_points, placed_at, region, cart_cleaned_at)
select md5('order' || c || '/' || o)::uuid, md5('customer' || c)::uuid, 300,
    now() - make_interval(days => o, secs => c %% 80000), 'us-east-1', now()
from generate_series(1, 10) o, generate_series(1, %(customers)s) c;

insert into xpoints.order_items (tx_id, cat_item_id, unit_cnt, unit_points_price)
select md5('order' || c || '/' || o)::uuid, md5('item' || (1 + (c * 7 + l * 31) %% %(items)s))::uuid, 1, 100
from generate_series(1, 10) o, generate_series(1, %(customers)s) c, generate_series(1, 3) l;

insert into xpoints.transactions (id, customer_id, tx_type, points, tx_dt, tx_description, balance_after, reference_id)
select id, customer_id, 'PURCHASE', -300, placed_at, 'Order', 1000000000, id from xpoints.orders;

insert into xpoints.points_balances (customer_id, points_balance)
select id, 1000000000 - 3000 from xpoints.customers;

insert into xpoints.idempotency_records
    (customer_id, idempotency_key, request_hash, result_id, response_status, response_body)
select customer_id, id::text, md5(id::text) || md5(id::text), id, 201, '{}' from xpoints.orders;
