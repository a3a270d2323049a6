"""A TCP proxy before PostgreSQL: adds a delay, counts round trips, and cuts connections when told to.

Kernel network emulation is not to be had everywhere, and a server on the same machine answers too fast to
show what a round trip costs. In a test the proxy runs on a thread of its own, so that hooks are plain
functions; a benchmark starts it as a process of its own (`ProxyProcess`), so that it does not take the
interpreter lock from what is measured.

    python -m tools.proxy --listen 6543 --target 5432 --delay-ms 2

It serves until its standard input ends; every line that it reads there is answered with the counts so far.
"""

import argparse
import asyncio
import ctypes
import enum
import json
import selectors
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from local_dsql.arguments import number, port
from local_dsql.console import run_command

LOOPBACK = "127.0.0.1"

_PR_SET_TIMERSLACK = 29


class Handling(enum.Enum):
    """What becomes of bytes that a hook was shown."""

    FORWARD = enum.auto()
    #: They vanish; the connection stays open and silent, as behind a network that lost its route.
    DROP = enum.auto()
    #: They vanish and both sides lose the connection.
    CUT = enum.auto()
    #: They still arrive; then both sides lose the connection.
    CUT_AFTER_FORWARDING = enum.auto()
    #: Their sender loses the connection; they arrive when `release` is called, and then the connection ends.
    HOLD = enum.auto()


#: Shown each chunk as it arrives, before it is delayed. A chunk is what one read of the socket gave: several
#: messages of the protocol, or a part of one.
Hook = Callable[[bytes], Handling]


def forward(_: bytes) -> Handling:
    """Let everything pass."""
    return Handling.FORWARD


