"""What the edge says of requests that no route gets to see: where a value is wrong, which path is meant."""

import json
from typing import Any

import pytest

import api.environment  # noqa: F401  # before the handlers
from handlers import fallback, orders, staff


def send(
    handler: Any,
    method: str,
    resource: str,
    body: str | None = None,
    query: dict[str, str] | None = None,
    **path: str,
) -> Any:
    claims = {"custom:customer_id": "8c1d5c0e-54a1-4c39-8a6e-3f5a0f1f9b21", "cognito:groups": "staff"}
    answer = handler(
        {
            "httpMethod": method,
            "resource": resource,
            "pathParameters": path,
            "queryStringParameters": query,
            "headers": {"Content-Type": "application/json"},
            "body": body,
            "requestContext": {"requestId": "test", "authorizer": {"claims": claims}},
        },
        None,
    )
    return {**answer, "body": json.loads(answer["body"])}


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ("[]", [""]),
        ("7", [""]),
        ('{"lines": {}}', ["/lines"]),
        ('{"lines": [{"item_id": "x", "quantity": 0}]}', ["/lines/0/item_id", "/lines/0/quantity"]),
        ('{"a/b": 1, "~": 2, "": 3}', ["/a~1b", "/~0", "/"]),
        (json.dumps({"k" * 500: 1}), ["/" + "k" * 500]),
    ],
)
def test_a_wrong_value_is_named_by_a_json_pointer(body: str, pointers: list[str]) -> None:
    answer = send(orders.handler, "POST", "/orders/{order_id}/refunds", body)
    assert answer["statusCode"] == 400
    assert [error["pointer"] for error in answer["body"]["errors"]] == pointers


def test_a_wrong_parameter_is_named_as_it_was_sent() -> None:
    name = "customer/" + "x" * 200
    for resource in ("/staff/customers", "/staff/items/{item_id}"):
        answer = send(staff.handler, "GET", resource, query={name: "1", "username": "ana"})
        assert f"query:{name}" in [error["pointer"] for error in answer["body"]["errors"]]


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        ("POST", "cart", 405, "DELETE, GET, OPTIONS"),
        ("HEAD", "cart", 405, "DELETE, GET, OPTIONS"),
        ("PATCH", "cart/", 405, "DELETE, GET, OPTIONS"),
        ("GET", "cart/", 404, None),
        ("PUT", "/cart/items/1", 404, None),
        ("GET", "nothing", 404, None),
    ],
)
def test_a_method_that_a_path_has_is_not_refused_as_one_that_it_has_not(
    method: str, path: str, status: int, allowed: str | None
) -> None:
    answer = send(fallback.handler, method, "/{proxy+}", proxy=path)
    assert (answer["statusCode"], answer["headers"].get("Allow")) == (status, allowed)
    assert ("slash" in answer["body"]["detail"]) == (status == 404 and path != "nothing")
