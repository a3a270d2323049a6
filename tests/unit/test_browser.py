"""The browser of the pages' tests: found, fetched, or said to be missing; a failure where it is required."""

import io
import os
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.started import LIBRARIES, run_script
from tools import browser


@pytest.fixture
def nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have no browser on this machine, and nothing fetched yet; give where one would go."""
    monkeypatch.delenv("REWARDS_BROWSER", raising=False)
    monkeypatch.setattr(browser, "PROGRAMS", ("no-such-browser",))
    monkeypatch.setattr(browser, "BUNDLES", ())
    monkeypatch.setattr(browser, "_CACHE", tmp_path / "browsers")
    monkeypatch.setattr(browser, "_REASON", tmp_path / "browsers" / "not-fetched.txt")
    return tmp_path / "browsers"


class _Downloads(BaseHTTPRequestHandler):
    """Stands in for where Playwright downloads from: every archive holds a program that says its version."""

    def do_GET(self) -> None:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            # On most systems the folder is called as the archive is.
            folders = (Path(self.path).stem, "chrome-linux", "chrome-mac")
            shells = [
                f"{one}/{name}" for one in folders for name in ("chrome-headless-shell", "headless_shell")
            ]
            for name in (*shells, "ffmpeg-linux", "ffmpeg-mac"):
                entry = zipfile.ZipInfo(name)
                entry.external_attr = 0o100755 << 16
                archive.writestr(entry, "#!/bin/sh\necho Chromium 0.0\n")
        body = content.getvalue()
        self.send_response(200)
        self.send_header("Content-Type", "application/zip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give the address that Playwright is told to download from."""
    pytest.importorskip("playwright", reason="playwright is in .local/browser, which make test uses")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Downloads)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("PLAYWRIGHT_DOWNLOAD_HOST", address)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    yield address
    server.shutdown()
    thread.join()
    server.server_close()


def test_one_of_the_systems_is_found_before_one_that_was_fetched(
    nothing_there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert browser.find() is None
    fetched = nothing_there / "chromium-1" / "headless_shell"
    fetched.parent.mkdir(parents=True)
    fetched.touch()
    assert browser.find() == fetched
    installed = tmp_path / "bin" / "chromium"
    installed.parent.mkdir()
    installed.touch(mode=0o755)
    monkeypatch.setattr(browser, "PROGRAMS", ("chromium-headless-shell", "chromium"))
    monkeypatch.setenv("PATH", str(installed.parent))
    assert browser.find() == installed
    monkeypatch.setenv("REWARDS_BROWSER", "/somewhere/else")
    assert browser.find() == Path("/somewhere/else")


def test_one_is_fetched_where_none_is_installed(
    nothing_there: Path, downloads: str, capsys: pytest.CaptureFixture[str]
) -> None:
    browser.main()
    said = capsys.readouterr().out
    found = browser.find()
    assert found is not None, browser.why_not()
    assert nothing_there in found.parents
    assert os.access(found, os.X_OK)
    assert "fetching Chromium into .local/browsers (once)" in said
    assert str(found) in said
    browser.main()
    assert "fetching" not in capsys.readouterr().out


def test_why_none_could_be_fetched_is_kept(
    nothing_there: Path, downloads: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PLAYWRIGHT_DOWNLOAD_HOST", "http://127.0.0.1:1")
    browser.main()
    assert browser.find() is None
    assert "Error" in browser.why_not()
    assert browser.DEBIAN in capsys.readouterr().out


#: A run of the pages' tests on a machine that has no browser, with a variable set.
WITHOUT = """
import os, pathlib, sys, tools.browser as browser
browser.PROGRAMS, browser.BUNDLES, browser._CACHE = ("no-such-browser",), (), pathlib.Path(sys.argv[0])
browser._REASON = browser._CACHE / "not-fetched.txt"
os.environ.update([each.split("=") for each in sys.argv[1:]])
import pytest
sys.exit(pytest.main(["-q", "-n0", "-p", "no:cacheprovider", "tests/browser/test_shelf.py"]))
"""


def test_without_any_the_last_lines_say_so_and_it_fails_where_one_is_expected(tmp_path: Path) -> None:
    of_the_user = ("CI", "BROWSER", "REWARDS_BROWSER")
    environment = {name: value for name, value in os.environ.items() if name not in of_the_user}
    # Without Playwright there is no test to run, which pytest says by a status of its own.
    none = pytest.ExitCode.OK if find_spec("playwright") else pytest.ExitCode.NO_TESTS_COLLECTED
    expected = {(): False, ("CI=true",): True, ("BROWSER=required",): True}
    starts = [[str(tmp_path), *required] for required in expected]
    runs = run_script(WITHOUT, starts, environment, [*LIBRARIES, "tools.browser"])
    for done, fails in zip(runs, expected.values(), strict=True):
        assert (done.returncode not in (pytest.ExitCode.OK, none)) is fails, done.stdout
        last = done.stdout.strip().splitlines()[-1]
        assert last.startswith("NOT TESTED: ")
        assert "of the pages" in last or last.startswith("NOT TESTED: the pages, for want of Playwright")
