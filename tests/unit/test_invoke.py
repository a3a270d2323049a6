"""Running one function by hand: what is asked for, what is refused and why, the way out of a container."""

import io
import ipaddress
import json
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any

import pytest

from local import engine as engines
from local import region_file
from local.engine import NO_ENGINE, Engine, engine, reachable
from local.functions import Function
from local.invoke import Outcome, UsageError, choose, main, prepare, read_event
from local.log_lines import show_log
from local_dsql.guard import StartError

REGION = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "API": "http://127.0.0.1:1/v1",
}


def function(name: str) -> Function:
    return Function(name, f"stack-{name}-1", 25, 512, {"DATABASE_PORT": "1"}, "events/samples/Scheduled.json")


FUNCTIONS = {name: function(name) for name in ("CheckoutFunction", "RelayFunction")}


def test_a_function_that_is_not_there_is_answered_with_those_that_are() -> None:
    assert choose("RelayFunction", FUNCTIONS).name == "stack-RelayFunction-1"
    with pytest.raises(
        UsageError, match=r"no function Checkout\. Did you mean CheckoutFunction\? There are "
    ):
        choose("Checkout", FUNCTIONS)
    with pytest.raises(UsageError, match=r"Say which function: .* RelayFunction"):
        choose(None, FUNCTIONS)


def test_an_event_is_read_from_a_file_or_from_the_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "event.json"
    path.write_text('{"a": 1}')
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"a": 2}'))

    assert (read_event(str(path)), read_event("-")) == ({"a": 1}, {"a": 2})


def test_an_event_that_is_none_is_refused_with_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "event.json"
    with pytest.raises(UsageError, match=r"EVENT: .*event\.json cannot be read: No such file"):
        read_event(str(path))
    path.write_text('{\n  "a": }')
    with pytest.raises(UsageError, match=r"EVENT: .*\.json is not JSON: line 2, column 8: Expecting value"):
        read_event(str(path))
    path.write_bytes(b'"\xff"')
    with pytest.raises(UsageError, match=r"event\.json is not text in UTF-8"):
        read_event(str(path))
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    with pytest.raises(UsageError, match=r"The standard input is not JSON: line 1"):
        read_event("-")


def test_without_a_region_one_line_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["CheckoutFunction", "--region-file", str(tmp_path / "region.env")]) == 2

    assert capsys.readouterr() == ("", "No Region runs on this machine. Start one with `make up`.\n")


def test_an_unknown_function_is_answered_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "region.env"
    region_file.write(REGION, path, FUNCTIONS.values())

    assert main(["Nothing", "--region-file", str(path)]) == 2

    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "CheckoutFunction, RelayFunction" in said


def test_a_function_gets_its_own_variables_the_regions_keys_and_what_was_asked_for() -> None:
    invocation, note = prepare(FUNCTIONS["CheckoutFunction"], {}, REGION, {"LOG_LEVEL": "DEBUG"})

    assert invocation.environment == {
        "DATABASE_PORT": "1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_LAMBDA_FUNCTION_NAME": "stack-CheckoutFunction-1",
        "AWS_LAMBDA_FUNCTION_TIMEOUT": "25",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "LOG_LEVEL": "DEBUG",
    }
    assert note == ""


def test_a_relay_by_hand_is_a_worker_of_its_own_unless_it_is_told_which() -> None:
    relay = FUNCTIONS["RelayFunction"]

    beside, said = prepare(relay, {"source": "aws.scheduler"}, REGION, {"RELAY_RUN_S": "20"})
    assert beside.event["worker"] > 0
    assert "For 20 s" in said
    assert beside.environment["RELAY_RUN_S"] == "20"

    instead, warned = prepare(relay, {"worker": 0}, REGION, {})
    assert instead.event == {"worker": 0}
    assert "a run of the same worker ends" in warned


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        ({"errorType": "KeyError", "errorMessage": "'a'"}, "failed with KeyError"),
        ({"statusCode": 503, "body": "{}"}, "answered 503"),
        ({"batchItemFailures": [{"itemIdentifier": "1"}]}, "gave 1 message"),
        ({"Status": "FAILED", "Reason": "no"}, "told CloudFormation"),
        ("Task timed out after 25.00 seconds", "Task timed out"),
        ({"statusCode": 404, "body": "{}"}, ""),
        ({"batchItemFailures": []}, ""),
        ({"Status": "SUCCESS"}, ""),
        ({"EventsPublished": 0}, ""),
        (None, ""),
    ],
)
def test_the_exit_status_tells_whether_the_function_failed(answer: Any, failure: str) -> None:
    said = Outcome(answer, []).failure

    assert failure in said
    assert bool(said) == bool(failure)


