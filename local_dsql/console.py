"""How every command begins and ends, whatever its terminal shows and whoever reads what it prints."""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NoReturn

from local_dsql.environment import forget_account, forget_libpq_environment

#: Exit statuses as shells give them to who is ended by SIGINT, and by SIGPIPE.
INTERRUPTED = 130
UNREAD = 141
#: As argparse has it.
WRONG_USAGE = 2


def _require_text(arguments: Sequence[str]) -> None:
    # What is not text in the shell's encoding comes as halves of characters, which nothing can take or show.
    for number, argument in enumerate(arguments):
        if any("\ud800" <= character <= "\udfff" for character in argument):
            print(f"Argument {number} is not text in {sys.getfilesystemencoding()}.", file=sys.stderr)
            sys.exit(WRONG_USAGE)


def run_command(main: Callable[[], int | None], keeps: Sequence[str] = ()) -> NoReturn:
    """Run a command and end with its exit status: 0 for None.

    It has nothing of its user's AWS accounts and of libpq's variables, but for those that it `keeps`: names,
    and "AWS_" for the account.

    What a terminal cannot show it shows as `?`. Where nobody reads any more, as in `... | head -1`, it ends
    with UNREAD and says nothing; after Ctrl-C, where it says nothing by itself, with INTERRUPTED.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # closed, or a test's own
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    status: int | None = UNREAD
    try:
        try:
            _require_text(sys.argv)
            if "AWS_" not in keeps:
                forget_account()
            forget_libpq_environment(*keeps)
            status = main()
        finally:  # --help ends by SystemExit
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
    except BrokenPipeError:
        status = UNREAD
        # The interpreter flushes once more at its end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):
            os.dup2(nowhere, descriptor)
    except KeyboardInterrupt:
        status = INTERRUPTED
    sys.exit(status)
