-- Who may be given a sign-in: what the database knows of a customer, whatever a message says.

-- name: find_enrollable
-- A customer's name, whether they are erased (their row stays, and says so), and whether they are of the staff.
select c.username, c.erased_at is not null as erased,
    exists (select 1 from xpoints.staff_members s where s.customer_id = c.id) as staff
from xpoints.customers c
where c.id = %(customer_id)s
