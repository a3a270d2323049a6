"""What every benchmark shares: its options, slices that take turns, medians, a table, JSON, the machine.

Machines are noisy and differ, so a figure here is a ratio of two things measured in turns in one run; times
and rates are printed beside it, for orientation.
"""

import argparse
import json
import os
import platform
import shlex
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from local_dsql.arguments import output_file, output_folder

M = TypeVar("M")

_RELATIVE = ".local/bench"
#: Where pictures of a run go. docs/images holds those of a full run on an idle machine.
PLOTS = Path(__file__).resolve().parents[1] / _RELATIVE


@dataclass(frozen=True, slots=True)
class Options:
    """What a benchmark was asked for on its command line."""

    quick: bool
    json_path: Path | None
    profile: bool
    plots: Path


def read_options(name: str, description: str, arguments: Sequence[str] | None = None) -> Options:
    """Read the command line of `python -m bench.<name>`."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.{name}".rstrip("."), description=description)
    parser.add_argument(
        "--quick", action="store_true", help="seconds instead of minutes, with a wider spread"
    )
    parser.add_argument(
        "--json", type=output_file, metavar="PATH", help="also write the figures to this file"
    )
    parser.add_argument(
        "--profile", action="store_true", help="show where the processor's time goes, by line"
    )
    parser.add_argument(
        "--plots",
        type=output_folder,
        metavar="DIRECTORY",
        default=PLOTS,
        help=f"where pictures go (default: {_RELATIVE})",
    )
    given = parser.parse_args(arguments)
    return Options(given.quick, given.json, given.profile, given.plots)


class Spread(NamedTuple):
    """The median of repeated measurements with the least and the greatest."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f}..{self.most:.2f})"


def spread(values: Sequence[float]) -> Spread:
    """Give the median, least and greatest of at least one value."""
    return Spread(statistics.median(values), min(values), max(values))


def percentile(values: Sequence[float], percent: float) -> float:
    """Give the value below which `percent` of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def take_turns(rounds: int, *sides: Callable[[], M], between: Callable[[], None]) -> list[list[M]]:
    """Measure each side once a round, in an order that turns round every time; one list of values a side.

    A machine that speeds up or slows down meanwhile does so for all sides. `between` runs, unmeasured, before
    every slice.
    """
    values: list[list[M]] = [[] for _ in sides]
    order = list(range(len(sides)))
    for _ in range(rounds):
        for side in order:
            between()
            values[side].append(sides[side]())
        order.reverse()
    return values


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> Spread:
    """Give the spread of the ratios of values that were measured next to each other."""
    return spread([one / other for one, other in zip(numerators, denominators, strict=True)])


def say(text: str) -> None:
    """Tell what is under way, on standard error."""
    print(text, file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
    """Describe where and how this runs: command, cores, load, versions."""
    return {
        "command": shlex.join(["python", *_command()]),
        "cores": os.cpu_count(),
        "load_1_min": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _command() -> list[str]:
    script = Path(sys.argv[0])
    module = ".".join(script.with_suffix("").parts[-2:]).removesuffix(".__main__")
    return ["-m", module, *sys.argv[1:]]


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Set rows under a head, the first column to the left and the others to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first, *rest = (
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join((first, *rest)).rstrip()

    return "\n".join((f"\n{title}", line(head), line(["-" * width for width in widths]), *map(line, rows)))


def write_json(path: Path | None, figures: Mapping[str, Any]) -> None:
    """Write a run's figures with the description of the machine, if a path was given."""
    if path is not None:
        path.write_text(json.dumps({**figures, "machine": machine()}, indent=2) + "\n", encoding="utf-8")
        say(f"Figures are in {path}.")