class _Lane:
    """One direction of a connection: chunks leave in order, each `delay_s` after it came."""

    def __init__(self, loop: asyncio.AbstractEventLoop, delay_s: float) -> None:
        self.destination: asyncio.Transport | None = None
        self._loop = loop
        self._delay_s = delay_s
        self._waiting: deque[tuple[float, bytes | None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def send(self, chunk: bytes | None) -> None:
        """Pass a chunk on when its time has come; None closes the destination after all before it."""
        if self._delay_s == 0 and not self._waiting and self.destination is not None:
            self._deliver(chunk)
            return
        self._waiting.append((self._loop.time() + self._delay_s, chunk))
        self._schedule()

    def open(self, destination: asyncio.Transport) -> None:
        """Say where chunks go; what came before waits until then."""
        self.destination = destination
        self._schedule()

    def abort(self) -> None:
        """End the destination at once; what waits is lost."""
        self._waiting.clear()
        if self.destination is not None:
            self.destination.abort()
        else:
            self._waiting.append((0.0, None))

    def delivered(self) -> None:
        """Be told that bytes have left (a lane that counts overrides this)."""

    def _schedule(self) -> None:
        if self._timer is None and self._waiting and self.destination is not None:
            self._timer = self._loop.call_at(self._waiting[0][0], self._flush)

    def _flush(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._waiting and self._waiting[0][0] <= now:
            self._deliver(self._waiting.popleft()[1])
        self._schedule()

    def _deliver(self, chunk: bytes | None) -> None:
        if self.destination is None or self.destination.is_closing():
            return
        if chunk is None:
            self.destination.close()
        else:
            self.destination.write(chunk)
            self.delivered()


class _DownLane(_Lane):
    """Server to client; remembers that the client has something to answer to."""

    client_was_answered = True

    def delivered(self) -> None:
        self.client_was_answered = True


class _ServerSide(asyncio.Protocol):
    def __init__(self, pair: "_ClientSide") -> None:
        self._pair = pair

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._pair.up.open(transport)

    def data_received(self, data: bytes) -> None:
        self._pair.pass_on(self._pair.down, data, self._pair.proxy.on_server_bytes)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._pair.down.send(None)


class _ClientSide(asyncio.Protocol):
    """A client's connection together with the one that it stands for."""

    def __init__(self, proxy: "Proxy", loop: asyncio.AbstractEventLoop) -> None:
        self.proxy = proxy
        self.up = _Lane(loop, proxy.delay_ms / 2000)
        self.down = _DownLane(loop, proxy.delay_ms / 2000)
        self.round_trips = 0
        self._loop = loop
        self._cut = False
        self._held: tuple[_Lane, bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.down.open(transport)
        self.proxy._pairs.append(self)
        self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            await self._loop.create_connection(lambda: _ServerSide(self), LOOPBACK, self.proxy.target)
        except OSError:
            self.cut()

    def data_received(self, data: bytes) -> None:
        # A turn is seen from the client's side: bytes that it sends while answers are still under way to it
        # do not depend on them.
        if self.down.client_was_answered:
            self.down.client_was_answered = False
            self.round_trips += 1
        self.pass_on(self.up, data, self.proxy.on_client_bytes)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if self._held is None:
            self.up.send(None)

    def pass_on(self, lane: _Lane, data: bytes, hook: Hook) -> None:
        """Let the hook decide about a chunk."""
        if self._cut:
            return
        verdict = hook(data)
        if verdict is Handling.CUT:
            self.cut()
        elif verdict is Handling.HOLD:
            self._cut = True
            self._held = lane, data
            (self.down if lane is self.up else self.up).abort()
        elif verdict is not Handling.DROP:
            lane.send(data)
            if verdict is Handling.CUT_AFTER_FORWARDING:
                # The receiver gets its bytes and then an orderly end; the sender hears nothing any more.
                self._cut = True
                lane.send(None)
                (self.down if lane is self.up else self.up).abort()

    def release(self) -> None:
        """Let what was held arrive, as the last bytes."""
        if self._held is not None:
            lane, data = self._held
            self._held = None
            lane.send(data)
            lane.send(None)

    def cut(self) -> None:
        """End both sides at once; what is under way is lost."""
        self._cut = True
        self.up.abort()
        self.down.abort()


class Proxy:
    """Forwards connections to `target`, a port on this machine, with `delay_ms` a round trip.

    Half of the delay is added to each direction. Chunks are delayed, not queued behind each other, so that
    throughput is that of the wire. `on_client_bytes` and `on_server_bytes` may be replaced at any time; they
    are called on the proxy's thread. Use it as a context manager; `port` is where it listens.
    """

    def __init__(
        self,
        target: int,
        *,
        delay_ms: float = 0.0,
        listen: int = 0,
        on_client_bytes: Hook = forward,
        on_server_bytes: Hook = forward,
    ) -> None:
        self.target = target
        self.delay_ms = delay_ms
        self.port = listen
        self.on_client_bytes = on_client_bytes
        self.on_server_bytes = on_server_bytes
        self._pairs: list[_ClientSide] = []
        # select() takes microseconds; the loop's usual epoll rounds every wait up to a whole millisecond.
        self._loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
        self._thread = threading.Thread(target=self._serve, name="tcp-proxy", daemon=True)

    @property
    def round_trips(self) -> tuple[int, ...]:
        """Round trips of every connection so far, in the order in which they came.

        A round trip is counted when the client sends after having received; the first bytes count as one.
        """
        return tuple(pair.round_trips for pair in self._pairs)

    def cut_all(self) -> None:
        """Cut every connection now; new ones are served."""
        asyncio.run_coroutine_threadsafe(self._cut_all(), self._loop).result()

    def release(self) -> None:
        """Let everything that was held arrive."""
        asyncio.run_coroutine_threadsafe(self._release(), self._loop).result()

    async def _release(self) -> None:
        for pair in self._pairs:
            pair.release()

    async def _cut_all(self) -> None:
        for pair in self._pairs:
            pair.cut()

    def __enter__(self) -> "Proxy":
        server = self._loop.run_until_complete(
            self._loop.create_server(lambda: _ClientSide(self, self._loop), LOOPBACK, self.port, backlog=512)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._server = server
        self._thread.start()
        return self

    def _serve(self) -> None:
        if sys.platform == "linux":
            # The kernel's usual slack of 50 us a timer would count twice in every round trip.
            ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1)
        self._loop.run_forever()
        self._server.close()
        self._loop.run_until_complete(self._cut_all())
        # Sockets that were aborted are closed in the loop's next turns.
        while tasks := asyncio.all_tasks(self._loop):
            self._loop.run_until_complete(asyncio.wait(tasks))
        self._loop.run_until_complete(asyncio.sleep(0.01))
        self._loop.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


class ProxyProcess:
    """The same proxy as a process of its own, without hooks; a context manager."""

    def __init__(self, target: int, *, delay_ms: float = 0.0) -> None:
        self._arguments = ["--target", str(target), "--delay-ms", str(delay_ms)]
        self.port = 0

    def __enter__(self) -> "ProxyProcess":
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tools.proxy", *self._arguments],
            cwd=Path(__file__).resolve().parent.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            bufsize=1,
        )
        self.port = int(self._read_line()["port"])
        return self

    @property
    def round_trips(self) -> tuple[int, ...]:
        """Round trips of every connection so far (see `Proxy.round_trips`)."""
        stdin = self._process.stdin
        assert stdin is not None
        stdin.write("\n")
        stdin.flush()
        return tuple(self._read_line()["round_trips"])

    def _read_line(self) -> dict[str, Any]:
        stdout = self._process.stdout
        assert stdout is not None
        answer: dict[str, Any] = json.loads(stdout.readline())
        return answer

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the proxy until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m tools.proxy", description="A delaying TCP proxy.")
    parser.add_argument("--target", type=port, required=True, help="port on this machine to forward to")
    parser.add_argument("--listen", type=port, default=0, help="port to listen at (default: a free one)")
    parser.add_argument(
        "--delay-ms", type=number(0, 60_000), default=0.0, help="delay of a round trip, half each way"
    )
    options = parser.parse_args(arguments)
    with Proxy(options.target, delay_ms=options.delay_ms, listen=options.listen) as proxy:
        print(json.dumps({"port": proxy.port}), flush=True)
        try:
            for _ in sys.stdin:
                print(json.dumps({"round_trips": proxy.round_trips}), flush=True)
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    run_command(main)
