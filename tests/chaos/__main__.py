"""Run chaos: `python -m tests.chaos --seeds 1000` (make chaos SEEDS=1000), or one seed with its trace.

    python -m tests.chaos [--seeds N] [--first N] [--jobs N] [--json PATH]
    python -m tests.chaos --seed 123        # the same run again, step by step

Exit status 1 when something that must hold did not; the seeds that show it are printed.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from local_dsql.arguments import output_file, whole_number
from local_dsql.console import run_command
from tests.chaos.runner import Result, open_links, open_server, quieten, run_seed, run_seeds
from tests.chaos.world import KINDS

_PROBLEMS_SHOWN = 8


def _show(result: Result, console: Console, traced: bool) -> None:
    for problem in result.problems[:_PROBLEMS_SHOWN]:
        console.print(
            f"seed {result.seed}: {problem}", style="red", markup=False, highlight=False, soft_wrap=True
        )
    if traced:
        console.print("\n".join(result.trace), markup=False, highlight=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run seeds and say what came of them; give the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "--seeds", type=whole_number(1), default=200, help="how many seeds to run (default: 200)"
    )
    parser.add_argument("--first", type=whole_number(1), default=1, help="the first of them (default: 1)")
    parser.add_argument("--seed", type=whole_number(1), help="run this seed alone and print its trace")
    parser.add_argument(
        "--jobs",
        type=whole_number(1, 256),
        default=os.cpu_count() or 1,
        help="processes (default: one a core)",
    )
    parser.add_argument(
        "--before", type=whole_number(1), nargs="*", default=[], help="seeds to run before these"
    )
    parser.add_argument("--stop", action="store_true", help="stop at the first seed that fails")
    parser.add_argument("--json", type=output_file, help="write the figures to this file")
    options = parser.parse_args(arguments)
    console = Console()
    # However it is ended, servers and processes end with it.
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda number, _: sys.exit(128 + number))
    if options.seed is not None:
        quieten()
        with open_server() as server:
            links = open_links(server, "chaos_alone")
            result = run_seed(options.seed, links)
            links.close()
        _show(result, console, traced=True)
        console.print(f"seed {options.seed}: {'FAILED' if result.problems else 'ok'}, {result.steps} steps")
        return int(bool(result.problems))
    seeds = [*range(options.first, options.first + options.seeds)]
    seeds = [*options.before, *(seed for seed in seeds if seed not in options.before)]
    counts: Counter[str] = Counter()
    failed: list[Result] = []
    fingerprints: dict[int, int] = {}
    steps = exchanges = done = 0
    began = time.monotonic()
    columns = (
        *(TextColumn("chaos"), BarColumn(), MofNCompleteColumn(), TextColumn("seeds,")),
        *(TextColumn("{task.fields[failed]} failed"), TimeRemainingColumn()),
    )
    with Progress(*columns, console=console) as bar, contextlib.ExitStack() as stack:
        task = bar.add_task("chaos", total=len(seeds), failed=0)
        results = stack.enter_context(contextlib.closing(run_seeds(seeds, options.jobs)))
        for result in results:
            done += 1
            fingerprints[result.seed] = result.fingerprint
            steps += result.steps
            exchanges += result.exchanges
            counts += result.counts
            if result.problems:
                failed.append(result)
                _show(result, bar.console, traced=False)
            bar.update(task, advance=1, failed=len(failed))
            if failed and options.stop:
                break
    figures = {
        "seeds": done,
        "failed": sorted(result.seed for result in failed),
        "steps": steps,
        "exchanges": exchanges,
        "duration_s": round(time.monotonic() - began, 1),
        "counts": dict(sorted(counts.items())),
        "fingerprints": dict(sorted(fingerprints.items())),
    }
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    console.print(
        f"{done} seeds from {options.first} on, {steps} steps, {exchanges} exchanges, "
        f"{sum(counts[kind] for kind in KINDS)} faults, "
        f"{figures['duration_s']} s"
    )
    if failed:
        again = " ".join(f"make chaos SEED={result.seed}" for result in failed[:3])
        console.print(f"{len(failed)} seeds failed. Run one again: {again}")
    return int(bool(failed))


if __name__ == "__main__":
    run_command(main)
