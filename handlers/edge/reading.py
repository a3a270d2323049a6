"""What a request says, read from API Gateway's proxy event. What cannot be read is a ProblemError."""

import json
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError

from domain.versions import Expected
from handlers.edge.problems import FieldError, ProblemError

#: Bytes of a request body. API Gateway's own limit is 10 MB; nothing here needs more than this.
MAX_BODY_BYTES = 64 * 1024

#: Wrong values that one problem document names; the caller corrects these first.
MAX_FIELD_ERRORS = 20

#: What stands where a gateway or a client read bytes as UTF-8 that are not: it says nothing of what was sent.
_REPLACEMENT = "\ufffd"

_UTF_8 = frozenset({"utf-8", "utf8", "us-ascii"})

#: Patterns are compiled when they are first used: no start needs one.
_IDEMPOTENCY_KEY = r"[A-Za-z0-9_.:-]{8,64}"

_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"

#: One member of a list of entity tags (RFC 9110), and what the ETags of versions look like.
_TAG = r'[ \t]*(?:(W/)?"([\x21\x23-\x7e\x80-\xff]*)")?[ \t]*(?:,|$)'
_VERSION = r"[0-9]{1,9}"

#: The app client that tokens must be made for; the deployed functions always have it.
_AUDIENCE = os.environ.get("USER_POOL_CLIENT_ID")

#: pydantic's words that are not the API's, by the type of error; of the others, only the beginning is not.
_WORDS = {
    "missing": "is required",
    "extra_forbidden": "is not known here",
    "string_pattern_mismatch": "shows nothing, has another form or a character that may not stand here",
}
#: A text that was composed first is measured as any value is, in pydantic's words for that.
_ITEMS = r"^Value (.*) item(s?) after validation, not \d+$"
_BEGINNING = r"^\w+ should "

M = TypeVar("M", bound=BaseModel)


class Caller(NamedTuple):
    """Who calls, from the verified token's claims."""

    customer_id: UUID
    groups: frozenset[str]


#: Who calls a route that asks for no sign-in.
NOBODY = Caller(UUID(int=0), frozenset())


def read_headers(event: Mapping[str, Any]) -> dict[str, str]:
    """Give the headers by their names in lower case; what was sent in several lines is a list with commas."""
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    for name, values in (event.get("multiValueHeaders") or {}).items():
        if len(values) > 1:
            headers[name.lower()] = ", ".join(values)
    return headers


def read_caller(event: Mapping[str, Any]) -> Caller:
    """Give the customer that the token names, and the token's groups."""
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


def read_id(path: Mapping[str, str], name: str) -> UUID:
    """Give an id of the path: a UUID in its usual form."""
    text = path.get(name) or ""
    if not re.fullmatch(_UUID, text):
        raise ProblemError(
            "invalid-request",
            f"Correct the path: {name} must be a UUID such as those that the API's answers hold.",
            [FieldError(f"path:{name}", "must be a UUID")],
        )
    return UUID(text)


def read_query(event: Mapping[str, Any], model: type[M] | None) -> M | None:
    """Give the query string as the model; without one, no parameter is known."""
    parameters = event.get("queryStringParameters") or {}
    if not parameters and model is None:
        return None
    repeated = event.get("multiValueQueryStringParameters") or {}
    errors = [
        FieldError(f"query:{name}", "is given twice") for name, all_ in repeated.items() if len(all_) > 1
    ]
    errors += [
        FieldError(f"query:{name}", "holds half of a character, or bytes that are not UTF-8")
        for name, value in parameters.items()
        # guard: half of a character is no text
        if not (_is_text(name) and _is_text(value))
    ]
    if model is None:
        errors += [FieldError(f"query:{name}", "is not a parameter of this operation") for name in parameters]
    elif not errors:
        try:
            return model.model_validate(parameters)
        except ValidationError as error:
            errors = _field_errors(error, lambda place: f"query:{place[0]}")
    raise ProblemError(
        "invalid-request", "Send each parameter once, and only those that the operation has.", errors
    )


def read_body(event: Mapping[str, Any], headers: Mapping[str, str], model: type[M]) -> tuple[M, str]:
    """Give the JSON body as the model, and what was sent in a form that `canonical` makes."""
    _check_type(headers.get("content-type", ""))
    text: str = event.get("body") or ""
    # Bytes are what is limited; only text that is not plain ASCII has to be encoded to know them.
    if len(text) > MAX_BODY_BYTES or (not text.isascii() and _utf8_bytes(text) > MAX_BODY_BYTES):
        raise ProblemError("too-large", f"Send a body of at most {MAX_BODY_BYTES} bytes.")
    if event.get("isBase64Encoded"):
        raise ProblemError("malformed-request", "Send the body as UTF-8 text, not as binary.")
    try:
        body = model.model_validate_json(text)
    except ValidationError as error:
        if _errors(error)[0]["type"] in ("json_invalid", "string_unicode"):
            raise ProblemError(
                "malformed-request", "The body is not valid JSON. Send a JSON object."
            ) from None
        raise ProblemError(
            "invalid-request",
            "Correct the values named in errors and send the request again.",
            _field_errors(error, json_pointer),
        ) from None
    sent = canonical(text)
    # guard: what was not read as UTF-8 is no text
    if _REPLACEMENT in sent:
        raise ProblemError(
            "malformed-request",
            "The body holds U+FFFD, which stands where bytes were not UTF-8. Send the text in UTF-8.",
        )
    return body, sent


