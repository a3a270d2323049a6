"""A bus that answers PutEvents as told. tests/integration/test_bus_contract.py holds it against boto3's."""

import json
import threading
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from botocore.exceptions import ClientError

Entry = dict[str, Any]
Answer = Callable[[Entry], tuple[str, str] | None]


def bad_request(code: str) -> ClientError:
    """Give the error that boto3 raises when the whole request is rejected."""
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "PutEvents")


class StubBus:
    """Takes entries and remembers those it accepted.

    `reject` may give an error code and message for an entry; `fail` may raise for a whole request. A bus that
    is `gone` takes events as if it were there, and says what it is when it is asked for.
    """

    def __init__(self) -> None:
        self.requests: list[list[Entry]] = []
        self.accepted: list[Entry] = []
        self.reject: Answer = lambda _: None
        self.fail: Callable[[Sequence[Entry]], None] = lambda _: None
        self.gone = False
        self.asked = 0
        self._lock = threading.Lock()

    def put_events(self, *, Entries: Sequence[Entry]) -> dict[str, Any]:  # noqa: N803
        with self._lock:
            self.requests.append(list(Entries))
            if len(Entries) > 10:
                raise bad_request("ValidationException")
            self.fail(Entries)
            answers = [self._take(entry) for entry in Entries]
        return {"FailedEntryCount": sum("ErrorCode" in answer for answer in answers), "Entries": answers}

    def describe_event_bus(self, *, Name: str) -> dict[str, Any]:  # noqa: N803
        with self._lock:
            self.asked += 1
            if self.gone:
                raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "DescribeEventBus")
        return {"Name": Name}

    def _take(self, entry: Entry) -> dict[str, str]:
        rejected = self.reject(entry)
        if rejected is None:
            try:
                json.loads(entry["Detail"])
            except ValueError:
                rejected = ("MalformedDetail", "Detail is malformed.")
        if rejected is not None:
            return {"ErrorCode": rejected[0], "ErrorMessage": rejected[1]}
        if not self.gone:
            self.accepted.append(entry)
        return {"EventId": str(uuid4())}
