"""Many starts of Python for the price of one: processes of their own, forked where the imports are done."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from local_dsql.places import own_directory
from tests.documents import ROOT

#: What most of the functions import.
LIBRARIES = ("aws_lambda_powertools.metrics", "boto3", "psycopg", "pydantic")

_START_EACH = """
import importlib, json, os, sys, traceback

def start():
    for number, words in enumerate(starts):
        if os.fork() == 0:
            return number, words
        statuses.append(os.waitstatus_to_exitcode(os.wait()[1]))

output, imported, script, starts = json.load(sys.stdin)
for module in imported:
    importlib.import_module(module)
statuses = []
if (is_child := start()) is None:
    print(json.dumps(statuses))
else:
    number, words = is_child
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{output}/{number}.{name}", os.O_WRONLY | os.O_CREAT), descriptor)
    sys.argv = list(words)
    status = 0
    try:
        exec(script, {"__name__": "__main__"})
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
        status = 1
    # Taking down what was imported would take longer than all the rest.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status or 0)
"""

_RUN_MODULE = """
import runpy, sys
for module in (sys.argv[0], f"{sys.argv[0]}.__main__"):
    if not hasattr(sys.modules.get(module), "__path__"):
        sys.modules.pop(module, None)  # runpy warns of a module that is there already
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def run_commands(
    commands: Sequence[tuple[str, ...]], environment: Mapping[str, str]
) -> dict[tuple[str, ...], subprocess.CompletedProcess[str]]:
    """Run each command, a module and its words, as `python -m` does. What the modules import is shared."""
    modules = dict.fromkeys(
        f"{module}.__main__" if (ROOT / module.replace(".", "/")).is_dir() else module
        for module, *_ in commands
    )
    return dict(zip(commands, run_script(_RUN_MODULE, commands, environment, [*modules]), strict=True))


def run_script(
    script: str,
    starts: Sequence[Sequence[str]],
    environment: Mapping[str, str],
    imported: Sequence[str] = LIBRARIES,
) -> list[subprocess.CompletedProcess[str]]:
    """Run a script with each list of words as its `sys.argv`, where modules are imported already."""
    with own_directory("rewards-tests") as output:
        done = subprocess.run(
            [sys.executable, "-c", _START_EACH],
            input=json.dumps([str(output), imported, script, starts]),
            cwd=ROOT,
            env=dict(environment),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said = [
            [Path(output, f"{number}.{name}").read_text("utf-8") for name in ("out", "err")]
            for number in range(len(starts))
        ]
    return [
        subprocess.CompletedProcess(list(words), status, out, err)
        for words, status, (out, err) in zip(starts, json.loads(done.stdout), said, strict=True)
    ]
