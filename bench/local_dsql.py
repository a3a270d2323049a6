"""The local Aurora DSQL beside the PostgreSQL behind it: the checkout, and a transfer that many contend for.

python -m bench.local_dsql [--quick] [--json PATH]
"""

import random
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import psutil
import psycopg

from bench.environments import Fleet, Slice
from bench.harness import machine, ratios, read_options, say, spread, table, take_turns, write_json
from bench.shop import checkout_event, open_shop
from local_dsql.cluster import LocalDsql
from local_dsql.console import run_command
from local_dsql.places import own_directory

HANDLER = "handlers.checkout"
ROLE = "checkout"
CALLERS = 8
ACCOUNTS = 10_000
HOT_ACCOUNTS = 8
"""Eight callers move points between as many accounts: about half of all attempts lose."""

_WARM_UP_CALLS = 20


class _Transfers(NamedTuple):
    """What one slice of transfers came to."""

    rate: float
    attempts_lost: float
    """Share of all attempts."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, write the JSON."""
    options = read_options("local_dsql", (__doc__ or "").splitlines()[0], arguments)
    rounds, seconds = (3, 1.5) if options.quick else (9, 3.0)
    figures: dict[str, Any] = {}
    with (
        open_shop(customers=8_000 if options.quick else 24_000) as shop,
        own_directory("local-dsql-bench") as directory,
        LocalDsql(directory, postgres=shop.server, tls=False) as dsql,
    ):
        shop.admin.execute(f"alter role {ROLE} set log_statement = 'none'".encode())
        server = psutil.Process(dsql.process_id)
        plain_environment = shop.environment("plain", ROLE)
        dsql_environment = shop.environment("dsql", ROLE, dsql.port)
        with (
            Fleet(HANDLER, plain_environment, CALLERS) as plain_fleet,
            Fleet(HANDLER, dsql_environment, CALLERS) as dsql_fleet,
        ):
            for fleet in (plain_fleet, dsql_fleet):
                shop.tidy()
                fleet.run(checkout_event, CALLERS, shop.customers, most=_WARM_UP_CALLS)
            say(f"The checkout, {CALLERS} at once: {rounds} rounds of {seconds:g} s for each side ...")
            slices: list[Slice] = []
            used_s = [0.0]

            def through_dsql() -> float:
                before_s = _processor_s(server)
                slices.append(dsql_fleet.run(checkout_event, CALLERS, shop.customers, seconds))
                used_s[0] += _processor_s(server) - before_s
                return slices[-1].rate

            def plainly() -> float:
                return plain_fleet.run(checkout_event, CALLERS, shop.customers, seconds).rate

            dsql_rates, plain_rates = take_turns(rounds, through_dsql, plainly, between=shop.tidy)
        server_ms = 1000 * used_s[0] / sum(each.calls for each in slices)
        figures["checkout"] = _figures(dsql_rates, plain_rates) | {
            "server_ms_a_checkout": round(server_ms, 3)
        }
        say(f"A transfer between {HOT_ACCOUNTS} accounts, {CALLERS} at once ...")
        _make_accounts(shop.server.conninfo())
        transfers: dict[str, list[_Transfers]] = {"dsql": [], "plain": []}

        def transfer(side: str, conninfo: str) -> float:
            transfers[side].append(_transfer(conninfo, seconds))
            return transfers[side][-1].rate

        dsql_rates, plain_rates = take_turns(
            rounds,
            lambda: transfer("dsql", dsql.conninfo()),
            lambda: transfer("plain", shop.server.conninfo()),
            between=lambda: None,
        )
        figures["transfer"] = _figures(dsql_rates, plain_rates) | {
            f"{side}_attempts_lost": round(sum(each.attempts_lost for each in taken) / len(taken), 3)
            for side, taken in transfers.items()
        }
    _print(figures)
    print("\n" + ", ".join(f"{name}: {value}" for name, value in machine().items()))
    write_json(options.json_path, figures)


def _processor_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _figures(dsql_rates: Sequence[float], plain_rates: Sequence[float]) -> dict[str, Any]:
    ratio = ratios(dsql_rates, plain_rates)
    return {
        "ratio": round(ratio.median, 3),
        "ratio_spread": [round(ratio.least, 3), round(ratio.most, 3)],
        "dsql_tps": round(spread(dsql_rates).median, 1),
        "plain_tps": round(spread(plain_rates).median, 1),
    }


def _print(figures: dict[str, Any]) -> None:
    rows = [
        [
            name,
            str(of["dsql_tps"]),
            str(of["plain_tps"]),
            f"{of['ratio']} ({of['ratio_spread'][0]}..{of['ratio_spread'][1]})",
        ]
        for name, of in figures.items()
    ]
    head = ["", "local DSQL tps", "PostgreSQL tps", "ratio"]
    print(table("The local DSQL beside PostgreSQL (median, least..most)", head, rows))
    print(f"Processor time of the server a checkout: {figures['checkout']['server_ms_a_checkout']} ms")
    lost = figures["transfer"]
    shares = [f"{lost[f'{side}_attempts_lost']:.0%}" for side in ("dsql", "plain")]
    print(f"Attempts at a transfer that lost: {shares[0]}, on PostgreSQL {shares[1]}")


def _make_accounts(conninfo: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("create table bench_accounts (id int primary key, balance bigint not null)")
        connection.execute(
            "insert into bench_accounts select number, 1000000 from generate_series(1, %s) as number",
            [ACCOUNTS],
        )


def _transfer(conninfo: str, seconds: float) -> _Transfers:
    done, lost = [0] * CALLERS, [0] * CALLERS
    until = time.perf_counter() + seconds

    def caller(number: int) -> None:
        choose = random.Random(number)
        with psycopg.connect(conninfo, autocommit=True) as connection:
            while time.perf_counter() < until:
                one, other = choose.sample(range(1, HOT_ACCOUNTS + 1), 2)
                while not _try_to_transfer(connection, one, other):
                    lost[number] += 1
                done[number] += 1

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(CALLERS)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    attempts = sum(done) + sum(lost)
    return _Transfers(sum(done) / (time.perf_counter() - started), sum(lost) / max(1, attempts))


def _try_to_transfer(connection: psycopg.Connection[Any], one: int, other: int) -> bool:
    take = "update bench_accounts set balance = balance - %s where id = %s"
    give = "update bench_accounts set balance = balance + %s where id = %s"
    try:
        connection.execute("begin isolation level repeatable read")
        connection.execute(take, [1, one])
        connection.execute(give, [1, other])
        connection.execute("commit")
    except (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected):
        connection.execute("rollback")
        return False
    return True


if __name__ == "__main__":
    run_command(main)
