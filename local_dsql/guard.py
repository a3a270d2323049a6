"""Run a command that cannot outlive this process, nor leave children of its own behind.

A guard process stands between: it holds the reading end of a pipe from here, so that it notices this process
ending for whatever reason, SIGKILL included, and then kills the command's whole process group.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

_STOP_TIMEOUT_S = 10.0


class StartError(RuntimeError):
    """A part of the local Region did not start; the message says what to do, or what the part said last."""


class Guarded:
    """A running command with its output going to a file."""

    def __init__(self, command: Sequence[str | Path], environment: Mapping[str, str], output: Path) -> None:
        self.output = output
        with output.open("ab") as sink:
            self._guard: subprocess.Popen[bytes] = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__, *map(str, command)],
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=sink,
                stderr=subprocess.STDOUT,
                # Ctrl-C in a terminal is for this process alone, which then stops the command in order.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The guard's process id; the command is its only child."""
        return self._guard.pid

    def child_pid(self) -> int:
        """Give the command's process id. Raises RuntimeError when it has ended."""
        # Linux alone keeps this list; elsewhere ps does.
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        if children.exists():
            found = children.read_text(encoding="utf-8").split()
        else:
            listed = subprocess.run(
                ["pgrep", "-P", str(self.pid)], capture_output=True, text=True, encoding="utf-8", check=False
            )
            found = listed.stdout.split()
        if not found:
            raise RuntimeError("the command has ended")
        return int(found[0])

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for the command to end and give its exit code. Raises subprocess.TimeoutExpired."""
        code = self._guard.wait(timeout_s)
        self._close_pipe()
        return code

    def ended(self) -> bool:
        """Tell whether the command has ended by itself."""
        return self._guard.poll() is not None

    def stop(self) -> None:
        """Kill the command and everything that it started, and wait until they are gone."""
        self._close_pipe()
        try:
            self._guard.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()

    def _close_pipe(self) -> None:
        if self._guard.stdin is not None:
            self._guard.stdin.close()

    def last_lines(self, count: int = 40) -> str:
        """Give the end of what the command has written."""
        return "\n".join(self.output.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])


def _main(command: list[str]) -> int:
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    # The guard ends by its pipe alone; whoever signals it would orphan the command.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)

    def kill_group() -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)

    def watch_the_pipe() -> None:
        sys.stdin.buffer.read()
        kill_group()

    threading.Thread(target=watch_the_pipe, daemon=True).start()
    code = child.wait()
    kill_group()  # whatever the command started and left
    # Not sys.exit: the interpreter would wait at its end for the lock of the stdin that the thread reads.
    os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    _main(sys.argv[1:])
