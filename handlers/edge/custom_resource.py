"""The deployment's own steps: what a function that CloudFormation calls as a custom resource owes it.

Whatever happens, CloudFormation gets one answer: without it, it waits for an hour.
"""

import json
import threading
import urllib.request
from typing import Any, Protocol

from handlers.edge.observability import logger

ANSWER_RESERVE_S = 15.0
"""What is kept of the function's time to tell CloudFormation that it was not enough."""

_ATTEMPTS = 3
_TIMEOUT_S = 4.0
# CloudFormation takes 4 KB in all and shows the reason in its list of events.
_REASON_LENGTH = 1500


class LambdaContext(Protocol):
    """What is used of Lambda's context."""

    def get_remaining_time_in_millis(self) -> int:
        """Give the milliseconds until Lambda ends the invocation."""
        ...


class ResourceResponse:
    """The one answer to a request; whoever comes first, the work or the clock, gives it.

    `physical_id` names a resource that is new; one that exists keeps the name that CloudFormation knows.
    """

    def __init__(self, event: dict[str, Any], physical_id: str) -> None:
        self._event = event
        self._physical_id = physical_id
        self._given = threading.Lock()

    def succeed(self, data: dict[str, str] | None = None) -> None:
        """Say that it is done; `data` is what the template can get of the resource."""
        self._send({"Status": "SUCCESS", "Data": data or {}})

    def fail(self, reason: str) -> None:
        """Say that it is not."""
        self._send({"Status": "FAILED", "Reason": reason[:_REASON_LENGTH]})

    def fail_in_time(self, context: LambdaContext, reason: str) -> threading.Timer:
        """Say so shortly before the function's time is over, unless the clock given back is cancelled."""
        left_s = context.get_remaining_time_in_millis() / 1000
        clock = threading.Timer(max(left_s - ANSWER_RESERVE_S, 0.0), self.fail, [reason])
        clock.daemon = True
        clock.start()
        return clock

    def _send(self, outcome: dict[str, Any]) -> None:
        if not self._given.acquire(blocking=False):
            return
        event = self._event
        body = {
            "PhysicalResourceId": event.get("PhysicalResourceId", self._physical_id),
            "StackId": event["StackId"],
            "RequestId": event["RequestId"],
            "LogicalResourceId": event["LogicalResourceId"],
            **outcome,
        }
        request = urllib.request.Request(  # noqa: S310
            event["ResponseURL"],
            data=json.dumps(body).encode(),
            method="PUT",
            # The URL is signed for an empty content type; urllib would put its own there.
            headers={"Content-Type": ""},
        )
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with urllib.request.urlopen(request, timeout=_TIMEOUT_S):  # noqa: S310
                    return
            except OSError as error:
                logger.warning("answer not delivered", extra={"attempt": attempt, "error": str(error)})
                if attempt == _ATTEMPTS:
                    raise
