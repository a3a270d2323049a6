"""Makes docs/problems.md: every kind of problem, when it happens, and what to do."""

import api.environment  # noqa: F401  # before the handlers
from api.document import routes
from domain import refusals
from handlers.edge.problems import KINDS, MEDIA_TYPE

#: Kinds in a row of the page's table.
_IN_A_ROW = 3

#: Kinds that no decision of the domain makes: when they happen, and what to do.
_EDGE = {
    "malformed-request": "The body is not JSON, or not UTF-8. Send a JSON object.",
    "invalid-request": (
        "A value of the body, the query, the path or a header is wrong; `errors` names each. Correct them. "
        "An unknown or repeated parameter is wrong too, as is a cursor that this list did not give."
    ),
    "idempotency-key-missing": (
        "A POST, or the PUT that sets stock, has no Idempotency-Key. Send one that is new for each new "
        "request."
    ),
    "idempotency-key-malformed": (
        "The key is not 8 to 64 letters, digits or `_ . : -`. Send one that is, a UUID say."
    ),
    "unauthenticated": "There is no ID token, or it is expired, forged or of another pool. Sign in again.",
    "not-found": "There is no such path. See the OpenAPI document; mind that no path ends in a slash.",
    "method-not-allowed": "The path has no such method. Use one of those that `Allow` lists.",
    "unsupported-media-type": "The body's Content-Type is not application/json. Send JSON and say so.",
    "too-large": "The body is larger than 65,536 bytes. Send less; nothing that is possible needs as many.",
    "precondition-required": "A change came without If-Match. Read the resource and send its ETag.",
    "too-many-requests": "More requests than the API lets through. Wait for `Retry-After` seconds.",
    "temporarily-unavailable": (
        "The database is busy or out of reach, or the answer took too long. Send the same request with the "
        "same key again after `Retry-After` seconds; whatever had happened, it happens once."
    ),
    "internal-error": "A fault of ours, recorded under `instance`. Send the same request again later.",
}

#: What else a kind of the domain's may mean.
_MORE = {"forbidden": " Or the firewall took it for an attack: if it is none, tell us the `instance`."}

_BEFORE = f"""# Problems

Whatever goes wrong is answered as a problem document (RFC 9457), `{MEDIA_TYPE}`, by the functions and by
the gateway alike. `type` is stable and is what a program should look at; `detail` says what happened this
time and what to do; `instance` names the occurrence. `errors`, where there is one, lists wrong values: a
JSON pointer into the body (empty for the body as a whole), or `header:`, `query:` or `path:` and a name.

4xx is the caller's to fix. 400 to 405, 413, 415, 422 and 428 are about the request: sent again unchanged, it
gets the same answer. 404 of a thing, 409 and 412 are about the state of things: the same request may be
accepted once that has changed (stock came in, points were earned), and under the same `Idempotency-Key`,
since a refusal is not remembered. 429 and 5xx pass: send the same request with the same key again after
`Retry-After` seconds.

A key is remembered for two days, with the answer; after that it stands for a new request.

`.local/dev/bin/python -m api` makes this page from the code.

| status | type `urn:rewards:problem:…` |
|---|---|
"""

_AFTER = """
## On one machine and on AWS

The gateway's own answers (401, 413 above 10 MB, 429, 504 where a function does not answer in time, a root
path that is not there) are `GatewayResponses` in template.yaml. The local emulator's import leaves those out,
and what a preflight request is answered with; `local/gateway.py` puts both in from the template after the
deployment. Differences that remain: the emulator waits for a slow function instead of answering 504; TRACE
and CONNECT never reach an API on AWS and are 404 on one machine.

The firewall, which is on AWS alone, answers two things by itself: 413 and 429 for an address that sends too
much. It can say a problem's members but neither its media type (it is `application/json` there) nor an
`instance`; status, `type`, `detail`, `Retry-After` and the CORS header are as everywhere. What its other
rules block is the gateway's 403.

What the gateway answers with a 5xx has the status that API Gateway gives it, as one that is changed would
count as a 4xx in its metrics: `temporarily-unavailable` is 503 from a function and 504 from the gateway, and
the gateway's `internal-error` has no member `status`.

A 401 of the gateway carries `WWW-Authenticate: Bearer`. The few of a function (a good token, but of another
application or without a customer) do not: API Gateway would rename the header.

A wrong method on a known path, and a path that no operation fits, go to `FallbackFunction` (`/{proxy+}`):
API Gateway by itself would answer both with 403 and a message about a token.
"""


def page() -> str:
    """Give the page. Raises KeyError for a kind that nothing explains."""
    used: dict[str, list[str]] = {}
    for name, route in routes():
        for problem in route.problems:
            used.setdefault(problem, []).append(name)
    by_status: dict[int, list[str]] = {}
    entries = []
    for kind in sorted(KINDS.values(), key=lambda kind: kind.status):
        refusal = refusals.KINDS.get(kind.name)
        text = f"{refusal.when} {refusal.remedy}" if refusal else _EDGE[kind.name]
        text += _MORE.get(kind.name, "")
        operations = ", ".join(f"`{name}`" for name in used.get(kind.name, ()))
        asked = f"\n\nOperations: {operations}." if operations else ""
        entries.append(f'\n### {kind.name}\n\n{kind.status}, "{kind.title}". {text}{asked}\n')
        by_status.setdefault(kind.status, []).append(f"[`{kind.name}`](#{kind.name})")
    rows = [
        f"| {status} | {', '.join(names[first : first + _IN_A_ROW])} |\n"
        for status, names in by_status.items()
        for first in range(0, len(names), _IN_A_ROW)
    ]
    return _BEFORE + "".join(rows) + "\n## Each, and what to do\n" + "".join(entries) + _AFTER
