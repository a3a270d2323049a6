"""Makes docs/problems.md: every kind of problem, when it happens, and what to do."""

import api.environment  # noqa: F401  # before the handlers
from api.document import routes
from domain.refusals import Refusal
from handlers.edge.problems import KINDS, MEDIA_TYPE

#: Kinds that no decision of the domain makes: when they happen, and what to do.
_EDGE = {
    "malformed-request": "The body is not JSON, or not UTF-8. Send a JSON object.",
    "invalid-request": (
        "A value of the body, the query, the path or a header is wrong; `errors` names each. Correct them. "
        "An unknown or repeated parameter is wrong too, as is a cursor that this list did not give."
    ),
    "idempotency-key-missing": "A POST has no Idempotency-Key. Send one that is new for each new request.",
    "idempotency-key-malformed": "The key is not 8 to 64 letters, digits or `_ . : -`.",
    "unauthenticated": "There is no ID token, or it is expired, forged or of another pool. Sign in again.",
    "forbidden": "The operation is for the group `staff`.",
    "not-found": "There is no such path.",
    "method-not-allowed": "The path has no such method; `Allow` lists those that it has.",
    "unsupported-media-type": "The body's Content-Type is not application/json.",
    "too-large": "The body is larger than 65,536 bytes. Nothing that is possible needs as many.",
    "precondition-required": "A change came without If-Match. Read the resource and send its ETag.",
    "too-many-requests": "More requests than the API lets through. Wait for `Retry-After` seconds.",
    "temporarily-unavailable": (
        "The database is busy or out of reach, or the answer took too long. Send the same request with the "
        "same key again after `Retry-After` seconds; whatever had happened, it happens once."
    ),
    "internal-error": "A fault of ours, recorded under `instance`. Send the same request again later.",
}

_BEFORE = f"""# Problems

Whatever goes wrong is answered as a problem document (RFC 9457), `{MEDIA_TYPE}`, by the functions and by
the gateway alike. `type` is stable and is what a program should look at; `detail` says what happened this
time and what to do; `instance` names the occurrence. `errors`, where there is one, lists wrong values: a
JSON pointer into the body, or `header:`, `query:` or `path:` and a name.

4xx is the caller's to mend: sent again unchanged, the answer is the same. 429 and 5xx are not: send the
same request with the same `Idempotency-Key` again after `Retry-After` seconds.

`python -m api` makes this page from the code.

| type `urn:rewards:problem:…` | status | when, and what to do | operations |
|---|---|---|---|
"""

_AFTER = """
## On one machine and on AWS

The gateway's own answers (401, 413 above 10 MB, 429, 504, a root path that is not there) are
`GatewayResponses` in template.yaml. The local emulator's import leaves those out, and what a preflight
request is answered with; `local/gateway.py` puts both in from the template after the deployment.
Differences that remain: the emulator does not throttle, and sends no 504; TRACE and CONNECT never reach
an API on AWS and are 404 on one machine.

A wrong method on a known path, and a path that no operation fits, go to `FallbackFunction` (`/{proxy+}`):
API Gateway by itself would answer both with 403 and a message about a token.
"""


def page() -> str:
    """Give the page. Raises KeyError for a kind that nothing explains."""
    used: dict[str, list[str]] = {}
    for name, route in routes():
        for problem in route.problems:
            used.setdefault(problem, []).append(name)
    refusals = {kind.code: kind for kind in _all(Refusal)}
    lines = []
    for kind in KINDS.values():
        if kind.name in _EDGE:
            text = _EDGE[kind.name]
        else:
            text = " ".join((refusals[kind.name].__doc__ or "").split())
        operations = ", ".join(f"`{name}`" for name in used.get(kind.name, ()))
        lines.append(f"| `{kind.name}` | {kind.status} | {kind.title}. {text} | {operations} |")
    return _BEFORE + "\n".join(lines) + "\n" + _AFTER


def _all(base: type[Refusal]) -> list[type[Refusal]]:
    return [one for kind in base.__subclasses__() for one in (kind, *_all(kind))]