def canonical(text: str) -> str:
    """Write valid JSON in the one form of all texts that say the same: members sorted, 2.0 as 2, no spaces.

    Raises ProblemError for an object that names a member twice: readers differ in which of them holds.
    """
    return _WRITER.encode(_READER.decode(text))


def read_versions(headers: Mapping[str, str]) -> Expected:
    """Give the versions that the If-Match header names (RFC 9110): a list of ETags, or `*` for any.

    ETags that are weak or not of this API match nothing.
    """
    tags = headers.get("if-match")
    if tags is None:
        raise ProblemError(
            "precondition-required",
            "Read the resource, and send the ETag of that answer as If-Match.",
            [FieldError("header:If-Match", "is required")],
        )
    if tags.strip() == "*":
        return Expected(None)
    versions = set()
    rest = tags
    while rest:
        tag = re.match(_TAG, rest)
        if tag is None:
            raise ProblemError(
                "precondition-failed",
                "If-Match names no version of this resource. Read it again and send that answer's ETag.",
                [FieldError("header:If-Match", 'must be * or ETags such as "7"')],
            )
        # guard: weak tags match nothing
        weak = tag[1] is not None
        if tag[2] is not None and not weak and re.fullmatch(_VERSION, tag[2]):
            versions.add(int(tag[2]))
        rest = rest[tag.end() :]
    return Expected(frozenset(versions))


def read_key(headers: Mapping[str, str]) -> str:
    """Give the idempotency key; in quotes, as the IETF's draft has it, it is the same one."""
    key = headers.get("idempotency-key")
    if key is None:
        raise ProblemError(
            "idempotency-key-missing",
            "Send an Idempotency-Key header with a value that is new for each new request, a UUID say.",
            [FieldError("header:Idempotency-Key", "is required")],
        )
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not re.fullmatch(_IDEMPOTENCY_KEY, key):
        raise ProblemError(
            "idempotency-key-malformed",
            "Send an Idempotency-Key of 8 to 64 letters, digits or any of _ . : -",
            [FieldError("header:Idempotency-Key", "must be 8 to 64 characters of A-Z a-z 0-9 _ . : -")],
        )
    return key


def json_pointer(place: tuple[int | str, ...]) -> str:
    """Say where a value stands in a document (RFC 6901); the whole document is the empty text.

    Names are never cut, which would point to something else: the body that they come from is bounded.
    """
    return "".join("/" + str(name).replace("~", "~0").replace("/", "~1") for name in place)


def _check_type(content_type: str) -> None:
    media, *parameters = content_type.split(";")
    if media.strip().lower() != "application/json":
        raise ProblemError(
            "unsupported-media-type", "Send the body as JSON, with Content-Type application/json."
        )
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        # guard: a body is UTF-8
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in _UTF_8:
            raise ProblemError("unsupported-media-type", "Send the body in UTF-8: JSON has no other charset.")


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for name, value in members:
        # guard: a member stands once in a body
        if name in read:
            raise ProblemError("malformed-request", f"The body names {name!r} twice. Send each member once.")
        read[name] = value
    return read


def _number(digits: str) -> float | int:
    value = float(digits)
    return int(value) if value.is_integer() else value


# json.loads would make a decoder a request.
_READER = json.JSONDecoder(object_pairs_hook=_once, parse_float=_number)
_WRITER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _errors(error: ValidationError) -> list[Any]:
    return error.errors(include_url=False, include_context=False, include_input=False)


def _field_errors(error: ValidationError, point: Callable[[tuple[int | str, ...]], str]) -> list[FieldError]:
    """Give the first wrong values by their places, in the API's words."""
    return [
        FieldError(point(one["loc"]), _WORDS.get(one["type"]) or _said(one["msg"]))
        for one in _errors(error)[:MAX_FIELD_ERRORS]
    ]


def _said(message: str) -> str:
    return re.sub(_BEGINNING, "must ", re.sub(_ITEMS, r"Text \1 character\2", message))


def _is_text(value: str) -> bool:
    """Tell whether it holds no half of a UTF-16 pair and nothing that stands for bytes that were no UTF-8."""
    return value.isascii() or not any(
        "\ud800" <= character <= "\udfff" or character == _REPLACEMENT for character in value
    )


def _utf8_bytes(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))
