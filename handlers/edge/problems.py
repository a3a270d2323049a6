"""Problem documents (RFC 9457): how the API says what went wrong, the same everywhere."""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from domain.refusals import Refusal

MEDIA_TYPE = "application/problem+json"

_TYPE_PREFIX = "urn:rewards:problem:"


class ProblemKind(NamedTuple):
    """A kind of problem: its stable name, HTTP status and title."""

    name: str
    status: int
    title: str

    @property
    def type(self) -> str:
        """The problem's type URI."""
        return _TYPE_PREFIX + self.name


_ALL = (
    ProblemKind("malformed-request", 400, "The request cannot be read"),
    ProblemKind("invalid-request", 400, "The request has invalid values"),
    ProblemKind("idempotency-key-missing", 400, "The Idempotency-Key header is missing"),
    ProblemKind("idempotency-key-malformed", 400, "The Idempotency-Key header is malformed"),
    ProblemKind("unauthenticated", 401, "Not signed in"),
    ProblemKind("forbidden", 403, "Not allowed"),
    ProblemKind("account-closed", 403, "Your account has ended"),
    ProblemKind("not-found", 404, "Not found"),
    ProblemKind("method-not-allowed", 405, "Method not allowed"),
    ProblemKind("precondition-failed", 412, "The resource has changed"),
    ProblemKind("precondition-required", 428, "The If-Match header is missing"),
    ProblemKind("unsupported-media-type", 415, "Unsupported media type"),
    ProblemKind("too-large", 413, "The request is too large"),
    ProblemKind("unknown-customer", 404, "No account"),
    ProblemKind("unknown-item", 404, "No such item"),
    ProblemKind("unknown-order", 404, "No such order"),
    ProblemKind("cart-full", 409, "The cart is full"),
    ProblemKind("empty-cart", 409, "The cart is empty"),
    ProblemKind("too-many-lines", 409, "Too many lines"),
    ProblemKind("order-too-large", 409, "The order is too large"),
    ProblemKind("item-unavailable", 409, "An item is not for sale"),
    ProblemKind("price-changed", 409, "The total has changed"),
    ProblemKind("cart-changed", 409, "The cart has changed"),
    ProblemKind("insufficient-points", 409, "Not enough points"),
    ProblemKind("out-of-stock", 409, "Not enough stock"),
    ProblemKind("balance-limit", 409, "Too many points for an account"),
    ProblemKind("unknown-payee", 409, "The payee is not known"),
    ProblemKind("no-email-change", 409, "No address waits to be confirmed"),
    ProblemKind("wrong-code", 409, "Not the code that was sent"),
    ProblemKind("code-expired", 409, "The code no longer holds"),
    ProblemKind("self-transfer", 409, "The payee is the payer"),
    ProblemKind("self-credit", 409, "Nobody credits themselves"),
    ProblemKind("not-a-household", 409, "A household has two members"),
    ProblemKind("household-above-limit", 409, "The household has enough points"),
    ProblemKind("not-cancellable", 409, "The order cannot be cancelled"),
    ProblemKind("already-refunded", 409, "Everything was refunded"),
    ProblemKind("not-in-order", 409, "The order holds no such item"),
    ProblemKind("refund-too-large", 409, "The refund is too large"),
    ProblemKind("stock-unlimited", 409, "Stock is not limited"),
    ProblemKind("stock-limit", 409, "Too many units in stock"),
    ProblemKind("stock-too-low", 409, "Stock is too low"),
    ProblemKind("item-retired", 409, "The item was retired"),
    ProblemKind("unknown-image", 409, "No such picture"),
    ProblemKind("idempotency-key-reused", 422, "The Idempotency-Key stands for another request"),
    ProblemKind("too-many-requests", 429, "Too many requests"),
    ProblemKind("temporarily-unavailable", 503, "Temporarily unavailable"),
    ProblemKind("internal-error", 500, "Internal error"),
)

#: Every kind of problem by name; a refusal's code is the name of its kind.
KINDS: dict[str, ProblemKind] = {kind.name: kind for kind in _ALL}


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

    kind: ProblemKind
    detail: str
    errors: tuple[FieldError, ...] = ()
    headers: Mapping[str, str] = MappingProxyType({})

    @classmethod
    def of(cls, refusal: Refusal) -> "Problem":
        """Say a refusal of the domain as a problem."""
        wait_s = refusal.retry_after_s
        headers = {} if wait_s is None else {"Retry-After": str(wait_s)}
        return cls(KINDS[refusal.code], refusal.explain(), headers=headers)

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
