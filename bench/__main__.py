"""Run every benchmark in turn, each as a process of its own: `python -m bench [--quick] [--json PATH]`."""

import json
import pkgutil
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import bench
from bench.harness import read_options, say
from local_dsql.console import run_command


def benchmarks() -> list[str]:
    """Give the names of the modules in this package that can be run: those with a `main` of their own."""
    names = (module.name for module in pkgutil.iter_modules(bench.__path__) if module.name != "__main__")
    return [name for name in names if hasattr(import_module(f"bench.{name}"), "main")]


def main() -> int:
    """Run them all; one that fails does not keep the others from running. Gives the exit status."""
    options = read_options("", "Run every benchmark in turn.")
    figures, failed = {}, []
    with tempfile.TemporaryDirectory() as directory:
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


if __name__ == "__main__":
    run_command(main)
