"""The OpenAPI document: made from the routes, as committed, and never breaking what was promised."""

import copy
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import api.__main__ as command
from api import problems
from api.__main__ import DOCUMENT, PROBLEMS, PROMISE, text
from api.compare import breaking_changes
from api.document import make, routes
from api.examples import EXAMPLES
from api.page import page
from handlers import fallback
from handlers.edge.problems import KINDS
from tools.template import events, functions


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return make()


def test_the_committed_document_is_the_one_that_the_routes_make() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == text(), "run: python -m api"


def test_the_page_of_problems_is_the_one_that_the_code_makes() -> None:
    assert PROBLEMS.read_text(encoding="utf-8") == problems.page(), "run: python -m api"


def test_the_template_opens_just_the_public_routes(document: dict[str, Any]) -> None:
    opened = {
        (event.properties["Path"], event.properties["Method"])
        for event in events("Api")
        if "Auth" in event.properties
    }
    public = {(route.resource, route.method.lower()) for _, route in routes() if route.is_public}
    assert opened == public == {("/health", "get")}
    (event,) = [event for event in events("Api") if "Auth" in event.properties]
    assert event.properties["Auth"] == {"Authorizer": "NONE"}
    assert [
        (path, method)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if "security" in operation
    ] == sorted(public)


def test_nothing_that_was_promised_is_broken(document: dict[str, Any]) -> None:
    assert breaking_changes(json.loads(PROMISE.read_text(encoding="utf-8")), document) == []


#: The words of JSON Schema (2020-12) that say what a value may be, those that describe it, and OpenAPI's own.
SCHEMA_WORDS = {
    *(
        "type",
        "enum",
        "const",
        "anyOf",
        "oneOf",
        "not",
        "format",
        "pattern",
        "minLength",
        "maxLength",
        "multipleOf",
    ),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "items", "minItems", "maxItems"),
    *("uniqueItems", "properties", "required", "additionalProperties", "title", "description", "default"),
    *("multipleOf", "examples"),
}


def schema_words(node: Any) -> set[str]:
    """Give the words of all schemas below a node; a schema is what names a type of JSON's."""
    if isinstance(node, list):
        return {word for one in node for word in schema_words(one)}
    if not isinstance(node, dict):
        return set()
    kinds = ("object", "array", "string", "integer", "number", "boolean", "null")
    own = set(node) if isinstance(node.get("type"), str) and node["type"] in kinds else set()
    return own.union(*(schema_words(one) for one in node.values()))


def test_bounds_are_said_in_the_words_that_clients_know(document: dict[str, Any]) -> None:
    assert schema_words(document) <= SCHEMA_WORDS


def test_the_fallback_knows_every_route_and_no_other() -> None:
    methods: dict[str, list[str]] = {}
    for _, route in routes():
        methods.setdefault(route.resource, []).append(route.method)
    assert {resource: tuple(sorted(found)) for resource, found in methods.items()} == fallback.METHODS


def test_the_template_routes_every_operation_to_the_function_that_serves_it() -> None:
    routed = {
        (
            event.properties["Method"].upper(),
            event.properties["Path"],
            functions()[event.function]["Handler"],
        )
        for event in events("Api")
        if event.properties["Path"] != "/{proxy+}"
    }
    served = {(route.method, route.resource, f"{route.serve.__module__}.handler") for _, route in routes()}
    assert routed == served


def test_every_problem_that_a_route_names_is_a_kind_and_every_operation_has_a_name_of_its_own() -> None:
    names = [name for name, _ in routes()]
    assert len(names) == len(set(names))
    assert {problem for _, route in routes() for problem in route.problems} <= set(KINDS)
    assert {name for name, route in routes() if route.body is not None} == set(EXAMPLES)


def test_the_examples_are_what_the_operations_accept() -> None:
    for name, route in routes():
        if route.body is not None:
            route.body.model_validate_json(json.dumps(EXAMPLES[name]))


def test_every_reference_of_the_document_leads_somewhere(document: dict[str, Any]) -> None:
    for reference in re.findall(r'"\$ref": "#/components/(\w+)/(\w+)"', json.dumps(document)):
        section, name = reference
        assert name in document["components"][section]


def test_the_page_is_well_formed_and_fetches_nothing(document: dict[str, Any]) -> None:
    html = page(document)
    assert not re.search(r"<script|<link|<img|https?://(?!127)", html)
    assert html.count("<details") == html.count("</details>")
    HTMLParser().feed(html)
    for name, _ in routes():
        assert f"id='{name}'" in html


