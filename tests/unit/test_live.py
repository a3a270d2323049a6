"""A drill's page: who may read it, what it is made of, and that nobody has to look."""

import argparse
import json
import re
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.client import HTTPConnection
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from demos import live
from demos.live import FILES, HEADERS, SNAPSHOTS, Live, PageServer, Snapshot, add_options, encode
from local_dsql.guard import StartError
from tests.unit.test_pages import imports, inline


@pytest.fixture(scope="module")
def page() -> Iterator[PageServer]:
    """Give a page that has no readers."""
    with PageServer() as started:
        yield started


@pytest.fixture
def read_page() -> Iterator[PageServer]:
    """Give a page of a test's own."""
    with PageServer() as started:
        yield started


def ask(page: PageServer, path: str = "/", method: str = "GET", **headers: str) -> tuple[int, bytes, Any]:
    connection = HTTPConnection("127.0.0.1", page.port, timeout=30)
    connection.request(method, path, headers={name.replace("_", "-"): each for name, each in headers.items()})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body, answer.headers


def read(page: PageServer, stream: Any = None) -> Iterator[Any]:
    """Read snapshots as a browser does."""
    connection = HTTPConnection("127.0.0.1", page.port, timeout=30)
    connection.request("GET", SNAPSHOTS)
    answer = connection.getresponse()
    assert answer.headers["Content-Type"] == "text/event-stream"
    for line in answer:
        if line.startswith(b"data: "):
            yield json.loads(line[6:])
    connection.close()


@pytest.mark.parametrize("path", FILES)
def test_its_files_come_with_the_policy(page: PageServer, path: str) -> None:
    status, body, headers = ask(page, path)
    assert status == 200
    assert body == FILES[path].read_bytes()
    assert dict(headers).items() >= HEADERS.items()
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert not headers["Server"]
    assert ask(page, path, "HEAD")[:2] == (200, b"")


@pytest.mark.parametrize(
    "path", ["/../live.py", "/demos/live.py", "//etc/passwd", "/shop.js", "/%2e%2e/live.py"]
)
def test_nothing_else_does(page: PageServer, path: str) -> None:
    status, _, headers = ask(page, path)
    assert status == 404
    assert dict(headers).items() >= HEADERS.items()


def test_all_that_the_page_asks_for_is_served_and_nothing_more() -> None:
    served = {path.lstrip("/") for path in FILES} - {""}
    document = inline(FILES["/"].read_text())
    assert document.forbidden == []
    wanted = set(document.wanted)
    for path, file in FILES.items():
        if path.endswith(".js"):
            text = file.read_text()
            assert not re.search(r"\beval\(|new Function|innerHTML|outerHTML|\sstyle=|\son[a-z]+=", text) or (
                "lit-html.js" in path
            )
            if "vendor" not in path:
                found = re.findall(r"from '\./([^']+)'", text)
                assert len(found) == len(re.findall(r"^import ", text, re.MULTILINE))
                wanted |= set(found)
    assert wanted == served
    assert imports(FILES["/format.js"]) == []


@pytest.mark.parametrize("path", ["/", SNAPSHOTS])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        # A name of an attacker's that points to this machine.
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example:{port}"}, 421),
        ({"Host": "127.0.0.1"}, 421),
        ({"Host": "127.0.0.1.evil.example:{port}"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "cors"}, 403),
        # Another server of this machine.
        ({"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "no-cors"}, 403),
    ],
)
def test_another_sites_page_may_not_read(
    page: PageServer, path: str, headers: dict[str, str], status: int
) -> None:
    page.publish({"secret": 1})
    given = {name: each.format(port=page.port) for name, each in headers.items()}
    answered, body, _ = ask(page, path, **given)
    assert answered == status
    assert b"secret" not in body


def test_a_person_may_come_from_anywhere_and_by_either_name(page: PageServer) -> None:
    assert ask(page, "/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")[0] == 200
    assert ask(page, "/", Host=f"LOCALHOST:{page.port}")[0] == 200
    own = {"Sec_Fetch_Site": "same-origin", "Sec_Fetch_Mode": "cors", "Origin": page.url.rstrip("/")}
    assert ask(page, "/drill.js", **own)[0] == 200


