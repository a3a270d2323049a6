"""What the edge says of requests that no route gets to see: where a value is wrong, which path is meant."""

import json
import re
from typing import Annotated, Any
from unittest.mock import Mock
from uuid import UUID

import pytest
from psycopg.errors import DatetimeFieldOverflow, NumericValueOutOfRange

import api.environment  # noqa: F401  # before the handlers
from handlers import fallback, orders, staff, storefront
from handlers.edge.http import Api, Call, Route, fingerprint
from handlers.edge.models import WHOLE, Body
from handlers.edge.problems import ProblemError
from handlers.edge.reading import Caller, canonical, read_versions
from handlers.orders import TransferRequest
from handlers.staff import ItemRequest
from sql.errors import Barrier, Fault, LoginRefusedError, RetriesExhaustedError


def send(
    handler: Any,
    method: str,
    resource: str,
    body: str | None = None,
    query: dict[str, str] | None = None,
    content_type: str = "application/json",
    **path: str,
) -> Any:
    claims = {"custom:customer_id": "8c1d5c0e-54a1-4c39-8a6e-3f5a0f1f9b21", "cognito:groups": "staff"}
    answer = handler(
        {
            "httpMethod": method,
            "resource": resource,
            "pathParameters": path,
            "queryStringParameters": query,
            "headers": {"Content-Type": content_type},
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
            ["must be a valid string", "must be a valid integer"],
        ),
        ('{"payee_username": "ana", "points": 0}', ["must be greater than or equal to 1"]),
        ('{"payee_username": "ana", "points": 1.5}', ["must be a valid integer"]),
        ('{"payee_username": "ana", "points": 1e400}', ["must be a valid integer"]),
        (
            '{"payee_username": "a\\n", "points": 1}',
            ["shows nothing, has another form or a character that may not stand here"],
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
    assert refused_refund([1] * 101) == {"/lines": "must have at most 100 items after validation, not 101"}


def test_a_problem_names_no_more_wrong_values_than_a_caller_can_correct_at_once() -> None:
    assert list(refused_refund([{}] * 100))[:3] == [
        "/lines/0/item_id",
        "/lines/0/quantity",
        "/lines/1/item_id",
    ]
    assert len(refused_refund([{}] * 100)) == 20


@pytest.mark.parametrize(
    "query", [{"q": "a\ud800"}, {"limit": "\udc00"}, {"\ud800": "1"}, {"q": "Ren\ufffd"}]
)
def test_what_is_no_text_is_refused_in_a_query(query: dict[str, str]) -> None:
    answer = send(storefront.handler, "GET", "/catalog", query=query)
    (error,) = answer["body"]["errors"]
    assert (answer["statusCode"], error["detail"]) == (
        400,
        "holds half of a character, or bytes that are not UTF-8",
    )


def test_what_is_stored_alike_is_the_same_request() -> None:
    item = {"name": "Mug", "points_price": 1}
    read = [ItemRequest.model_validate({**item, "rating": rating}) for rating in (4.35, 4.3500000001)]
    assert read[0] == read[1]


def test_a_value_from_a_closed_list_is_told_the_list() -> None:
    answer = send(storefront.handler, "GET", "/catalog", query={"sort": "size", "limit": "many"})
    assert {error["pointer"]: error["detail"] for error in answer["body"]["errors"]} == {
        "query:limit": "must be a valid integer",
        "query:sort": "must be 'name', 'points', '-points' or '-rating'",
    }


@pytest.mark.parametrize(
    "body", ['{"points":', "[" * 40_000, '{"x":' + "[" * 30_000 + "]" * 30_000 + "}", "\ud800", ""]
)
def test_what_is_no_json_is_said_to_be_none(body: str) -> None:
    answer = send(orders.handler, "POST", "/points/transfers", body)
    assert (answer["statusCode"], answer["body"]["type"]) == (400, "urn:rewards:problem:malformed-request")


def test_a_number_is_whole_however_it_is_written() -> None:
    read = [
        TransferRequest.model_validate_json(f'{{"points": {text}, "payee_username": "ana"}}')
        for text in ("2", "2.0", "0.2e1")
    ]
    assert [(request.points, type(request.points)) for request in read] == [(2, int)] * 3


TRANSFER = {"payee_username": "ana", "points": 2}


@pytest.mark.parametrize(
    ("body", "status", "kind", "said"),
    [
        ('{"payee_username": "Ren\ufffd", "points": 2}', 400, "malformed-request", "UTF-8"),
        ('{"payee_username": "Ren\\ufffd", "points": 2}', 400, "malformed-request", "UTF-8"),
        ('{"payee_username": "ana", "points": 2, "points": 3}', 400, "malformed-request", "'points' twice"),
        ('{"points": 0, "payee_username": "ana", "points": 2}', 400, "malformed-request", "'points' twice"),
        ('{"payee_username": "ana", "points": NaN}', 400, "invalid-request", ""),
        ('{"payee_username": "ana", "points": Infinity}', 400, "invalid-request", ""),
        ('{"payee_username": "ana", "points": ' + "9" * 4000 + "}", 400, "invalid-request", ""),
        ('\ufeff{"payee_username": "ana", "points": 2}', 400, "malformed-request", "JSON"),
    ],
)
def test_what_readers_of_json_take_differently_is_refused(
    body: str, status: int, kind: str, said: str
) -> None:
    answer = send(orders.handler, "POST", "/points/transfers", body)
    assert (answer["statusCode"], answer["body"]["type"]) == (status, f"urn:rewards:problem:{kind}")
    assert said in answer["body"]["detail"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("member", ["rating", "weight"])
def test_a_measure_is_a_number(number: str, member: str) -> None:
    body = f'{{"name": "Mug", "points_price": 1, "{member}": {number}}}'
    answer = send(staff.handler, "POST", "/staff/items", body)
    assert answer["statusCode"] == 400
    assert [error["pointer"] for error in answer["body"]["errors"]] == [f"/{member}"]


@pytest.mark.parametrize("form", ["{%s}", "urn:uuid:%s", " %s", "%s\\n"])
def test_an_id_has_its_usual_form(form: str) -> None:
    text = form % "8c1d5c0e-54a1-4c39-8a6e-3f5a0f1f9b21"
    body = f'{{"lines": [{{"item_id": "{text}", "quantity": 1}}]}}'
    answer = send(orders.handler, "POST", "/orders/{order_id}/refunds", body)
    assert answer["body"]["errors"] == [{"pointer": "/lines/0/item_id", "detail": "must be a UUID"}]


def test_a_member_twice_is_refused_however_deep_it_lies() -> None:
    line = '{"item_id": "8c1d5c0e-54a1-4c39-8a6e-3f5a0f1f9b21", "quantity": 1, "quantity": 2}'
    answer = send(orders.handler, "POST", "/orders/{order_id}/refunds", f'{{"lines": [{line}]}}')
    assert (answer["statusCode"], "'quantity' twice" in answer["body"]["detail"]) == (400, True)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 400),
        ("Application/JSON; Charset=UTF-8", 400),
        ('application/json; charset="utf-8"', 400),
        ("application/json; charset=utf-16", 415),
        ("application/json;charset=latin-1", 415),
        ("application/json; version=1; charset=iso-8859-1", 415),
        ("text/plain", 415),
        ("application/json, application/json", 415),
        ("", 415),
    ],
)
def test_a_body_is_json_in_utf_8(content_type: str, status: int) -> None:
    answer = send(orders.handler, "POST", "/points/transfers", "{}", content_type=content_type)
    assert answer["statusCode"] == status


