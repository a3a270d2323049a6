"""The deployment's own step: a CloudFormation custom resource that migrates the schema.

CloudFormation invokes the function when the stack is made, and again when a property of the resource changes:
so the template gives it the role links (`RoleArns`: database role -> list of IAM role ARNs) and something
that changes with the migrations. With an update come the properties before it (`OldResourceProperties`): the
links of functions that still run. Whatever happens, CloudFormation gets an answer: without one it waits for
an hour. That is why the settings are read inside the invocation here, and not at import.
"""

import json
import threading
import urllib.request
from typing import Any, Protocol

from msgspec import Struct, convert, field

from handlers.edge.observability import logger
from handlers.edge.settings import DatabaseEnvironment
from sql.migrate import migrate

#: The resource is the schema itself: an update never replaces it, and deleting the stack leaves the data.
PHYSICAL_ID = "xpoints-schema"

ANSWER_RESERVE_S = 15.0
"""What is kept of the function's time to tell CloudFormation that it was not enough."""

_ANSWER_ATTEMPTS = 3
_ANSWER_TIMEOUT_S = 4.0
# CloudFormation takes 4 KB in all and shows the reason in its list of events.
_REASON_LENGTH = 1500


class LambdaContext(Protocol):
    """What is used of Lambda's context."""

    def get_remaining_time_in_millis(self) -> int:
        """Give the milliseconds until Lambda ends the invocation."""
        ...


class Properties(Struct, frozen=True):
    """The custom resource's properties that matter here."""

    role_arns: dict[str, list[str]] = field(name="RoleArns", default_factory=dict)


class _Answer:
    """The one answer to CloudFormation; whoever comes first, the work or the clock, gives it."""

    def __init__(self, event: dict[str, Any]) -> None:
        self._event = event
        self._given = threading.Lock()

    def succeed(self, applied: int) -> None:
        self._send({"Status": "SUCCESS", "Data": {"AppliedStatements": str(applied)}})

    def fail(self, reason: str) -> None:
        self._send({"Status": "FAILED", "Reason": reason[:_REASON_LENGTH]})

    def _send(self, outcome: dict[str, Any]) -> None:
        if not self._given.acquire(blocking=False):
            return
        event = self._event
        body = {
            "PhysicalResourceId": event.get("PhysicalResourceId", PHYSICAL_ID),
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
        for attempt in range(1, _ANSWER_ATTEMPTS + 1):
            try:
                with urllib.request.urlopen(request, timeout=_ANSWER_TIMEOUT_S):  # noqa: S310
                    return
            except OSError as error:
                logger.warning("answer not delivered", extra={"attempt": attempt, "error": str(error)})
                if attempt == _ANSWER_ATTEMPTS:
                    raise


def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Serve one custom resource request; the outcome goes to its ResponseURL."""
    answer = _Answer(event)
    if event["RequestType"] == "Delete":
        return answer.succeed(0)
    remaining_s = context.get_remaining_time_in_millis() / 1000
    clock = threading.Timer(max(remaining_s - ANSWER_RESERVE_S, 0.0), answer.fail, [_OUT_OF_TIME])
    clock.daemon = True
    clock.start()
    database = None
    try:
        database = DatabaseEnvironment.read().database()
        properties = convert(event.get("ResourceProperties", {}), Properties)
        former = convert(event.get("OldResourceProperties", {}), Properties)
        applied = migrate(
            database, properties.role_arns, former_role_arns=former.role_arns, report=logger.info
        )
    except Exception as error:
        logger.exception("migration failed")
        answer.fail(f"{type(error).__name__}: {error}")
    else:
        logger.info("schema up to date", extra={"applied_statements": applied})
        answer.succeed(applied)
    finally:
        clock.cancel()
        if database is not None:
            database.discard()
    return None


_OUT_OF_TIME = (
    "The migration did not end within the function's time. What it has applied is kept: deploy again and it "
    "goes on from there. The function's log names the statement; a long index build shows in sys.jobs."
)
