"""What the staff see of the pipeline: how it is in all Regions, and where one order stands."""

import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import Field

from domain import refusals
from domain.refusals import Refusal
from domain.story import ListenerState, MessageState, Stage, Why, is_forgotten, waits
from handlers.edge.http import Api, Call, Route
from handlers.edge.models import AnswerBody
from handlers.edge.monitoring import Listener, Monitoring, MonitoringEnvironment, QueueState, Took, known
from sql.reads.orders import OrderStatus
from sql.transactions.overview import MOST, StoryEvent, StoryRows, read_overview, read_story

_ENVIRONMENT = MonitoringEnvironment.read()
_DATABASE = _ENVIRONMENT.database()
_MONITORING = Monitoring(_ENVIRONMENT)

_STAFF = frozenset({"staff"})

T = TypeVar("T")


class Kept(Generic[T]):
    """An answer of AWS that is kept for some seconds: however many look, it is asked once in that time.

    What was not answered is asked again at the next look.
    """

    def __init__(self, for_s: float, ask: Callable[[], T | None]) -> None:
        self._for_s = for_s
        self._ask = ask
        self._value: T | None = None
        self._until_s = 0.0

    def get(self) -> T | None:
        """Give it, at most so old; None where AWS did not say."""
        now_s = time.monotonic()
        # guard: AWS is asked once in a while, however many look
        if self._value is None or now_s >= self._until_s:
            self._value, self._until_s = self._ask(), now_s + self._for_s
        return self._value

    def forget(self) -> None:
        """Ask again at the next look."""
        self._value = None


#: Gauges are live to the page's two seconds. What CloudWatch has by the minute costs a request a metric.
_QUEUES = Kept(1.0, lambda: known("queues", lambda: _MONITORING.queues()))
_LISTENERS = Kept(60.0, lambda: known("rules", lambda: _MONITORING.listeners()))
_MINUTES = Kept(30.0, lambda: known("minutes", lambda: _MONITORING.minutes(datetime.now(UTC))))
_ALARMS = Kept(30.0, lambda: known("alarms", lambda: _MONITORING.alarms()))


# --- All Regions ------------------------------------------------------------------------------------------


class OutboxOfRegion(AnswerBody):
    """What waits in one Region's outbox. `is_capped`: there are more messages, and perhaps older ones."""

    region: str
    messages: int
    is_capped: bool
    oldest_s: int
    rejected: int
    last_error: str | None


class RelayWorkerOfRegion(AnswerBody):
    """A relay worker: whether it is at work, and how many of its Region's shards it holds."""

    region: str
    worker: int
    is_alive: bool
    shards: int


class Queue(AnswerBody):
    """A consumer's queue, approximately. `undelivered` are events that the bus could not put into any."""

    name: str
    waiting: int | None
    in_flight: int | None
    dead: int


class MinuteSeries(AnswerBody):
    """A figure by the minute, oldest first; null for a minute without one.

    `is_measured` is false where nobody measures it here.
    """

    name: str
    unit: Literal["count", "ms"]
    objective: float | None
    is_measured: bool
    values: list[float | None]


class MinuteChart(AnswerBody):
    """The last hour as CloudWatch tells it, from `since` on; `newest` is the last minute that it tells of."""

    since: datetime
    newest: datetime | None
    series: list[MinuteSeries]


class AlarmOn(AnswerBody):
    """An alarm that is on."""

    name: str
    since: datetime
    description: str


class AlarmStates(AnswerBody):
    """The stack's alarms: how many are quiet, how many have too few data, and those that are on."""

    quiet: int
    unknown: int
    on: list[AlarmOn]


class OperationsOverview(AnswerBody):
    """How the pipeline is. Outboxes, dead letters and relays are of all Regions, as they share one database.

    The rest is the answering Region's own, null where AWS did not say.
    """

    region: str
    at: datetime
    outboxes: list[OutboxOfRegion]
    outbox_dead_letters: Annotated[int, Field(description=f"Counted up to {MOST}.")]
    relay_workers: list[RelayWorkerOfRegion]
    queues: list[Queue] | None
    minutes: MinuteChart | None
    alarms: AlarmStates | None


def _show_operations(_: Call) -> OperationsOverview:
    overview = read_overview(_DATABASE)
    return OperationsOverview.of(
        region=_ENVIRONMENT.region,
        at=datetime.now(UTC),
        outboxes=overview.outboxes,
        outbox_dead_letters=overview.dead_letters,
        relay_workers=overview.workers,
        queues=_QUEUES.get(),
        minutes=_MINUTES.get(),
        alarms=_ALARMS.get(),
    )


# --- One order --------------------------------------------------------------------------------------------


class StoryTransaction(AnswerBody):
    """What the order's transaction took, by the request's log line: attempts, round trips, faults fixed."""

    attempts: int
    round_trips: int
    duration_ms: float
    faults: dict[str, int]


class StoryOutbox(AnswerBody):
    """A message that has not left its Region's outbox; with `failed_at`, as a dead letter."""

    region: str
    created_at: datetime
    attempts: int
    reason: str | None
    retry_at: datetime | None
    failed_at: datetime | None


class StoryConsumer(AnswerBody):
    """A consumer's handling of an event; `processed_at` is null where it has not had its effect."""

    consumer: str
    processed_at: datetime | None


