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

    `reject` may give an error code and message for an entry; `fail` may raise for a whole request.
    """

    def __init__(self) -> None:
        self.requests: list[list[Entry]] = []
        self.accepted: list[Entry] = []
        self.reject: Answer = lambda _: None
        self.fail: Callable[[Sequence[Entry]], None] = lambda _: None
        self._lock = threading.Lock()

    def put_events(self, *, Entries: Sequence[Entry]) -> dict[str, Any]:  # noqa: N803
        with self._lock:
            self.requests.append(list(Entries))
            if len(Entries) > 10:
                raise bad_request("ValidationException")
            self.fail(Entries)
            answers = [self._take(entry) for entry in Entries]
        return {"FailedEntryCount": sum("ErrorCode" in answer for answer in answers), "Entries": answers}

    def _take(self, entry: Entry) -> dict[str, str]:
        rejected = self.reject(entry)
        if rejected is None:
            try:
                json.loads(entry["Detail"])
            except ValueError:
                rejected = ("MalformedDetail", "Detail is malformed.")
        if rejected is not None:
            return {"ErrorCode": rejected[0], "ErrorMessage": rejected[1]}
        self.accepted.append(entry)
        return {"EventId": str(uuid4())}