def test_one_host_is_named_and_nothing_can_be_sent(page: PageServer) -> None:
    for request, status in (
        (f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\nHost: evil.example\r\n\r\n", b"421"),
        ("GET / HTTP/1.1\r\n\r\n", b"421"),
        (f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\nContent-Length: 0\r\n\r\n", b"501"),
    ):
        with socket.create_connection(("127.0.0.1", page.port), timeout=30) as connection:
            connection.sendall(request.encode())
            assert connection.recv(1000).split()[1] == status


def test_it_listens_on_this_machine_alone(page: PageServer) -> None:
    assert page._server is not None
    assert page._server.server_address[0] == "127.0.0.1"
    assert page.url == f"http://127.0.0.1:{page.port}/"


def test_a_reader_gets_the_newest_whole_and_then_each_newer_one(read_page: PageServer) -> None:
    read_page.publish({"count": 1})
    read_page.publish({"count": 2})
    first = read(read_page)
    assert next(first) == {"count": 2}
    read_page.publish({"count": 3})
    assert next(first) == {"count": 3}
    # Who was away comes back to the same.
    again = read(read_page)
    assert next(again) == {"count": 3}


def test_only_so_many_read_at_once(read_page: PageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_MOST_STREAMS", 1)
    read_page.publish({})
    reader = read(read_page)
    next(reader)
    assert ask(read_page, SNAPSHOTS)[0] == 503


class Count(NamedTuple):
    """Figures of a drill."""

    done: int
    items: tuple[UUID, ...]
    at: datetime


def count(done: int = 0) -> Count:
    return Count(done, (UUID(int=1),), datetime(2026, 11, 1, tzinfo=UTC))


def test_a_snapshot_is_json_by_the_names_of_its_fields() -> None:
    assert json.loads(encode(Snapshot("sale", "running", "…\n", 1.5, {"all": [count(2)]}))) == {
        "drill": "sale",
        "stage": "running",
        "says": "…\n",
        "elapsed_s": 1.5,
        "figures": {
            "all": [
                {
                    "done": 2,
                    "items": ["00000000-0000-0000-0000-000000000001"],
                    "at": "2026-11-01T00:00:00+00:00",
                }
            ]
        },
    }
    assert b"\n" not in encode(count())


def test_the_terminal_and_the_page_get_the_same_last_snapshot() -> None:
    done, viewed, readers = 0, list[Snapshot[Count]](), list[Any]()
    with Live("sale", lambda: count(done), viewed.append, port=0) as shown:
        assert shown._server is not None
        thread = threading.Thread(target=lambda: readers.extend(read(shown._server)))  # type: ignore[arg-type]
        thread.start()
        assert shown._server.wait_for_a_reader(30)
        shown.at("going on", running=True)
        done = 7
    thread.join(30)
    assert viewed[-1].figures == count(7)
    assert (viewed[-1].stage, viewed[-1].says) == ("done", "going on")
    assert readers[-1] == json.loads(encode(viewed[-1]))


def test_a_drill_that_fails_says_so_last() -> None:
    viewed = list[Snapshot[Count]]()
    with pytest.raises(ValueError, match="a point too many"), Live("sale", count, viewed.append):
        raise ValueError("a point too many")
    assert (viewed[-1].stage, viewed[-1].says) == ("failed", "a point too many")


def test_nobody_has_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a page there is no port and no JSON; with one that nobody opens there is no JSON either."""
    monkeypatch.setattr(live, "encode", None)
    monkeypatch.setattr(live, "TICK_S", 0.001)
    for port in (None, 0):
        ticks = threading.Semaphore(0)

        def view(_: object, ticks: threading.Semaphore = ticks) -> None:
            ticks.release()

        with Live("sale", count, view, port=port) as shown:
            assert bool(shown.url) == (port == 0)
            assert all(ticks.acquire(timeout=30) for _ in range(3))
    said: list[str] = []
    with Live("sale", count) as unseen:
        unseen.wait_for_a_browser(30, said.append)
    assert said == []


def test_a_browser_is_waited_for_and_said_to_be() -> None:
    said: list[str] = []
    with Live("sale", count, port=0) as shown:
        shown.wait_for_a_browser(0.01, said.append)
        assert said == [f"waiting for a browser at {shown.url}, 0 s at most"]
        assert shown._server is not None
        reader = read(shown._server)
        next(reader)
        shown.wait_for_a_browser(30, said.append)
    assert len(said) == 1


def test_a_taken_port_is_said_at_once(page: PageServer) -> None:
    with pytest.raises(StartError, match=f"port {page.port} is taken"), Live("sale", count, port=page.port):
        pass


@pytest.mark.parametrize(("line", "port"), [([], None), (["--live"], 0), (["--live", "8080"], 8080)])
def test_the_page_is_asked_for(line: list[str], port: int | None) -> None:
    parser = argparse.ArgumentParser()
    add_options(parser)
    assert parser.parse_args(line).live == port
