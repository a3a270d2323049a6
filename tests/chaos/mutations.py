"""Each guard taken out, and what fails without it.

    python -m tests.chaos.mutations [--only TEXT ...] [--from NAME] [--markdown PATH]      # make mutations

Guards are marked in the code (tests/chaos/marks.py) and listed in tests/chaos/guards.py. Each is taken out of
a copy of the tree in a temporary directory, as many at once as there are cores; there chaos (or a named test,
for guards whose absence a whole run survives) has to fail. With nothing taken out, all have to pass. A row is
written as soon as it is known, so a run that is interrupted says where another one goes on.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from local_dsql.arguments import input_file, whole_number
from local_dsql.console import run_command
from local_dsql.places import own_directory
from tests.chaos.guards import GUARDS
from tests.chaos.marks import FOLDERS, find_marks, mutate

ROOT = Path(__file__).resolve().parents[2]

_SEEDS = 400
_BASELINE_SEEDS = 50
_TIMEOUT_S = 400

#: The exit status of tests of which one failed, and of chaos where a seed did.
_FAILED = 1
_COPIED = (*FOLDERS, "local", "local_dsql", "tools", "demos", "bench", "tests", "pyproject.toml")
_BASELINE = "with nothing taken out"

_COLUMNS = (TextColumn("guards"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))


class Finding(NamedTuple):
    """How a run of a tree ended."""

    status: int
    words: str
    duration_s: float

    @property
    def failed(self) -> bool:
        """Whether something that ran failed: what could not run at all has found nothing."""
        return self.status == _FAILED


class Runs:
    """The processes that are at work, so that whatever ends this one ends them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at_work: set[subprocess.Popen[str]] = set()
        self._is_over = False

    def run(self, command: Sequence[str], tree: Path, timeout_s: float = _TIMEOUT_S) -> Finding:
        """Run Python in a tree, until it ends or has taken too long."""
        began = time.monotonic()
        with tempfile.TemporaryFile("w+") as output:
            with self._lock:
                if self._is_over:
                    return Finding(_FAILED, "stopped", 0)
                process = subprocess.Popen(
                    [sys.executable, *command],
                    cwd=tree,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    text=True,
                    env={
                        "PATH": "/usr/bin:/bin",
                        "PYTHONDONTWRITEBYTECODE": "1",
                        "COLUMNS": "200",
                        # Those that are merely installed take longer to import than most tests run.
                        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                    },
                )
                self._at_work.add(process)
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                return Finding(_FAILED, "does not come to an end", timeout_s)
            finally:
                process.terminate()
                process.wait()
                self._at_work.discard(process)
            output.seek(0)
            return Finding(process.returncode, _words(output.read()), time.monotonic() - began)

    def end(self) -> None:
        """End what is at work and let nothing begin."""
        with self._lock:
            self._is_over = True
            for process in self._at_work:
                process.terminate()


@contextmanager
def copied(source: Path) -> Iterator[Path]:
    """Copy what tests need of a tree, for the length of a block."""
    with own_directory("rewards-mutant") as directory:
        tree = Path(directory)
        tree.chmod(0o755)
        for name in _COPIED:
            if (source / name).is_dir():
                # With the bytecode, which is not compiled a hundred times then: it goes by a file's time.
                shutil.copytree(source / name, tree / name)
            else:
                shutil.copy2(source / name, tree / name)
        yield tree


def places_of(test: str, tree: Path) -> list[str]:
    """Give `path::name` of each test function of a name. Raises LookupError where there is none."""
    found = [
        f"{path.relative_to(tree)}::{test}"
        for path in sorted(tree.glob("tests/**/test_*.py"))
        if f"\ndef {test}(" in path.read_text(encoding="utf-8")
    ]
    if not found:
        raise LookupError(f"no test is named {test}: adapt tests/chaos/guards.py")
    return found


def _chaos(seeds: int, before: int | None = None) -> list[str]:
    first = [] if before is None else ["--before", str(before)]
    return ["-m", "tests.chaos", "--stop", "--jobs", "1", "--seeds", str(seeds), *first]


def _tests(names: Sequence[str], tree: Path) -> list[str]:
    places = [place for name in names for place in places_of(name, tree)]
    return ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *places]


def _words(output: str) -> str:
    """Give the line of an output that says what failed, without ids."""
    found = re.search(r"^seed \d+: .*|^FAILED .*|^ERROR .*|^E  .*", output, re.MULTILINE)
    words = found[0] if found else output.strip().splitlines()[-1] if output.strip() else "no output"
    words = re.sub(r"[0-9a-f]{8}-?[0-9a-f-]{23,27}|/\S*/rewards-mutant-[^/]*/|UUID\('.{36}'\)", "…", words)
    return words[:110].rstrip()


def take_out(name: str, tree: Path) -> None:
    """Take a guard out of a tree. Raises ValueError where it is not marked exactly once."""
    marks = [mark for mark in find_marks(tree) if mark.name == name]
    if len(marks) != 1:
        raise ValueError(f"{len(marks)} marks are named {name!r}")
    path = tree / marks[0].file
    path.write_text(mutate(path.read_text(encoding="utf-8"), marks[0], GUARDS[name].how), encoding="utf-8")


