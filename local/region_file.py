"""`.local/region.env`: how to reach the Region that runs on this machine, for shells and for `./rewards`.

A file of the same name with .json at its end holds its functions as they are deployed, for `make invoke`.

`make up` writes it, and takes it away when it stops. It names nothing but 127.0.0.1 and the key `test`, and
leads every AWS tool away from the user's own profiles. It is a link to the file of the Region that started
last: when that one stops, an earlier one of the same clone has it again.
"""

import os
import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from local import functions as functions_file
from local.functions import Function
from local_dsql.guard import StartError

PATH = Path(__file__).resolve().parent.parent / ".local" / "region.env"
_OWNER = "REGION_PROCESS_ID"

#: Whatever the shell had would be asked first, or sent along: a profile, a role, the address of a service.
_FORGET_AWS = r"""
for aws_name in $(env | sed -n 's/^\(AWS_[A-Z0-9_]*\)=.*/\1/p'); do unset "$aws_name"; done; unset aws_name
""".strip()


def write(variables: Mapping[str, str], path: Path = PATH, functions: Iterable[Function] = ()) -> None:
    """Write the variables as `export NAME='value'` lines, for this user alone: it holds tokens."""
    lines = ["# The Region that `make up` runs on this machine. In a shell: . .local/region.env"]
    lines += [_FORGET_AWS]
    owned = {**variables, _OWNER: str(os.getpid())}
    lines += [f"export {name}={shlex.quote(value)}" for name, value in owned.items()]
    own = _own(path)
    _write_private(own.with_suffix(".json"), functions_file.write(functions))
    _write_private(own, "\n".join(lines) + "\n")
    _point_at_newest(path)


def functions(path: Path = PATH) -> dict[str, Function]:
    """Give the functions of the Region that `read` gives, by their logical ids. Raises StartError."""
    read(path)
    return functions_file.read(path.resolve().with_suffix(".json").read_text(encoding="utf-8"))


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
        _own(path).with_suffix(".json").unlink()
        _own(path).unlink()
        _point_at_newest(path)


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


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
            file.with_suffix(".json").unlink(missing_ok=True)
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
