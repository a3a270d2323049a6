-- People who are invited: a customer with an empty account, whose user the pool has.

-- name: find_by_usernames
-- Whose username this is, in any of these forms. One is enough to go on, two are too many.
select id as customer_id, email, erased_at is not null as erased
from xpoints.customers
where username = any(%(usernames)s::varchar[])
order by id
limit 2

-- name: enter_customer
-- The customer, once. One who is there stays as they are.
insert into xpoints.customers (id, username, email) values (%(customer_id)s, %(username)s, %(email)s)
on conflict (id) do nothing

-- name: open_account
-- Their points account, which is empty; nobody who was erased gets one.
insert into xpoints.points_balances (customer_id, points_balance)
select id, 0 from xpoints.customers where id = %(customer_id)s and erased_at is null
on conflict (customer_id) do nothing

-- name: enter_staff_member
-- From now on one of the shop's staff.
insert into xpoints.staff_members (customer_id)
select id from xpoints.customers where id = %(customer_id)s and erased_at is null
on conflict (customer_id) do nothing

-- name: list_staff_members
-- Who runs the shop; a shop has fewer.
select s.customer_id, c.username, s.since
from xpoints.staff_members s
left join xpoints.customers c on c.id = s.customer_id
order by c.username, s.customer_id
limit 1000