# --- Preconditions and keys ---


@pytest.mark.parametrize(
    ("tags", "included"),
    [
        ('"7"', True),
        ('"8"', False),
        ('"6", "7"', True),
        ('"6","7" , "8"', True),
        (', "7",', True),
        ("*", True),
        (" * ", True),
        ('W/"7"', False),  # If-Match compares strongly
        ('W/"7", "7"', True),
        ('"", "a,7"', False),
        ('"07"', True),
    ],
)
def test_if_match_is_read_as_http_has_it(tags: str, included: bool) -> None:
    assert read_versions({"if-match": tags}).includes(7) is included


@pytest.mark.parametrize("tags", ["7", '"7', '7"', '"7" "8"', '*, "7"', 'w/"7"', "abc"])
def test_an_if_match_that_names_no_tags_is_told_its_form(tags: str) -> None:
    with pytest.raises(ProblemError) as error:
        read_versions({"if-match": tags})
    assert error.value.problem.errors[0].pointer == "header:If-Match"


def a_call(body: type[Body] | None, text: str, key: str, **path: str) -> Call[Any, Any]:
    sent = canonical(text) if text else ""
    read: Any = body.model_validate_json(text) if body else None
    route = Route("POST", "/things/{thing_id}", Mock(), "", body=body)
    caller = Caller(UUID(int=1), frozenset())
    return Call(route, caller, read, None, path, {"idempotency-key": key}, "c", None, sent, 0.0)


