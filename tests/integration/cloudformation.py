"""Stands where CloudFormation calls a custom resource's function and waits for its answer over HTTP."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any


class Context:
    def __init__(self, remaining_s: float = 900.0) -> None:
        self._remaining_s = remaining_s

    def get_remaining_time_in_millis(self) -> int:
        return int(self._remaining_s * 1000)


class CloudFormation(HTTPServer):
    """Where answers go: keeps each request's body and content type; `failures` of them get a 503."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.answers: list[dict[str, Any]] = []
        self.content_types: list[str | None] = []
        self.failures = 0
        self.answered = threading.Event()

    def request(self, kind: str, **properties: Any) -> dict[str, Any]:
        event = {
            "RequestType": kind,
            "ResponseURL": f"http://127.0.0.1:{self.server_port}/answer?signature=x",
            "StackId": "arn:aws:cloudformation:us-east-1:111122223333:stack/s/1",
            "RequestId": "request-1",
            "LogicalResourceId": "Migration",
            "ResourceProperties": {"ServiceToken": "arn", "CodeVersion": "1", **properties},
        }
        return event if kind == "Create" else {**event, "PhysicalResourceId": "an-earlier-id"}


class _Receiver(BaseHTTPRequestHandler):
    server: CloudFormation

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.failures:
            self.server.failures -= 1
            self.send_error(503)
            return
        self.server.answers.append(json.loads(body))
        self.server.content_types.append(self.headers["Content-Type"])
        self.send_response(200)
        self.end_headers()
        self.server.answered.set()

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@contextmanager
def listening() -> Iterator[CloudFormation]:
    """Give one that takes answers for the length of a `with` block."""
    with CloudFormation() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