# --- What counts as breaking ---

Change = Callable[[dict[str, Any]], object]


def _schema(document: dict[str, Any], name: str) -> dict[str, Any]:
    schema: dict[str, Any] = document["components"]["schemas"][name]
    return schema


BREAKING: dict[str, Change] = {
    "DELETE /cart is gone": lambda d: d["paths"]["/cart"].pop("delete"),
    "operationId": lambda d: d["paths"]["/cart"]["get"].update(operationId="getCart"),
    "query parameter q is gone": lambda d: d["paths"]["/catalog"]["get"]["parameters"].pop(3),
    "query parameter limit is required now": lambda d: d["paths"]["/catalog"]["get"]["parameters"][0].update(
        required=True
    ),
    "may no longer be -rating": lambda d: d["paths"]["/catalog"]["get"]["parameters"][4]["schema"].update(
        enum=["name", "points", "-points"]
    ),
    "maximum is 99 now": lambda d: _schema(d, "Quantity")["properties"]["quantity"].update(maximum=99),
    "minimum is 2 now": lambda d: _schema(d, "Quantity")["properties"]["quantity"].update(minimum=2),
    "/note is required now": lambda d: _schema(d, "Quantity").update(required=["quantity", "note"]),
    "/lines is refused now": lambda d: _schema(d, "RefundRequest")["properties"].pop("lines"),
    "/total_points is gone": lambda d: _schema(d, "Cart")["properties"].pop("total_points"),
    "/total_points may be missing now": lambda d: _schema(d, "Cart")["required"].remove("total_points"),
    "/total_points may be string now": lambda d: _schema(d, "Cart")["properties"].update(
        total_points={"type": "string"}
    ),
    "may be LOST now": lambda d: _schema(d, "Order")["properties"]["status"]["enum"].append("LOST"),
    "201 is no longer answered": lambda d: d["paths"]["/orders"]["post"]["responses"].pop("201"),
    "problem urn:rewards:problem:empty-cart is gone": lambda d: d["paths"]["/orders"]["post"]["responses"][
        "409"
    ]["content"]["application/problem+json"]["schema"]["properties"]["type"]["enum"].remove(
        "urn:rewards:problem:empty-cart"
    ),
    "header ETag is gone": lambda d: d["paths"]["/catalog"]["get"]["responses"]["200"]["headers"].pop("ETag"),
    "another pattern": lambda d: _schema(d, "TransferRequest")["properties"]["payee_username"].update(
        pattern="^a*$"
    ),
    # Behind "or nothing", in lists, and behind references.
    "lines[]/quantity: maximum is 9 now": lambda d: _schema(d, "RefundRequestLine")["properties"][
        "quantity"
    ].update(maximum=9),
    "lines[]/quantity is refused now": lambda d: _schema(d, "RefundRequestLine")["properties"].pop(
        "quantity"
    ),
    "lines: maxItems is 1 now": lambda d: _nullable(d, "RefundRequest", "lines").update(maxItems=1),
    "lines may no longer be null": lambda d: _schema(d, "RefundRequest")["properties"]["lines"][
        "anyOf"
    ].pop(),
    "available may no longer be integer": lambda d: _schema(d, "StockRequest")["properties"]["available"][
        "anyOf"
    ].pop(0),
    "available: maximum is 5 now": lambda d: _schema(d, "StockRequest")["properties"].update(
        available={"oneOf": [{"type": "integer", "minimum": 0, "maximum": 5}, {"type": "null"}]}
    ),
    "stock[]/slot is gone": lambda d: _schema(d, "Slot")["properties"].pop("slot"),
    "stock[]/slot may be null now": lambda d: _schema(d, "Slot")["properties"].update(
        slot={"oneOf": [{"type": "integer"}, {"type": "null"}]}
    ),
    "name may be null now": lambda d: _schema(d, "CatalogItem")["properties"].update(
        name={"anyOf": [{"type": "string"}, {"type": "null"}]}
    ),
    "thumbnail_id: another format": lambda d: _nullable(d, "ItemRequest", "thumbnail_id").update(
        format="uri"
    ),
    "item_id: another format": lambda d: _schema(d, "CartLine")["properties"]["item_id"].pop("format"),
    "delta: another not": lambda d: _schema(d, "StockChange")["properties"]["delta"].update(
        {"not": {"const": 1}}
    ),
    "kind may no longer be EARN": lambda d: _schema(d, "CreditRequest")["properties"]["kind"].update(
        const="GIFT"
    ),
    "further members are refused now": lambda d: _schema(d, "Quantity").pop("additionalProperties"),
    # Statuses, bodies and headers.
    "POST /orders: 404 is no longer answered": lambda d: d["paths"]["/orders"]["post"]["responses"].pop(
        "404"
    ),
    "GET /cart: 202 may be answered now": lambda d: d["paths"]["/cart"]["get"]["responses"].update(
        {"202": {"description": "Later."}}
    ),
    "a body is required now": lambda d: d["paths"]["/cart"]["delete"].update(
        requestBody=d["paths"]["/orders"]["post"]["requestBody"]
    ),
    "the body is no longer read": lambda d: d["paths"]["/orders"]["post"].pop("requestBody"),
    "a body may no longer be application/json": lambda d: d["paths"]["/orders"]["post"]["requestBody"].update(
        content={"text/csv": {"schema": {}}}
    ),
    "503: header Retry-After is gone": lambda d: d["components"]["responses"]["TemporarilyUnavailable"].pop(
        "headers"
    ),
    "header Retry-After may be string now": lambda d: d["components"]["responses"]["TooManyRequests"][
        "headers"
    ]["Retry-After"].update(schema={"type": "string"}),
    "header parameter Idempotency-Key is gone": lambda d: d["paths"]["/orders"]["post"].pop("parameters"),
}

