-- What must hold at any moment, each as a statement that yields what breaks it: no row means that all is well.
-- They read whole tables and are for the demo, for tests and for small shops; the scheduled audit reads in slices.

-- name: balances_that_differ_from_their_ledger
-- Every balance is the sum of its signed ledger entries (the opening balance is one of them).
select coalesce(b.customer_id, t.customer_id)::text as id, b.points_balance as is_points, t.points as should_be_points
from xpoints.points_balances b
full join (
    select customer_id, sum(points) as points from xpoints.transactions group by customer_id
) t on t.customer_id = b.customer_id
where coalesce(b.points_balance, 0) <> coalesce(t.points, 0)

-- name: orders_without_exactly_one_debit
-- Every order has one PURCHASE entry of its total, under its own id.
select o.id::text as id, o.total_points as is_points, t.points as should_be_points
from xpoints.orders o
left join xpoints.transactions t on t.id = o.id and t.tx_type = 'PURCHASE'
where t.id is null or t.points <> -o.total_points or t.customer_id <> o.customer_id

-- name: debits_without_an_order
-- Nobody paid for an order that does not exist.
select t.id::text as id, t.points as is_points, null as should_be_points
from xpoints.transactions t
left join xpoints.orders o on o.id = t.id
where t.tx_type = 'PURCHASE' and o.id is null

-- name: orders_that_differ_from_their_lines
-- Every order costs what its lines cost.
select o.id::text as id, o.total_points as is_points, l.points as should_be_points
from xpoints.orders o
left join (
    select tx_id, sum(unit_cnt::bigint * unit_points_price) as points from xpoints.order_items group by tx_id
) l on l.tx_id = o.id
where o.total_points <> coalesce(l.points, 0)

-- name: orders_that_differ_from_their_refunds
-- What was given back of an order is what its lines and its REFUND entries say.
select o.id::text as id, o.refunded_points as is_points, r.points as should_be_points
from xpoints.orders o
left join (
    select reference_id, sum(points) as points
    from xpoints.transactions where tx_type = 'REFUND' group by reference_id
) r on r.reference_id = o.id
where o.refunded_points <> coalesce(r.points, 0)

-- name: orders_whose_cart_is_not_cleaned
-- After the follow-up has come to rest, no order waits for its cart to be cleaned.
select id::text as id, total_points as is_points, null as should_be_points from xpoints.orders where cart_cleaned_at is null

-- name: messages_not_sent
-- After the follow-up has come to rest, no message waits to be sent.
select id::text as id, null as is_points, null as should_be_points from xpoints.notifications where status = 'PENDING'

-- name: messages_in_the_outbox
-- After the follow-up has come to rest, the outbox is empty.
select id::text as id, null as is_points, null as should_be_points from xpoints.outbox

-- name: outbox_dead_letters
-- The bus rejected nothing for good.
select id::text as id, null as is_points, null as should_be_points from xpoints.outbox_dead_letters

-- name: count_effects
-- How many events each consumer has had its effect of.
select consumer, count(*) as events from xpoints.inbox group by consumer order by consumer

-- name: count_orders
-- All orders, and all ledger entries that paid for one.
select
    (select count(*) from xpoints.orders) as orders,
    (select count(*) from xpoints.transactions where tx_type = 'PURCHASE') as debits
