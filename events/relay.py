"""The relay: from the outbox to the bus, again and again, until its time is up."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol
from uuid import UUID

from domain.outbox import Held, OutboxMessage, OutboxUnavailableError, Shard, Verdict, judge
from events.publish import EventsClient, Publication, is_there

#: Lags are counted in steps of so many milliseconds, which bounds the memory of a run.
_LAG_STEP_MS = 10


class RelayOutbox(Protocol):
    """What the relay needs of the database. Every method may raise OutboxUnavailableError."""

    def hold(self, lease_s: float) -> Held | None:
        """Renew leases and take a fair share of the Region's shards; None when a newer run has begun."""
        ...

    def rescue(self, age_s: float, lease_s: float) -> Held:
        """Take over stranded shards of other Regions."""
        ...

    def release(self, shards: Sequence[Shard]) -> None:
        """Give some leases back; what was taken of these shards has landed."""
        ...

    def release_all(self) -> None:
        """Give all leases back and go on without."""
        ...

    def leave(self) -> None:
        """Give all leases back for good."""
        ...

    def take(self, most: int, skip: Iterable[UUID], served: Iterable[int]) -> list[OutboxMessage]:
        """Read messages of the shards held, but neither those of `skip` nor of the shards `served`."""
        ...

    def settle(self, accepted: Sequence[OutboxMessage], verdict: Verdict) -> None:
        """Record what the bus answered. Safe to repeat."""
        ...


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """How a relay works.

    A lease outlives the slowest request (`handlers.relay` bounds that), so nobody else publishes what is on
    its way. It is renewed at a third of its length; without a full share the relay asks every `ask_s`. Polls
    are `poll_s` apart while there is something to do and up to `idle_s` when there is not: the pause bounds
    the lag, and gathers messages that then share a statement.

    Before it publishes anything, every `ask_bus_s` from then on, and before each try while nothing gets
    through, a relay asks whether the bus is there: what is sent to one that is gone counts as accepted and is
    lost, so that a bus that is deleted under a relay costs the messages of `ask_bus_s` at most.

    When for `outage_s` no message gets through, all leases are given back, so that another Region's relay can
    take over; `probe_s` later this one tries again. Shards of other Regions are taken over when nobody holds
    them and a message has waited for `takeover_s`.
    """

    bus: str
    batch: int = 500
    parallel: int = 50
    lease_s: float = 15.0
    ask_s: float = 0.5
    poll_s: float = 0.1
    idle_s: float = 0.5
    ask_bus_s: float = 5.0
    outage_s: float = 5.0
    probe_s: float = 15.0
    rescue_every_s: float = 10.0
    takeover_s: float = 60.0


@dataclass(slots=True)
class RelayReport:
    """What one run did. Lag is the time from a message's creation to the bus's yes."""

    polls: int = 0
    published: int = 0
    rejected: int = 0
    dead_lettered: int = 0
    outages: int = 0
    database_faults: int = 0
    superseded: bool = False
    lags: Counter[int] = field(default_factory=Counter)

    def observe(self, lags_ms: Iterable[float]) -> None:
        """Note a lag for each message."""
        self.lags.update(int(lag_ms / _LAG_STEP_MS) for lag_ms in lags_ms)

    def lag_ms(self, percent: float) -> int:
        """Give the lag within which `percent` of the messages were published, 0 without any."""
        below = 0
        for step in sorted(self.lags):
            below += self.lags[step]
            if below * 100 >= percent * self.published:
                return (step + 1) * _LAG_STEP_MS
        return 0


class _Flight(NamedTuple):
    messages: Sequence[OutboxMessage]
    publication: Publication
    read_at: float


class _Debt(NamedTuple):
    """What the bus answered and the database does not know yet."""

    accepted: Sequence[OutboxMessage]
    verdict: Verdict


