"""The whole checkout handler beside pgbench with the same SQL, and its latency over a network.

python -m bench.checkout [--quick] [--json PATH] [--profile]
"""

import json
import math
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from bench import plots
from bench.environments import Fleet, Slice
from bench.harness import (
    Options,
    Spread,
    machine,
    percentile,
    ratios,
    read_options,
    say,
    spread,
    table,
    take_turns,
    write_json,
)
from bench.pgbench import Script, make_script, recorded_transaction, run_script
from bench.shop import ROWS_A_CHECKOUT, Shop, checkout_event, customer_id, open_shop
from local_dsql.console import run_command
from tools.proxy import ProxyProcess

HANDLER = "handlers.checkout"
ROLE = "checkout"
CALLERS = (1, 8, 32)
ROUND_TRIP_MS = 2.0

_WARM_UP_CALLS = 20
_PROCESSOR_HEAD = ("CPU ms", "pgbench CPU ms", "CPU ratio")


class UnequalWorkError(RuntimeError):
    """Handler and pgbench do not leave the same rows per checkout, so their rates must not be compared."""


class _Processor:
    """Adds up the processor time of a client and of the server behind it, over several slices."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._client_s = self._server_s = 0.0
        self._calls = 0

    def __enter__(self) -> None:
        self._before_s = self._shop.processor_s()

    def __exit__(self, *_: object) -> None:
        self._server_s += self._shop.processor_s() - self._before_s

    def add(self, client_s: float, calls: int) -> None:
        self._client_s += client_s
        self._calls += calls

    @property
    def client_ms(self) -> float:
        return 1000 * self._client_s / self._calls

    @property
    def server_ms(self) -> float:
        return 1000 * self._server_s / self._calls

    @property
    def total_ms(self) -> float:
        return self.client_ms + self.server_ms

    def __str__(self) -> str:
        return f"{self.client_ms:.2f} + {self.server_ms:.2f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, write the JSON."""
    options = read_options("checkout", (__doc__ or "").splitlines()[0], arguments)
    with open_shop(customers=8_000 if options.quick else 24_000) as shop:
        say("Recording one checkout for pgbench's script ...")
        script, pipelined = _record(shop)
        # Sessions from here on leave no log.
        shop.admin.execute(f"alter role {ROLE} set log_statement = 'none'".encode())
        with Fleet(HANDLER, shop.environment("bench", ROLE), max(CALLERS)) as fleet:
            _warm_up(shop, fleet, max(CALLERS))
            _check_equal_work(shop, fleet, script)
            figures = _beside_pgbench(shop, fleet, script, options)
            figures |= _by_layer(shop, fleet, options)
        figures |= _over_a_network(shop, pipelined, options)
    print("\n" + ", ".join(f"{name}: {value}" for name, value in machine().items()))
    plots.checkout(figures["ratio_to_pgbench_8"], options.plots)
    write_json(options.json_path, figures)


def _record(shop: Shop) -> tuple[Script, Script]:
    """Give a checkout as pgbench's script, a statement a round trip and in the handler's two."""
    key = "recorded-for-pgbench-000000000000001"
    with Fleet(HANDLER, shop.environment("record", ROLE), 1) as fleet:
        answer = fleet.run(partial(_event_with_key, key), callers=1, numbers=1, most=1).last_answer
    order = json.loads(answer["body"])["order_id"]
    statements = recorded_transaction(shop, ROLE)
    make = partial(make_script, statements, customer=str(customer_id(1)), order=order, key=key)
    return make(), make(pipelined=True)


def _event_with_key(key: str, number: int, _: str) -> dict[str, Any]:
    return checkout_event(number, key)


def _warm_up(shop: Shop, fleet: Fleet, callers: int) -> None:
    """Open connections and let every statement be prepared and planned for good."""
    shop.tidy()
    fleet.run(checkout_event, callers, shop.customers, most=_WARM_UP_CALLS)


def _check_equal_work(shop: Shop, fleet: Fleet, script: Script) -> None:
    """Raise UnequalWorkError unless both sides write the same rows a checkout."""

    def rows_a_checkout(run: Any) -> dict[str, float]:
        shop.tidy()
        before = shop.count_rows()
        run()
        added = {name: count - before[name] for name, count in shop.count_rows().items()}
        return {name: count / max(1, added["orders"]) for name, count in added.items()}

    ours = rows_a_checkout(lambda: fleet.run(checkout_event, 1, shop.customers, most=10))
    theirs = rows_a_checkout(lambda: run_script(shop, script, ROLE, clients=1, seconds=1))
    if not ours == theirs == ROWS_A_CHECKOUT:
        raise UnequalWorkError(f"{UnequalWorkError.__doc__} Handler: {ours}; pgbench: {theirs}")


