"""Lambda execution environments: processes that each import a handler and serve one request at a time."""

import importlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from bench.layers import Sampler, Samples

#: What most handlers import, except what reads the environment: a fork of a process that has it starts soon.
_PRELOAD = [
    "aws_lambda_powertools.metrics",
    "bench.pgbench",  # and with it what a benchmark imports: every child imports that again
    "botocore.auth",
    "botocore.awsrequest",
    "botocore.credentials",
    "domain.checkout",
    "domain.events",
    "sql.relay",
    "sql.transaction",
]

_START_DELAY_S = 0.02

#: Gives the event of the n-th call of an environment's slice, n counting through that environment's share.
EventMaker = Callable[[int, str], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Task:
    """What an environment has to do: calls for consecutive numbers until the time is up.

    `first` and `last` bound its share of the numbers that `make_event` takes; `most` bounds the calls.
    """

    make_event: EventMaker
    first: int
    last: int
    start_at: float
    duration_s: float
    most: int = sys.maxsize
    sample: bool = False


@dataclass(slots=True)
class Slice:
    """What one or several environments did: calls, seconds, processor seconds, every call's latency."""

    calls: int = 0
    elapsed_s: float = 0.0
    cpu_s: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    samples: Samples = field(default_factory=Samples)
    last_answer: dict[str, Any] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Calls a second."""
        return self.calls / self.elapsed_s

    def add(self, other: "Slice") -> None:
        """Take in what another environment did at the same time."""
        self.calls += other.calls
        self.elapsed_s = max(self.elapsed_s, other.elapsed_s)
        self.cpu_s += other.cpu_s
        self.latencies_ms += other.latencies_ms
        self.samples.add(other.samples)
        self.last_answer = other.last_answer


class UnexpectedAnswerError(RuntimeError):
    """A handler answered something else than success, so the figures would mean nothing."""


class Fleet:
    """`size` execution environments of one handler, a context manager.

    `handler` is the module whose `handler` they call, `variables` their environment variables.
    """

    def __init__(self, handler: str, variables: Mapping[str, str], size: int) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOAD)
        self._pipes: list[Connection] = []
        self._processes = []
        for _ in range(size):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, handler, dict(variables)), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join()

    def run(
        self,
        make_event: EventMaker,
        callers: int,
        numbers: int,
        duration_s: float = 3600.0,
        most: int = sys.maxsize,
        sample: bool = False,
    ) -> Slice:
        """Let the first `callers` environments call at the same time, each with its share of 1..`numbers`.

        Ends after `duration_s` or `most` calls each. Raises UnexpectedAnswerError.
        """
        share = numbers // callers
        start_at = time.monotonic() + _START_DELAY_S
        pipes = self._pipes[:callers]
        for index, pipe in enumerate(pipes):
            first = index * share + 1
            pipe.send(Task(make_event, first, first + share - 1, start_at, duration_s, most, sample))
        answers = [pipe.recv() for pipe in pipes]
        together = Slice()
        for answer in answers:
            if isinstance(answer, str):
                raise UnexpectedAnswerError(answer)
            together.add(answer)
        return together


def _serve(pipe: Connection, handler_module: str, variables: Mapping[str, str]) -> None:
    # Ctrl-C is the parent's to handle: it closes the pipe, which ends this loop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(variables)
    # Logs and metrics are formatted and written line by line as on Lambda, to nowhere.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8")
    handler = importlib.import_module(handler_module).handler
    while True:
        try:
            task: Task = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(_call(handler, task))
        except Exception as error:  # the parent has to hear of whatever went wrong
            pipe.send(f"{type(error).__name__}: {error}")


def _call(handler: Callable[[dict[str, Any], object], dict[str, Any]], task: Task) -> Slice:
    # Keys are new for every call of every run, as a client's are.
    key = f"{os.getpid()}-{time.time_ns()}-".rjust(30, "0")
    latencies: list[float] = []
    sampler = Sampler() if task.sample else None
    clock = time.monotonic  # one clock for all processes: they start and end together
    number = task.first
    answer: dict[str, Any] = {}
    time.sleep(max(0.0, task.start_at - clock()))
    cpu = time.process_time()
    ended = clock()
    end_at = task.start_at + task.duration_s
    if sampler:
        sampler.start()
    while ended < end_at and len(latencies) < task.most:
        if number > task.last:
            raise UnexpectedAnswerError(
                f"An environment used its {task.last - task.first + 1} numbers before the time was up. "
                "Seed more, or take shorter slices."
            )
        event = task.make_event(number, f"{key}{number:06}")
        called = clock()
        answer = handler(event, None)
        ended = clock()
        if answer["statusCode"] >= 300:
            raise UnexpectedAnswerError(f"{answer['statusCode']}: {answer['body']}")
        latencies.append((ended - called) * 1000)
        number += 1
    samples = sampler.stop() if sampler else Samples()
    cpu_s = time.process_time() - cpu
    return Slice(len(latencies), ended - task.start_at, cpu_s, latencies, samples, answer)
