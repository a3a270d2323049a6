"""What no other function serves: paths that are not there, and methods that a path does not have.

API Gateway would answer both with 403 and a message about a token. It sends a request here when no method of
a more specific path fits, so the answer can say which it was.
"""

import re
from typing import Any

from handlers.edge.http import NO_OPERATION, respond
from handlers.edge.problems import KINDS, Problem

#: Every path of the API with its methods. A test compares it with the routes of all functions.
METHODS: dict[str, tuple[str, ...]] = {
    "/account": ("DELETE", "GET", "PUT"),
    "/account/email-codes": ("POST",),
    "/account/email-confirmations": ("POST",),
    "/cart": ("DELETE", "GET"),
    "/cart/items/{item_id}": ("DELETE", "PUT"),
    "/catalog": ("GET",),
    "/catalog/categories": ("GET",),
    "/catalog/{item_id}": ("GET",),
    "/health": ("GET",),
    "/orders": ("GET", "POST"),
    "/orders/{order_id}": ("GET",),
    "/orders/{order_id}/cancel": ("POST",),
    "/orders/{order_id}/refunds": ("POST",),
    "/points": ("GET",),
    "/points/ledger": ("GET",),
    "/points/transfers": ("POST",),
    "/staff/boosts": ("POST",),
    "/staff/customers": ("GET",),
    "/staff/customers/{customer_id}/credits": ("POST",),
    "/staff/customers/{customer_id}/orders": ("GET",),
    "/staff/customers/{customer_id}/orders/{order_id}": ("GET",),
    "/staff/items": ("POST",),
    "/staff/items/{item_id}": ("DELETE", "GET", "PUT"),
    "/staff/items/{item_id}/stock": ("PUT",),
    "/staff/items/{item_id}/stock/adjustments": ("POST",),
    "/staff/operations": ("GET",),
    "/staff/orders/{order_id}/story": ("GET",),
}

_SLASHES = (
    "There is no such path, but nearly: leave out the slash at its end, or the second one at its beginning."
)

_PATHS = [
    (re.compile("/?" + re.sub(r"\{[a-z_]+\}", "[^/]+", path[1:])), methods)
    for path, methods in METHODS.items()
]


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Answer 405 with the methods that there are, or 404."""
    request_id: str = event["requestContext"]["requestId"]
    path = ((event.get("pathParameters") or {}).get("proxy") or "").rstrip("/")
    for pattern, methods in _PATHS:
        if pattern.fullmatch(path):
            if event["httpMethod"] in methods:
                # The gateway would have found it, had it been written as it is.
                return respond(Problem(KINDS["not-found"], _SLASHES), request_id)
            allowed = ", ".join(methods)
            problem = Problem(
                KINDS["method-not-allowed"],
                f"Use one of these methods here: {allowed}.",
                headers={"Allow": f"{allowed}, OPTIONS"},
            )
            return respond(problem, request_id)
    return respond(Problem(KINDS["not-found"], NO_OPERATION), request_id)
