"""A psql session as a person has it: a real psql, typed to line by line."""

import os
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

_END = "-- answered --"
_PATIENCE_S = 60.0


class Psql:
    """Runs psql for the length of a `with` block: what it prints is what it would on a terminal, but prompts.

    `variables` are psql's own, to be written as :'name'.
    """

    def __init__(
        self, program: Path, conninfo: str, password: str, variables: Mapping[str, str] | None = None
    ) -> None:
        given = [part for item in (variables or {}).items() for part in ("--variable", "=".join(item))]
        self._command = [str(program), "--no-psqlrc", *given, conninfo]
        # Whatever libpq's variables say, they say it of another server.
        others = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        self._environment: Mapping[str, str] = {**others, "PGPASSWORD": password}
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        """Start psql and connect. Raises ConnectionError with what psql says where it cannot."""
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            # Ctrl-C is for whoever runs this, and is told to psql by closing it.
            start_new_session=True,
        )
        try:
            self.type("")
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End psql."""
        self._stop()

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            # Takes what is not typed yet along, and both pipes; psql may have closed its own.
            with suppress(BrokenPipeError):
                pipe(process.stdin).close()
            pipe(process.stdout).close()
            process.wait()

    def type(self, text: str) -> str:
        """Type a statement or a backslash command; give what psql prints, without blank lines at its ends.

        Raises ConnectionError where psql ends, TimeoutError where it says nothing for a minute.
        """
        assert self._process is not None, "inside of the block"
        typed, printed = pipe(self._process.stdin), pipe(self._process.stdout)
        # Errors and this are not buffered: it comes when all before it has been said.
        with suppress(BrokenPipeError):  # it has ended: what it said of that is read below
            typed.write(f"{text}\n\\warn {_END}\n")
            typed.flush()
        hurry = threading.Timer(_PATIENCE_S, self._process.kill)
        hurry.start()
        lines: list[str] = []
        try:
            while (line := printed.readline()).strip() != _END:
                if not line:
                    said = "".join(lines).strip()
                    late = f"psql has not answered for {_PATIENCE_S:.0f} s: {text} {said}"
                    raise TimeoutError(late) if not hurry.is_alive() else ConnectionError(said)
                lines.append(line)
        finally:
            hurry.cancel()
        return "".join(lines).strip("\n")


def pipe(stream: IO[str] | None) -> IO[str]:
    """Give a pipe that was asked for."""
    assert stream is not None
    return stream
