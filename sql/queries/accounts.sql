-- Customers' own data: their account, for themselves and for the staff.

-- name: read_member
-- An account as its owner may change it, with what optimistic concurrency and erasure need.
select id as customer_id, coalesce(username, '') as username, coalesce(version, 1) as version,
    erased_at is not null as erased,
    first_name, last_name, email, phone_num, address, city, state, state_code, postal_code
from xpoints.customers
where id = %(customer_id)s

-- name: change_member
-- The owner's change.
update xpoints.customers
set first_name = %(first_name)s, last_name = %(last_name)s, email = %(email)s, phone_num = %(phone_num)s,
    address = %(address)s, city = %(city)s, state = %(state)s, state_code = %(state_code)s,
    postal_code = %(postal_code)s, version = %(version)s
where id = %(customer_id)s

-- name: mark_erased
-- From now on nobody is served under this account; what it holds goes by and by.
update xpoints.customers set erased_at = %(erased_at)s, version = coalesce(version, 1) + 1
where id = %(customer_id)s

-- name: find_members
-- Whom the staff looks for, by username, as it was typed or in its one form.
select c.id as customer_id, coalesce(c.username, '') as username, b.points_balance as balance,
    c.erased_at is not null as erased
from xpoints.customers c
left join xpoints.points_balances b on b.customer_id = c.id
where c.username = any(%(usernames)s::varchar[])
order by c.id
limit 20
