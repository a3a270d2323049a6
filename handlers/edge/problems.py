"""Problem documents (RFC 9457): how the API says what went wrong, the same everywhere."""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from domain.refusals import Refusal

MEDIA_TYPE = "application/problem+json"

_TYPE_PREFIX = "urn:rewards:problem:"


class Kind(NamedTuple):
    """A kind of problem: its stable name, HTTP status and title."""

    name: str
    status: int
    title: str

    @property
    def type(self) -> str:
        """The problem's type URI."""
        return _TYPE_PREFIX + self.name


_ALL = (
    Kind("malformed-request", 400, "The request cannot be read"),
    Kind("invalid-request", 400, "The request has invalid values"),
    Kind("idempotency-key-missing", 400, "The Idempotency-Key header is missing"),
    Kind("idempotency-key-malformed", 400, "The Idempotency-Key header is malformed"),
    Kind("unauthenticated", 401, "Not signed in"),
    Kind("forbidden", 403, "Not allowed"),
    Kind("not-found", 404, "Not found"),
    Kind("method-not-allowed", 405, "Method not allowed"),
    Kind("precondition-failed", 412, "The resource has changed"),
    Kind("precondition-required", 428, "The If-Match header is missing"),
    Kind("unsupported-media-type", 415, "Unsupported media type"),
    Kind("too-large", 413, "The request is too large"),
    Kind("unknown-customer", 404, "No account"),
    Kind("unknown-item", 404, "No such item"),
    Kind("unknown-order", 404, "No such order"),
    Kind("cart-full", 409, "The cart is full"),
    Kind("empty-cart", 409, "The cart is empty"),
    Kind("too-many-lines", 409, "Too many lines"),
    Kind("order-too-large", 409, "The order is too large"),
    Kind("item-unavailable", 409, "An item is not for sale"),
    Kind("price-changed", 409, "The total has changed"),
    Kind("insufficient-points", 409, "Not enough points"),
    Kind("out-of-stock", 409, "Not enough stock"),
    Kind("balance-limit", 409, "Too many points for an account"),
    Kind("unknown-payee", 409, "The payee is not known"),
    Kind("self-transfer", 409, "The payee is the payer"),
    Kind("self-credit", 409, "Nobody credits themselves"),
    Kind("not-a-household", 409, "A household has two members"),
    Kind("household-above-limit", 409, "The household has enough points"),
    Kind("not-cancellable", 409, "The order cannot be cancelled"),
    Kind("already-refunded", 409, "Everything was refunded"),
    Kind("not-in-order", 409, "The order holds no such item"),
    Kind("refund-too-large", 409, "The refund is too large"),
    Kind("stock-unlimited", 409, "Stock is not limited"),
    Kind("stock-limit", 409, "Too many units in stock"),
    Kind("stock-too-low", 409, "Stock is too low"),
    Kind("item-retired", 409, "The item was retired"),
    Kind("unknown-image", 409, "No such picture"),
    Kind("idempotency-key-reused", 422, "The Idempotency-Key stands for another request"),
    Kind("too-many-requests", 429, "Too many requests"),
    Kind("temporarily-unavailable", 503, "Temporarily unavailable"),
    Kind("internal-error", 500, "Internal error"),
)

#: Every kind of problem by name; a refusal's code is the name of its kind.
KINDS: dict[str, Kind] = {kind.name: kind for kind in _ALL}


class FieldError(NamedTuple):
    """One wrong value: a JSON pointer into the body (or `header:`, `query:`, `path:` and a name)."""

    pointer: str
    detail: str


class ProblemError(Exception):
    """The request is answered with a problem document."""

    def __init__(
        self,
        kind: str,
        detail: str,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(detail)
        self.problem = Problem(KINDS[kind], detail, tuple(errors), headers)


class Problem(NamedTuple):
    """A problem document before it is written: kind, the sentence with the remedy, wrong fields."""

    kind: Kind
    detail: str
    errors: tuple[FieldError, ...] = ()
    headers: Mapping[str, str] = MappingProxyType({})

    @classmethod
    def of(cls, refusal: Refusal) -> "Problem":
        """Say a refusal of the domain as a problem."""
        return cls(KINDS[refusal.code], refusal.explain())

    def body(self, instance: str) -> str:
        """Write the document; `instance` names this occurrence (the request's id)."""
        document: dict[str, Any] = {
            "type": self.kind.type,
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
            "instance": f"urn:rewards:request:{instance}",
        }
        if self.errors:
            document["errors"] = [{"pointer": e.pointer, "detail": e.detail} for e in self.errors]
        return json.dumps(document)
