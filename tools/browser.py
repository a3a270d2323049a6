"""Find a browser for the tests of the pages, or fetch one: `python -m tools.browser`.

Nothing is installed on the system: what is fetched goes to `.local/browsers`, once. Where none is found and
none can be fetched, the reason is kept beside it for the tests to say.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from local_dsql.console import run_command

_ROOT = Path(__file__).resolve().parent.parent
_CACHE = _ROOT / ".local" / "browsers"
_REASON = _CACHE / "not-fetched.txt"
_FETCH_TIMEOUT_S = 300.0

#: On PATH, in this order; then the bundles of macOS.
PROGRAMS = ("chromium-headless-shell", "chromium", "google-chrome", "microsoft-edge")
BUNDLES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)

#: What a Debian or Ubuntu user installs, and what .ci/run does.
DEBIAN = "apt-get install --no-install-recommends chromium-headless-shell"


def find() -> Path | None:
    """Give the browser to use: $REWARDS_BROWSER, one of the system's, one that was fetched. None for none."""
    chosen = os.environ.get("REWARDS_BROWSER")
    if chosen:
        return Path(chosen)
    on_path = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    bundle = next((each for each in BUNDLES if Path(each).exists()), None)
    installed = on_path or bundle
    return Path(installed) if installed else _fetched()


def _fetched() -> Path | None:
    names = ("chrome-headless-shell", "headless_shell")
    return next((path for name in names for path in sorted(_CACHE.rglob(name)) if path.is_file()), None)


def fetch() -> Path | None:
    """Have Playwright fetch its Chromium; None where that fails, with the reason in `why_not()`."""
    _CACHE.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"]
    environment = {**os.environ, "PLAYWRIGHT_BROWSERS_PATH": str(_CACHE)}
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=_FETCH_TIMEOUT_S,
            check=False,
        )
        said = done.stderr + done.stdout
    except subprocess.TimeoutExpired:
        said = f"no end within {_FETCH_TIMEOUT_S:.0f} s"
    found = _fetched()
    if found is None:
        _REASON.write_text(_shortened(said), encoding="utf-8")
    return found


def _shortened(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = (
        [line for line in lines if "Error" in line or "ENOTFOUND" in line] or lines or ["no reason given"]
    )
    return telling[0][:160]


def why_not() -> str:
    """Say why no browser was fetched."""
    return _REASON.read_text(encoding="utf-8") if _REASON.exists() else "none was looked for: make test does"


def main() -> None:
    """Find or fetch one, and say which."""
    found = find()
    if found is None:
        print("no browser is installed: fetching Chromium into .local/browsers (once)", flush=True)
        found = fetch()
    print(found or f"no browser: {why_not()}\nOn Debian: {DEBIAN}")


if __name__ == "__main__":
    run_command(main)
