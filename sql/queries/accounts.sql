-- Customers' own data: their account, for themselves and for the staff.

-- name: read_member
-- An account as its owner may change it, with what optimistic concurrency and erasure need, and the address that
-- waits for its code.
select c.id as customer_id, coalesce(c.username, '') as username, coalesce(c.version, 1) as version,
    c.erased_at is not null as erased, e.email as pending_email,
    c.first_name, c.last_name, c.email, c.phone_num, c.address, c.city, c.state, c.state_code, c.postal_code
from xpoints.customers c
left join xpoints.email_changes e on e.customer_id = c.id and e.confirmed_at is null
where c.id = %(customer_id)s

-- name: change_member
-- The owner's change.
update xpoints.customers
set first_name = %(first_name)s, last_name = %(last_name)s, email = %(email)s, phone_num = %(phone_num)s,
    address = %(address)s, city = %(city)s, state = %(state)s, state_code = %(state_code)s,
    postal_code = %(postal_code)s, version = %(version)s
where id = %(customer_id)s

-- name: read_email_change
-- The customer's last change of address: the code's hash and age, and what became of it.
select e.change_id, e.email, e.code_hash, e.attempts, coalesce(e.expires_at <= now(), false) as is_expired,
    e.confirmed_at is not null as is_confirmed
from xpoints.email_changes e
where e.customer_id = %(customer_id)s

-- name: begin_email_change
-- A new address begins to wait for its code; what waited before waits no more.
insert into xpoints.email_changes (customer_id, change_id, email)
values (%(customer_id)s, %(change_id)s, %(email)s)
on conflict (customer_id) do update set change_id = excluded.change_id, email = excluded.email,
    code_hash = null, attempts = 0, requested_at = now(), expires_at = null, confirmed_at = null

-- name: withdraw_email_change
-- The customer wants another address no more.
delete from xpoints.email_changes where customer_id = %(customer_id)s and confirmed_at is null

-- name: count_code_attempt
-- A code that was not the one. Two at once write one row, so one of them runs again and counts after the other.
update xpoints.email_changes set attempts = attempts + 1 where customer_id = %(customer_id)s

-- name: confirm_email
-- The new address is the customer's from now on.
update xpoints.customers set email = %(email)s, version = %(version)s where id = %(customer_id)s

-- name: close_email_change
-- The code came back.
update xpoints.email_changes set confirmed_at = now() where customer_id = %(customer_id)s

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
