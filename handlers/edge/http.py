"""The HTTP edge: API Gateway's proxy event in, a typed call to one route, a proxy response out.

The gateway has routed already; what is left is a look-up by method and resource. Routes are data, from which
the OpenAPI document is generated at build time, so no function carries a generator.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Generic, NamedTuple
from uuid import UUID

import psycopg
from msgspec import DecodeError, Struct, ValidationError, convert, json
from typing_extensions import TypeVar

from domain.idempotency import Request
from handlers.edge.observability import logger, metrics
from handlers.edge.problems import KINDS, MEDIA_TYPE, FieldError, Problem, ProblemError
from sql.errors import RetriesExhaustedError

#: Bytes of a request body. API Gateway's own limit is 10 MB; nothing here needs more than this.
MAX_BODY_BYTES = 64 * 1024

_IDEMPOTENCY_KEY = re.compile(r"[A-Za-z0-9_.:-]{8,64}")

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

_VERSION = re.compile(r'"([0-9]{1,9})"')

#: What every answer carries. The browser's page may come from another origin; tokens travel in a header and
#: never in a cookie, so that no origin can borrow a session.
_COMMON = {
    "Access-Control-Allow-Origin": os.environ.get("ALLOWED_ORIGIN", "*"),
    "Access-Control-Expose-Headers": (
        "ETag,Idempotency-Replayed,Retry-After,Rewards-Attempts,Rewards-Round-Trips,Server-Timing"
    ),
    "X-Content-Type-Options": "nosniff",
}

#: The app client that tokens must be made for; the deployed functions always have it.
_AUDIENCE = os.environ.get("USER_POOL_CLIENT_ID")

_EMPTY = {**_COMMON, "Cache-Control": "no-store"}

_JSON = {**_EMPTY, "Content-Type": "application/json"}

_PROBLEM = {**_EMPTY, "Content-Type": MEDIA_TYPE}

_BUSY = (
    "The database is busy or out of reach. Nothing is lost: send the same request with the same "
    "Idempotency-Key again after Retry-After seconds."
)
NO_OPERATION = "There is no such operation. See the API's OpenAPI document."

_OURS = (
    "The fault is ours and was recorded. Send the same request with the same Idempotency-Key again later; "
    "if it stays, tell us the instance."
)

S = TypeVar("S", bound=Struct)
B = TypeVar("B", bound=Struct | None, default=None)
Q = TypeVar("Q", bound=Struct | None, default=None)


class Body(
    Struct,
    frozen=True,
    # guard: a body has no member that nobody asked for
    forbid_unknown_fields=True,
):
    """What a request body's model starts from: no unknown member, no value of another type."""


class Parameters(Struct, frozen=True, forbid_unknown_fields=True):
    """What a query string's model starts from: no unknown parameter; text is read as the type asked for."""


class Caller(NamedTuple):
    """Who calls, from the verified token's claims."""

    customer_id: UUID
    groups: frozenset[str]


class Call(NamedTuple, Generic[B, Q]):
    """A request as a route sees it. `body` and `query` are instances of the models that the route names."""

    caller: Caller
    body: B
    query: Q
    path: Mapping[str, str]
    headers: Mapping[str, str]
    correlation_id: str
    trace_id: str | None

    def path_id(self, name: str) -> UUID:
        """Give an id of the path. Raises ProblemError where it is not a UUID in its usual form."""
        text = self.path.get(name) or ""
        if not _UUID.fullmatch(text):
            raise ProblemError(
                "invalid-request",
                f"Correct the path: {name} must be a UUID such as those that the API's answers hold.",
                [FieldError(f"path:{name}", "must be a UUID")],
            )
        return UUID(text)

    def expected_version(self) -> int:
        """Give the version that the If-Match header names.

        Raises ProblemError when the header is missing or is not an ETag that this API gave.
        """
        tag = self.headers.get("if-match")
        if tag is None:
            raise ProblemError(
                "precondition-required",
                "Read the resource, and send the ETag of that answer as If-Match.",
                [FieldError("header:If-Match", "is required")],
            )
        match = _VERSION.fullmatch(tag.strip())
        if match is None:
            raise ProblemError(
                "precondition-failed",
                "If-Match names no version of this resource. Read it again and send that answer's ETag.",
                [FieldError("header:If-Match", 'must be an ETag such as "7"')],
            )
        return int(match[1])

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
        content = json.encode(self.body) if self.body is not None else b""
        return Request(
            customer_id=self.caller.customer_id,
            key=key,
            hash=sha256(f"{operation}\n".encode() + content).hexdigest(),
            result_id=result_id,
        )


