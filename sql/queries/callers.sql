-- Admission: what is asked about a caller before anything is done for them (sql/admission.py).

-- name: find_caller
-- Whether the shop serves this customer: one whom it knows and who is not on the way out.
select false as is_staff from xpoints.customers where id = %(customer_id)s and erased_at is null

-- name: find_caller_of_staff
-- The same, and whether they are one of the staff now: a token goes on saying so for an hour.
select s.customer_id is not null as is_staff
from xpoints.customers c
left join xpoints.staff_members s on s.customer_id = c.id
where c.id = %(customer_id)s and c.erased_at is null
