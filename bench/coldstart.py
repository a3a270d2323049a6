"""How long each function takes to start in Lambda's real runtime, beside a bare handler's start.

python -m bench.coldstart [--quick] [--json PATH] [--profile]
"""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench.harness import (
    Options,
    machine,
    ratios,
    read_options,
    say,
    spread,
    table,
    take_turns,
    write_json,
)
from local_dsql.console import run_command
from local_dsql.places import own_directory
from tools.bundle import handler_module
from tools.runtime import PYTHON, Artifacts, Runtime
from tools.template import functions

CHECKOUT = "CheckoutFunction"

#: Goals, by processor time: ratios to the libraries alone, for the checkout and for every function.
GOAL_CHECKOUT = 1.05
GOAL_EACH = 1.12

_BARE = '"""A handler that needs nothing."""\n\n\ndef handler(event, context):\n    return event\n'

#: What the libraries cost that every function with a database imports, without a line of ours: the floor.
LIBRARIES = """
import psycopg
from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import Metrics
from pydantic import BaseModel

logger = Logger(service="bare")
metrics = Metrics(namespace="Bare", service="bare")


class Model(BaseModel):
    value: int


def handler(event, context):
    return event
"""

#: The functions' entry point says this; without it the floor would be higher than it has to be.
_NO_PLUGINS = {"PYDANTIC_DISABLE_PLUGINS": "true"}

#: Values that let every function's settings be valid; nothing is connected before an event asks for it.
ENVIRONMENT = {
    "DATABASE_HOST": "127.0.0.1",
    "DATABASE_TLS": "disable",
    "DATABASE_ROLE": "checkout",
    "EVENT_BUS_NAME": "bus",
    "SENDER_ADDRESS": "orders@shop.example.com",
    "MAIL_CONFIGURATION": "mail",
    "QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/queue",
    "USER_POOL_ID": "us-east-1_local",
    "PICTURES_BUCKET": "pictures",
    "STACK_NAME": "shop",
    "FUNCTION_LOG_GROUP": "functions",
    "CHECKOUT_FUNCTION": "checkout",
    "CLEAN_CART_FUNCTION": "clean-cart",
    "NOTIFY_FUNCTION": "notify",
    "RELAY_FUNCTION": "relay",
    "STOREFRONT_FUNCTION": "storefront",
    "ORDERS_FUNCTION": "orders",
    "SMOKE_CUSTOMER_ID": "",
    "USER_POOL_CLIENT_ID": "",
    "IN_CLOUD": "true",
    "DEMO_PASSWORD": "not-a-password-of-anybody",
}

