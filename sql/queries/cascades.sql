-- What follows an erased customer or a retired item: dependants go, a bounded number of them a transaction.

-- name: find_erased_customer
-- The username of a customer who is marked erased; null once it was forgotten.
select username from xpoints.customers where id = %(customer_id)s and erased_at is not null

-- name: close_balance
-- The account ends: the ledger adds up to 0 by now.
delete from xpoints.points_balances where customer_id = %(customer_id)s

-- name: delete_cart_of_customer
-- The next lines of the customer's cart.
delete from xpoints.shopping_cart_items
where (customer_id, item_id) in (
    select customer_id, item_id from xpoints.shopping_cart_items
    where customer_id = %(customer_id)s
    limit %(most)s
)

-- name: delete_notifications_of_customer
-- The next messages to the customer, sent or not.
delete from xpoints.notifications
where id in (select id from xpoints.notifications where customer_id = %(customer_id)s limit %(most)s)

-- name: delete_answers_to_customer
-- The next stored answers: they say what was ordered. The balance is gone first, so no repetition finds
-- anything to spend.
delete from xpoints.idempotency_records
where (customer_id, idempotency_key) in (
    select customer_id, idempotency_key from xpoints.idempotency_records
    where customer_id = %(customer_id)s
    limit %(most)s
)

-- name: delete_email_change_of_customer
-- The address that the customer wanted to have.
delete from xpoints.email_changes where customer_id = %(customer_id)s

-- name: forget_customer
-- What is left is a number that orders and ledger refer to.
update xpoints.customers
set username = null, first_name = null, last_name = null, maiden_name = null, gender = null, email = null,
    phone_num = null, age = null, address = null, city = null, state = null, state_code = null, postal_code = null
where id = %(customer_id)s and erased_at is not null

-- name: dismiss_staff_member
-- Whoever has no account is none of the staff.
delete from xpoints.staff_members where customer_id = %(customer_id)s

-- name: find_retired_item
-- The name of an item that is marked retired.
select coalesce(name, 'An item') as name from xpoints.catalog_items where id = %(item_id)s and retired_at is not null

-- name: last_cart_of_item
-- The last of the next customers in whose carts the item lies, in the order of their ids.
select customer_id
from (
    select customer_id from xpoints.shopping_cart_items
    where item_id = %(item_id)s and customer_id > %(after)s
    order by customer_id
    -- guard: a cascade's batch has an end
    limit %(most)s
) as batch
order by customer_id desc
limit 1

-- name: tell_shoppers
-- A message to each customer in whose cart the item lies.
-- bounded by: the batch up to a customer who was found by counting in the same snapshot
insert into xpoints.notifications (id, customer_id, event_id, kind, subject, body)
select gen_random_uuid(), customer_id, %(event_id)s, 'item-retired', %(subject)s, %(body)s
from xpoints.shopping_cart_items
where item_id = %(item_id)s and customer_id > %(after)s and customer_id <= %(upto)s

-- name: delete_cart_lines_of_item
-- The item leaves the carts of those who were told.
-- bounded by: the batch up to a customer who was found by counting in the same snapshot
delete from xpoints.shopping_cart_items
where item_id = %(item_id)s and customer_id > %(after)s and customer_id <= %(upto)s

-- name: next_image_of_item
-- The item's next picture, its file, and whether another item shows it, too.
select i.image_id, m.filename,
    exists (select 1 from xpoints.catalog_images c where c.image_id = i.image_id and c.item_id <> %(item_id)s)
    or exists (select 1 from xpoints.catalog_items o where o.thumbnail_id = i.image_id and o.id <> %(item_id)s)
        as is_shared
from (
    select image_id from xpoints.catalog_images where item_id = %(item_id)s
    union
    select thumbnail_id from xpoints.catalog_items where id = %(item_id)s and thumbnail_id is not null
) as i
left join xpoints.images m on m.id = i.image_id
order by i.image_id
limit 1

-- name: delete_urls_of_image
-- The picture's cached URLs.
-- bounded by: there is one row a Region, and AWS has a few dozen
delete from xpoints.image_urls where image_id = %(image_id)s

-- name: delete_image
-- The picture itself.
delete from xpoints.images where id = %(image_id)s

-- name: touch_image
-- Nothing changes but that two transactions that let go of the picture conflict.
update xpoints.images set filename = filename where id = %(image_id)s

-- name: delete_image_of_item
-- The item no longer shows the picture.
delete from xpoints.catalog_images where item_id = %(item_id)s and image_id = %(image_id)s

-- name: clear_thumbnail_of_item
-- The item no longer shows the picture in lists.
update xpoints.catalog_items set thumbnail_id = null where id = %(item_id)s and thumbnail_id = %(image_id)s

-- name: next_message_of_event
-- The next message about an event that is not sent yet.
select id from xpoints.notifications
where event_id = %(event_id)s and id > %(after)s and status = 'PENDING'
order by id
limit 1
