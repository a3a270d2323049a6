"""Measure the relay: `python -m bench.relay [--quick] [--json PATH]`.

A real outbox on an embedded PostgreSQL (fsync on), the relay's own code, and three buses: a stub that takes
10 ms a request, the same while the outbox is written to at a steady rate, and boto3's client against an HTTP
server on this machine that answers at once. Statements are those that the server counted.
"""

import contextlib
import multiprocessing
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, cast
from uuid import uuid4

import boto3
import psycopg
from botocore.config import Config

from bench.harness import Options, machine, percentile, read_options, say, spread, table, write_json
from bench.shop import REGION, Shop, open_shop
from events.publish import MAX_ENTRIES, EventsClient
from events.relay import Relay, RelaySettings
from local_dsql.console import run_command
from sql.connection import Database, DatabaseSettings
from sql.outbox import SHARDS
from sql.relay import Outbox

PUT_EVENTS_MS = 10
STEADY_EVENTS_PER_S = 200
DETAIL_BYTES = 700  # an OrderPlaced with three lines has about as many

_FILL = """insert into xpoints.outbox (region, shard, id, event_type, detail)
    select %s, i %% %s, gen_random_uuid(), 'OrderPlaced.v1', '{"x": "' || repeat('y', %s) || '"}'
    from generate_series(1, %s) i"""
_WRITE = """insert into xpoints.outbox (region, shard, id, event_type, detail)
    values (%s, %s, %s, 'OrderPlaced.v1', %s)"""

Accepted = Callable[[Sequence[dict[str, Any]]], None]


class Stub:
    """A bus that accepts everything after 10 ms."""

    def __init__(self, accepted: Accepted = lambda _: None) -> None:
        self._accepted = accepted

    def put_events(self, *, Entries: Sequence[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        """Take a request's time."""
        time.sleep(PUT_EVENTS_MS / 1000)
        self._accepted(Entries)
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}] * len(Entries)}

    def describe_event_bus(self, *, Name: str) -> dict[str, Any]:  # noqa: N803
        """Be there."""
        return {"Name": Name}


class _Answer(socketserver.StreamRequestHandler):
    """As little HTTP as boto3 needs: the cost that is measured is the client's."""

    def handle(self) -> None:
        while self.rfile.readline():
            length = 0
            while (line := self.rfile.readline()) not in (b"\r\n", b""):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            entries = self.rfile.read(length).count(b'"DetailType"')
            body = b'{"FailedEntryCount":0,"Entries":[%s]}' % b",".join([b'{"EventId":"1"}'] * entries)
            head = (
                b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: %d\r\n\r\n"
            )
            self.wfile.write(head % len(body) + body)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128

    def get_request(self) -> tuple[socket.socket, Any]:
        request, address = super().get_request()
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return request, address


def _serve(port: Connection) -> None:
    with _Server(("127.0.0.1", 0), _Answer) as server:
        port.send(server.server_address[1])
        server.serve_forever()


@contextlib.contextmanager
def loopback_client(parallel: int) -> Iterator[EventsClient]:
    """Give boto3's EventBridge client with a server that answers at once, a process of its own."""
    processes = multiprocessing.get_context("spawn")
    port, told = processes.Pipe(duplex=False)
    server = processes.Process(target=_serve, args=(told,), daemon=True)
    server.start()
    try:
        yield cast(
            EventsClient,
            boto3.client(
                "events",
                region_name=REGION,
                endpoint_url=f"http://127.0.0.1:{port.recv()}",
                aws_access_key_id="test",
                aws_secret_access_key="test",  # noqa: S106
                config=Config(max_pool_connections=parallel, proxies={}),
            ),
        )
    finally:
        server.terminate()
        server.join()


def main() -> None:
    """Measure and print."""
    options = read_options("relay", "Events a second, statements an event, and lag of the relay.")
    with open_shop(1) as shop:
        shop.admin.execute("set log_statement = 'none'")
        # The log is what counts the relay's statements; their parameters need not be written there.
        shop.admin.execute("alter system set log_parameter_max_length = 0")
        shop.admin.execute("select pg_reload_conf()")
        figures = _measure(shop, options)
    write_json(options.json_path, figures)