class Relay:
    """One run of a relay. Reading the next messages overlaps the requests that carry the ones before."""

    def __init__(
        self,
        outbox: RelayOutbox,
        client: Callable[[], EventsClient],
        settings: RelaySettings,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.report = RelayReport()
        self._outbox = outbox
        self._client = client
        self._settings = settings
        self._monotonic = monotonic
        self._sleep = sleep
        self._held = False
        self._hold_at = self._rescue_at = self._ask_bus_at = 0.0
        self._pause_s = settings.poll_s
        self._failing_since: float | None = None
        self._flights: deque[_Flight] = deque()
        self._debts: deque[_Debt] = deque()
        self._served: set[int] = set()

    def run(self, until: float) -> RelayReport:
        """Publish what waits until the monotonic moment `until`, or until a newer run has taken over."""
        with ThreadPoolExecutor(self._settings.parallel, thread_name_prefix="put-events") as pool:
            while not self.report.superseded and self._monotonic() < until:
                try:
                    pause_s = self._round(pool)
                except OutboxUnavailableError:
                    self.report.database_faults += 1
                    pause_s = self._slower()
                if pause_s:
                    self._sleep(min(pause_s, max(0.0, until - self._monotonic())))
            self._finish()
        return self.report

    def _round(self, pool: ThreadPoolExecutor) -> float:
        """Do one round; give the seconds to wait before the next."""
        self._pay()
        self._keep_leases()
        if self.report.superseded:
            return 0.0
        if not self._held:
            self._land_all()
            return self._settings.ask_s
        more = self._send_next(pool)
        sent = bool(self._flights)
        while len(self._flights) > int(more and self._failing_since is None):
            self._land()
        if self._failing_since is not None:
            return self._endure(self._failing_since)
        if not sent and not more:
            return self._slower()
        self._pause_s = self._settings.poll_s
        return 0.0 if more else self._pause_s

    def _keep_leases(self) -> None:
        settings, now = self._settings, self._monotonic()
        if now >= self._hold_at:
            held = self._outbox.hold(settings.lease_s)
            self.report.superseded = held is None
            self._held = held is not None and bool(held.kept)
            self._hold_at = now + (settings.lease_s / 3 if self._held else settings.ask_s)
            self._give_up(held)
        if now >= self._rescue_at and not self.report.superseded:
            self._rescue_at = now + settings.rescue_every_s
            rescued = self._outbox.rescue(settings.takeover_s, 2 * settings.rescue_every_s)
            # guard: stranded outboxes are taken over
            self._held = self._held or bool(rescued.kept)
            self._give_up(rescued)

    def _give_up(self, held: Held | None) -> None:
        """Land what is on its way and give up what others are to have: they would publish it once more."""
        if held is not None and held.surplus:
            # guard: a shard is given up when its messages have landed
            self._land_all()
            self._outbox.release(held.surplus)

    def _send_next(self, pool: ThreadPoolExecutor) -> bool:
        """Read messages and put them on their way; tell whether there are more, as far as one can see."""
        # A bus in trouble gets a tenth.
        most = self._settings.batch if self._failing_since is None else max(1, self._settings.batch // 10)
        skip = [message.id for flight in self._flights for message in flight.messages]
        messages = self._outbox.take(most, skip, self._served)
        self.report.polls += 1
        # guard: nothing is sent to a bus that is gone
        if messages and not self._bus_is_there():
            self._abandon()
            return False
        if messages:
            publication = Publication(self._client(), self._settings.bus, messages, pool)
            self._flights.append(_Flight(messages, publication, self._monotonic()))
        if len(messages) == most:
            # Which rows come first is the server's choice: a shard that came waits for the others.
            self._served.update(message.shard for message in messages)
            return True
        more = bool(self._served)
        self._served.clear()
        return more

    def _bus_is_there(self) -> bool:
        now = self._monotonic()
        if now < self._ask_bus_at and self._failing_since is None:
            return True
        there = is_there(self._client(), self._settings.bus)
        self._ask_bus_at = now + (self._settings.ask_bus_s if there else 0)
        return there

    def _abandon(self) -> None:
        """Leave all in the outbox: what a bus that is gone said of messages on their way proves nothing."""
        while self._flights:
            self._flights.popleft().publication.result()
        self.report.outages += 1
        if self._failing_since is None:
            self._failing_since = self._monotonic()

    def _land(self) -> None:
        """Wait for the oldest flight and record what became of its messages."""
        flight = self._flights.popleft()
        outcome = flight.publication.result()
        report, now = self.report, self._monotonic()
        # guard: only what was accepted is deleted
        accepted = outcome.accepted
        verdict = judge(outcome.failed, bus_accepts=bool(accepted))
        report.published += len(accepted)
        report.rejected += len(verdict.counted)
        report.dead_lettered += len(verdict.dead_letters)
        since_ms = (now - flight.read_at) * 1000
        report.observe(message.lag_ms + since_ms for message in accepted)
        if outcome.outage is None and not verdict.free:
            self._failing_since = None
        else:
            # These messages are read again at once: go slower, and an outage begins if nothing got through.
            report.outages += 1
            if self._failing_since is None or accepted:
                self._failing_since = now
        if accepted or verdict.counted or verdict.dead_letters:
            self._debts.append(_Debt(accepted, verdict))
        self._pay()

    def _land_all(self) -> None:
        while self._flights:
            self._land()

    def _pay(self) -> None:
        """Record answers, the oldest first; what cannot be recorded is kept, and nothing is read before."""
        while self._debts:
            # guard: what was answered is recorded before more is read
            self._outbox.settle(*self._debts[0])
            self._debts.popleft()

    def _endure(self, since: float) -> float:
        """Wait longer each time that the bus takes nothing; after a while let another Region have a try."""
        settings, now = self._settings, self._monotonic()
        if now - since < settings.outage_s:
            return self._slower()
        self._outbox.release_all()
        self._held = False
        self._hold_at = self._rescue_at = now + settings.probe_s
        # One failure at the next try is enough to give the leases back again.
        self._pause_s = settings.poll_s
        return settings.ask_s

    def _slower(self) -> float:
        pause_s = self._pause_s
        self._pause_s = min(2 * pause_s, self._settings.idle_s)
        return pause_s

    def _finish(self) -> None:
        """Wait for what is on its way, record it, and give everything back; the database may be away."""
        with suppress(OutboxUnavailableError):
            self._land_all()
            self._pay()
        with suppress(OutboxUnavailableError):
            self._outbox.leave()
