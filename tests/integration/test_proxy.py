"""The delaying proxy, between plain loopback sockets."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tools.proxy import Handling, Proxy, ProxyProcess, _Lane


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        server = self.server
        assert isinstance(server, _EchoServer)
        # Answering into a connection that was cut meanwhile is a reset, and an end like any other.
        with contextlib.suppress(ConnectionError):
            while data := self.request.recv(65536):
                server.received += data
                self.request.sendall(data)
        server.ended.set()


class _EchoServer(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Echo)
        self.received = b""
        self.ended = threading.Event()

    @property
    def port(self) -> int:
        port: int = self.server_address[1]
        return port


@pytest.fixture
def echo() -> Iterator[_EchoServer]:
    with _EchoServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def _exchange(client: socket.socket, data: bytes) -> bytes:
    client.sendall(data)
    answer = b""
    while len(answer) < len(data):
        answer += client.recv(65536)
    return answer


def _is_cut(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("delay_ms", [0, 3])
def test_bytes_arrive_unchanged_and_in_order(echo: _EchoServer, delay_ms: float) -> None:
    data = b"".join(number.to_bytes(4, "big") for number in range(200_000))
    with Proxy(echo.port, delay_ms=delay_ms) as proxy, _connect(proxy.port) as client:
        sender = threading.Thread(target=client.sendall, args=(data,))
        sender.start()
        answer = b""
        while len(answer) < len(data):
            answer += client.recv(65536)
        sender.join()
    assert answer == data


class _LoopAtWill:
    """An event loop's clock and timers, moved by hand; also the transport that a lane writes to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.written: list[tuple[float, bytes]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> object:
        self.timers.append((when, callback))
        return object()

    def advance_to(self, now: float) -> None:
        while self.timers and self.timers[0][0] <= now:
            self.now, callback = self.timers.pop(0)
            callback()
        self.now = now

    def is_closing(self) -> bool:
        return False

    def write(self, chunk: bytes) -> None:
        self.written.append((self.now, chunk))


def test_every_chunk_leaves_its_own_delay_after_it_came() -> None:
    loop: Any = _LoopAtWill()
    lane = _Lane(loop, delay_s=1.0)
    lane.open(loop)
    for at, chunk in ((0.0, b"a"), (0.25, b"b"), (0.5, b"c"), (5.0, b"d")):
        loop.advance_to(at)
        lane.send(chunk)
    loop.advance_to(10.0)
    # Delayed, not queued behind each other: three chunks within a second leave within a second.
    assert loop.written == [(1.0, b"a"), (1.25, b"b"), (1.5, b"c"), (6.0, b"d")]


def test_a_round_trip_is_counted_when_the_client_sends_after_having_received(echo: _EchoServer) -> None:
    with Proxy(echo.port) as proxy, _connect(proxy.port) as first, _connect(proxy.port) as second:
        for _ in range(5):
            _exchange(first, b"one answer, one question")
        _exchange(second, b"once")
        assert proxy.round_trips == (5, 1)


def test_what_a_client_sends_without_waiting_is_one_round_trip(echo: _EchoServer) -> None:
    # Half of the delay passes before the first answer leaves the proxy: all ten are on their way by then.
    with Proxy(echo.port, delay_ms=4000) as proxy, _connect(proxy.port) as client:
        for _ in range(10):
            client.sendall(b"x")
        answer = b""
        while len(answer) < 10:
            answer += client.recv(65536)
        assert proxy.round_trips == (1,)


def test_a_dropped_chunk_vanishes_and_the_connection_stays(echo: _EchoServer) -> None:
    with Proxy(echo.port) as proxy, _connect(proxy.port) as client:
        proxy.on_client_bytes = lambda data: Handling.DROP if data == b"lost" else Handling.FORWARD
        _exchange(client, b"kept")
        client.sendall(b"lost")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        _exchange(client, b"also kept")
    assert echo.received == b"keptalso kept"


def test_a_cut_before_forwarding_keeps_the_bytes_from_the_server(echo: _EchoServer) -> None:
    with Proxy(echo.port) as proxy, _connect(proxy.port) as client:
        _exchange(client, b"before")
        proxy.on_client_bytes = lambda _: Handling.CUT
        client.sendall(b"never")
        assert _is_cut(client)
        assert echo.ended.wait(10)
    assert echo.received == b"before"


@pytest.mark.parametrize("delay_ms", [0, 20])
def test_a_cut_after_forwarding_delivers_to_the_server_and_answers_nothing(
    echo: _EchoServer, delay_ms: float
) -> None:
    with Proxy(echo.port, delay_ms=delay_ms) as proxy, _connect(proxy.port) as client:
        _exchange(client, b"before,")
        proxy.on_client_bytes = lambda _: Handling.CUT_AFTER_FORWARDING
        client.sendall(b"delivered")
        assert _is_cut(client)
        assert echo.ended.wait(10)
    assert echo.received == b"before,delivered"


def test_a_cut_at_the_answer_lets_the_server_act_and_the_client_know_nothing(echo: _EchoServer) -> None:
    with Proxy(echo.port) as proxy, _connect(proxy.port) as client:
        proxy.on_server_bytes = lambda _: Handling.CUT
        client.sendall(b"acted on")
        assert _is_cut(client)
    assert echo.received == b"acted on"


def test_what_is_held_arrives_when_released_long_after_its_sender_lost_the_connection(
    echo: _EchoServer,
) -> None:
    with Proxy(echo.port) as proxy, _connect(proxy.port) as client:
        _exchange(client, b"before,")
        proxy.on_client_bytes = lambda _: Handling.HOLD
        client.sendall(b"late")
        assert _is_cut(client)
        assert not echo.ended.is_set()
        assert echo.received == b"before,"
        proxy.release()
        assert echo.ended.wait(10)
    assert echo.received == b"before,late"


def test_cutting_all_ends_open_connections_and_new_ones_are_served(echo: _EchoServer) -> None:
    with Proxy(echo.port) as proxy:
        with _connect(proxy.port) as client:
            _exchange(client, b"open")
            proxy.cut_all()
            assert _is_cut(client)
        with _connect(proxy.port) as client:
            assert _exchange(client, b"again") == b"again"


def test_a_client_that_leaves_ends_the_servers_side_too(echo: _EchoServer) -> None:
    with Proxy(echo.port) as proxy:
        with _connect(proxy.port) as client:
            _exchange(client, b"bye")
        assert echo.ended.wait(10)


def test_a_target_that_refuses_ends_the_clients_connection() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with Proxy(closed.getsockname()[1]) as proxy, _connect(proxy.port) as client:
            assert _is_cut(client)


def test_a_proxy_process_forwards_and_counts(echo: _EchoServer) -> None:
    with ProxyProcess(echo.port, delay_ms=1) as proxy, _connect(proxy.port) as client:
        for _ in range(3):
            assert _exchange(client, b"ping") == b"ping"
        assert proxy.round_trips == (3,)