#: Changes that are made to the older document, since they take something away from the newer.
TO_THE_OLDER = {"further members are refused now"}


def _nullable(document: dict[str, Any], name: str, member: str) -> dict[str, Any]:
    schema: dict[str, Any] = _schema(document, name)["properties"][member]["anyOf"][0]
    return schema


@pytest.mark.parametrize("said", BREAKING)
def test_a_change_that_breaks_clients_is_found(document: dict[str, Any], said: str) -> None:
    changed = copy.deepcopy(document)
    BREAKING[said](changed)
    found = breaking_changes(*((changed, document) if said in TO_THE_OLDER else (document, changed)))
    assert any(said in change for change in found), found


COMPATIBLE: dict[str, Change] = {
    "a new operation": lambda d: d["paths"].update({"/new": {"get": d["paths"]["/cart"]["get"]}}),
    "a new optional parameter": lambda d: d["paths"]["/cart"]["get"].update(
        parameters=[{"name": "x", "in": "query", "required": False, "schema": {"type": "string"}}]
    ),
    "a new property of an answer": lambda d: _schema(d, "Cart")["properties"].update(x={"type": "string"}),
    "a new optional property of a request": lambda d: _schema(d, "Quantity")["properties"].update(
        note={"type": "string"}
    ),
    "a wider limit": lambda d: _schema(d, "Quantity")["properties"]["quantity"].update(maximum=9999),
    "nothing in an answer that could be nothing": lambda d: _schema(d, "StaffItem")["properties"].update(
        stock=_nullable(d, "StaffItem", "stock")
    ),
    "nothing in a request that could not be": lambda d: _schema(d, "Quantity")["properties"].update(
        quantity={"anyOf": [_schema(d, "Quantity")["properties"]["quantity"], {"type": "null"}]}
    ),
    "a whole number where any could be": lambda d: _schema(d, "CatalogItemDetail")["properties"].update(
        weight={"type": "integer"}
    ),
    "any number where it had to be whole": lambda d: _schema(d, "Quantity")["properties"]["quantity"].update(
        type="number"
    ),
    "a new problem": lambda d: d["paths"]["/orders"]["post"]["responses"]["409"]["content"][
        "application/problem+json"
    ]["schema"]["properties"]["type"]["enum"].append("urn:rewards:problem:new"),
}


@pytest.mark.parametrize("name", COMPATIBLE)
def test_a_change_that_breaks_nobody_is_let_through(document: dict[str, Any], name: str) -> None:
    changed = copy.deepcopy(document)
    COMPATIBLE[name](changed)
    assert breaking_changes(document, changed) == []


def test_what_breaks_the_last_release_does_not_become_one(
    document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DOCUMENT", "PROBLEMS", "PROMISE"):
        monkeypatch.setattr(command, name, tmp_path / name)
    command.main(["--promise"])  # the first release: nothing was promised before
    assert json.loads(command.PROMISE.read_text()) == document

    released = copy.deepcopy(document)
    released["paths"]["/gone"] = released["paths"]["/cart"]
    command.PROMISE.write_text(json.dumps(released))
    with pytest.raises(SystemExit, match="would break"):
        command.main(["--promise"])
    assert json.loads(command.PROMISE.read_text()) == released, "the promise stands"
