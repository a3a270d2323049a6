"""Makes the OpenAPI 3.1 document from the routes of all functions: nothing in it is written twice.

Functions carry neither this module nor the document.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import api.environment  # noqa: F401  # before the handlers
from api.examples import EXAMPLES
from events.contracts import without_titles
from handlers import account, checkout, operations, orders, staff, storefront
from handlers.edge.http import Route
from handlers.edge.problems import KINDS, MEDIA_TYPE, ProblemKind
from handlers.edge.reading import MAX_BODY_BYTES

_PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
VERSION: str = tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["project"]["version"]

_MODULES = (storefront, checkout, orders, account, staff, operations)

_TAGS = {
    "catalog": ("Catalogue", "What can be had for points."),
    "cart": ("Cart", "What a customer is about to order, at live prices."),
    "orders": ("Orders", "Placing orders, looking back at them, giving them back."),
    "points": ("Points", "Balance, ledger, and giving points to another member."),
    "account": ("Account", "A customer's own data."),
    "health": ("Health", "Whether this Region can serve."),
    "staff": (
        "Staff",
        "For members of the group `staff`: catalogue, stock, credits, customers' orders, operations.",
    ),
}

_INTRODUCTION = f"""The rewards shop: members browse a catalogue and redeem points.

**Who calls** is said by the Cognito ID token alone; no path or body names the customer.

**Writes can be repeated.** A POST carries an `Idempotency-Key`, as does the PUT that sets stock; sent again
with the same body within two days it gives the first answer, with `Idempotency-Replayed: true`. Every other
PUT and DELETE can be repeated as it is.

**Lists are read in pages**: `next_cursor` of one page is the `cursor` of the next, null on the last.

**Errors are problem documents** (RFC 9457) with a stable `type`, the wrong fields, and in `detail` what to
do. A 4xx is the caller's to fix; a 5xx is ours: send the same request again after `Retry-After` seconds.