def _beside_pgbench(shop: Shop, fleet: Fleet, script: Script, options: Options) -> dict[str, Any]:
    rounds, seconds = ({1: 1, 8: 3, 32: 1}, 1) if options.quick else ({1: 5, 8: 9, 32: 5}, 2)
    figures: dict[str, Any] = {"statements": script.statements}
    rows = []
    for callers in CALLERS:
        say(f"{callers} at once: {rounds[callers]} rounds of {seconds} s for each side ...")
        slices: list[Slice] = []
        ours, theirs = _Processor(shop), _Processor(shop)

        def handler(callers: int = callers, slices: list[Slice] = slices, used: _Processor = ours) -> float:
            with used:
                slices.append(fleet.run(checkout_event, callers, shop.customers, seconds))
                used.add(slices[-1].cpu_s, slices[-1].calls)
            return slices[-1].rate

        def pgbench(callers: int = callers, used: _Processor = theirs) -> float:
            with used:
                done = run_script(shop, script, ROLE, callers, seconds)
                used.add(done.cpu_s, done.transactions)
            return done.rate

        our_rates, their_rates = take_turns(rounds[callers], handler, pgbench, between=shop.tidy)
        ratio = ratios(our_rates, their_rates)
        latencies = [latency for one in slices for latency in one.latencies_ms]
        p50, p99 = percentile(latencies, 50), percentile(latencies, 99)
        cpu_ratio = theirs.total_ms / ours.total_ms
        figures |= {
            f"ratio_to_pgbench_{callers}": round(ratio.median, 3),
            f"ratio_to_pgbench_{callers}_spread": [round(ratio.least, 3), round(ratio.most, 3)],
            f"cpu_ratio_to_pgbench_{callers}": round(cpu_ratio, 3),
            f"tps_{callers}": _rounded(spread(our_rates)),
            f"pgbench_tps_{callers}": _rounded(spread(their_rates)),
            f"p50_ms_{callers}": round(p50, 3),
            f"p99_ms_{callers}": round(p99, 3),
            f"cpu_ms_{callers}": round(ours.client_ms, 3),
            f"server_cpu_ms_{callers}": round(ours.server_ms, 3),
            f"pgbench_cpu_ms_{callers}": round(theirs.client_ms, 3),
            f"pgbench_server_cpu_ms_{callers}": round(theirs.server_ms, 3),
        }
        rows.append(
            [
                str(callers),
                _range(spread(our_rates)),
                _range(spread(their_rates)),
                str(ratio),
                f"{p50:.2f}",
                f"{p99:.2f}",
                str(ours),
                str(theirs),
                f"{cpu_ratio:.2f}",
            ]
        )
    head = ["at once", "handler tps", "pgbench tps", "ratio", "p50 ms", "p99 ms", *_PROCESSOR_HEAD]
    print(table("The whole handler beside pgbench: median (least..most of all slices)", head, rows))
    print("CPU ms: processor time a checkout, client + server; its ratio depends less on other load.")
    return figures


def _by_layer(shop: Shop, fleet: Fleet, options: Options) -> dict[str, Any]:
    slices = 1 if options.quick else 4
    say(f"Sampling where the processor's time goes: {2 * slices} s ...")
    taken = Slice()
    for _ in range(slices):
        shop.tidy()
        taken.add(fleet.run(checkout_event, 8, shop.customers, 2, sample=True))
    samples = taken.samples
    cpu_ms = 1000 * taken.cpu_s / taken.calls
    shares = {layer: count / samples.total for layer, count in samples.layers.most_common()}
    rows = [[layer, f"{cpu_ms * share:.3f}", f"{share:.0%}"] for layer, share in shares.items()]
    rows.append(["all", f"{cpu_ms:.3f}", f"{samples.total} samples"])
    print(table("Processor time of the handler's process, 8 at once", ["layer", "ms a checkout", ""], rows))
    if options.profile:
        for title, counted in (
            ("By function (its own time)", samples.functions),
            ("By line of this project (with what it calls)", samples.lines),
        ):
            rows = [
                [name, f"{cpu_ms * count / samples.total:.4f}"] for name, count in counted.most_common(40)
            ]
            print(table(title, ["where", "ms a checkout"], rows))
    return {"cpu_ms_by_layer": {layer: round(cpu_ms * share, 4) for layer, share in shares.items()}}


