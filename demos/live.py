"""A drill while it runs: ten snapshots a second, for the terminal and, with `--live`, for a browser.

A snapshot is whole: who opens the page late, or loses the connection, gets the next one and has everything.
The page comes over plain HTTP from 127.0.0.1 and nothing can be asked of it but files and snapshots. Requests
under another name than this machine's, or sent by another site's page, are refused: a browser would send them
on behalf of any page whose name an attacker's DNS has made to point here.
"""

import argparse
import json
import socketserver
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from datetime import datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, NamedTuple, Self, TypeVar
from uuid import UUID

from local_dsql.arguments import port, whole_number
from local_dsql.ports import HOST, require_port

T = TypeVar("T")

TICK_S = 0.1
WAIT_FOR_A_BROWSER_S = 30
#: What a page that reads slowly gets to take the last snapshot.
_LAST_S = 2.0
#: A comment after so long without news shows whether somebody still reads.
_QUIET_S = 10.0
#: A client that sends or reads nothing for so long is let go.
_STALLED_S = 30.0
_MOST_STREAMS = 16

_ROOT = Path(__file__).resolve().parent.parent
_PAGE, _WEB = _ROOT / "demos" / "page", _ROOT / "web"

FILES: Mapping[str, Path] = {
    "/": _PAGE / "index.html",
    **{f"/{name}": _PAGE / name for name in ("drill.js", "drill.css", "plot.js")},
    **{
        f"/{name}": _WEB / name
        for name in ("shop.css", "pages/more.css", "format.js", "icon.svg", "vendor/lit-html/lit-html.js")
    },
}
"""All that is served beside the snapshots, by its path."""

SNAPSHOTS = "/snapshots"

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types lit-html",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every answer."""


class Snapshot(NamedTuple, Generic[T]):
    """Everything that a view shows: where the drill is, and its figures so far.

    `stage` is starting, running, done or failed; `says` a sentence on what goes on, or on what was wrong.
    """

    drill: str
    stage: str
    says: str
    elapsed_s: float
    figures: T


class Live(Generic[T]):
    """A drill's snapshots for the length of a `with` block, which ends with the last one.

    `take` makes the figures and `view` shows a snapshot on the terminal: both are called ten times a second,
    by a thread of this. With a port (0 for a free one) there is a page too; a snapshot is only made into JSON
    for somebody who looks.
    """

    def __init__(
        self,
        drill: str,
        take: Callable[[], T],
        view: Callable[[Snapshot[T]], None] = lambda _: None,
        *,
        port: int | None = None,
    ) -> None:
        self._drill, self._take, self._view = drill, take, view
        self._stage, self._says = "starting", ""
        self._start = time.monotonic()
        self._server = None if port is None else PageServer(port)
        self._stop = threading.Event()
        self._ticker = threading.Thread(target=self._tick_on, name="snapshots", daemon=True)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Begin, with the page first. Raises StartError when its port is taken."""
        if self._server is not None:
            self._stack.enter_context(self._server)
        self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the last snapshot; pages get a moment to read it."""
        with self._stack:
            if error is None:
                self._stage = "done"
            else:
                interrupted = isinstance(error, KeyboardInterrupt)
                self._stage, self._says = "failed", "interrupted" if interrupted else str(error)
            self._stop.set()
            self._ticker.join()
            self._tick()

    @property
    def url(self) -> str:
        """Where the page is, empty without one."""
        return self._server.url if self._server is not None else ""

    def at(self, says: str, *, running: bool = False) -> None:
        """Say what goes on from now on; `running` once the load has begun."""
        self._says = says
        self._stage = "running" if running else self._stage

    def wait_for_a_browser(self, timeout_s: float, say: Callable[[str], None]) -> None:
        """With a page, wait until somebody looks, but not for ever: nobody has to."""
        if self._server is None or timeout_s <= 0 or self._server.wait_for_a_reader(0):
            return
        before = self._says
        self.at(f"waiting for a browser at {self.url}, {timeout_s:.0f} s at most")
        say(self._says)
        self._server.wait_for_a_reader(timeout_s)
        self.at(before)

    def snapshot(self) -> Snapshot[T]:
        """Give the snapshot of this moment; after the block, the last."""
        elapsed_s = time.monotonic() - self._start
        return Snapshot(self._drill, self._stage, self._says, elapsed_s, self._take())

    def _tick(self) -> None:
        snapshot = self.snapshot()
        self._view(snapshot)
        if self._server is not None:
            self._server.publish(snapshot)

    def _tick_on(self) -> None:
        with suppress(BrokenPipeError):  # nobody reads the terminal: the last snapshot says so to the command
            while not self._stop.wait(TICK_S):
                self._tick()