class StoryMail(AnswerBody):
    """A message to the customer, without its text."""

    notification_id: UUID
    kind: str
    status: Literal["PENDING", "SENT", "SKIPPED"]
    created_at: datetime
    sent_at: datetime | None


class StoryWait(AnswerBody):
    """What an event waits for, and why."""

    stage: Stage
    name: str
    why: Why


class StoryStep(AnswerBody):
    """Something that happened to the order, and what followed from it.

    `published_at` is the bus's own time, in whole seconds; it is known once a consumer has had the message.
    `is_forgotten`: it is so long ago that what became of it has been deleted.
    """

    event_id: UUID
    type: str
    version: int
    occurred_at: datetime
    outbox: StoryOutbox | None
    published_at: datetime | None
    consumers: list[StoryConsumer]
    mails: list[StoryMail]
    waits: list[StoryWait]
    is_forgotten: bool


class OrderStory(AnswerBody):
    """One order from its request to its e-mail. `told_by` is the Region that answers.

    `transaction` is null where this Region's log has no line of the request: another Region's has it, or it
    is not written yet, or not kept any more.
    """

    order_id: UUID
    customer_id: UUID
    status: OrderStatus
    total_points: int
    placed_at: datetime
    region: str
    correlation_id: str | None
    told_by: str
    transaction: StoryTransaction | None
    steps: list[StoryStep]


def _tell_order(call: Call) -> OrderStory | Refusal:
    order_id = call.path_id("order_id")
    rows = read_story(_DATABASE, order_id)
    if rows is None:
        return refusals.unknown_order(order_id)
    listeners = _LISTENERS.get() or []
    queues = {queue.name: queue for queue in _QUEUES.get() or []}
    now = datetime.now(UTC)
    return OrderStory.of(
        rows.order,
        told_by=_ENVIRONMENT.region,
        transaction=_transaction(rows),
        steps=[_step(rows, event, listeners, queues, now) for event in rows.events],
    )


#: Transactions that the log told of, by order: it is asked for each once. Bounded; the oldest goes first.
_TOOK: dict[UUID, Took] = {}
_MOST_TOOK = 100


def _transaction(rows: StoryRows) -> StoryTransaction | None:
    order = rows.order
    if order.region != _ENVIRONMENT.region or order.correlation_id is None:
        return None
    took = _TOOK.get(order.order_id)
    if took is None:
        correlation_id, placed_at = order.correlation_id, order.placed_at
        took = known("log", lambda: _MONITORING.took(correlation_id, "checkout", placed_at))
        if took is None:
            return None
        _TOOK[order.order_id] = took
        if len(_TOOK) > _MOST_TOOK:
            del _TOOK[next(iter(_TOOK))]
    return StoryTransaction.of(took)


def _step(
    rows: StoryRows,
    event: StoryEvent,
    listeners: list[Listener],
    queues: dict[str, QueueState],
    now: datetime,
) -> StoryStep:
    here = rows.order.region == _ENVIRONMENT.region
    message = next((one for one in rows.messages if one.event_id == event.event_id), None)
    effects = [one for one in rows.effects if one.event_id == event.event_id]
    mails = [one for one in rows.notifications if one.event_id == event.event_id]
    states = {
        one.consumer: _listener_state(one, queues.get(one.consumer) if here else None)
        for one in listeners
        if one.event_type == event.event_type
    }
    relays = Counter(worker.region for worker in rows.workers if worker.is_alive)
    state = message and MessageState(
        message.attempts, message.failed_at is not None, relays[message.region] > 0
    )
    unsent = [mail.kind for mail in mails if mail.status == "PENDING"]
    forgotten = is_forgotten(event.occurred_at, now)
    waiting = (
        []
        if forgotten
        else waits(event.event_id, state, states, [effect.consumer for effect in effects], unsent)
    )
    had = {effect.consumer for effect in effects}
    return StoryStep.of(
        event_id=event.event_id,
        type=event.event_type,
        version=event.version,
        occurred_at=event.occurred_at,
        outbox=message,
        published_at=min((one.published_at for one in effects if one.published_at), default=None),
        consumers=[
            *effects,
            *(StoryConsumer(consumer=name, processed_at=None) for name in states if name not in had),
        ],
        mails=mails,
        waits=waiting,
        is_forgotten=forgotten,
    )


def _listener_state(listener: Listener, queue: QueueState | None) -> ListenerState:
    if queue is None:
        return ListenerState(listener.is_on, None, None)
    waiting = (queue.waiting or 0) + (queue.in_flight or 0)
    return ListenerState(listener.is_on, waiting, queue.dead)


handler = Api(
    [
        Route(
            "GET",
            "/staff/operations",
            _show_operations,
            "Show how the pipeline is, in all Regions",
            groups=_STAFF,
            answer=OperationsOverview,
            description=(
                "Gauges are of this moment. Figures by the minute and alarms are CloudWatch's, which tells "
                "of a minute one or two minutes later; they are asked for at most every 30 s."
            ),
        ),
        Route(
            "GET",
            "/staff/orders/{order_id}/story",
            _tell_order,
            "Tell one order's story, from its request to its e-mail",
            groups=_STAFF,
            answer=OrderStory,
            problems=("unknown-order",),
        ),
    ],
    lambda: _DATABASE,
)
