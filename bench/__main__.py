"""Run every benchmark in turn, each as a process of its own: `python -m bench [--quick] [--json PATH]`.

Or one of them: `python -m bench checkout` is `python -m bench.checkout`.
"""

import json
import pkgutil
import runpy
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import bench
from bench.harness import read_options, say
from local_dsql.console import run_command
from local_dsql.places import own_directory


def benchmarks() -> list[str]:
    """Give the names of the modules in this package that can be run: those with a `main` of their own."""
    names = (module.name for module in pkgutil.iter_modules(bench.__path__) if module.name != "__main__")
    return [name for name in names if hasattr(import_module(f"bench.{name}"), "main")]


def main() -> int:
    """Run them all, or the one that is named; gives the exit status.

    One that fails does not keep the others from running.
    """
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        _become(sys.argv[1], sys.argv[2:])
    options = read_options("", "Run every benchmark in turn.")
    figures, failed = {}, []
    with own_directory("rewards-bench") as directory:
        for name in benchmarks():
            say(f"== bench.{name}")
            path = Path(directory) / f"{name}.json"
            command = [sys.executable, "-m", f"bench.{name}", "--json", str(path)]
            command += ["--plots", str(options.plots)]
            command += [f"--{flag}" for flag in ("quick", "profile") if getattr(options, flag)]
            if subprocess.run(command, check=False).returncode != 0:
                failed.append(name)
            elif path.exists():
                figures[name] = json.loads(path.read_text(encoding="utf-8"))
    if options.json_path is not None:
        options.json_path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if failed:
        say(f"Failed: {', '.join(failed)}")
    return 1 if failed else 0


def _become(name: str, arguments: list[str]) -> NoReturn:
    if name not in benchmarks():
        print(f"There is no benchmark {name!r}: choose from {', '.join(benchmarks())}.", file=sys.stderr)
        sys.exit(2)
    sys.argv = [f"bench.{name}", *arguments]
    runpy.run_module(f"bench.{name}", run_name="__main__", alter_sys=True)
    sys.exit(0)


if __name__ == "__main__":
    run_command(main)
