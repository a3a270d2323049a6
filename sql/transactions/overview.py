"""What the staff's pages show of the pipeline: the state of all Regions, and where one order stands."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from domain.events import event_of
from domain.events.orders import OrderPlaced
from sql.connection import Database
from sql.outbox import shard_of
from sql.queries import load
from sql.transaction import snapshot

#: Rows of a Region's outbox, and dead letters, that are looked at; where there are more, that is said.
MOST = 5000

_QUERIES = load("overview")


class OutboxState(NamedTuple):
    """What waits in one Region's outbox. `is_capped`: there are more messages, perhaps older ones."""

    region: str
    messages: int
    is_capped: bool
    oldest_s: int
    rejected: int
    last_error: str | None


class RelayWorker(NamedTuple):
    """A relay worker, and how many shards it holds."""

    region: str
    worker: int
    is_alive: bool
    shards: int


class Overview(NamedTuple):
    """The pipeline's state in all Regions, as one database tells it."""

    outboxes: list[OutboxState]
    dead_letters: int
    workers: list[RelayWorker]


class StoryOrder(NamedTuple):
    """An order as its story begins."""

    order_id: UUID
    customer_id: UUID
    status: str
    total_points: int
    placed_at: datetime
    region: str
    correlation_id: str | None


class StoryEvent(NamedTuple):
    """Something that happened to it, and was announced."""

    event_id: UUID
    event_type: str
    version: int
    occurred_at: datetime


class StoryMessage(NamedTuple):
    """A message that has not left: it waits in its Region's outbox, or is a dead letter since `failed_at`."""

    event_id: UUID
    region: str
    created_at: datetime
    attempts: int
    reason: str | None
    retry_at: datetime | None
    failed_at: datetime | None


class StoryEffect(NamedTuple):
    """A consumer's effect of an event. `published_at` is the bus's time, None for rows older than that."""

    event_id: UUID
    consumer: str
    published_at: datetime | None
    processed_at: datetime


class StoryNotification(NamedTuple):
    """A message to the customer."""

    notification_id: UUID
    event_id: UUID
    kind: str
    status: str
    created_at: datetime
    sent_at: datetime | None


class StoryRows(NamedTuple):
    """All that the tables hold of an order's way through the pipeline, its placing first."""

    order: StoryOrder
    events: list[StoryEvent]
    messages: list[StoryMessage]
    effects: list[StoryEffect]
    notifications: list[StoryNotification]
    workers: list[RelayWorker]


_READ_OUTBOXES = _QUERIES["read_outboxes"].of(OutboxState)
_COUNT_DEAD_LETTERS = _QUERIES["count_some_dead_letters"].of(int)
_READ_WORKERS = _QUERIES["read_workers"].of(RelayWorker)
_READ_ORDER = _QUERIES["read_story_order"].of(StoryOrder)
_READ_EVENTS = _QUERIES["read_story_events"].of(StoryEvent)
_READ_MESSAGES = _QUERIES["read_story_messages"].of(StoryMessage)
_READ_EFFECTS = _QUERIES["read_story_effects"].of(StoryEffect)
_READ_NOTIFICATIONS = _QUERIES["read_story_notifications"].of(StoryNotification)


def read_overview(database: Database, most: int = MOST) -> Overview:
    """Read the state of all Regions that the database knows of, in one round trip."""
    outboxes, (dead_letters,), workers = snapshot(
        database,
        _READ_OUTBOXES(region=database.settings.region, most=most),
        _COUNT_DEAD_LETTERS(most=most),
        _READ_WORKERS(),
    )
    return Overview(outboxes, dead_letters, workers)


def read_story(database: Database, order_id: UUID) -> StoryRows | None:
    """Read what became of an order, in two round trips; None where there is no such order."""
    orders, later = snapshot(database, _READ_ORDER(order_id=order_id), _READ_EVENTS(order_id=order_id))
    if not orders:
        return None
    (order,) = orders
    placed = StoryEvent(event_of(order_id), OrderPlaced.type_name, 1, order.placed_at)
    events = [placed, *later]
    ids: Sequence[UUID] = [event.event_id for event in events]
    messages, effects, notifications, workers = snapshot(
        database,
        _READ_MESSAGES(region=order.region, ids=ids, shards=[shard_of(event_id) for event_id in ids]),
        _READ_EFFECTS(ids=ids),
        _READ_NOTIFICATIONS(ids=ids),
        _READ_WORKERS(),
    )
    return StoryRows(order, events, messages, effects, notifications, workers)
