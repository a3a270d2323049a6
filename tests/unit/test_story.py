"""Where an order waits: each reason, in the order of an event's way."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from domain.events import EVENT_MEMORY_DAYS
from domain.story import ListenerState, MessageState, is_forgotten, waits

EVENT = uuid4()
QUIET = ListenerState(is_on=True, waiting=0, dead=0)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (MessageState(0, is_dead=False, has_relay=True), "under-way"),
        (MessageState(0, is_dead=False, has_relay=False), "no-relay"),
        (MessageState(3, is_dead=False, has_relay=False), "rejected"),
        (MessageState(10, is_dead=True, has_relay=True), "dead-letter"),
    ],
)
def test_a_message_that_has_not_left_waits_there_and_nothing_behind_it_does(
    message: MessageState, why: str
) -> None:
    (found,) = waits(EVENT, message, {"notify": QUIET}, (), ())
    assert (found.event_id, found.stage, found.name, found.why) == (EVENT, "outbox", "relay", why)


@pytest.mark.parametrize(
    ("listener", "why"),
    [
        (ListenerState(is_on=False, waiting=4, dead=4), "rule-off"),
        (ListenerState(is_on=True, waiting=None, dead=None), "other-region"),
        (ListenerState(is_on=True, waiting=4, dead=1), "dead-letter-queue"),
        (ListenerState(is_on=True, waiting=4, dead=0), "in-queue"),
        (QUIET, "not-in-queue"),
    ],
)
def test_a_consumer_without_its_effect_is_waited_for(listener: ListenerState, why: str) -> None:
    found = waits(EVENT, None, {"clean-cart": QUIET, "notify": listener}, ["clean-cart"], ())
    assert [(one.stage, one.name, one.why) for one in found] == [("consumer", "notify", why)]


def test_a_message_that_a_consumer_has_had_is_past_the_outbox_whatever_its_row_says() -> None:
    row = MessageState(0, is_dead=False, has_relay=False)
    assert waits(EVENT, row, {"clean-cart": QUIET}, ["clean-cart"], ()) == []


def test_a_written_message_to_the_customer_is_waited_for_until_it_is_sent() -> None:
    found = waits(EVENT, None, {"notify": QUIET}, ["notify"], ["order-confirmation"])
    assert [(one.stage, one.name, one.why) for one in found] == [("e-mail", "order-confirmation", "not-sent")]
    assert waits(EVENT, None, {"notify": QUIET}, ["notify"], ()) == []


def test_an_event_to_which_nobody_listens_waits_for_nobody() -> None:
    assert waits(EVENT, None, {}, (), ()) == []


def test_what_is_older_than_the_memory_of_events_is_not_waited_for() -> None:
    now = datetime(2026, 6, 1, tzinfo=UTC)
    assert not is_forgotten(now - timedelta(days=EVENT_MEMORY_DAYS), now)
    assert is_forgotten(now - timedelta(days=EVENT_MEMORY_DAYS, seconds=1), now)
