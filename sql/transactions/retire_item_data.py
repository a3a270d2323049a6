"""After an item's retirement: it leaves all carts, its pictures go, and shoppers who had it are told."""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from domain.events import CatalogItemRetired, Envelope, ItemRetirementContinued
from domain.messages import item_retired
from sql.cascade import Advance, Place, Turn, by_range, next_turn, take_turn
from sql.connection import Database
from sql.queries import Statement, load
from sql.transaction import Transaction, run
from sql.transactions.notify import DueMessage, send_due
from sql.walk import MAX_ROWS, NO_ID

CONSUMER = "retire-item"

#: A cart line that goes and the message that says so are two rows.
CARTS_AT_ONCE = MAX_ROWS // 2

_CASCADES = load("cascades")
_FIND_RETIRED = _CASCADES["find_retired_item"]
_NEXT_IMAGE = _CASCADES["next_image_of_item"]
_DELETE_LINK = _CASCADES["delete_image_of_item"]
_CLEAR_THUMBNAIL = _CASCADES["clear_thumbnail_of_item"]
_DELETE_URLS = _CASCADES["delete_urls_of_image"]
_DELETE_IMAGE = _CASCADES["delete_image"]
_NEXT_MESSAGE = _CASCADES["next_message_of_event"]


class NotRetiredError(Exception):
    """The event names an item that is not marked retired, so nothing was removed. Find out who wrote it."""


class _Picture(NamedTuple):
    image_id: UUID
    filename: str | None
    is_shared: bool


def retire_item_data(
    database: Database,
    event: Envelope[CatalogItemRetired] | Envelope[ItemRetirementContinued],
    delete_picture: Callable[[str], None],
    send: Callable[[DueMessage], None],
    is_over: Callable[[], bool],
    region: str,
    now: datetime,
) -> Turn:
    """Take one turn of the cascade that follows a retirement.

    `delete_picture(filename)` removes a picture's object; repeating it does no harm. `region` and `now` are
    those of the next turn's event. Raises NotRetiredError, and as `sql.cascade.take_turn` and `send` do.
    """
    data = event.data
    item_id = data.item_id
    retirement_id, start = event.id, None
    if isinstance(data, ItemRetirementContinued):
        retirement_id, start = data.retirement_id, Place(data.step, data.after)
    found = run(database, lambda transaction: transaction.read(_FIND_RETIRED(item_id=item_id))[0]).value
    if not found:
        raise NotRetiredError(f"item {item_id} is not marked retired")
    text = item_retired(found[0][0])

    def remove_picture(_: UUID | None) -> Advance:
        picture = run(database, lambda transaction: _next_picture(transaction, item_id)).value
        if picture is None:
            return Advance(0, None, is_done=True)
        # The object goes first: once the row is gone, nobody knows the object's name.
        if picture.filename is not None and not picture.is_shared:
            delete_picture(picture.filename)
        rows = run(database, lambda transaction: _forget_picture(transaction, item_id, picture)).value
        return Advance(rows, None, is_done=False)

    def tell(after: UUID | None) -> Advance:
        statement = _NEXT_MESSAGE(event_id=retirement_id, after=after or NO_ID)
        found = run(database, lambda transaction: transaction.read(statement)[0]).value
        if not found:
            return Advance(0, after, is_done=True)
        # One, then a look at the clock: the mail service may take seconds for each.
        notification_id: UUID = found[0][0]
        send_due(database, notification_id, send)
        return Advance(1, notification_id, is_done=False)

    steps = {
        "carts": by_range(
            database,
            _CASCADES["last_cart_of_item"],
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

    def hand_on(place: Place) -> Statement:
        following = ItemRetirementContinued(
            item_id=item_id, retirement_id=retirement_id, step=place.step, after=place.after
        )
        return next_turn(event, CONSUMER, following, region, now)

    return take_turn(database, CONSUMER, event.id, steps, start, is_over, hand_on)


def _next_picture(transaction: Transaction, item_id: UUID) -> _Picture | None:
    (rows,) = transaction.read(_NEXT_IMAGE(item_id=item_id))
    return _Picture(*rows[0]) if rows else None


def _forget_picture(transaction: Transaction, item_id: UUID, picture: _Picture) -> int:
    image_id = picture.image_id
    writes = [
        _DELETE_LINK(item_id=item_id, image_id=image_id),
        _CLEAR_THUMBNAIL(item_id=item_id, image_id=image_id),
    ]
    if not picture.is_shared:
        writes += (_DELETE_URLS(image_id=image_id), _DELETE_IMAGE(image_id=image_id))
    return sum(one.touched for one in transaction.commit(*writes))