class PageServer:
    """Serves the page and the newest snapshot on 127.0.0.1, at a free port unless one is given."""

    def __init__(self, port: int = 0) -> None:
        self.changed = threading.Condition()
        self.version = 0
        self.newest: object = None
        self.closed = False
        self.streams = 0
        self._readers = 0
        self._given_port = port
        self._files = {path: (_TYPES[file.suffix], file.read_bytes()) for path, file in FILES.items()}
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        """Listen. Raises StartError."""
        require_port(self._given_port)
        self._server = _Server(self, self._given_port)
        # It looks that often whether it is to stop.
        threading.Thread(target=self._server.serve_forever, args=(TICK_S,), name="page", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give those who read a moment for the last snapshot, then stop."""
        assert self._server is not None
        with self.changed:
            self.closed = True
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.streams == 0, _LAST_S)
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://{HOST}:{self.port}/"

    @property
    def names(self) -> set[str]:
        """What a request's Host may be."""
        return {f"{HOST}:{self.port}", f"localhost:{self.port}"}

    def publish(self, snapshot: object) -> None:
        """Make a snapshot the newest. It must not change any more."""
        with self.changed:
            self.newest, self.version = snapshot, self.version + 1
            self.changed.notify_all()

    def wait_for_a_reader(self, timeout_s: float) -> bool:
        """Wait until some page has begun to read; tell whether one has."""
        with self.changed:
            return self.changed.wait_for(lambda: self._readers > 0, timeout_s)

    def file(self, path: str) -> tuple[str, bytes] | None:
        """Give a file's content type and bytes."""
        return self._files.get(path)

    def open_stream(self) -> bool:
        """Count one more reader, unless there are too many."""
        with self.changed:
            if self.streams >= _MOST_STREAMS:
                return False
            self.streams += 1
            self._readers += 1
            self.changed.notify_all()
            return True

    def close_stream(self) -> None:
        """Count one reader less."""
        with self.changed:
            self.streams -= 1
            self.changed.notify_all()

    def next_snapshot(self, seen: int) -> tuple[int, object] | None:
        """Wait for a newer one than `seen`; give the same number after a while without, None at the end."""
        with self.changed:
            self.changed.wait_for(lambda: self.version > seen or self.closed, _QUIET_S)
            if self.version > seen:
                return self.version, self.newest
            return None if self.closed else (seen, None)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, page: PageServer, port: int) -> None:
        self.page = page
        super().__init__((HOST, port), _Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's, which asks DNS for this machine's name.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a browser that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _STALLED_S
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        page, path = self.server.page, self.path.partition("?")[0]
        if (refusal := self._refusal()) is not None:
            self._answer(*refusal)
        elif path == SNAPSHOTS:
            self._stream(page)
        elif (file := page.file(path)) is not None:
            self._answer(HTTPStatus.OK, file[1], file[0])
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"There is nothing here.\n")

    do_HEAD = do_GET  # noqa: N815  # the name that http.server calls

    def _refusal(self) -> tuple[HTTPStatus, bytes] | None:
        names = self.server.page.names
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or hosts[0].lower() not in names:
            return HTTPStatus.MISDIRECTED_REQUEST, b"This page answers to 127.0.0.1 and localhost alone.\n"
        origin = self.headers.get("Origin")
        site, mode = self.headers.get("Sec-Fetch-Site"), self.headers.get("Sec-Fetch-Mode")
        # A person may follow a link from anywhere; another page's script may not read.
        foreign = site not in (None, "same-origin", "none") and mode != "navigate"
        if foreign or (origin is not None and origin not in {f"http://{name}" for name in names}):
            return HTTPStatus.FORBIDDEN, b"Another site's page may not read this.\n"
        return None

    def _answer(
        self, status: HTTPStatus, body: bytes, content_type: str = "text/plain; charset=utf-8"
    ) -> None:
        self._begin(status, content_type, {"Content-Length": str(len(body))})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _begin(self, status: HTTPStatus, content_type: str, more: Mapping[str, str]) -> None:
        self.send_response_only(status)
        for name, value in {"Content-Type": content_type, **HEADERS, **more}.items():
            self.send_header(name, value)
        self.end_headers()

    def _stream(self, page: PageServer) -> None:
        self.close_connection = True
        if self.command == "HEAD" or not page.open_stream():
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, b"Too many pages read this already.\n")
            return
        with suppress(OSError):
            try:
                self._begin(HTTPStatus.OK, "text/event-stream", {"Connection": "close"})
                self.wfile.write(b"retry: 1000\n\n")
                seen = 0
                while (newer := page.next_snapshot(seen)) is not None:
                    self.wfile.write(b":\n\n" if newer[0] == seen else b"data: %s\n\n" % encode(newer[1]))
                    seen = newer[0]
            finally:
                page.close_stream()

    def log_message(self, *_: object) -> None:
        """Nothing: the terminal is the drill's."""

    def send_error(self, code: int, message: str | None = None, _explain: str | None = None) -> None:
        """Answer what is no request for this server, in plain text."""
        self.close_connection = True
        self._answer(HTTPStatus(code), f"{message or HTTPStatus(code).phrase}\n".encode())


def encode(snapshot: object) -> bytes:
    """Write a snapshot as JSON in one line: records by their fields' names, ids and times as text."""
    return json.dumps(_plain(snapshot), separators=(",", ":")).encode()


def _plain(value: object) -> object:
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, UUID):
        return str(value)
    return value.isoformat() if isinstance(value, datetime) else value


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what a person says about the page."""
    parser.add_argument(
        "--live",
        type=port,
        nargs="?",
        const=0,
        metavar="PORT",
        help="show it in a browser of this machine while it runs, at this port or a free one",
    )
    parser.add_argument(
        "--live-wait-s",
        type=whole_number(0, 3600),
        default=WAIT_FOR_A_BROWSER_S,
        metavar="SECONDS",
        help="with --live, wait so long for a browser before the load begins (%(default)s)",
    )
