"""Renew what `web/vendor/` holds of npm packages: `python -m tools.vendor`, or `... lit-html=3.4.0`.

For developers, with `npm` and a registry. The tarball is held against the integrity that the registry gives,
the files are kept as they are in it, and `vendor.json` records both, so that a test can tell whether anybody
has changed them.
"""

import argparse
import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from local_dsql.console import run_command
from local_dsql.places import own_directory

VENDOR = Path(__file__).resolve().parent.parent / "web" / "vendor"
RECORD = VENDOR / "vendor.json"

#: What the pages import of each package, with the licence that goes along.
FILES = {
    "lit-html": (
        "LICENSE",
        "lit-html.js",
        "directive.js",
        "directive-helpers.js",
        "directives/live.js",
        "directives/repeat.js",
    )
}


class VendorError(RuntimeError):
    """The package cannot be renewed; the message says why."""


def renew(package: str, version: str) -> dict[str, object]:
    """Replace a package's files by those of `version`; give its entry of the record. Raises VendorError."""
    with own_directory("rewards-vendor") as directory:
        packed = _npm(["pack", f"{package}@{version}", "--json"], Path(directory))[0]
        tarball = Path(directory) / packed["filename"]
        algorithm, _, expected = packed["integrity"].partition("-")
        found = base64.b64encode(hashlib.new(algorithm, tarball.read_bytes()).digest()).decode()
        if found != expected:
            raise VendorError(
                f"{tarball.name} is {algorithm}-{found}, the registry says {packed['integrity']}"
            )
        target = VENDOR / package
        shutil.rmtree(target, ignore_errors=True)
        hashes = {}
        with tarfile.open(tarball) as archive:
            for name in FILES[package]:
                member = archive.extractfile(str(PurePosixPath("package", name)))
                if member is None:
                    raise VendorError(f"{package} {version} has no {name}: correct FILES in tools/vendor.py")
                content = member.read()
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                (target / name).write_bytes(content)
                hashes[name] = hashlib.sha256(content).hexdigest()
    return {"version": packed["version"], "integrity": packed["integrity"], "sha256": hashes}


def _npm(arguments: list[str], directory: Path) -> list[dict[str, str]]:
    npm = shutil.which("npm")
    if npm is None:
        raise VendorError("npm is not on PATH: install Node.js, which this step alone needs")
    done = subprocess.run(
        [npm, *arguments], cwd=directory, capture_output=True, text=True, encoding="utf-8", check=False
    )
    if done.returncode:
        raise VendorError(f"npm {' '.join(arguments)} failed:\n{done.stderr.strip()}")
    answer: list[dict[str, str]] = json.loads(done.stdout)
    return answer


def main(arguments: Sequence[str] | None = None) -> int:
    """Renew the packages that are named, or all at their recorded versions; give the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.vendor", description=__doc__)
    parser.add_argument("packages", nargs="*", metavar="PACKAGE=VERSION", help=f"of {', '.join(FILES)}")
    options = parser.parse_args(arguments)
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    wanted = dict(one.partition("=")[::2] for one in options.packages) or {
        name: entry["version"] for name, entry in record.items()
    }
    if unknown := wanted.keys() - FILES.keys():
        parser.error(f"{', '.join(sorted(unknown))}: name its files in FILES of tools/vendor.py first")
    try:
        for package, version in wanted.items():
            print(f"{package} {version or 'latest'}")
            record[package] = renew(package, version or "latest")
    except VendorError as error:
        print(error, file=sys.stderr)
        return 1
    RECORD.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    run_command(main)
