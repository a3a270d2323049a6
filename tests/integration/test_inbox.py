"""An event has its effect once at each consumer, and a stale version none."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import UUID, uuid4

from domain.events import Envelope, read_event
from domain.events.orders import OrderPlaced
from events.contracts import sample
from sql.connection import Database
from sql.inbox import EffectOutcome, Version, once
from tests.integration.conftest import Connect


def consume(
    database: Database, event_id: UUID, version: Version | None = None, consumer: str = "c"
) -> EffectOutcome:
    return once(database, consumer, event(event_id), (), lambda: (), version).value


def event(event_id: UUID, published_at: datetime | None = None) -> Envelope[OrderPlaced]:
    """Give an event of this id, as the bus hands it on."""
    (record,) = sample(OrderPlaced)["Records"]
    detail = json.loads(record["body"])["detail"] | {"id": str(event_id)}
    return read_event(OrderPlaced, json.dumps(detail), published_at)


def test_an_event_has_its_effect_once_at_each_consumer(database: Callable[..., Database]) -> None:
    consumers, event_id = database("consumers"), uuid4()
    assert consume(consumers, event_id) is EffectOutcome.DONE
    assert consume(consumers, event_id) is EffectOutcome.DUPLICATE
    assert consume(consumers, event_id, consumer="other") is EffectOutcome.DONE


def test_an_older_version_than_the_last_has_no_effect_and_is_not_looked_at_again(
    database: Callable[..., Database],
) -> None:
    consumers, order, late = database("consumers"), uuid4(), uuid4()
    assert consume(consumers, uuid4(), Version(order, 2)) is EffectOutcome.DONE
    assert consume(consumers, late, Version(order, 1)) is EffectOutcome.STALE
    assert consume(consumers, late, Version(order, 1)) is EffectOutcome.DUPLICATE
    assert consume(consumers, uuid4(), Version(order, 3)) is EffectOutcome.DONE


def test_versions_are_counted_for_each_consumer_and_aggregate(database: Callable[..., Database]) -> None:
    consumers, order = database("consumers"), uuid4()
    assert consume(consumers, uuid4(), Version(order, 2)) is EffectOutcome.DONE
    assert consume(consumers, uuid4(), Version(order, 1), consumer="other") is EffectOutcome.DONE
    assert consume(consumers, uuid4(), Version(uuid4(), 1)) is EffectOutcome.DONE


def test_of_versions_that_come_at_once_the_newest_stays(
    database: Callable[..., Database], connect: Connect
) -> None:
    order, start = uuid4(), threading.Barrier(4)

    def run(number: int) -> EffectOutcome:
        way = database("consumers")
        way.connection()
        start.wait()
        return consume(way, uuid4(), Version(order, number))

    with ThreadPoolExecutor(4) as pool:
        effects = list(pool.map(run, range(1, 5)))
    assert effects[3] is EffectOutcome.DONE
    assert set(effects) <= {EffectOutcome.DONE, EffectOutcome.STALE}
    rows = connect().execute("select version from xpoints.consumed_versions").fetchall()
    assert rows == [(4,)]


def test_the_inbox_keeps_when_the_bus_took_the_message(
    database: Callable[..., Database], connect: Connect
) -> None:
    consumers, at = database("consumers"), datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    once(consumers, "told", event(uuid4(), at), (), lambda: ())
    once(consumers, "untold", event(uuid4()), (), lambda: ())
    rows = connect().execute("select consumer, published_at from xpoints.inbox order by 1").fetchall()
    assert rows == [("told", at), ("untold", None)]
