-- A shop full of customers who are about to check out. Ids are numbers in 32 decimal digits, so that pgbench
-- can compute them; item ids start above all customers'.

insert into xpoints.catalog_items (id, name, description, category, usd_price, points_price)
select lpad((1000000000000 + i)::text, 32, '0')::uuid, 'Item number ' || i, 'What item ' || i || ' is.', 'general',
    2.50, %(unit_points)s
from generate_series(0, %(items)s - 1) i;

insert into xpoints.customers (id, username, email)
select lpad(c::text, 32, '0')::uuid, 'customer' || c, c || '@example.com'
from generate_series(1, %(customers)s) c;

insert into xpoints.shopping_cart_items (customer_id, item_id, quantity)
select lpad(c::text, 32, '0')::uuid, lpad((1000000000000 + (c * 7 + l * 31) %% %(items)s)::text, 32, '0')::uuid, l
from generate_series(1, %(customers)s) c, generate_series(1, %(lines)s) l;

insert into xpoints.transactions (customer_id, tx_type, points, tx_description, balance_after)
select id, 'OPENING', 1000000000000, 'Opening balance', 1000000000000
from xpoints.customers;

-- Everybody has ordered once before: no table is empty, and the planner sees what it would see in use.
insert into xpoints.orders (id, customer_id, total_points, placed_at, region, cart_cleaned_at)
select gen_random_uuid(), id, %(unit_points)s, now() - interval '1 day', %(region)s, now()
from xpoints.customers;

insert into xpoints.order_items (tx_id, cat_item_id, unit_cnt, unit_points_price)
select id, lpad('1000000000000', 32, '0')::uuid, 1, total_points
from xpoints.orders;

insert into xpoints.transactions (id, customer_id, tx_type, points, tx_description, balance_after, reference_id)
select id, customer_id, 'PURCHASE', -total_points, 'Order of 1 item(s)', 1000000000000 - total_points, id
from xpoints.orders;

insert into xpoints.points_balances (customer_id, points_balance)
select customer_id, balance_after
from xpoints.transactions
where tx_type = 'PURCHASE';

insert into xpoints.idempotency_records
    (customer_id, idempotency_key, request_hash, result_id, response_status, response_body)
select customer_id, id::text, md5(id::text) || md5(id::text), id, 201, '{}'
from xpoints.orders;
