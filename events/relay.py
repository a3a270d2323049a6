"""The relay: from the outbox to the bus, again and again, until its time is up."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from domain.outbox import Failure, Letter, is_hopeless
from events.publish import EventsClient, publish


class Outbox(Protocol):
    """What the relay needs of the database."""

    def hold(self, shards: Sequence[int], lease_s: float) -> list[int]:
        """Take or renew leases; give the shards held."""
        ...

    def release(self, shards: Sequence[int]) -> None:
        """Give leases back."""
        ...

    def take(self, most: int) -> list[Letter]:
        """Read letters of the shards held."""
        ...

    def settle(self, accepted: Sequence[Letter], failed: Sequence[Failure], dead: Sequence[Failure]) -> None:
        """Record what the bus answered."""
        ...


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """How a relay works.

    Leases are renewed at a third of their length. The pause between polls grows from `busy_pause_s` to
    `idle_pause_s` while nothing is found: lag stays under a second and an idle relay asks twice a second.
    """

    bus: str
    shards: range
    batch: int = 500
    parallel: int = 50
    lease_s: float = 15.0
    busy_pause_s: float = 0.02
    idle_pause_s: float = 0.5


@dataclass(slots=True)
class RelayReport:
    """What one run did. Lags are in milliseconds from commit-side creation to the read for publishing."""

    polls: int = 0
    published: int = 0
    failed: int = 0
    buried: int = 0
    outages: int = 0
    max_lag_ms: int = 0


class Relay:
    """One relay over one Region's outbox."""

    def __init__(
        self,
        outbox: Outbox,
        client: Callable[[], EventsClient],
        settings: RelaySettings,
        observe: Callable[[Sequence[Letter]], None] = lambda _: None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._outbox = outbox
        self._client = client
        self._settings = settings
        self._observe = observe
        self._monotonic = monotonic
        self._sleep = sleep

    def run(self, until: float) -> RelayReport:
        """Publish what waits until the monotonic moment `until`, then give the leases back."""
        settings = self._settings
        report = RelayReport()
        pause_s = settings.busy_pause_s
        renew_at = 0.0
        held: list[int] = []
        with ThreadPoolExecutor(settings.parallel, thread_name_prefix="put-events") as pool:
            while (now := self._monotonic()) < until:
                if now >= renew_at:
                    held = self._outbox.hold(settings.shards, settings.lease_s)
                    # Without all shards ask again soon: another relay is ending, or has died.
                    share = 3 if len(held) == len(settings.shards) else 15
                    renew_at = now + settings.lease_s / share
                done = self._step(pool, report) if held else 0
                pause_s = settings.busy_pause_s if done else min(pause_s * 2, settings.idle_pause_s)
                if done < settings.batch:
                    self._sleep(min(pause_s, max(0.0, until - self._monotonic())))
        if held:
            self._outbox.release(held)
        return report

    def _step(self, pool: ThreadPoolExecutor, report: RelayReport) -> int:
        """Publish one batch; give how many letters were settled."""
        letters = self._outbox.take(self._settings.batch)
        report.polls += 1
        if not letters:
            return 0
        outcome = publish(self._client(), self._settings.bus, letters, pool)
        dead = [failure for failure in outcome.failed if is_hopeless(failure)]
        failed = [failure for failure in outcome.failed if not is_hopeless(failure)]
        self._outbox.settle(outcome.accepted, failed, dead)
        self._observe(outcome.accepted)
        report.published += len(outcome.accepted)
        report.failed += len(failed)
        report.buried += len(dead)
        report.outages += outcome.outage is not None
        report.max_lag_ms = max(report.max_lag_ms, *(letter.lag_ms for letter in letters))
        return len(outcome.accepted) + len(dead)
