"""The HTTP edge: API Gateway's proxy event in, a typed call to one route, a proxy response out.

The gateway has routed already; what is left is a look-up by method and resource. Routes are data, from which
the OpenAPI document is generated at build time, so no function carries a generator.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Generic, NamedTuple
from uuid import UUID

import psycopg
from pydantic import BaseModel
from typing_extensions import TypeVar

from domain import refusals
from domain.idempotency import Request
from domain.refusals import Refusal
from domain.versions import Expected
from handlers.edge import reading
from handlers.edge.models import AnswerBody, Versioned
from handlers.edge.observability import logger, metrics
from handlers.edge.problems import KINDS, MEDIA_TYPE, Problem, ProblemError
from handlers.edge.reading import Caller
from sql.admission import Admission
from sql.connection import Database
from sql.errors import NotAdmittedError, RetriesExhaustedError
from sql.transaction import snapshot

#: What every answer carries. The browser's page may come from another origin; tokens travel in a header and
#: never in a cookie, so that no origin can borrow a session.
_COMMON = {
    "Access-Control-Allow-Origin": os.environ.get("ALLOWED_ORIGIN", "*"),
    "Access-Control-Expose-Headers": (
        "ETag,Idempotency-Replayed,Retry-After,Rewards-Attempts,Rewards-Round-Trips,Server-Timing,"
        "x-amzn-RequestId"
    ),
    "X-Content-Type-Options": "nosniff",
}

_EMPTY = {**_COMMON, "Cache-Control": "no-store"}

_JSON = {**_EMPTY, "Content-Type": "application/json"}

_PROBLEM = {**_EMPTY, "Content-Type": MEDIA_TYPE}

_BUSY = (
    "The database is busy or out of reach. Nothing is lost: send the same request with the same "
    "Idempotency-Key again after Retry-After seconds."
)
NO_OPERATION = "There is no such operation. See the API's OpenAPI document."

_NO_VALUE = (
    "A value of the request is beyond what the shop can store or compare. Send one as the API's OpenAPI "
    "document describes it, and tell us the instance: we should have named it."
)

_OURS = (
    "The fault is ours and was recorded. Send the same request with the same Idempotency-Key again later; "
    "if it stays, tell us the instance."
)

B = TypeVar("B", bound=BaseModel | None, default=None)
Q = TypeVar("Q", bound=BaseModel | None, default=None)


class Reply(NamedTuple):
    """An answer as it goes out: a status, JSON text, and headers beside the usual ones."""

    status: int
    body: str
    headers: Mapping[str, str] = MappingProxyType({})


#: What a route gives: the answer's body, None for an answer without one, a refusal, or a whole reply.
Served = AnswerBody | Refusal | Reply | None


class Route(NamedTuple):
    """One operation of the API.

    `body` is the model that its request body must fit, None for no body; `query` likewise, where None means
    that no parameter is known. `is_public`: anybody may call it, signed in or not. `counted` and `done` name
    a write in metrics and logs: Checkout, placed. What stands below them is for the OpenAPI document:
    `answer` is the type of the usual answer (None for one without a body) and `status` its status, `problems`
    the kinds beyond those that every operation can answer with, `headers` the request headers that it reads,
    and `answer_headers` those of its usual answer, beyond what an Idempotency-Key brings along.
    """

    method: str
    resource: str
    serve: "Callable[[Call[Any, Any]], Served]"
    summary: str
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    groups: frozenset[str] = frozenset()
    is_public: bool = False
    counted: str = ""
    done: str = "done"
    answer: type[AnswerBody] | None = None
    status: int = 200
    problems: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    answer_headers: tuple[str, ...] = ()
    description: str = ""


class Call(NamedTuple, Generic[B, Q]):
    """A request as a route sees it. `body` and `query` are instances of the models that the route names.

    `sent` is the body's content in its canonical form; `began_s` is when the call began, by perf_counter.
    """

    route: Route
    caller: Caller
    body: B
    query: Q
    path: Mapping[str, str]
    headers: Mapping[str, str]
    correlation_id: str
    trace_id: str | None
    sent: str
    began_s: float

    def path_id(self, name: str) -> UUID:
        """Give an id of the path. Raises ProblemError where it is not a UUID in its usual form."""
        return reading.read_id(self.path, name)

    def expected(self) -> Expected:
        """Give the versions that If-Match names. Raises ProblemError without them."""
        return reading.read_versions(self.headers)

    def idempotent(self, result_id: UUID) -> Request:
        """Give the identity of a write that may be sent again: customer, key, and a hash of what was sent.

        Raises ProblemError when the Idempotency-Key header is missing or malformed.
        """
        key = reading.read_key(self.headers)
        ids = (self.path[name].lower() for name in sorted(self.path))
        # guard: a hash is of what was sent
        content = "\n".join((self.route.method, self.route.resource, *ids, self.sent))
        return Request(self.caller.customer_id, key, fingerprint(content), result_id)


def fingerprint(content: str) -> str:
    """Give the hash of a request's content, with the version of the form that is hashed.

    1: method, resource, the path's ids in their order by name, and the body as `reading.canonical` writes it,
    a line each. It is of what the client sent: a release that knows a member more hashes the same request
    alike. Whatever else is to be hashed one day gets the next version; see domain.idempotency.
    """
    return f"1:{sha256(content.encode()).hexdigest()[:62]}"  # as long as the column


class Api:
    """The routes of one function, callable as its Lambda handler.

    `database` gives the way to the database that all of them take: while a route is served, everything that
    is done there is done for the caller once they are admitted.
    """

    def __init__(self, routes: Sequence[Route], database: Callable[[], Database]) -> None:
        self.routes = {(route.method, route.resource): route for route in routes}
        self._database = database

    def __call__(self, event: dict[str, Any], _context: object) -> dict[str, Any]:
        """Serve one request; whatever happens, the answer is an HTTP response."""
        began_s = time.perf_counter()
        request_id: str = event["requestContext"]["requestId"]
        with logger.append_context_keys(correlation_id=request_id):
            return respond(self._answer(event, request_id, began_s), request_id)

    def _answer(self, event: dict[str, Any], request_id: str, began_s: float) -> Reply | Problem:
        try:
            return self._serve(event, request_id, began_s)
        except ProblemError as error:
            return error.problem
        except NotAdmittedError as error:
            return Problem.of(error.refusal)
        except RetriesExhaustedError as error:
            logger.warning("database busy", extra={"fault": error.fault.value, "attempts": error.attempts})
            _count("DatabaseGaveUp", f"DatabaseGaveUp_{error.fault.value}")
            return Problem(KINDS["temporarily-unavailable"], _BUSY, headers={"Retry-After": "1"})
        # guard: a value that the database refuses is the caller's
        except psycopg.DataError as error:
            # What comes in has the bounds of its column, so this is a bound of ours that is missing. But the
            # value is the caller's: it can be sent at will, and must not take a deployment back.
            logger.exception("the database refused a value", extra={"sqlstate": error.sqlstate})
            _count("ValuesRefused")
            return Problem(KINDS["invalid-request"], _NO_VALUE)
        except psycopg.OperationalError as error:
            # Only what no repetition fixes comes here, a refused login say.
            logger.exception("database not reachable", extra={"sqlstate": error.sqlstate})
            _count("InternalErrors")
            return Problem(KINDS["temporarily-unavailable"], _BUSY, headers={"Retry-After": "2"})
        except Exception:
            logger.exception("unexpected error")
            # guard: what no repetition fixes is counted
            _count("InternalErrors")
            return Problem(KINDS["internal-error"], _OURS, headers={"Retry-After": "5"})

    def _serve(self, event: dict[str, Any], request_id: str, began_s: float) -> Reply | Problem:
        route = self.routes.get((event["httpMethod"], event["resource"]))
        if route is None:
            raise ProblemError("not-found", NO_OPERATION)
        headers = reading.read_headers(event)
        caller = reading.NOBODY if route.is_public else reading.read_caller(event)
        if route.groups and not route.groups & caller.groups:
            return Problem.of(refusals.forbidden())
        body, sent = (None, "") if route.body is None else reading.read_body(event, headers, route.body)
        call = Call(
            route=route,
            caller=caller,
            body=body,
            query=reading.read_query(event, route.query),
            path=event.get("pathParameters") or {},
            headers=headers,
            correlation_id=request_id,
            # Lambda's own header says whether the request is traced; the gateway's does not.
            trace_id=os.environ.get("_X_AMZN_TRACE_ID") or headers.get("x-amzn-trace-id"),
            sent=sent,
            began_s=began_s,
        )
        return _reply(call, self._admitted(call))

    def _admitted(self, call: Call[Any, Any]) -> Served:
        """Serve a call, once its caller is admitted. Raises NotAdmittedError."""
        if call.route.is_public:
            return call.route.serve(call)
        database, admission = self._database(), Admission(call.caller.customer_id, bool(call.route.groups))
        database.admission = admission
        try:
            served = call.route.serve(call)
            # guard: a route that asks the database nothing admits callers, too
            if not admission.is_granted:
                snapshot(database)
            return served
        finally:
            database.admission = None


def _reply(call: Call[Any, Any], served: Served) -> Reply | Problem:
    match served:
        case Refusal():
            return Problem.of(served)
        case AnswerBody():
            return _written(call, served)
        case None:
            return Reply(call.route.status, "")
    return served


def _written(call: Call[Any, Any], answer: AnswerBody) -> Reply:
    body = answer.model_dump_json()
    if "If-None-Match" in call.route.headers:
        return _tagged(call, body)
    headers = {"ETag": f'"{answer.version}"'} if isinstance(answer, Versioned) else {}
    return Reply(call.route.status, body, headers)


def _tagged(call: Call[Any, Any], body: str) -> Reply:
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
    return Reply(call.route.status, body, headers)


def respond(reply: Reply | Problem, request_id: str) -> dict[str, Any]:
    """Say a reply or a problem as the response that API Gateway wants from a function."""
    if isinstance(reply, Problem):
        status, usual, body = reply.kind.status, _PROBLEM, reply.body(request_id)
    else:
        status, usual, body = reply.status, _JSON if reply.body else _EMPTY, reply.body
    headers = {**usual, **reply.headers}
    return {"statusCode": status, "headers": headers, "body": body, "isBase64Encoded": False}


def _count(*names: str) -> None:
    """Count one of each, and write it now: the request ends here, and its environment may not see another."""
    for name in names:
        metrics().add_metric(name, "Count", 1)
    metrics().flush_metrics()