def _over_a_network(shop: Shop, pipelined: Script, options: Options) -> dict[str, Any]:
    slices, seconds = (1, 1.5) if options.quick else (5, 2)
    say(
        f"Over a network of {ROUND_TRIP_MS:g} ms: 1 and 32 callers, {slices} slices of {seconds:g} s each ..."
    )
    direct_ms = _one_statement_ms(shop, shop.server.port)
    # The proxy takes time of its own, a millisecond where processors are slow: that is a part of its delay.
    with ProxyProcess(shop.server.port, delay_ms=ROUND_TRIP_MS) as proxy:
        excess_ms = _one_statement_ms(shop, proxy.port) - direct_ms - ROUND_TRIP_MS
    with ProxyProcess(shop.server.port, delay_ms=round(max(0.0, ROUND_TRIP_MS - excess_ms), 3)) as proxy:
        statement_ms = _one_statement_ms(shop, proxy.port)
        with Fleet(HANDLER, shop.environment("bench", ROLE, proxy.port), max(CALLERS)) as fleet:
            _warm_up(shop, fleet, 1)
            before = sum(proxy.round_trips)
            alone = _slices(shop, fleet, 1, slices, seconds)
            round_trips = (sum(proxy.round_trips) - before) / sum(one.calls for one in alone)
            shop.tidy()
            pgbench = run_script(shop, pipelined, ROLE, 1, math.ceil(slices * seconds), proxy.port)
            _warm_up(shop, fleet, max(CALLERS))
            crowd = _slices(shop, fleet, max(CALLERS), slices, seconds)
    figures: dict[str, Any] = {
        "round_trips": round(round_trips, 3),
        "select_1_p50_ms": round(direct_ms, 3),
        "select_1_p50_ms_at_2ms_rtt": round(statement_ms, 3),
        "pgbench_ms_at_2ms_rtt": round(1000 / pgbench.rate, 3),
    }
    rows = []
    for suffix, taken in (("", alone), ("_32", crowd)):
        p50 = spread([percentile(one.latencies_ms, 50) for one in taken])
        p99 = spread([percentile(one.latencies_ms, 99) for one in taken])
        rate = spread([one.rate for one in taken])
        rows.append([suffix[1:] or "1", _range(rate), str(p50), str(p99)])
        figures |= {
            f"p50_ms_at_2ms_rtt{suffix}": round(p50.median, 3),
            f"p50_ms_at_2ms_rtt{suffix}_spread": [round(p50.least, 3), round(p50.most, 3)],
            f"p99_ms_at_2ms_rtt{suffix}": round(p99.median, 3),
            f"tps_at_2ms_rtt{suffix}": _rounded(rate),
        }
    head = ["at once", "tps", "p50 ms", "p99 ms"]
    print(table(f"With {ROUND_TRIP_MS:g} ms a round trip to the database", head, rows))
    print(f"Round trips a checkout, counted on the wire: {round_trips:.3f}")
    print(f"A bare `select 1`: p50 {direct_ms:.2f} ms, and {statement_ms:.2f} ms over the network")
    print(f"pgbench, the same SQL in as many round trips: {1000 / pgbench.rate:.2f} ms a checkout")
    return figures


def _slices(shop: Shop, fleet: Fleet, callers: int, count: int, seconds: float) -> list[Slice]:
    slices = []
    for _ in range(count):
        shop.tidy()
        slices.append(fleet.run(checkout_event, callers, shop.customers, seconds))
    return slices


def _one_statement_ms(shop: Shop, port: int) -> float:
    latencies = []
    with psycopg.connect(make_conninfo(shop.server.conninfo(), port=port), autocommit=True) as connection:
        for _ in range(200):
            started = time.perf_counter()
            connection.execute("select 1").fetchone()
            latencies.append((time.perf_counter() - started) * 1000)
    return percentile(latencies, 50)


def _range(values: Spread) -> str:
    return f"{values.median:.0f} ({values.least:.0f}..{values.most:.0f})"


def _rounded(values: Spread) -> dict[str, float]:
    return {name: round(value, 1) for name, value in values._asdict().items()}


if __name__ == "__main__":
    run_command(main)