class Reply(NamedTuple):
    """What a route answers: a status, JSON text, and headers beside the usual ones."""

    status: int
    body: str
    headers: Mapping[str, str] = MappingProxyType({})


class Route(NamedTuple):
    """One operation of the API.

    `body` is the model that its request body must fit, None for no body; `query` likewise, where None means
    that no parameter is known. What stands below them is for the OpenAPI document: `answer` is the type of
    the usual answer (None for one without a body) and `status` its status, `problems` the kinds beyond those
    that every operation can answer with, `headers` the request headers that it reads, and `answer_headers`
    those of its usual answer, beyond what an Idempotency-Key brings along.
    """

    method: str
    resource: str
    serve: Callable[[Call[Any, Any]], Reply | Problem]
    summary: str
    body: type[Struct] | None = None
    query: type[Struct] | None = None
    groups: frozenset[str] = frozenset()
    answer: Any = None
    status: int = 200
    problems: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    answer_headers: tuple[str, ...] = ()
    description: str = ""


class Api:
    """The routes of one function, callable as its Lambda handler."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = {(route.method, route.resource): route for route in routes}

    def __call__(self, event: dict[str, Any], _context: object) -> dict[str, Any]:
        """Serve one request; whatever happens, the answer is an HTTP response."""
        request_id: str = event["requestContext"]["requestId"]
        with logger.append_context_keys(correlation_id=request_id):
            return respond(self._answer(event, request_id), request_id)

    def _answer(self, event: dict[str, Any], request_id: str) -> Reply | Problem:
        reply: Reply | Problem
        try:
            reply = self._serve(event, request_id)
        except ProblemError as error:
            reply = error.problem
        except RetriesExhaustedError as error:
            logger.warning("database busy", extra={"fault": error.fault.value, "attempts": error.attempts})
            _count("DatabaseGaveUp", f"DatabaseGaveUp_{error.fault.value}")
            reply = Problem(KINDS["temporarily-unavailable"], _BUSY, headers={"Retry-After": "1"})
        except psycopg.OperationalError as error:
            # Only what no repetition fixes comes here, a refused login say.
            logger.exception("database not reachable", extra={"sqlstate": error.sqlstate})
            _count("InternalErrors")
            reply = Problem(KINDS["temporarily-unavailable"], _BUSY, headers={"Retry-After": "2"})
        except Exception:
            logger.exception("unexpected error")
            # guard: what no repetition fixes is counted
            _count("InternalErrors")
            reply = Problem(KINDS["internal-error"], _OURS, headers={"Retry-After": "5"})
        return reply

    def _serve(self, event: dict[str, Any], request_id: str) -> Reply | Problem:
        route = self.routes.get((event["httpMethod"], event["resource"]))
        if route is None:
            raise ProblemError("not-found", NO_OPERATION)
        headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
        caller = _caller(event)
        if route.groups and not route.groups & caller.groups:
            raise ProblemError("forbidden", "This operation is for the shop's staff.")
        call = Call(
            caller=caller,
            body=_body(event, headers, route.body) if route.body is not None else None,
            query=_query(event, route.query),
            path=event.get("pathParameters") or {},
            headers=headers,
            correlation_id=request_id,
            # Lambda's own header says whether the request is traced; the gateway's does not.
            trace_id=os.environ.get("_X_AMZN_TRACE_ID") or headers.get("x-amzn-trace-id"),
        )
        return route.serve(call)


def respond(reply: Reply | Problem, request_id: str) -> dict[str, Any]:
    """Say a reply or a problem as the response that API Gateway wants from a function."""
    if isinstance(reply, Problem):
        status, usual, body = reply.kind.status, _PROBLEM, reply.body(request_id)
    else:
        status, usual, body = reply.status, _JSON if reply.body else _EMPTY, reply.body
    headers = {**usual, **reply.headers}
    return {"statusCode": status, "headers": headers, "body": body, "isBase64Encoded": False}


def tagged(call: Call[Any, Any], body: str) -> Reply:
    """Answer with an ETag of the body's content, or with 304 alone where the caller has just that.

    The caller may keep the answer, and asks again before each use whether it still holds.
    """
    tag = f'"{sha256(body.encode()).hexdigest()[:27]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    known = call.headers.get("if-none-match", "")
    if known and (
        known.strip() == "*" or tag in (one.strip().removeprefix("W/") for one in known.split(","))
    ):
        return Reply(304, "", headers)
    return Reply(200, body, headers)


def _count(*names: str) -> None:
    """Count one of each, and write it now: the request ends here, and its environment may not see another."""
    for name in names:
        metrics().add_metric(name, "Count", 1)
    metrics().flush_metrics()


def _caller(event: dict[str, Any]) -> Caller:
    claims = (event["requestContext"].get("authorizer") or {}).get("claims") or {}
    # A Cognito authorizer takes tokens of every app client of its pool; ours are made for one.
    if _AUDIENCE is not None and claims.get("aud") != _AUDIENCE:
        raise ProblemError(
            "unauthenticated", "The token is made for another application. Sign in to the shop."
        )
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


def _query(event: dict[str, Any], model: type[Struct] | None) -> Struct | None:
    parameters = event.get("queryStringParameters") or {}
    if not parameters and model is None:
        return None
    repeated = event.get("multiValueQueryStringParameters") or {}
    errors = [
        FieldError(f"query:{name}", "is given twice") for name, all_ in repeated.items() if len(all_) > 1
    ]
    errors += [
        FieldError(f"query:{name}", "holds half of a character")
        for name, value in parameters.items()
        # guard: half of a character is no text
        if not (_is_text(name) and _is_text(value))
    ]
    if model is None:
        errors += [FieldError(f"query:{name}", "is not a parameter of this operation") for name in parameters]
    elif not errors:
        try:
            return convert(parameters, model, strict=False)
        except ValidationError:
            from handlers.edge.wrong_values import refuse_parameters

            refuse_parameters(parameters, model)
    raise ProblemError(
        "invalid-request", "Send each parameter once, and only those that the operation has.", errors
    )


def _body(event: dict[str, Any], headers: Mapping[str, str], model: type[S]) -> S:
    if headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise ProblemError(
            "unsupported-media-type", "Send the body as JSON, with Content-Type application/json."
        )
    text: str = event.get("body") or ""
    # Bytes are what is limited; only text that is not plain ASCII has to be encoded to know them.
    if len(text) > MAX_BODY_BYTES or (not text.isascii() and _utf8_bytes(text) > MAX_BODY_BYTES):
        raise ProblemError("too-large", f"Send a body of at most {MAX_BODY_BYTES} bytes.")
    if event.get("isBase64Encoded"):
        raise ProblemError("malformed-request", "Send the body as UTF-8 text, not as binary.")
    try:
        return json.decode(text, type=model)
    except (DecodeError, UnicodeEncodeError, RecursionError):
        from handlers.edge.wrong_values import read_again  # most starts never need it

        return read_again(text, model)


def _is_text(value: str) -> bool:
    """Say whether no half of a UTF-16 pair is in it, which neither UTF-8 nor the database can hold."""
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def _utf8_bytes(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))
