"""pgbench running what a handler runs: the script is made from the statements that the server really got.

One call of the handler is recorded in the server's log. Its statements become a script for
`pgbench --protocol prepared`, each a round trip of its own, BEGIN and COMMIT too. What differs from call to
call (customer, order, event, idempotency key) becomes an expression over pgbench's variables, everything
else a constant parameter. So the script cannot drift from the code: there is nothing to keep in step.
"""

import json
import os
import re
import resource
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bench.shop import Shop

_PARAMETER = re.compile(r"\$(\d+) = (?:NULL|'((?:[^']|'')*)')")
_PLACE = re.compile(r"\$(\d+)")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_RATE = re.compile(r"^tps = ([\d.]+) ", re.MULTILINE)
_PROCESSED = re.compile(r"^number of transactions actually processed: (\d+)", re.MULTILINE)
_WRITING = re.compile(r"\b(insert|update|delete)\b", re.IGNORECASE)
_LOG_WAIT_S = 10.0

# A uuid out of pgbench's numbers, which are all it can compute with; it costs the server well under 1 us.
_AS_UUID = "lpad((:{})::text, 32, '0')::uuid"

_VARIABLES = """\\set n :n + 1
\\set customer :client_id * :share + :n
\\set order random(1, 9223372036854775807)
\\set event random(1, 9223372036854775807)
\\set key random(1, 9223372036854775807)
"""


_PIPELINE, _PIPELINE_END = "\\startpipeline\n", "\\endpipeline\n"
_NEXT_PIPELINE = _PIPELINE_END + _PIPELINE


class NotRecordedError(RuntimeError):
    """The server's log does not show one transaction of the handler from BEGIN to COMMIT."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A statement as the server got it: text with `$1` places, and the parameters' values as text."""

    text: str
    parameters: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Script:
    """A pgbench script with the constants that its variables stand for."""

    text: str
    constants: Mapping[str, str]
    statements: int


class Run(NamedTuple):
    """What pgbench did: transactions, their number a second, and its own processor time."""

    transactions: int
    rate: float
    cpu_s: float


def recorded_transaction(shop: Shop, role: str) -> list[Recorded]:
    """Give the statements of the last transaction that `role` has committed, from the server's log."""
    deadline = time.monotonic() + _LOG_WAIT_S
    # The server's log arrives a moment after the answer.
    while time.monotonic() < deadline:
        statements = list(_statements(shop.server.log_directory, role))
        texts = [statement.text.upper() for statement in statements]
        if texts and texts[-1] == "COMMIT" and "BEGIN" in texts:
            begin = len(texts) - 1 - texts[::-1].index("BEGIN")
            return statements[begin:]
        time.sleep(0.05)
    raise NotRecordedError(f"{NotRecordedError.__doc__} Last seen: {texts[-12:]}")


def _statements(directory: Path, role: str) -> Iterator[Recorded]:
    for path in sorted(directory.glob("*.json")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.endswith("}"):
                return  # the server is writing it just now
            entry = json.loads(line)
            kind, _, text = entry.get("message", "").partition(": ")
            if entry.get("user") == role and (kind == "statement" or kind.startswith("execute ")):
                found = _PARAMETER.finditer(entry.get("detail", ""))
                values = [None if p[2] is None else p[2].replace("''", "'") for p in found]
                yield Recorded(text, tuple(values))


def make_script(
    statements: list[Recorded], customer: str, order: str, key: str, *, pipelined: bool = False
) -> Script:
    """Turn one recorded transaction into a script; the arguments are the values that vary.

    Each statement is a round trip; `pipelined` has two, as the handler has: what reads, and what writes.
    """
    expressions = {
        customer: _AS_UUID.format("customer"),
        order: _AS_UUID.format("order"),
        key: f"lpad((:key)::text, {len(key)}, '0')",
    }
    constants: dict[str, str] = {}
    lines: list[str] = []
    for number, statement in enumerate(statements, start=1):

        def place(match: re.Match[str], statement: Recorded = statement, number: int = number) -> str:
            value = statement.parameters[int(match[1]) - 1]
            if value is None:
                return "null"
            if value in expressions:
                return expressions[value]
            if _UUID.fullmatch(value):  # the one id left is the event's
                return _AS_UUID.format("event")
            name = f"s{number}p{match[1]}"
            constants[name] = value
            return f":{name}"

        lines.append(_PLACE.sub(place, statement.text) + ";\n")
    if pipelined:
        first_write = next(number for number, line in enumerate(lines) if _WRITING.search(line))
        lines.insert(first_write, _NEXT_PIPELINE)
        lines = [_PIPELINE, *lines, _PIPELINE_END]
    return Script(_VARIABLES + "".join(lines), constants, len(statements))


def run_script(
    shop: Shop, script: Script, role: str, clients: int, seconds: int, port: int | None = None
) -> Run:
    """Run the script, at another port than the server's if given; the rate is without the time to connect.

    Raises RuntimeError when pgbench fails or uses more customers than there are.
    """
    path = shop.server.data_directory.parent / "checkout.pgbench"
    path.write_text(script.text, encoding="utf-8")
    definitions = {**script.constants, "n": "0", "share": str(shop.customers // clients)}
    command = [
        str(shop.server.bin_directory / "pgbench"),
        "--no-vacuum",
        "--protocol=prepared",
        f"--client={clients}",
        f"--jobs={min(clients, os.cpu_count() or 1)}",
        f"--time={seconds}",
        f"--file={path}",
        *(f"--define={name}={value}" for name, value in definitions.items()),
        f"--host={shop.server.host}",
        f"--port={port or shop.server.port}",
        f"--username={role}",
        "postgres",
    ]
    before = _children_cpu_s()
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    rate, processed = _RATE.search(done.stdout), _PROCESSED.search(done.stdout)
    if done.returncode != 0 or rate is None or processed is None or "aborted" in done.stderr:
        raise RuntimeError(f"pgbench failed ({done.returncode}): {done.stderr[-2000:]}")
    if int(processed[1]) > shop.customers:
        raise RuntimeError(
            f"pgbench made {processed[1]} checkouts and {shop.customers} carts were full: seed more."
        )
    return Run(int(processed[1]), float(rate[1]), _children_cpu_s() - before)


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