def _try(runs: Runs, name: str, source: Path, found_before: int | None) -> Finding:
    with copied(source) as tree:
        take_out(name, tree)
        test = GUARDS[name].test
        return runs.run(_tests([test], tree) if test else _chaos(_SEEDS, found_before), tree)


def row(name: str, finding: Finding) -> dict[str, str]:
    """Give a guard's row of the table of docs/proof.md."""
    (file,) = (mark.file for mark in find_marks(ROOT) if mark.name == name)
    test = GUARDS[name].test
    check = test.removeprefix("test_").replace("_", " ") or "chaos"
    check = check if finding.failed else f"**nothing** ({check})"
    words = "" if test else finding.words.replace("|", "/")
    return {name: f"| {name} | `{file}` | {check} | {words} |"}


def seeds_of(page: Path) -> dict[str, int]:
    """Read from the table which seed failed last without a guard: it is tried first, and often does again."""
    text = page.read_text(encoding="utf-8")
    return {
        name: int(seed) for name, seed in re.findall(r"^\| (.+?) \| .*\| seed (\d+): ", text, re.MULTILINE)
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Take out each guard; give exit status 1 when something passes without one."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.mutations", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--only", nargs="*", default=[""], help="only guards whose name holds one of these")
    parser.add_argument("--from", dest="first", metavar="NAME", help="go on from this guard of the list")
    parser.add_argument("--markdown", type=input_file, help="update the table of results in this page")
    parser.add_argument(
        "--jobs",
        type=whole_number(1, 256),
        default=os.cpu_count() or 1,
        help="at once (default: one a core)",
    )
    options = parser.parse_args(arguments)
    console = Console()
    names = [*GUARDS]
    if options.first not in (None, *names):
        parser.error(f"no guard is named {options.first!r}; tests/chaos/guards.py lists them")
    names = names[names.index(options.first) if options.first else 0 :]
    chosen = [name for name in names if any(text in name for text in options.only)]
    if not chosen:
        parser.error("no guard has a name like that; tests/chaos/guards.py lists them")
    before = seeds_of(options.markdown) if options.markdown else {}
    runs = Runs()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    survivors: list[str] = []
    left = dict.fromkeys(chosen)
    # Others may be at work in this tree: every guard is taken out of the same one.
    with (
        copied(ROOT) as tree,
        ThreadPoolExecutor(options.jobs) as pool,
        Progress(*_COLUMNS, console=console) as bar,
    ):
        tests = sorted({GUARDS[name].test for name in chosen})
        sound = [_chaos(_BASELINE_SEEDS)] if "" in tests else []
        sound += [_tests([test for test in tests if test], tree)] if any(tests) else []
        work = {pool.submit(runs.run, command, tree, 3 * _TIMEOUT_S): _BASELINE for command in sound}
        work |= {pool.submit(_try, runs, name, tree, before.get(name)): name for name in chosen}
        task = bar.add_task("", total=len(chosen))
        try:
            for done in as_completed(work):
                name, finding = work[done], done.result()
                if name == _BASELINE and finding.status:
                    bar.console.print(f"This fails {_BASELINE}: {finding.words}", style="red", markup=False)
                    return 1
                if name == _BASELINE:
                    continue
                if options.markdown is not None:
                    update(options.markdown, row(name, finding))
                verdict = "found" if finding.failed else "NOT FOUND"
                bar.console.print(
                    f"{verdict:9} {name}: {finding.words} ({finding.duration_s:.0f} s)",
                    style="" if finding.failed else "red",
                    markup=False,
                    highlight=False,
                    soft_wrap=True,
                )
                survivors += [] if finding.failed else [name]
                left.pop(name)
                bar.advance(task)
        finally:
            runs.end()
            if left and len(left) < len(chosen):
                bar.console.print(f'To go on: --from "{next(iter(left))}"', markup=False, highlight=False)
    found = len(chosen) - len(survivors)
    console.print(f"{found} of {len(chosen)} guards are missed when they are gone")
    return int(bool(survivors))


def update(page: Path, new: Mapping[str, str]) -> None:
    """Replace rows between the marks of a page; rows of guards that are no longer listed go."""
    start, end = "<!-- mutations -->\n", "<!-- /mutations -->"
    head, _, rest = page.read_text(encoding="utf-8").partition(start)
    old, _, tail = rest.partition(end)
    known = {line.split("|")[1].strip(): line for line in old.splitlines() if line.startswith("| ")}
    known.update(new)
    lines = ["| guard | where | without it, this fails | and says |", "|---|---|---|---|"]
    lines += [known[name] for name in GUARDS if name in known]
    page.write_text(head + start + "\n".join(lines) + "\n" + end + tail, encoding="utf-8")


if __name__ == "__main__":
    run_command(main)
