"""`make up` as a process of one's own: for what is shown or tested in the Region that a person has."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from local.region import ROOT
from local_dsql.guard import StartError

#: How the last line begins that `make up` prints when everything is there.
READY = "Ctrl-C stops it"


@contextmanager
def made_up(environment: Mapping[str, str] = os.environ, umask: int = -1) -> Iterator[subprocess.Popen[str]]:
    """Start what `make up` starts, with the sample data, and stop it at the end.

    `.local/region.env` leads to it meanwhile; its progress goes to the standard error. Raises StartError when
    it does not come up. `umask` is that of the process, -1 for this one's.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "local"],
        cwd=ROOT,
        env=environment,
        umask=umask,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        # Where this runs in the background of a shell, Ctrl-C is ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    try:
        if not any(line.startswith(READY) for line in process.stdout):
            raise StartError(f"`make up` ended with {process.wait()} before it was ready")
        yield process
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
