-- What consumers of events do to the database.

-- name: find_inbox_row
-- Whether this consumer has had its effect of this event.
select 1 from xpoints.inbox where event_id = %(event_id)s and consumer = %(consumer)s

-- name: insert_inbox_row
-- In the transaction of the effect, so that both happen or neither; with the bus's own time of the message.
insert into xpoints.inbox (event_id, consumer, published_at)
values (%(event_id)s, %(consumer)s, %(published_at)s)

-- name: read_consumed_version
-- The newest version of an aggregate that this consumer has had an effect of.
select version from xpoints.consumed_versions
where aggregate_id = %(aggregate_id)s and consumer = %(consumer)s

-- name: note_consumed_version
-- In the transaction of the effect; two versions at once write one row, so one of them runs again.
insert into xpoints.consumed_versions (aggregate_id, consumer, version)
values (%(aggregate_id)s, %(consumer)s, %(version)s)
on conflict (aggregate_id, consumer) do update set version = excluded.version, processed_at = now()

-- name: read_order_of_event
-- The order that an event tells of, as it is, and whether the event is in its history: what happened after it was
-- placed is written down with the event's id, in one transaction. No row where there is no such order.
select o.customer_id, o.status, o.total_points, o.refunded_points, e.event_id is not null as is_in_history
from xpoints.orders o
left join xpoints.order_events e on e.order_id = o.id and e.version = %(version)s::bigint
    and e.event_id = %(event_id)s and e.event_type = %(event_type)s
where o.id = %(order_id)s

-- name: delete_ordered_cart_lines
-- Lines of which everything was ordered, by the order itself and as long as its cart is not cleaned.
-- bounded by: the lines of one order, at most 100
delete from xpoints.shopping_cart_items c
using xpoints.orders o, xpoints.order_items l
where o.id = %(order_id)s and o.cart_cleaned_at is null and l.tx_id = o.id
    and c.customer_id = o.customer_id and c.item_id = l.cat_item_id and c.quantity <= l.unit_cnt

-- name: reduce_ordered_cart_lines
-- Lines to which the shopper added meanwhile keep what was added.
-- bounded by: the lines of one order, at most 100
update xpoints.shopping_cart_items c set quantity = c.quantity - l.unit_cnt
from xpoints.orders o, xpoints.order_items l
where o.id = %(order_id)s and o.cart_cleaned_at is null and l.tx_id = o.id
    and c.customer_id = o.customer_id and c.item_id = l.cat_item_id and c.quantity > l.unit_cnt

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
-- With an address it goes there, else to the customer's own at that moment.
insert into xpoints.notifications (id, customer_id, event_id, kind, subject, body, email)
values (%(id)s, %(customer_id)s, %(event_id)s, %(kind)s, %(subject)s, %(body)s, %(email)s)

-- name: claim_notification
-- Before it is sent, so that of two runs at once one sends it. The claim of a run that died ends by itself.
-- Not while a run is sending the message that this one follows: what is older leaves first, or not at all.
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
    and not exists (
        select 1 from xpoints.notifications older
        where older.id = %(follows)s
            -- guard: a message waits for the one that it follows
            and older.claimed_until > now()
    )

-- name: read_due_notification
-- A message that is not sent yet: whether this run has the claim, the text, and the address and first name as
-- they are at this moment. A message to another address than the customer's own says no name.
select
    -- guard: a message has one sender at a time
    n.claim_token = %(token)s as is_ours,
    n.customer_id, n.kind, n.subject, n.body, n.address_hash is not null as is_counted,
    case when c.id is not null then coalesce(n.email, c.email) end as email,
    -- guard: no name is said to an address that is not the customer's
    case when n.email is null then c.first_name end as first_name
from xpoints.notifications n
left join xpoints.customers c on c.id = n.customer_id and c.erased_at is null
where n.id = %(id)s
    -- guard: a closed message is not sent
    and n.status = 'PENDING'

-- name: close_notification
-- The message was handed to the mail service, or there was nobody to send it to. One that was withdrawn while it
-- was on its way has been sent all the same, and so has one that another run claimed meanwhile: that one may die,
-- and nobody comes again.
update xpoints.notifications set status = %(status)s, sent_at = now(), claimed_until = null, email = null
where id = %(id)s and (claim_token = %(token)s or %(status)s = 'SENT')

-- name: find_suppressed_address
-- Whether nothing is sent to an address any more.
select 1 from xpoints.suppressed_addresses where address_hash = %(address_hash)s

-- name: read_address_of_message
-- The address that a message went to, as its hash; no row where it went nowhere.
select address_hash from xpoints.notifications where id = %(id)s
    -- guard: a message that went nowhere silences nobody
    and address_hash is not null

-- name: suppress_address
-- What was said of it first stays: the day, and whether it bounced or was complained of.
insert into xpoints.suppressed_addresses (address_hash, reason) values (%(address_hash)s, %(reason)s)
on conflict (address_hash) do nothing

-- name: let_notification_go
-- The message may go to this address: from now on it counts there. No row where it is no more to be sent, or by
-- another run.
update xpoints.notifications set address_hash = %(address_hash)s
where id = %(id)s and claim_token = %(token)s and status = 'PENDING'

-- name: set_email_code
-- The code that is being sent, where its change is still the customer's last. A message that goes out once more
-- has a code of its own, which replaces the one before.
update xpoints.email_changes
set code_hash = %(code_hash)s, attempts = 0, expires_at = now() + make_interval(secs => %(valid_s)s)
where customer_id = %(customer_id)s and change_id = %(id)s and confirmed_at is null

-- name: release_notification
-- It could not be sent: whoever comes next need not wait for the end of the claim.
update xpoints.notifications set claimed_until = null where id = %(id)s and claim_token = %(token)s

-- name: withdraw_notification
-- The message is no longer true: nobody sends it any more, but for a run that is sending it at this moment.
update xpoints.notifications set status = 'SKIPPED', sent_at = now()
where id = %(id)s and status = 'PENDING'