def _measure(shop: Shop, options: Options) -> dict[str, Any]:
    events, rounds, steady_s = (20_000, 3, 10) if options.quick else (100_000, 5, 60)
    settings = RelaySettings(bus="bench")
    say(f"Draining {events} messages, {rounds} times, with a stub of {PUT_EVENTS_MS} ms ...")
    drained = [_drain(shop, Stub(), settings, events) for _ in range(rounds)]
    say("The same with boto3's client and a server on this machine, over 4 threads ...")
    few = RelaySettings(bus="bench", parallel=4)
    with loopback_client(few.parallel) as client:
        real = [_drain(shop, client, few, events // 4) for _ in range(rounds)]
    say(f"Writing {STEADY_EVENTS_PER_S} messages a second for {steady_s} s ...")
    lags_ms, steady_statements = _steady(shop, settings, steady_s)
    say("Polling an empty outbox ...")
    idle_polls_per_s, idle_statements_per_s, poll_ms = _idle(shop, settings)
    rates = spread([one.events_per_s for one in drained])
    statements = spread([one.statements_per_event for one in drained])
    boto3_rates = spread([one.events_per_s for one in real])
    boto3_cpu_ms = spread([one.cpu_ms_per_event * MAX_ENTRIES for one in real])
    rows = [
        [
            "events/s, stub of 10 ms a request",
            f"{rates.median:,.0f}",
            f"{rates.least:,.0f}..{rates.most:,.0f}",
        ],
        ["statements an event", f"{statements.median:.4f}", f"{statements.least:.4f}..{statements.most:.4f}"],
        [
            "events/s, boto3 to this machine",
            f"{boto3_rates.median:,.0f}",
            f"{boto3_rates.least:,.0f}..{boto3_rates.most:,.0f}",
        ],
        [
            "processor ms of ten of these",
            f"{boto3_cpu_ms.median:.2f}",
            f"{boto3_cpu_ms.least:.2f}..{boto3_cpu_ms.most:.2f}",
        ],
        [f"lag p50 ms at {STEADY_EVENTS_PER_S}/s", f"{percentile(lags_ms, 50):.0f}", ""],
        [f"lag p99 ms at {STEADY_EVENTS_PER_S}/s", f"{percentile(lags_ms, 99):.0f}", f"..{max(lags_ms):.0f}"],
        [f"statements an event at {STEADY_EVENTS_PER_S}/s", f"{steady_statements:.3f}", ""],
        ["idle: polls a second", f"{idle_polls_per_s:.1f}", ""],
        ["idle: statements a second, leases too", f"{idle_statements_per_s:.1f}", ""],
        ["idle: ms a poll", f"{poll_ms:.2f}", ""],
    ]
    print(table("The relay, one worker", ["", "median", "least..most"], rows))
    print(f"\n{machine()}")
    return {
        "events_per_s": round(rates.median),
        "statements_per_event": round(statements.median, 5),
        "lag_p50_ms": round(percentile(lags_ms, 50)),
        "lag_p99_ms": round(percentile(lags_ms, 99)),
        "events_per_s_boto3": round(boto3_rates.median),
        "cpu_ms_of_ten_boto3": round(boto3_cpu_ms.median, 2),
        "statements_per_event_steady": round(steady_statements, 4),
        "idle_polls_per_s": round(idle_polls_per_s, 2),
        "idle_statements_per_s": round(idle_statements_per_s, 2),
        "idle_poll_ms": round(poll_ms, 3),
    }


class _EmptyError(Exception):
    """The relay has found nothing more to do."""


def _outbox(shop: Shop) -> Outbox:
    server = shop.server
    way = DatabaseSettings(server.host, "relay", REGION, port=server.port, tls="disable")
    return Outbox(Database(way, mint=lambda _: ""), REGION, uuid4(), "bench")


class _Drained(NamedTuple):
    """How an outbox was emptied. `cpu_ms_per_event` is this process's: the relay's and its AWS client's."""

    events_per_s: float
    statements_per_event: float
    cpu_ms_per_event: float


def _drain(shop: Shop, client: EventsClient, settings: RelaySettings, events: int) -> _Drained:
    """Empty a full outbox."""
    shop.admin.execute("truncate xpoints.outbox")
    shop.admin.execute(_FILL, (REGION, len(SHARDS), DETAIL_BYTES, events))
    shop.admin.execute("vacuum analyze xpoints.outbox")
    statements_before = _statements(shop)

    def no_rest(_: float) -> None:
        raise _EmptyError

    outbox = _outbox(shop)
    relay = Relay(outbox, lambda: client, settings, sleep=no_rest)
    began, cpu_before_s = time.monotonic(), time.process_time()
    with contextlib.suppress(_EmptyError):
        relay.run(began + 600)
    took_s, cpu_s = time.monotonic() - began, time.process_time() - cpu_before_s
    outbox.leave()
    if relay.report.published != events:
        raise RuntimeError(f"{relay.report.published} of {events} events were published")
    return _Drained(events / took_s, (_statements(shop) - statements_before) / events, 1000 * cpu_s / events)


def _steady(shop: Shop, settings: RelaySettings, for_s: float) -> tuple[list[float], float]:
    """Write at a steady rate; give each event's time from its commit to the bus's yes, and statements."""
    written_at: dict[str, float] = {}
    lags_ms: list[float] = []

    def accepted(entries: Sequence[dict[str, Any]]) -> None:
        now = time.monotonic()
        lags_ms.extend((now - written_at[entry["Detail"]]) * 1000 for entry in entries)

    before = _statements(shop)
    relay = Relay(_outbox(shop), lambda: Stub(accepted), settings)
    began = time.monotonic()
    runner = threading.Thread(target=relay.run, args=(began + for_s + 2,))
    runner.start()
    with psycopg.connect(shop.server.conninfo(), autocommit=True) as writer:
        writer.execute("set log_statement = 'none'")
        for number in range(int(STEADY_EVENTS_PER_S * for_s)):
            time.sleep(max(0.0, began + number / STEADY_EVENTS_PER_S - time.monotonic()))
            id_ = uuid4()
            detail = f'{{"id": "{id_}"}}'
            # The relay may be faster than the writer hears of its own commit.
            written_at[detail] = time.monotonic()
            writer.execute(_WRITE, (REGION, id_.int % len(SHARDS), id_, detail))
            written_at[detail] = time.monotonic()
    runner.join()
    return lags_ms, (_statements(shop) - before) / len(lags_ms)


def _idle(shop: Shop, settings: RelaySettings) -> tuple[float, float, float]:
    """Leave the relay alone with an empty outbox; give polls and statements a second, and a poll's ms."""
    before, for_s = _statements(shop), 10.0
    report = Relay(_outbox(shop), lambda: Stub(), settings).run(time.monotonic() + for_s)
    statements = _statements(shop) - before
    outbox = _outbox(shop)
    outbox.hold(60)
    times_ms = []
    for _ in range(200):
        began = time.monotonic()
        outbox.take(settings.batch)
        times_ms.append((time.monotonic() - began) * 1000)
    outbox.leave()
    return report.polls / for_s, statements / for_s, percentile(times_ms, 50)


def _statements(shop: Shop) -> int:
    """Count what the server has executed for the relay, by its own log, once the log is up to now."""
    marker = f"select 'up to {uuid4()}'"
    shop.admin.execute("set log_statement = 'all'")
    shop.admin.execute(marker.encode())
    shop.admin.execute("set log_statement = 'none'")
    while True:
        count = 0
        for statement in shop.server.executed_statements():
            count += statement.role == "relay"
            if statement.text == marker:
                return count
        time.sleep(0.05)


if __name__ == "__main__":
    run_command(main)
