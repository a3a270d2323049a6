"""The HTTP edge: API Gateway's proxy event in, a typed call to one route, a proxy response out.

The gateway has routed already; what is left is a look-up by method and resource. Routes are data, from which
the OpenAPI document is generated at build time, so no function carries a generator.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Generic, TypeVar
from uuid import UUID

import psycopg
from pydantic import BaseModel, ValidationError

from domain.idempotency import Request
from handlers.edge.observability import logger
from handlers.edge.problems import KINDS, MEDIA_TYPE, FieldError, Problem, ProblemError
from sql.errors import RetriesExhaustedError

#: Bytes of a request body. API Gateway's own limit is 10 MB; nothing here needs more than this.
MAX_BODY_BYTES = 64 * 1024

_IDEMPOTENCY_KEY = re.compile(r"[A-Za-z0-9_.:-]{8,64}")

_JSON = {"Content-Type": "application/json", "Cache-Control": "no-store"}

_BUSY = (
    "The database is busy or out of reach. Nothing is lost: send the same request with the same "
    "Idempotency-Key again after Retry-After seconds."
)
_OURS = (
    "The fault is ours and was recorded. Send the same request with the same Idempotency-Key again later; "
    "if it stays, tell us the instance."
)

B = TypeVar("B", bound=BaseModel | None)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, from the verified token's claims."""

    customer_id: UUID
    groups: frozenset[str]


@dataclass(frozen=True, slots=True)
class Call(Generic[B]):
    """A request as a route sees it."""

    caller: Caller
    body: B
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    correlation_id: str
    trace_id: str | None

    def idempotent(self, operation: str, result_id: UUID) -> Request:
        """Give the identity of a write that may be sent again: customer, key and a hash of its content.

        Raises ProblemError when the Idempotency-Key header is missing or malformed.
        """
        key = self.headers.get("idempotency-key")
        if key is None:
            raise ProblemError(
                "idempotency-key-missing",
                "Send an Idempotency-Key header with a value that is new for each new request, a UUID say.",
                [FieldError("header:Idempotency-Key", "is required")],
            )
        if not _IDEMPOTENCY_KEY.fullmatch(key):
            raise ProblemError(
                "idempotency-key-malformed",
                "Send an Idempotency-Key of 8 to 64 letters, digits or any of _ . : -",
                [FieldError("header:Idempotency-Key", "must be 8 to 64 characters of A-Z a-z 0-9 _ . : -")],
            )
        content = self.body.model_dump_json() if self.body is not None else ""
        return Request(
            customer_id=self.caller.customer_id,
            key=key,
            hash=sha256(f"{operation}\n{content}".encode()).hexdigest(),
            result_id=result_id,
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """What a route answers: a status, JSON text, and headers beside the usual ones."""

    status: int
    body: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Route:
    """One operation of the API. `body` is the model that its request body must fit, None for no body."""

    method: str
    resource: str
    serve: Callable[[Call[Any]], Reply | Problem]
    summary: str
    body: type[BaseModel] | None = None
    groups: frozenset[str] = frozenset()


class Api:
    """The routes of one function, callable as its Lambda handler."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = {(route.method, route.resource): route for route in routes}

    def __call__(self, event: dict[str, Any], _context: object) -> dict[str, Any]:
        """Serve one request; whatever happens, the answer is an HTTP response."""
        request_id: str = event["requestContext"]["requestId"]
        try:
            reply = self._serve(event, request_id)
        except ProblemError as error:
            reply = error.problem
        except RetriesExhaustedError as error:
            logger.warning("database busy", extra={"fault": error.fault.value, "attempts": error.attempts})
            reply = Problem(KINDS["temporarily-unavailable"], _BUSY, headers={"Retry-After": "1"})
        except psycopg.OperationalError as error:
            logger.exception("database not reachable", extra={"sqlstate": error.sqlstate})
            reply = Problem(KINDS["temporarily-unavailable"], _BUSY, headers={"Retry-After": "2"})
        except Exception:
            logger.exception("unexpected error")
            reply = Problem(KINDS["internal-error"], _OURS, headers={"Retry-After": "5"})
        if isinstance(reply, Problem):
            return {
                "statusCode": reply.kind.status,
                "headers": {"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store", **reply.headers},
                "body": reply.body(request_id),
                "isBase64Encoded": False,
            }
        return {
            "statusCode": reply.status,
            "headers": {**_JSON, **reply.headers},
            "body": reply.body,
            "isBase64Encoded": False,
        }

    def _serve(self, event: dict[str, Any], request_id: str) -> Reply | Problem:
        route = self.routes.get((event["httpMethod"], event["resource"]))
        if route is None:
            raise ProblemError("not-found", "There is no such operation. See the API's OpenAPI document.")
        headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
        caller = _caller(event)
        if route.groups and not route.groups & caller.groups:
            raise ProblemError("forbidden", "This operation is for the shop's staff.")
        call = Call(
            caller=caller,
            body=_body(event, headers, route.body) if route.body is not None else None,
            path=event.get("pathParameters") or {},
            query=event.get("queryStringParameters") or {},
            headers=headers,
            correlation_id=request_id,
            trace_id=headers.get("x-amzn-trace-id"),
        )
        return route.serve(call)


def _caller(event: dict[str, Any]) -> Caller:
    claims = (event["requestContext"].get("authorizer") or {}).get("claims") or {}
    try:
        customer_id = UUID(claims["custom:customer_id"])
    except (KeyError, ValueError):
        raise ProblemError(
            "unauthenticated", "The token names no customer. Sign in and send the ID token."
        ) from None
    groups = claims.get("cognito:groups") or ()
    if isinstance(groups, str):
        groups = groups.strip("[]").replace(",", " ").split()
    return Caller(customer_id, frozenset(groups))


def _body(event: dict[str, Any], headers: Mapping[str, str], model: type[B]) -> B:
    if headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise ProblemError(
            "unsupported-media-type", "Send the body as JSON, with Content-Type application/json."
        )
    text: str = event.get("body") or ""
    if len(text) > MAX_BODY_BYTES:
        raise ProblemError("too-large", f"Send a body of at most {MAX_BODY_BYTES} bytes.")
    if event.get("isBase64Encoded"):
        raise ProblemError("malformed-request", "Send the body as UTF-8 text, not as binary.")
    assert issubclass(model, BaseModel)
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
    if problems[0]["type"] == "json_invalid":
        raise ProblemError("malformed-request", "The body is not valid JSON. Send a JSON object.")
    raise ProblemError(
        "invalid-request",
        "Correct the values named in errors and send the request again.",
        [FieldError("/" + "/".join(str(part) for part in p["loc"]), p["msg"]) for p in problems],
    )
