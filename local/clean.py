"""Remove what this project's programs left outside of its folder: `make clean` does it first.

A run that was killed leaves its files until the next start; run as root, PostgreSQL's programs are copied to
where its user can read them.
"""

import argparse
import tempfile
from pathlib import Path

from local.region import MEMORY, remove_runs_left_behind
from local_dsql.console import run_command
from local_dsql.places import remove_left_behind
from local_dsql.postgres import remove_copy

#: The directories that processes make for themselves, by how their names begin (`own_directory`).
PREFIXES = (
    *("local-dsql", "local-dsql-data", "local-dsql-bench", "local-dsql-model", "local-dsql-tests"),
    *("rewards", "rewards-bench", "rewards-chaos", "rewards-check", "rewards-copy", "rewards-demo"),
    *(
        "rewards-former",
        "rewards-invoke",
        "rewards-mutant",
        "rewards-reload",
        "rewards-tests",
        "rewards-vendor",
    ),
)


def main() -> None:
    """Remove what is nobody's any more; what runs is left alone."""
    argparse.ArgumentParser(prog="python -m local.clean", description=main.__doc__).parse_args()
    remove_runs_left_behind()
    for place in (Path(tempfile.gettempdir()), MEMORY):
        for prefix in PREFIXES:
            remove_left_behind(prefix, place)
    remove_copy()


if __name__ == "__main__":
    run_command(main)
