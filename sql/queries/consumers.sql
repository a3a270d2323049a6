-- What consumers of events do to the database.

-- name: find_inbox_row
-- Whether this consumer has had its effect of this event.
select 1 from xpoints.inbox where event_id = %(event_id)s and consumer = %(consumer)s

-- name: insert_inbox_row
-- In the transaction of the effect, so that both happen or neither.
insert into xpoints.inbox (event_id, consumer) values (%(event_id)s, %(consumer)s)

-- name: read_consumed_version
-- The newest version of an aggregate that this consumer has had an effect of.
select version from xpoints.consumed_versions
where aggregate_id = %(aggregate_id)s and consumer = %(consumer)s

-- name: note_consumed_version
-- In the transaction of the effect; two versions at once write one row, so one of them runs again.
insert into xpoints.consumed_versions (aggregate_id, consumer, version)
values (%(aggregate_id)s, %(consumer)s, %(version)s)
on conflict (aggregate_id, consumer) do update set version = excluded.version, processed_at = now()

-- name: delete_ordered_cart_lines
-- Lines of which everything was ordered.
delete from xpoints.shopping_cart_items c
using unnest(%(item_ids)s::uuid[], %(quantities)s::int[]) as ordered (item_id, quantity)
where c.customer_id = %(customer_id)s and c.item_id = ordered.item_id and c.quantity <= ordered.quantity

-- name: reduce_ordered_cart_lines
-- Lines to which the shopper added meanwhile keep what was added.
update xpoints.shopping_cart_items c set quantity = c.quantity - ordered.quantity
from unnest(%(item_ids)s::uuid[], %(quantities)s::int[]) as ordered (item_id, quantity)
where c.customer_id = %(customer_id)s and c.item_id = ordered.item_id and c.quantity > ordered.quantity

-- name: mark_cart_cleaned
-- From now on the order's quantities no longer count against the cart.
update xpoints.orders set cart_cleaned_at = now() where id = %(order_id)s and cart_cleaned_at is null

-- name: read_order_for_message
-- The lines of an order with their names, for the message to the customer.
select l.cat_item_id as item_id, coalesce(i.name, 'an item') as name, l.unit_cnt as quantity,
    l.unit_points_price as unit_points
from xpoints.order_items l
left join xpoints.catalog_items i on i.id = l.cat_item_id
where l.tx_id = %(order_id)s
order by i.name, l.cat_item_id

-- name: insert_notification
-- A message that is due; sending comes after the commit.
insert into xpoints.notifications (id, customer_id, event_id, kind, subject, body)
values (%(id)s, %(customer_id)s, %(event_id)s, %(kind)s, %(subject)s, %(body)s)

-- name: claim_notification
-- Before it is sent, so that of two runs at once one sends it. The claim of a run that died ends by itself.
-- Safe to repeat with the same token.
update xpoints.notifications
set claim_token = %(token)s, claimed_until = now() + make_interval(secs => %(claim_s)s)
where id = %(id)s and status = 'PENDING'
    and (
        claimed_until is null
        -- guard: the claim of a run that died ends
        or claimed_until <= now()
        or claim_token = %(token)s
    )

-- name: read_due_notification
-- A message that is not sent yet: whether this run has the claim, the text, and the address and first name as
-- they are at this moment.
select
    -- guard: a message has one sender at a time
    n.claim_token = %(token)s as is_ours,
    n.subject, n.body, c.email, c.first_name
from xpoints.notifications n
left join xpoints.customers c on c.id = n.customer_id and c.erased_at is null
where n.id = %(id)s
    -- guard: a closed message is not sent
    and n.status = 'PENDING'

-- name: close_notification
-- The message was handed to the mail service, or there was nobody to send it to.
update xpoints.notifications set status = %(status)s, sent_at = now()
where id = %(id)s and status = 'PENDING'

-- name: withdraw_notification
-- The message is no longer true: it is not sent, unless a run is sending it at this moment.
update xpoints.notifications set status = 'SKIPPED', sent_at = now()
where id = %(id)s and status = 'PENDING' and (claimed_until is null or claimed_until <= now())
