"""`.local/region.env`: how to reach the Region that runs on this machine, for shells and for `./rewards`.

`make up` writes it, and takes it away when it stops. It names nothing but 127.0.0.1 and the key `test`, and
leads every AWS tool away from the user's own profiles. It is a link to the file of the Region that started
last: when that one stops, an earlier one of the same clone has it again.
"""

import os
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from local_dsql.guard import StartError

PATH = Path(__file__).resolve().parent.parent / ".local" / "region.env"
_OWNER = "REGION_PROCESS_ID"


def write(variables: Mapping[str, str], path: Path = PATH) -> None:
    """Write the variables as `export NAME='value'` lines, for this user alone: it holds tokens."""
    lines = ["# The Region that `make up` runs on this machine. In a shell: . .local/region.env"]
    # Whatever the shell had: these would be asked first, or sent along.
    lines += ["unset AWS_PROFILE AWS_DEFAULT_PROFILE AWS_SESSION_TOKEN"]
    owned = {**variables, _OWNER: str(os.getpid())}
    lines += [f"export {name}={shlex.quote(value)}" for name, value in owned.items()]
    own = _own(path)
    own.unlink(missing_ok=True)
    with os.fdopen(os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    _point_at_newest(path)


def read(path: Path = PATH) -> dict[str, str]:
    """Give the variables of the Region that runs now. Raises StartError when none does."""
    try:
        variables = _variables(path)
    except FileNotFoundError:
        raise StartError("No Region runs on this machine. Start one with `make up`.") from None
    if not _runs(variables):
        raise StartError("The Region of .local/region.env has ended. Start one with `make up`.")
    return variables


def remove(path: Path = PATH) -> None:
    """Take this process's file away, if there is one."""
    with suppress(FileNotFoundError):
        _own(path).unlink()
        _point_at_newest(path)


def _own(path: Path) -> Path:
    return path.with_name(f"region.{os.getpid()}.env")


def _point_at_newest(path: Path) -> None:
    files = sorted(path.parent.glob("region.*.env"), key=lambda file: file.stat().st_mtime_ns)
    running = []
    for file in files:
        if _runs(_variables(file)):
            running.append(file)
        else:  # killed, or the machine was
            file.unlink(missing_ok=True)
    if not running:
        path.unlink(missing_ok=True)
        return
    aside = path.with_name(f"region.{os.getpid()}.link")
    aside.unlink(missing_ok=True)
    aside.symlink_to(running[-1].name)
    aside.replace(path)


def _variables(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    words = [shlex.split(line)[1] for line in lines if line.startswith("export ")]
    return dict(word.split("=", 1) for word in words)


def _runs(variables: Mapping[str, str]) -> bool:
    owner = variables.get(_OWNER, "")
    if not owner.isdigit():
        return False
    try:
        os.kill(int(owner), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