_IMPORT_TIME = re.compile(r"^import time:\s+(\d+) \|\s+\d+ \| +(\S+)$", re.MULTILINE)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, write the JSON."""
    options = read_options("coldstart", (__doc__ or "").splitlines()[0], arguments)
    with own_directory("rewards-bench") as directory:
        bench = _Bench(Path(directory))
        figures = _starts(bench, options)
        figures |= _first_need(bench, options)
        figures |= _by_import(bench, figures["functions"], options)
    print("\n" + ", ".join(f"{name}: {value}" for name, value in machine().items()))
    write_json(options.json_path, figures)


class _Bench:
    """Artifacts in a directory, and starts of them."""

    def __init__(self, directory: Path) -> None:
        say("Building the artifacts ...")
        self._directory = directory
        self.artifacts = Artifacts(directory / "artifacts")
        for function in functions():
            self.artifacts.function(function)
        for name, source in (("bare", _BARE), ("libraries", LIBRARIES)):
            (directory / name).mkdir()
            (directory / name / f"{name}.py").write_text(source, encoding="utf-8")
            command = [sys.executable, "-m", "compileall", "-q", str(directory / name)]
            subprocess.run(command, check=True)
        #: Processor time of every start of a function.
        self.cpu_ms: dict[str, list[float]] = {}
        self._starts = 0

    def start_bare(self, name: str) -> float:
        """Start a handler of this benchmark; give the milliseconds."""
        task = self._directory / name
        path = [task, self.artifacts.layer, self.artifacts.carried]
        return self._start(name, Runtime(f"{name}.handler", task, path, _NO_PLUGINS, self._output()))

    def start(self, function: str) -> float:
        """Start a function; give the milliseconds."""
        return self._start(function, Runtime.of(function, self.artifacts, ENVIRONMENT, self._output()))

    def run(self, code: str, function: str = CHECKOUT, *options: str) -> str:
        """Run code with a function's modules at hand; give what it wrote to either stream."""
        task = self.artifacts.function(function)
        path = os.pathsep.join(map(str, (task, self.artifacts.layer, self.artifacts.carried)))
        environment = {"PATH": os.defpath, "PYTHONPATH": path, **ENVIRONMENT}
        environment |= {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"}
        environment |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        command = [str(PYTHON), "-P", *options, "-c", code]
        done = subprocess.run(
            command, env=environment, check=True, capture_output=True, text=True, encoding="utf-8"
        )
        return done.stdout + done.stderr

    def _output(self) -> Path:
        self._starts += 1
        return self._directory / f"{self._starts}.log"

    def _start(self, name: str, runtime: Runtime) -> float:
        with runtime:
            runtime.start()
            self.cpu_ms.setdefault(name, []).append(runtime.cpu_ms())
            return runtime.init_ms


def _starts(bench: _Bench, options: Options) -> dict[str, Any]:
    rounds = 3 if options.quick else 15
    names = ["bare", "libraries", *functions()]
    say(f"Starting {len(names) - 2} functions and two bare handlers, {rounds} times each, in turns ...")
    bench.start_bare("bare")  # what the runtime carries is compiled from here on
    bench.cpu_ms.clear()
    sides = [partial(bench.start_bare, name) for name in names[:2]]
    sides += [partial(bench.start, name) for name in names[2:]]
    wall_ms = dict(zip(names, take_turns(rounds, *sides, between=lambda: None), strict=True))
    rows, figures = [], {}
    for name in names:
        init, ratio = spread(wall_ms[name]), ratios(wall_ms[name], wall_ms["bare"])
        cpu_ratio = ratios(bench.cpu_ms[name], bench.cpu_ms["bare"])
        to_floor = ratios(bench.cpu_ms[name], bench.cpu_ms["libraries"])
        figures[name] = {
            "init_ms": round(init.median, 1),
            "ratio_to_bare": round(ratio.median, 2),
            "cpu_ratio_to_bare": round(cpu_ratio.median, 2),
            "cpu_ratio_to_libraries": round(to_floor.median, 3),
        }
        rows.append(
            [
                _TITLES.get(name, name),
                f"{init.median:.0f} ({init.least:.0f}..{init.most:.0f})",
                str(ratio),
                str(cpu_ratio),
                f"{to_floor.median:.3f}",
            ]
        )
    head = ["function", "init ms", "ratio to bare", "by processor time", "to the libraries"]
    print(table("Start: median (least..most)", head, rows))
    of_checkout = figures[CHECKOUT]["cpu_ratio_to_libraries"]
    most = max(
        (row for row in figures if row not in _TITLES),
        key=lambda name: figures[name]["cpu_ratio_to_libraries"],
    )
    of_most = figures[most]["cpu_ratio_to_libraries"]
    print(
        f"\nGoals, by processor time: the checkout takes at most {GOAL_CHECKOUT} of what the libraries alone "
        f"do, no function more than {GOAL_EACH}. Here: {of_checkout}, and {of_most} ({most})."
    )
    return {
        "goal_checkout_to_libraries": GOAL_CHECKOUT,
        "goal_each_to_libraries": GOAL_EACH,
        "bare": figures.pop("bare"),
        "libraries": figures.pop("libraries"),
        "functions": figures,
    }


_TITLES = {"bare": "a bare handler", "libraries": "the libraries alone"}


#: What is left for the first event, since not every start comes to need it.
_FIRST_NEEDS = {
    "a database token": (
        "from sql.connection import DatabaseSettings, mint_token\n"
        "settings = DatabaseSettings(host='h', role='checkout', region='us-east-1')",
        "mint_token(settings)",
    ),
    "a boto3 client of EventBridge": ("", "import boto3; boto3.client('events')"),
}


def _first_need(bench: _Bench, options: Options) -> dict[str, Any]:
    rounds = 3 if options.quick else 9
    say("Timing what is put off until it is needed ...")
    rows, figures = [], {}
    for name, (before, need) in _FIRST_NEEDS.items():
        code = (
            f"import time, handlers.checkout\n{before}\nstart = time.perf_counter()\n{need}\n"
            "print(1000 * (time.perf_counter() - start))"
        )
        times = spread([float(bench.run(code)) for _ in range(rounds)])
        figures[name.replace(" ", "_")] = round(times.median, 1)
        rows.append([name, f"{times.median:.1f} ({times.least:.1f}..{times.most:.1f})"])
    print(table("When first needed, in the checkout: median (least..most)", ["what", "ms"], rows))
    return {"first_need_ms": figures}


def _by_import(bench: _Bench, measured: dict[str, dict[str, float]], options: Options) -> dict[str, Any]:
    heaviest = max(measured, key=lambda name: measured[name]["ratio_to_bare"])
    shown = [CHECKOUT] if heaviest == CHECKOUT else [CHECKOUT, heaviest]
    say(f"Timing the imports of {' and '.join(shown)} ...")
    figures = {}
    for function in shown:
        modules = _import_times(bench, function, 4 if options.quick else 15)
        parts: Counter[str] = Counter()
        for module, us in modules.items():
            parts[module.partition(".")[0]] += us
        total = sum(parts.values())
        rows = [[name, f"{us / 1000:.1f}", f"{us / total:.0%}"] for name, us in parts.most_common(16)]
        rows.append([f"all {len(modules)} modules", f"{total / 1000:.1f}", "100%"])
        print(
            table(f"{function}: imports by package, own time, least of all runs", ["package", "ms", ""], rows)
        )
        if options.profile:
            slow = sorted(modules.items(), key=lambda item: -item[1])[:40]
            rows = [[name, f"{us / 1000:.2f}"] for name, us in slow]
            print(table(f"{function}: imports by module", ["module", "ms"], rows))
        figures[function] = {name: round(us / 1000, 2) for name, us in parts.most_common(16)}
    return {"import_ms_by_package": figures}


def _import_times(bench: _Bench, function: str, rounds: int) -> dict[str, int]:
    """Give each module's own import time in microseconds: the least of several, as noise only adds."""
    least: dict[str, int] = {}
    code = f"import {handler_module(function)}"
    for _ in range(rounds):
        for us, module in _IMPORT_TIME.findall(bench.run(code, function, "-X", "importtime")):
            least[module] = min(least.get(module, sys.maxsize), int(us))
    return least


if __name__ == "__main__":
    run_command(main)
