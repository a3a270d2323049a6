-- Balances and the ledger that explains them; every change of the one writes a row of the other.

-- name: read_balance
-- The customer's points; no row for a customer without an account.
select points_balance from xpoints.points_balances where customer_id = %(customer_id)s

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

-- name: list_ledger
-- A page of a customer's ledger, newest first.
select id, tx_type, points, tx_dt, tx_description, reference_id
from xpoints.transactions
where customer_id = %(customer_id)s and (tx_dt, id) < (%(after)s::timestamp, %(after_id)s)
order by tx_dt desc, id desc
limit %(most)s
