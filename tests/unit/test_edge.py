"""What the edge says of requests that no route gets to see: where a value is wrong, which path is meant."""

import json
from typing import Any
from unittest.mock import Mock

import pytest
from msgspec import convert

import api.environment  # noqa: F401  # before the handlers
from handlers import fallback, orders, staff, storefront
from handlers.edge import wrong_values
from handlers.edge.http import Api, Route
from handlers.edge.problems import ProblemError
from handlers.edge.wrong_values import read_again
from handlers.orders import TransferRequest
from handlers.staff import ItemRequest
from sql.errors import Barrier, Fault, LoginRefusedError, RetriesExhaustedError


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


@pytest.mark.parametrize(
    ("body", "details"),
    [
        ("{}", ["is required", "is required"]),
        (
            '{"payee_username": 7, "points": "5"}',
            ["must be a string, got an integer", "must be an integer, got a string"],
        ),
        ('{"payee_username": "ana", "points": 0}', ["must be an integer >= 1"]),
        ('{"payee_username": "ana", "points": 1.5}', ["must be an integer, got a number"]),
        ('{"payee_username": "ana", "points": 1e400}', ["must be an integer, got a number"]),
        (
            '{"payee_username": "a\\n", "points": 1}',
            ["holds a character that may not stand here, or has another form"],
        ),
        ('{"payee_username": "ana", "points": 1, "note": ""}', ["is not known here"]),
    ],
)
def test_each_wrong_value_is_told_what_it_must_be(body: str, details: list[str]) -> None:
    answer = send(orders.handler, "POST", "/points/transfers", body)
    assert [error["detail"] for error in answer["body"]["errors"]] == details


def refused_refund(lines: list[Any]) -> dict[str, str]:
    answer = send(orders.handler, "POST", "/orders/{order_id}/refunds", json.dumps({"lines": lines}))
    return {error["pointer"]: error["detail"] for error in answer["body"]["errors"]}


def test_a_list_of_too_many_is_told_so_and_not_what_is_wrong_in_it() -> None:
    assert refused_refund([1] * 101) == {"/lines": "must be an array of length <= 100"}


def test_of_thousands_of_wrong_values_no_more_are_looked_at_than_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_at = Mock(side_effect=convert)
    monkeypatch.setattr(wrong_values, "convert", looked_at)
    monkeypatch.setattr(wrong_values, "MAX_FIELD_ERRORS", 3)
    assert list(refused_refund([{}] * 100)) == ["/lines/0/item_id", "/lines/0/quantity", "/lines/1/item_id"]
    assert looked_at.call_count < 10


@pytest.mark.parametrize("query", [{"q": "a\ud800"}, {"limit": "\udc00"}, {"\ud800": "1"}])
def test_half_of_a_character_is_refused_in_a_query(query: dict[str, str]) -> None:
    answer = send(storefront.handler, "GET", "/catalog", query=query)
    (error,) = answer["body"]["errors"]
    assert (answer["statusCode"], error["detail"]) == (400, "holds half of a character")


def test_what_is_stored_alike_is_the_same_request() -> None:
    item = {"name": "Mug", "points_price": 1}
    assert convert({**item, "rating": 4.35}, ItemRequest) == convert(
        {**item, "rating": 4.3500000001}, ItemRequest
    )


def test_a_value_from_a_closed_list_is_told_the_list() -> None:
    answer = send(storefront.handler, "GET", "/catalog", query={"sort": "size", "limit": "many"})
    assert {error["pointer"]: error["detail"] for error in answer["body"]["errors"]} == {
        "query:limit": "must be an integer",
        "query:sort": "must be one of name, points, -points, -rating",
    }


@pytest.mark.parametrize(
    "body", ['{"points":', "[" * 40_000, '{"x":' + "[" * 30_000 + "]" * 30_000 + "}", "\ud800", ""]
)
def test_what_is_no_json_is_said_to_be_none(body: str) -> None:
    answer = send(orders.handler, "POST", "/points/transfers", body)
    assert (answer["statusCode"], answer["body"]["type"]) == (400, "urn:rewards:problem:malformed-request")


def test_a_number_is_whole_however_it_is_written() -> None:
    read = [
        read_again(f'{{"points": {text}, "payee_username": "ana"}}', TransferRequest)
        for text in ("2", "2.0", "0.2e1")
    ]
    assert [(request.points, type(request.points)) for request in read] == [(2, int)] * 3


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


@pytest.mark.parametrize(
    ("error", "status", "counted"),
    [
        (LookupError("a bug"), 500, True),
        (LoginRefusedError(Barrier.LOGIN), 503, True),
        (RetriesExhaustedError(6, Fault.CONFLICT), 503, False),  # DatabaseGaveUp counts it
        (ProblemError("not-found", "It is not there."), 404, False),
    ],
)
def test_what_no_repetition_fixes_is_counted_by_the_request_that_met_it(
    error: Exception, status: int, counted: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = send(Api([Route("GET", "/thing", Mock(side_effect=error), "")]), "GET", "/thing")
    assert answer["statusCode"] == status
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["InternalErrors"] for line in said if "InternalErrors" in line] == [[1.0]] * counted
