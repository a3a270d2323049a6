"""Run the command: `python -m operations`."""

import os
import sys

from operations.command import main

if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character shows `?`.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # text streams, as Python starts
    try:
        try:
            status = main()
        finally:  # --help ends by SystemExit
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has enough. The interpreter would flush once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    sys.exit(status)
