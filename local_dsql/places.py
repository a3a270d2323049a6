"""Directories of one process that leave nothing behind, not even when it is killed."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def own_directory(prefix: str, under: Path | None = None, *, passable: bool = False) -> Iterator[Path]:
    """Give a new directory, for this user alone, and remove it at the end.

    `passable` lets others through to what they may read: run as root, PostgreSQL drops to another user. It is
    made under the temporary directory, or `under` where one is given, and named after the process: the next
    one with this prefix removes those of processes that are gone.
    """
    parent = under or Path(tempfile.gettempdir())
    remove_left_behind(prefix, parent)
    place = parent / f"{prefix}-{os.getpid()}-{secrets.token_hex(4)}"
    place.mkdir(mode=0o700)
    if passable:
        place.chmod(0o711)  # whatever the umask says
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def remove_left_behind(prefix: str, parent: Path) -> None:
    """Remove the directories with this prefix of processes that have been killed."""
    for path in parent.glob(f"{prefix}-*-*"):
        owner = path.name.removeprefix(f"{prefix}-").partition("-")[0]
        with suppress(OSError):
            if owner.isdigit() and not is_alive(int(owner)) and path.lstat().st_uid == os.geteuid():
                shutil.rmtree(path, ignore_errors=True)


def is_alive(process_id: int) -> bool:
    """Tell whether there is a process with this number."""
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