KEY = "8e03978e-40d5-43e8-bc93-6894a57f9324"


@pytest.mark.parametrize("key", [f'"{KEY}"', KEY])
def test_a_key_is_the_same_in_quotes(key: str) -> None:
    assert a_call(None, "", key).idempotent(UUID(int=2)).key == KEY


@pytest.mark.parametrize("key", ['"', '""', f'"{KEY}', f'{KEY}"', f"'{KEY}'", f'""{KEY}""', f"{KEY}, {KEY}"])
def test_a_key_of_another_form_is_refused(key: str) -> None:
    with pytest.raises(ProblemError, match="8 to 64"):
        a_call(None, "", key).idempotent(UUID(int=2))


class Thing(Body):
    """A body of one release."""

    points: Annotated[int, WHOLE]
    lines: tuple[dict[str, Any], ...] = ()


class ThingOfTheNext(Thing):
    """The same body of the next release: a member more, and another default."""

    note: str | None = "none"
    lines: tuple[dict[str, Any], ...] = ({"all": True},)


def hash_of(body: type[Body] | None, text: str, **path: str) -> str:
    return a_call(body, text, KEY, **path).idempotent(UUID(int=2)).hash


def test_a_release_with_an_optional_member_more_knows_a_request_again() -> None:
    text = '{"points": 2}'
    assert hash_of(Thing, text) == hash_of(ThingOfTheNext, text)


SENT = '{"points": 2, "lines": [{"a": 1, "b": "é"}]}'


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ('{"lines":[{"b":"\\u00e9","a":1.0}],"points":2e0}', True),
        ('\n{ "points" : 2.0 , "lines" : [ { "a" : 1 , "b" : "é" } ] }', True),
        ('{"points": 3, "lines": [{"a": 1, "b": "é"}]}', False),
        ('{"points": 2, "lines": [{"a": "1", "b": "é"}]}', False),
        ('{"points": 2, "lines": [{"a": true, "b": "é"}]}', False),
        ('{"points": 2, "lines": [{"a": 1.5, "b": "é"}]}', False),
        ('{"points": 2, "lines": []}', False),
        ('{"points": 2}', False),
    ],
)
def test_what_says_the_same_has_the_same_hash(text: str, same: bool) -> None:
    assert (hash_of(Thing, text) == hash_of(Thing, SENT)) is same


def test_a_hash_is_of_the_operation_and_its_path_too() -> None:
    one, other = "8c1d5c0e-54a1-4c39-8a6e-3f5a0f1f9b21", "f3a86e0b-0b1e-4a4a-8d54-7f6c1c2d3e42"
    assert hash_of(None, "", thing_id=one) == hash_of(None, "", thing_id=one.upper())
    assert hash_of(None, "", thing_id=one) != hash_of(None, "", thing_id=other)


def test_a_hash_says_its_version_and_fits_its_column() -> None:
    assert re.fullmatch(r"1:[0-9a-f]{62}", fingerprint("anything"))


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
        (NumericValueOutOfRange(), 400, False),  # ValuesRefused counts it: anybody can send it at will
        (DatetimeFieldOverflow(), 400, False),
        (RetriesExhaustedError(6, Fault.CONFLICT), 503, False),  # DatabaseGaveUp counts it
        (ProblemError("not-found", "It is not there."), 404, False),
    ],
)
def test_what_no_repetition_fixes_is_counted_by_the_request_that_met_it(
    error: Exception, status: int, counted: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = send(Api([Route("GET", "/thing", Mock(side_effect=error), "")], Mock()), "GET", "/thing")
    assert answer["statusCode"] == status
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["InternalErrors"] for line in said if "InternalErrors" in line] == [[1.0]] * counted
