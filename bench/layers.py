"""Where a handler's processor time goes: a sampling profiler that knows this project's layers.

The kernel interrupts the process by the processor time that it used, some 250 times a second; each time the
innermost frame of the stack that belongs to a layer gets the sample. Counting costs nearly nothing, unlike
tracing every call, which makes small functions look expensive.
"""

import signal
from collections import Counter
from dataclasses import dataclass, field
from types import FrameType

_INTERVAL_S = 0.001

#: A piece of a file's path and the layer that it belongs to; the first that fits. Frames that fit none (json,
#: logging, pydantic) count for whoever called them.
LAYERS = (
    ("/psycopg", "database client"),
    ("/sql/transaction.py", "database client"),
    ("/sql/connection.py", "database client"),
    ("/sql/pipeline.py", "database client"),
    ("/aws_lambda_powertools/", "logging, metrics"),
    ("/handlers/edge/observability.py", "logging, metrics"),
    ("/domain/", "decide"),
    ("/sql/", "statements, event"),
    ("/handlers/", "parse, validate, answer"),
    ("/bench/", "the benchmark itself"),
)

OTHER = "other"


@dataclass(slots=True)
class Samples:
    """Counted samples: by layer, by function (innermost frame), and by line of this project."""

    layers: Counter[str] = field(default_factory=Counter)
    functions: Counter[str] = field(default_factory=Counter)
    lines: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """All samples."""
        return self.layers.total()

    def add(self, other: "Samples") -> None:
        """Take in another process's samples."""
        self.layers += other.layers
        self.functions += other.functions
        self.lines += other.lines


class Sampler:
    """Counts samples between `start` and `stop`; one a process, on its main thread."""

    def __init__(self) -> None:
        self._samples = Samples()

    def start(self) -> None:
        """Begin to count."""
        signal.signal(signal.SIGPROF, self._count)
        signal.setitimer(signal.ITIMER_PROF, _INTERVAL_S, _INTERVAL_S)

    def stop(self) -> Samples:
        """Stop, and give what was counted."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, signal.SIG_IGN)
        return self._samples

    def _count(self, _signal: int, frame: FrameType | None) -> None:
        samples = self._samples
        if frame is not None:
            samples.functions[_function(frame)] += 1
        layer, lines_seen = OTHER, set()
        while frame is not None:
            path = frame.f_code.co_filename
            if layer is OTHER:
                layer = _layer(path)
            if any(f"/{folder}/" in path for folder in ("domain", "sql", "events", "handlers")):
                lines_seen.add(f"{_short(path)}:{frame.f_lineno} {frame.f_code.co_name}")
            frame = frame.f_back
        samples.layers[layer] += 1
        samples.lines.update(lines_seen)


def _layer(path: str) -> str:
    return next((layer for piece, layer in LAYERS if piece in path), OTHER)


def _function(frame: FrameType) -> str:
    return f"{_short(frame.f_code.co_filename)} {frame.f_code.co_name}"


def _short(path: str) -> str:
    return "/".join(path.rsplit("/", 2)[-2:])
