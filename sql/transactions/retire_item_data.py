"""After an item's retirement: it leaves all carts, its pictures go, and shoppers who had it are told.

Each Region deletes a picture's object from its own bucket (`sql.transactions.clean_region`).
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from domain.events import Envelope
from domain.events.items import CatalogItemRetired, ItemRetirementResumed
from domain.messages import item_retired
from sql.cascade import Advance, Checkpoint, Slice, by_range, enqueue_next_slice, is_of, run_slice
from sql.connection import Database
from sql.queries import Statement, load
from sql.scan import MAX_ROWS, NO_ID
from sql.transaction import Transaction, run
from sql.transactions.clean_region import Cleanup, CleanupKind, leave_cleanups
from sql.transactions.notify import DueMessage, send_due

CONSUMER = "retire-item"

#: A cart line that goes and the message that says so are two rows.
CARTS_AT_ONCE = MAX_ROWS // 2

_CASCADES = load("cascades")
_FIND_RETIRED = _CASCADES["find_retired_item"].of(str)
_DELETE_LINK = _CASCADES["delete_image_of_item"]
_CLEAR_THUMBNAIL = _CASCADES["clear_thumbnail_of_item"]
_DELETE_URLS = _CASCADES["delete_urls_of_image"]
_DELETE_IMAGE = _CASCADES["delete_image"]
_TOUCH_IMAGE = _CASCADES["touch_image"]
_NEXT_MESSAGE = _CASCADES["next_message_of_event"].of(UUID)
_LAST_CART = _CASCADES["last_cart_of_item"].of(UUID)


class _Image(NamedTuple):
    image_id: UUID
    filename: str | None
    is_shared: bool


_NEXT_IMAGE = _CASCADES["next_image_of_item"].of(_Image)


class NotRetiredError(Exception):
    """The event names an item that is not marked retired, so nothing was removed. Find out who wrote it."""


def retire_item_data(
    database: Database,
    event: "Envelope[CatalogItemRetired] | Envelope[ItemRetirementResumed]",
    send: Callable[[DueMessage], None],
    is_over: Callable[[], bool],
    region: str,
    now: datetime,
    observe: Callable[[str], object] = lambda _word: None,
) -> Slice:
    """Run one slice of the cascade that follows a retirement.

    `region` is where it runs, and with `now` that of the next slice's event; `observe` is told what became of
    each message, as `send_due` says it. Raises NotRetiredError, and as `sql.cascade.run_slice` and `send` do.
    """
    data = event.data
    item_id = data.item_id
    retirement_id, start = event.id, None
    if isinstance(data, ItemRetirementResumed):
        retirement_id, start = data.retirement_id, Checkpoint(data.step, data.after)
    found = run(database, lambda transaction: transaction.read(_FIND_RETIRED(item_id=item_id))[0]).value
    if not found:
        raise NotRetiredError(f"item {item_id} is not marked retired")
    # guard: an event's word is not taken for whose retirement it is
    if not is_of(event, item_id, CONSUMER):
        raise NotRetiredError(f"event {event.id} is none of the retirement of item {item_id}")
    text = item_retired(found[0])

    def remove_picture(_: UUID | None) -> Advance:
        return run(database, lambda transaction: _forget_picture(transaction, item_id, region)).value

    def tell(after: UUID | None) -> Advance:
        statement = _NEXT_MESSAGE(event_id=retirement_id, after=after or NO_ID)
        found = run(database, lambda transaction: transaction.read(statement)[0]).value
        if not found:
            return Advance(0, after, is_done=True)
        # One, then a look at the clock: the mail service may take seconds for each.
        (notification_id,) = found
        observe(send_due(database, notification_id, send))
        return Advance(1, notification_id, is_done=False)

    steps = {
        "carts": by_range(
            database,
            _LAST_CART,
            (_CASCADES["tell_shoppers"], _CASCADES["delete_cart_lines_of_item"]),
            CARTS_AT_ONCE,
            item_id=item_id,
            event_id=retirement_id,
            subject=text.subject,
            body=text.body,
        ),
        "pictures": remove_picture,
        "messages": tell,
    }

    def enqueue_next(checkpoint: Checkpoint) -> Statement[Any]:
        following = ItemRetirementResumed(
            item_id=item_id, retirement_id=retirement_id, step=checkpoint.step, after=checkpoint.after
        )
        return enqueue_next_slice(event, CONSUMER, following, region, now)

    return run_slice(database, CONSUMER, event, steps, start, is_over, enqueue_next)


def _forget_picture(transaction: Transaction, item_id: UUID, region: str) -> Advance:
    """Have the item let go of its next picture, which goes with the last item that shows it."""
    (rows,) = transaction.read(_NEXT_IMAGE(item_id=item_id))
    if not rows:
        return Advance(0, None, is_done=True)
    ((image_id, filename, is_shared),) = rows
    writes = [
        _DELETE_LINK(item_id=item_id, image_id=image_id),
        _CLEAR_THUMBNAIL(item_id=item_id, image_id=image_id),
    ]
    if is_shared:
        # Two items that let go of it at once see each other: they write one row, so one of them runs again.
        # guard: two items that let go of a picture at once conflict
        writes.append(_TOUCH_IMAGE(image_id=image_id))
    else:
        writes += (_DELETE_URLS(image_id=image_id), _DELETE_IMAGE(image_id=image_id))
        if filename is not None:
            # In the same transaction: once the row is gone, nobody knows the object's name.
            writes.append(leave_cleanups(Cleanup(CleanupKind.PICTURE, image_id, filename), region))
    return Advance(sum(one.touched for one in transaction.commit(*writes)), None, is_done=False)
