"""What `sam build` has made for this machine, kept: it is made again when what it is made of has changed.

Kept builds lie beside the layer that their functions share, in `.local/layers`.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tools.bundle import PACKAGES, ROOT

_KEPT = ROOT / ".local" / "layers"
#: The ones that Regions were last started with; each is some 10 MB. One that is in use is among them.
_MOST_KEPT = 5

#: What says how a function is built; the folders that its artifact is taken from are beside it.
_FILES = (
    "template.yaml",
    "samconfig.toml",
    "Makefile",
    "tools/bundle.py",
    "local/region.py",  # which has its template deployed at once
    *(f"requirements/{name}.txt" for name in ("runtime", "sam", "emulator")),
)
_FOLDERS = (*PACKAGES, "web")


def made_of() -> str:
    """Give the digest of everything that a build is made of now."""
    python = ROOT / ".local" / "emulator" / "bin" / "python"
    digest = hashlib.sha256(f"{ROOT} {python.resolve()}".encode())
    for path in _sources():
        content = path.read_bytes()
        digest.update(f"\n{path.relative_to(ROOT)} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def _sources() -> Iterator[Path]:
    yield from (ROOT / name for name in _FILES)
    for folder in _FOLDERS:
        paths = (ROOT / folder).rglob("*")
        yield from sorted(path for path in paths if path.is_file() and path.suffix != ".pyc")


def find(digest: str) -> Path | None:
    """Give the folder of a build that was kept, None where there is none."""
    kept = _KEPT / f"functions-{digest}"
    with suppress(OSError):
        os.utime(kept)
        return kept
    return None


def keep(built: Path, digest: str) -> None:
    """Keep a build that was begun when its sources had this digest, if they have it still."""
    if made_of() != digest:
        return
    aside = _KEPT / f"functions-{digest}.{os.getpid()}"
    # Where it cannot be kept, by a full disk or because another start was quicker, nothing is lost.
    with suppress(OSError):
        shutil.copytree(built, aside)
        os.utime(aside)  # the copy has the time of what was copied
        aside.rename(_KEPT / f"functions-{digest}")
    shutil.rmtree(aside, ignore_errors=True)
    whole = [path for path in _KEPT.glob("functions-*") if not path.suffix]
    with suppress(OSError):  # another start removes them, too
        for other in sorted(whole, key=lambda path: path.stat().st_mtime)[:-_MOST_KEPT]:
            shutil.rmtree(other, ignore_errors=True)
