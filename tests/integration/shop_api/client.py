"""The shop's API without a gateway: requests become the events that API Gateway sends to the handlers."""

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any
from uuid import UUID, uuid4

# Handlers read their environment when imported; each test gives them a database of its own afterwards.
os.environ.update(DATABASE_HOST="127.0.0.1", DATABASE_ROLE="nobody", DATABASE_TLS="disable")

from api.document import make
from handlers import account, checkout, fallback, operations, orders, staff, storefront
from sql.connection import Database
from tests.integration.shop import Shop

#: The modules that serve the API, and the database role of each.
ROLES: dict[ModuleType, str] = {
    checkout: "checkout",
    storefront: "storefront",
    orders: "checkout",
    account: "accounts",
    staff: "staff",
    operations: "overview",
}

_RESOURCES = [
    (re.compile(re.sub(r"\{([a-z_]+)\}", r"(?P<\1>[^/]+)", path)), path) for path in fallback.METHODS
]


@dataclass(frozen=True)
class Response:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.text)

    @property
    def problem(self) -> str:
        """The kind of problem; fails where the answer is none."""
        assert self.headers["Content-Type"] == "application/problem+json", (self.status, self.text)
        document = self.json
        assert document["status"] == self.status
        assert document["detail"].strip()
        assert document["title"].strip()
        return str(document["type"]).removeprefix("urn:rewards:problem:")


@dataclass(frozen=True)
class Client:
    """A signed-in caller; `claims` are those of the ID token."""

    claims: Mapping[str, str]

    def get(self, path: str, query: Mapping[str, str] | None = None, **headers: str) -> Response:
        """Send GET."""
        return self.send("GET", path, query=query, headers=headers)

    def get_at(self, resource: str, ids: Mapping[str, str], query: Mapping[str, str]) -> Response:
        """Send GET to a resource with these ids in its path, whatever they look like."""
        wanted = {name: value for name, value in ids.items() if "{" + name + "}" in resource}
        return self._send("GET", resource, wanted, query=query)

    def send_at(
        self,
        method: str,
        resource: str,
        ids: Mapping[str, str],
        text: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send any text to a resource with these ids in its path."""
        wanted = {name: value for name, value in ids.items() if "{" + name + "}" in resource}
        return self._send(method, resource, wanted, text=text, headers=headers)

    def put(self, path: str, body: Any, key: str | None = None, **headers: str) -> Response:
        """Send PUT with a JSON body, under the key where there is one."""
        keyed = {"Idempotency-Key": key} if key is not None else {}
        return self.send("PUT", path, body=body, headers={**keyed, **headers})

    def ask(
        self, method: str, path: str, body: Any = None, query: Mapping[str, str] | None = None
    ) -> Response:
        """Send any request that needs no more than its body, with all headers that a write may want."""
        headers = {"Idempotency-Key": str(uuid4()), "If-Match": '"1"'}
        return self.send(method, path, body=body, query=query, headers=headers)

    def delete(self, path: str) -> Response:
        """Send DELETE."""
        return self.send("DELETE", path)

    def post(self, path: str, body: Any = None, key: str | None = None) -> Response:
        """Send POST with a JSON body, under the key or a new one."""
        return self.send("POST", path, body=body, headers={"Idempotency-Key": key or str(uuid4())})

    def send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        text: str | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send a request as API Gateway hands it on; `text` is a body that need not be JSON."""
        resource, values = _route(method, path)
        return self._send(method, resource, values, body=body, text=text, query=query, headers=headers)

    def _send(
        self,
        method: str,
        resource: str,
        values: Mapping[str, str],
        *,
        body: Any = None,
        text: str | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        text = json.dumps(body) if body is not None else text
        usual = {} if text is None else {"Content-Type": "application/json"}
        event = {
            "httpMethod": method,
            "resource": resource,
            "path": resource.format(**values),
            "pathParameters": dict(values) or None,
            "queryStringParameters": dict(query) if query else None,
            "multiValueQueryStringParameters": {name: [value] for name, value in query.items()}
            if query
            else None,
            "headers": {
                **usual,
                **{name.replace("_", "-"): value for name, value in (headers or {}).items()},
            },
            "body": text,
            "isBase64Encoded": False,
            "requestContext": {"requestId": str(uuid4()), "authorizer": {"claims": dict(self.claims)}},
        }
        answer = _handler(method, resource)(event, None)
        response = Response(answer["statusCode"], answer["headers"], answer["body"])
        if resource != "/{proxy+}":
            _assert_documented(method, resource, response)
        return response


#: What every answer may carry, of which the document says nothing.
_COMMON = frozenset(
    {
        "Access-Control-Allow-Origin",
        "Access-Control-Expose-Headers",
        "Cache-Control",
        "Content-Type",
        "X-Content-Type-Options",
    }
)


@cache
def _document() -> dict[str, Any]:
    return make()


def _assert_documented(method: str, resource: str, response: Response) -> None:
    """Assert that the document knows this status of this operation, with these headers."""
    responses = _document()["paths"][resource][method.lower()]["responses"]
    said = responses[str(response.status)]
    if "$ref" in said:
        said = _document()["components"]["responses"][said["$ref"].rsplit("/", 1)[1]]
    headers = set(said.get("headers", ()))
    assert set(response.headers) - _COMMON <= headers, (method, resource, response.status)
    # The gateway says how to sign in, no function does.
    assert headers - {"WWW-Authenticate"} <= set(response.headers), (method, resource, response.status)


def _route(method: str, path: str) -> tuple[str, dict[str, str]]:
    for pattern, resource in _RESOURCES:
        match = pattern.fullmatch(path)
        if match and method in fallback.METHODS[resource]:
            return resource, match.groupdict()
    return "/{proxy+}", {"proxy": path[1:]}


def _handler(method: str, resource: str) -> Callable[[dict[str, Any], None], dict[str, Any]]:
    for module in ROLES:
        if (method, resource) in module.handler.routes:
            handler: Callable[[dict[str, Any], None], dict[str, Any]] = module.handler
            return handler
    return fallback.handler


def staff_client(customer_id: UUID) -> Client:
    """Give a client whose token says that the customer is one of the staff."""
    return Client({"custom:customer_id": str(customer_id), "cognito:groups": "staff"})


@dataclass
class Api:
    """Gives clients; knows the databases that the handlers use."""

    databases: dict[ModuleType, Database]
    shop: Shop

    def as_customer(self, customer_id: UUID) -> Client:
        """Sign in as a customer."""
        return Client({"custom:customer_id": str(customer_id), "cognito:username": "member"})

    def as_staff(self) -> Client:
        """Sign in as a new one of the staff."""
        return staff_client(self.shop.staff_member())
