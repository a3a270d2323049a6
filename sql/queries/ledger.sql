-- Balances and the ledger that explains them; every change of the one writes a row of the other.

-- name: read_balance
-- The customer's points; no row for a customer without an account.
select points_balance as balance from xpoints.points_balances where customer_id = %(customer_id)s

-- name: debit_balance
-- Unconditional: the CHECK on the column aborts the transaction where the decision was wrong.
update xpoints.points_balances set points_balance = points_balance - %(points)s where customer_id = %(customer_id)s

-- name: insert_ledger_entry
-- One ledger entry. The time is the statement's own and not the transaction's start: entries of one customer
-- then stand in the order in which they were committed.
insert into xpoints.transactions
    (id, customer_id, tx_type, points, tx_dt, tx_description, balance_after, reference_id)
values
    (%(id)s, %(customer_id)s, %(tx_type)s, %(points)s, clock_timestamp() at time zone 'UTC', %(description)s,
    %(balance_after)s, %(reference_id)s)

-- name: read_balance_at
-- The balance that the entries before a place in the ledger had left: today's less what came since. It reads the
-- entries since then by their index. No row for a customer without an account or on the way out.
select b.points_balance - (
    select coalesce(sum(t.points), 0)
    from xpoints.transactions t
    where t.customer_id = %(customer_id)s and t.tx_dt >= %(after)s::timestamp
        and (t.tx_dt, t.id) >= (%(after)s::timestamp, %(after_id)s)
)::bigint as balance
from xpoints.points_balances b
join xpoints.customers c on c.id = b.customer_id
where b.customer_id = %(customer_id)s and c.erased_at is null

-- name: list_ledger
-- A page of a customer's ledger, newest first.
select id as entry_id, tx_type as kind, points, tx_dt as at, tx_description as description, reference_id
from xpoints.transactions
where customer_id = %(customer_id)s and tx_dt <= %(after)s::timestamp
    and (tx_dt, id) < (%(after)s::timestamp, %(after_id)s)
order by tx_dt desc, id desc
limit %(most)s

-- name: read_account
-- The points of a member who is not on the way out.
select b.customer_id, b.points_balance as balance
from xpoints.points_balances b
join xpoints.customers c on c.id = b.customer_id
where b.customer_id = %(customer_id)s
    -- guard: whoever is being erased has no account
    and c.erased_at is null

-- name: find_payee
-- The accounts of members with a username, as it was typed or in its one form: one is as it should be, and two
-- are enough to know better.
select b.customer_id, b.points_balance as balance
from xpoints.customers c
join xpoints.points_balances b on b.customer_id = c.id
where c.username = any(%(usernames)s::varchar[]) and c.erased_at is null
order by b.customer_id
limit 2

-- name: lock_balances
-- The balances that a decision rests on without changing them all. Plain reads are not checked at commit; rows
-- that are locked are, so that of two such decisions about the same rows one fails and runs again.
select customer_id, points_balance as balance
from xpoints.points_balances
where customer_id = any(%(customer_ids)s::uuid[])
order by customer_id
-- guard: both balances locked for a boost
for update

-- name: find_members_by_id
-- Which of these customers are not on the way out.
select id as customer_id from xpoints.customers where id = any(%(customer_ids)s::uuid[]) and erased_at is null

-- name: credit_balance
-- Credits never need a guard: the sum that an account may hold is far below the column's end.
update xpoints.points_balances set points_balance = points_balance + %(points)s where customer_id = %(customer_id)s