def test_what_a_function_logs_is_shown_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    error = {"type": "builtins.KeyError", "code": None, "at": ["handlers/a.py:1 handler"]}
    record = {
        "level": "ERROR",
        "message": "failed",
        "timestamp": "2026-01-01 12:00:00,123+0000",
        "service": "rewards",
    }
    metric = {
        "_aws": {"CloudWatchMetrics": [{"Metrics": [{"Name": "Placed"}]}]},
        "Placed": [1.0],
        "function": "f",
    }

    show_log(
        [json.dumps({**record, "order_id": "1", "exception": [error]}), json.dumps(metric), "[plain] text"]
    )

    assert capsys.readouterr().err.splitlines() == [
        "12:00:00,123 ERROR   failed  order_id=1",
        "  builtins.KeyError",
        "    handlers/a.py:1 handler",
        "metrics  Placed=1.0",
        "[plain] text",
    ]


# --- Engines --------------------------------------------------------------------------------------------


@contextmanager
def engine_that_says(path: Path, answers: dict[str, Any]) -> Iterator[None]:
    """Stand for an engine: its answers by what is asked."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = json.dumps(answers.get(self.path)).encode()
            self.send_response(200 if self.path in answers else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def address_string(self) -> str:
            return "socket"

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
            pass

    with ThreadingUnixStreamServer(str(path), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield
        server.shutdown()
        thread.join()


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "engine.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    return path


BRIDGED = {"IPAM": {"Config": [{"Subnet": "10.88.0.0/16", "Gateway": "10.88.0.1"}]}}


@pytest.mark.skipif(sys.platform != "linux", reason="an engine on the kernel of this machine")
@pytest.mark.parametrize("network", ["bridge", "podman"])
def test_an_engine_on_this_machine_is_reached_from_by_its_bridge(network: str, at: Path) -> None:
    information = {
        "Architecture": "aarch64",
        "OperatingSystem": "debian",
        "SecurityOptions": ["name=seccomp"],
    }
    with (
        engine_that_says(at, {"/info": information, f"/networks/{network}": BRIDGED}),
        engine(at.parent) as found,
    ):
        assert found == Engine(at, "arm64", ipaddress.IPv4Interface("10.88.0.1/16"))


def test_an_engine_in_a_machine_of_its_own_leads_here_by_itself(at: Path) -> None:
    information = {"Architecture": "x86_64", "OperatingSystem": "Docker Desktop"}
    with engine_that_says(at, {"/info": information}), engine(at.parent) as found:
        assert found == Engine(at, "x86_64", None)


@pytest.mark.skipif(sys.platform != "linux", reason="an engine on the kernel of this machine")
def test_a_rootless_engine_is_refused_in_one_line(at: Path) -> None:
    information = {
        "Architecture": "x86_64",
        "OperatingSystem": "debian",
        "SecurityOptions": ["name=rootless"],
    }
    with (
        engine_that_says(at, {"/info": information}),
        pytest.raises(StartError, match=r"runs rootless: .* leave CONTAINER=1 out") as refused,
        engine(at.parent),
    ):
        pass
    assert "\n" not in str(refused.value)


def test_without_an_engine_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(engines, "_sockets", lambda: [tmp_path / "nothing.sock"])
    monkeypatch.setenv("PATH", str(tmp_path))  # no podman either

    with pytest.raises(StartError) as refused, engine(tmp_path):
        pass

    assert str(refused.value) == NO_ENGINE
    assert "\n" not in NO_ENGINE


def test_an_engine_on_another_machine_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://10.0.0.1:2375")

    with pytest.raises(StartError, match=r"DOCKER_HOST is tcp://10\.0\.0\.1:2375"), engine(tmp_path):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="the whole of 127.0.0.0/8 is Linux's alone")
@pytest.mark.parametrize(("bridge", "heard"), [("127.0.0.2/8", b"heard: hello"), ("127.0.0.2/32", b"")])
def test_the_forwarder_lets_the_bridges_own_network_in_and_nobody_else(bridge: str, heard: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer() -> None:
            with suppress(OSError):  # nobody comes, and the listener is closed
                connection, _ = server.accept()
                with connection:
                    connection.sendall(b"heard: " + connection.recv(100))

        threading.Thread(target=answer, daemon=True).start()
        with (
            reachable(ipaddress.IPv4Interface(bridge), [port]) as reached_by,
            # From 127.0.0.1, which is outside of a network of one address.
            socket.create_connection(
                ("127.0.0.2", reached_by[port]), source_address=("127.0.0.1", 0)
            ) as caller,
        ):
            received = b""
            try:
                caller.sendall(b"hello")
                while chunk := caller.recv(100):
                    received += chunk
            except ConnectionError:
                pass
            assert received == heard
