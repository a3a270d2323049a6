"""Actors that take turns, one step at a time, in an order that a seed decides.

Each actor is a thread, but only one ever runs: the one that has the turn, until its next `pause`. So the code
under test is ordinary blocking code, and a run is repeated exactly by its seed.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from random import Random

_OUTCOME_WIDTH = 100


class Crash(BaseException):
    """The process of a function ends here, without a word to anybody."""


class Doomed(BaseException):
    """The run is over: what still lives is taken down."""


class Endless(BaseException):
    """The run does so much that it cannot come to an end."""


class Actor:
    """One process: an invocation of a function, or a client that invokes one."""

    def __init__(self, name: str, body: Callable[[], None]) -> None:
        self.name = name
        self.body = body
        self.waits_for = "start"
        self.done = False
        self.doomed = False
        self.error: BaseException | None = None
        self._go = threading.Semaphore(0)

    @property
    def idles(self) -> bool:
        """Whether the actor sleeps: it need not be woken up as often as others have a turn."""
        return self.waits_for.startswith("sleep")


class Scheduler:
    """Gives actors their turns. Outside of actors (set-up, drain) `pause` does nothing."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.actors: list[Actor] = []
        self.current: Actor | None = None
        self.steps = 0
        self.trace: list[str] = []
        self._back = threading.Semaphore(0)

    def spawn(self, name: str, body: Callable[[], None]) -> Actor:
        """Let a new actor take part; it does nothing before its first turn."""
        actor = Actor(name, body)
        self.actors.append(actor)
        threading.Thread(target=self._run, args=[actor], name=name, daemon=True).start()
        return actor

    def step(self) -> None:
        """Give one actor, chosen at random, its turn. There has to be one."""
        weights = [1 if actor.idles else 6 for actor in self.actors]
        (actor,) = self.random.choices(self.actors, weights)
        self._resume(actor)

    def finish(self, actor: Actor) -> None:
        """Give an actor turns until it is done."""
        while not actor.done:
            self._resume(actor)

    def doom(self) -> None:
        """Take down every actor that is left."""
        while self.actors:
            actor = self.actors[0]
            actor.doomed = True
            with suppress(BaseException):
                self._resume(actor)

    def pause(self, waits_for: str) -> None:
        """Hand the turn back; return when it comes again."""
        actor = self.current
        if actor is None:
            return
        actor.waits_for = waits_for
        self._back.release()
        actor._go.acquire()
        if actor.doomed:
            raise Doomed
        self.steps += 1
        self.note(waits_for)

    def note(self, what: str) -> None:
        """Write a line of the trace."""
        name = self.current.name if self.current else "-"
        self.trace.append(f"{self.steps:5} {name:24} {what[:_OUTCOME_WIDTH]}")

    def _resume(self, actor: Actor) -> None:
        self.current = actor
        actor._go.release()
        self._back.acquire()
        self.current = None
        if actor.done:
            self.actors.remove(actor)
            if actor.error is not None:
                raise actor.error

    def _run(self, actor: Actor) -> None:
        actor._go.acquire()
        try:
            if not actor.doomed:
                actor.body()
        except (Crash, Doomed) as end:
            self.note(type(end).__name__)
        except BaseException as error:
            actor.error = error
        actor.done = True
        self._back.release()