**Limits**: a body of {MAX_BODY_BYTES} bytes, a page of 100 entries, a cart of 100 lines and 999 units a line.
Text holds no control characters and nothing that turns the reading order.
"""

#: Request headers that routes may name.
_REQUEST_HEADERS: dict[str, dict[str, Any]] = {
    "Idempotency-Key": {
        "description": "New for each new request, the same when it is sent again; in quotes or not.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_.:-]{8,64}$", "minLength": 8, "maxLength": 64},
        "example": "3f0c6f0e-9f5c-4a52-9b57-5d1f8f6a7c11",
    },
    "If-Match": {
        "description": "The ETag of the answer that is about to be changed, or several; `*` for any version.",
        "required": True,
        "schema": {"type": "string"},
        "example": '"1"',
    },
    "If-None-Match": {
        "description": "The ETag of an answer that the caller has; 304 says that it still holds.",
        "required": False,
        "schema": {"type": "string"},
    },
}

_TEXT: dict[str, Any] = {"schema": {"type": "string"}}
_COUNT: dict[str, Any] = {"schema": {"type": "integer", "minimum": 1}}
#: Headers that routes may name as their answers'.
_WRITE_HEADERS: dict[str, Any] = {
    "Rewards-Attempts": {"description": "Transactions that were tried.", **_COUNT},
    "Rewards-Round-Trips": {"description": "Exchanges with the database.", **_COUNT},
    "Server-Timing": {"description": "Milliseconds that the write took in the function.", **_TEXT},
}
_ANSWER_HEADERS: dict[str, Any] = {
    "ETag": {"description": "Names this state of the resource.", **_TEXT},
    **_WRITE_HEADERS,
}
_KEYED_HEADERS: dict[str, Any] = {
    "Idempotency-Replayed": {
        "description": "Whether this is the stored answer of an earlier request.",
        "schema": {"type": "string", "enum": ["true", "false"]},
    },
    **_WRITE_HEADERS,
}
_RETRY: dict[str, Any] = {"Retry-After": {"description": "Seconds to wait before trying again.", **_COUNT}}

_CHALLENGE: dict[str, Any] = {
    "WWW-Authenticate": {"description": "How to sign in; of the gateway's own answers alone.", **_TEXT}
}

#: Problems that every operation can answer with; the last two have a status 5xx and are ours.
_EVERYWHERE = (
    "invalid-request",
    "unauthenticated",
    "account-closed",
    "too-many-requests",
    "internal-error",
    "temporarily-unavailable",
)


def routes() -> Iterator[tuple[str, Route]]:
    """Give every route of the API with its operation id."""
    for module in _MODULES:
        for route in module.handler.routes.values():
            words = route.serve.__name__.strip("_").split("_")
            prefix = ["staff"] if module is staff or module is operations else []
            first, *rest = prefix + words
            yield first + "".join(word.capitalize() for word in rest), route


def make() -> dict[str, Any]:
    """Make the document."""
    schemas, place = _schemas()
    paths: dict[str, dict[str, Any]] = {}
    for operation_id, route in routes():
        paths.setdefault(route.resource, {})[route.method.lower()] = _operation(operation_id, route, place)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Rewards shop", "version": VERSION, "description": _INTRODUCTION},
        "servers": [{"url": "/v1"}],
        "security": [{"idToken": []}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.values()],
        "paths": {path: paths[path] for path in sorted(paths)},
        "components": {
            "securitySchemes": {
                "idToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "The ID token of the Cognito user pool, not the access token.",
                }
            },
            "schemas": {**schemas, "Problem": _problem_schema()},
            "responses": {_response_name(kind): _problem_response([kind]) for kind in KINDS.values()},
        },
    }


def _schemas() -> tuple[dict[str, Any], dict[type[BaseModel], str]]:
    """Give the component schemas, and for each body or answer the reference to its own."""
    wanted: dict[tuple[Any, Literal["validation", "serialization"]], None] = {}
    for _, route in routes():
        if route.body is not None:
            wanted[route.body, "validation"] = None
        if route.answer is not None:
            wanted[route.answer, "serialization"] = None
    found, definitions = models_json_schema([*wanted], ref_template="#/components/schemas/{model}")
    references: dict[Any, str] = {model: schema["$ref"] for (model, _), schema in found.items()}
    return dict(sorted(without_titles(definitions["$defs"]).items())), references


def _operation(operation_id: str, route: Route, place: dict[type[BaseModel], str]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": operation_id,
        "tags": [_TAGS[route.resource.split("/")[1]][0]],
        "summary": route.summary,
    }
    if route.description:
        operation["description"] = route.description
    if route.is_public:
        operation["security"] = []
    parameters = [*_path_parameters(route), *_query_parameters(route), *_header_parameters(route)]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        content: dict[str, Any] = {"schema": {"$ref": place[route.body]}}
        if operation_id in EXAMPLES:
            content["example"] = EXAMPLES[operation_id]
        operation["requestBody"] = {"required": True, "content": {"application/json": content}}
    operation["responses"] = dict(sorted({**_answers(route, place), **_problems(route)}.items()))
    return operation


def _path_parameters(route: Route) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"\{([a-z_]+)\}", route.resource):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}


def _query_parameters(route: Route) -> Iterator[dict[str, Any]]:
    if route.query is None:
        return
    schema = without_titles(route.query.model_json_schema())
    for name, one in schema["properties"].items():
        # "x or nothing": in a query string, nothing is said by leaving the parameter out.
        choices = [choice for choice in one.pop("anyOf", []) if choice != {"type": "null"}]
        value = {**one, **(choices[0] if choices else {})}
        if value.get("default", ...) is None:
            del value["default"]
        parameter: dict[str, Any] = {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
        }
        if description := value.pop("description", None):
            parameter["description"] = description
        yield {**parameter, "schema": value}


def _header_parameters(route: Route) -> Iterator[dict[str, Any]]:
    for name in route.headers:
        yield {"name": name, "in": "header", **_REQUEST_HEADERS[name]}


def _answers(route: Route, place: dict[type[BaseModel], str]) -> dict[str, Any]:
    headers = {name: _ANSWER_HEADERS[name] for name in route.answer_headers}
    if "Idempotency-Key" in route.headers:
        headers |= _KEYED_HEADERS
    answer: dict[str, Any] = {
        "description": "Done; there is nothing to say." if route.status == 204 else "Done."
    }
    if headers:
        answer["headers"] = headers
    if route.answer is not None:
        answer["content"] = {"application/json": {"schema": {"$ref": place[route.answer]}}}
    answers = {str(route.status): answer}
    if "If-None-Match" in route.headers:
        answers["304"] = {"description": "The caller has this answer already.", "headers": headers}
    return answers


def _problems(route: Route) -> dict[str, Any]:
    names = [*_EVERYWHERE, *route.problems]
    if route.is_public:
        names.remove("unauthenticated")
    if route.body is not None:
        names += ["malformed-request", "too-large", "unsupported-media-type"]
    if route.groups:
        names.append("forbidden")
    if "Idempotency-Key" in route.headers:
        names += ["idempotency-key-missing", "idempotency-key-malformed"]
    if "If-Match" in route.headers:
        names += ["precondition-failed", "precondition-required"]
    by_status: dict[int, list[ProblemKind]] = {}
    for kind in KINDS.values():
        if kind.name in names:
            by_status.setdefault(kind.status, []).append(kind)
    return {
        str(status): {"$ref": f"#/components/responses/{_response_name(kinds[0])}"}
        if len(kinds) == 1
        else _problem_response(kinds)
        for status, kinds in by_status.items()
    }


def _response_name(kind: ProblemKind) -> str:
    return "".join(word.capitalize() for word in kind.name.split("-"))


def _problem_response(kinds: list[ProblemKind]) -> dict[str, Any]:
    schema = {
        "allOf": [{"$ref": "#/components/schemas/Problem"}],
        "properties": {"type": {"enum": [kind.type for kind in kinds]}},
    }
    response: dict[str, Any] = {
        "description": "; ".join(kind.title for kind in kinds) + ".",
        "content": {MEDIA_TYPE: {"schema": schema}},
    }
    if kinds[0].status >= 500 or kinds[0].status == 429:
        response["headers"] = _RETRY
    if kinds[0].status == 401:
        response["headers"] = _CHALLENGE
    return response


def _problem_schema() -> dict[str, Any]:
    text = {"type": "string", "minLength": 1}
    pointer = "A JSON pointer into the body, or `header:`, `query:` or `path:` and a name."
    return {
        "type": "object",
        "description": "What went wrong, and what to do about it (RFC 9457).",
        "required": ["type", "title", "status", "detail", "instance"],
        "properties": {
            "type": {"type": "string", "description": "The kind of problem; stable."},
            "title": {**text, "description": "The kind in words."},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {**text, "description": "What happened this time, and what to do."},
            "instance": {**text, "description": "Names this occurrence; tell it to us."},
            "errors": {
                "type": "array",
                "description": "The values that are wrong.",
                "items": {
                    "type": "object",
                    "required": ["pointer", "detail"],
                    "properties": {"pointer": {"type": "string", "description": pointer}, "detail": text},
                },
            },
        },
    }
