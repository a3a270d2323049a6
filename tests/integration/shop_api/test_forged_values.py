"""What no page sends: cursors, parameters and ids that somebody made. Never a 500, and never our fault."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Sequence
from datetime import timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from api.document import routes
from sql.reads.catalogue import Sort
from tests.integration.shop import Shop
from tests.integration.shop_api.client import Api, Client, Response

ROUTES = dict(routes())
LISTS = [
    (name, sort)
    for name, route in ROUTES.items()
    if route.query is not None and "cursor" in route.query.model_fields
    for sort in (Sort.__args__ if "sort" in route.query.model_fields else ("",))  # type: ignore[attr-defined]
]

OF_A_TEST = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

TIMES = [
    "2026-01-01T00:00:00+16:00",
    "2026-01-01T00:00:00-23:59",
    "2026-01-01T00:00:00+15:59:59",
    "0000-01-01T00:00:00+00:00",
    "0001-01-01T00:00:00",
    "0001-01-01T00:00:00+00:00",
    "0001-01-01T00:00:00+15:00",
    "9999-12-31T23:59:59.999999",
    "9999-12-31T23:59:59.999999+00:00",
    "9999-12-31T23:59:59-15:00",
    "10000-01-01T00:00:00",
    "infinity",
    "-infinity",
    "now",
    "epoch",
    "2026-01-01",
    "20260101T000000Z",
    "2026-W01-1",
    "2026-01-01T24:00:00",
    "2026-02-30T00:00:00",
    "2026-01-01T00:00:60+00:00",
    "2026-01-01T00:00:00Z",
]
NUMBERS = [
    *(2**31 - 1, 2**31, -(2**31) - 1, 2**53, 2**53 + 1, 2**63, -(2**63) - 1, 10**30, -1, 0, True, False),
    *(0.0, -0.0, 1e-45, 1e-46, 1.1e-38, 5e-324, 3.4028234663852886e38, 3.4028236e38, 1e39, 1e308),
    *(float("inf"), float("-inf"), float("nan"), 4.3499999, 4.35, 1e6, -5.0),
]
IDS = [
    str(UUID(int=0)),
    str(UUID(int=2**128 - 1)),
    str(UUID(int=2**128 - 1)).upper(),
    UUID(int=7).hex,
    f"{{{UUID(int=7)}}}",
    f"urn:uuid:{UUID(int=7)}",
    f" {UUID(int=7)}",
    f"{UUID(int=7)}\n",
    "0" * 40,
]
TEXTS = ["", "a\0", "\ud800", "\udfff\ud800", "\ufffd", "x" * 50, "x" * 51, "\U0001f389" * 50, "' or 1=1 --"]

PARTS = st.one_of(
    st.sampled_from([*TIMES, *NUMBERS, *IDS, *TEXTS, None, [], {}, ["name"], {"a": 1}]),
    st.datetimes().map(lambda moment: moment.isoformat()),
    st.datetimes(timezones=st.integers(-1439, 1439).map(lambda m: timezone(timedelta(minutes=m)))).map(
        lambda moment: moment.isoformat()
    ),
    st.floats(),
    st.integers(),
    st.text(max_size=60),
    st.uuids().map(str),
)
ORDERS = st.sampled_from([*Sort.__args__, "", "rating", 7])  # type: ignore[attr-defined]


def encoded(text: str) -> str:
    return urlsafe_b64encode(text.encode(errors="surrogatepass")).decode().rstrip("=")


def dumped(place: Sequence[Any], spaces: bool = False) -> str:
    return encoded(json.dumps(place, separators=None if spaces else (",", ":"), ensure_ascii=spaces))


#: Places of two and three parts as lists have them, in our form and in another; and what is no place at all.
CURSORS = st.one_of(
    st.tuples(ORDERS, PARTS, st.sampled_from(IDS) | PARTS).map(dumped),
    st.tuples(PARTS, st.sampled_from(IDS) | PARTS).map(dumped),
    st.tuples(PARTS, st.sampled_from(IDS)).map(lambda place: dumped(place, spaces=True)),
    st.lists(PARTS, max_size=5).map(dumped),
    st.binary(max_size=60).map(lambda data: urlsafe_b64encode(data).decode().rstrip("=")),
    st.sampled_from(
        [
            *map(encoded, ("", "null", "7", "{}", "[" * 380, '["name",1e999,"x"]', "NaN", "[NaN,Infinity]")),
            *("", "=", "a", "+/==", "a b", "\0", "é", "x" * 512, "x" * 513, "A" * 5000, encoded("9" * 370)),
            urlsafe_b64encode('["2026-01-01T00:00:00"]'.encode("utf-16")).decode().rstrip("="),
        ]
    ),
    st.text(max_size=40),
)


@pytest.fixture
def sent(api: Api, shop: Shop) -> "Sent":
    return Sent(api, shop)


class Sent:
    """A shop with a little of everything that lists show, and somebody who may ask for all of it."""

    def __init__(self, api: Api, shop: Shop) -> None:
        customer_id = shop.customer(1000)
        shop.connection.execute("insert into xpoints.staff_members (customer_id) values (%s)", [customer_id])
        for number in range(4):
            item_id = shop.item(number, f"Mug {number}")
            shop.connection.execute(
                "update xpoints.catalog_items set rating = %s where id = %s", [number, item_id]
            )
            shop.connection.execute(
                "insert into xpoints.orders (id, customer_id, total_points, region) "
                "values (gen_random_uuid(), %s, 1, 'us-east-1')",
                [customer_id],
            )
            shop.connection.execute(
                "insert into xpoints.order_items (tx_id, cat_item_id, unit_cnt, unit_points_price) "
                "select id, id, 1, 1 from xpoints.orders on conflict do nothing"
            )
            shop.connection.execute(
                "insert into xpoints.transactions (customer_id, tx_type, points) values (%s, 'EARN', 0)",
                [customer_id],
            )
        self.ids = {"item_id": str(item_id), "customer_id": str(customer_id), "order_id": str(item_id)}
        self.client = Client({**api.as_customer(customer_id).claims, "cognito:groups": "staff"})

    def get(self, name: str, query: dict[str, str], **ids: str) -> Response:
        """Ask a route with these ids in its path, and its required parameters."""
        route = ROUTES[name]
        assert route.method == "GET"
        if name == "staffFindMembers":
            query = {"username": "ana", **query}
        return self.client.get_at(route.resource, {**self.ids, **ids}, query)


def assert_page_or_named(answer: Response, name: str) -> None:
    """A page, or a problem that names the parameter: what the database itself refuses names none."""
    if answer.status == 200:
        return
    assert (answer.status, answer.problem) == (400, "invalid-request"), answer.text
    assert {error["pointer"] for error in answer.json["errors"]} == {name}


@pytest.mark.parametrize(("name", "sort"), LISTS)
def test_a_forged_cursor_is_a_place_in_the_list_or_no_cursor(sent: Sent, name: str, sort: str) -> None:
    query = {"sort": sort} if sort else {}

    @OF_A_TEST
    @given(CURSORS)
    def ask(cursor: str) -> None:
        assert_page_or_named(sent.get(name, {**query, "cursor": cursor}), "query:cursor")

    ask()


@pytest.mark.parametrize(("name", "sort"), LISTS)
def test_every_value_that_is_hard_for_a_database_is_tried_where_a_list_is_sorted_by_it(
    sent: Sent, name: str, sort: str
) -> None:
    query = {"sort": sort} if sort else {}
    for part in (*TIMES, *NUMBERS, *TEXTS, *IDS):
        for text_id in (str(UUID(int=7)), str(UUID(int=7)).upper(), "x"):
            place = (sort, part, text_id) if sort else (part, text_id)
            assert_page_or_named(sent.get(name, {**query, "cursor": dumped(place)}), "query:cursor")


@pytest.mark.parametrize(("name", "sort"), LISTS)
def test_a_cursor_of_our_own_leads_on_and_in_no_other_form(sent: Sent, name: str, sort: str) -> None:
    query = {"limit": "2", **({"sort": sort} if sort else {})}
    cursor = sent.get(name, query).json["next_cursor"]
    assert sent.get(name, {**query, "cursor": cursor}).status == 200

    def others() -> Iterator[str]:
        place = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        yield encoded(json.dumps(place))  # with spaces
        yield cursor + "="
        yield cursor + "A"
        yield cursor.swapcase()

    for other in others():
        assert sent.get(name, {**query, "cursor": other}).problem == "invalid-request"


PARAMETERS = sorted(
    {
        (name, parameter)
        for name, route in ROUTES.items()
        if route.query is not None
        for parameter in route.query.model_fields
        if parameter != "cursor"
    }
)
VALUES = st.one_of(
    st.sampled_from(
        [
            *TEXTS,
            *map(str, NUMBERS),
            *TIMES,
            *IDS,
            "9" * 5000,
            "٣",
            "１",
            "+1",
            "1_0",
            "0x1",
            " 1",
            "1\n",
        ]
    ),
    st.text(max_size=60),
    st.integers().map(str),
)


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS)
def test_a_forged_parameter_is_answered_or_named(sent: Sent, name: str, parameter: str) -> None:
    @OF_A_TEST
    @given(VALUES)
    @example("100")
    def ask(value: str) -> None:
        assert_page_or_named(sent.get(name, {parameter: value}), f"query:{parameter}")

    ask()


WITH_IDS = [
    (name, part)
    for name, route in ROUTES.items()
    if route.method == "GET"
    for part in ("item_id", "order_id", "customer_id")
    if "{" + part + "}" in route.resource
]


@pytest.mark.parametrize(("name", "part"), WITH_IDS)
def test_a_forged_id_is_not_found_or_named(sent: Sent, name: str, part: str) -> None:
    @OF_A_TEST
    @given(st.sampled_from([*IDS, *TEXTS, *TIMES]) | st.text(max_size=60))
    def ask(value: str) -> None:
        answer = sent.get(name, {}, **{part: value})
        if answer.status != 404:
            assert_page_or_named(answer, f"path:{part}")

    ask()


#: Bodies that are no request of anybody's, or hardly one: `{0}` is a member that the route has.
BODIES = [
    *("", " ", "null", "true", "7", "[]", "{}", "{", "}", "[" * 20_000, '{"a":' * 9_000, "nul", "NaN", "'"),
    *('{{"{0}": NaN}}', '{{"{0}": Infinity}}', '{{"{0}": -Infinity}}', '{{"{0}": 1e999}}', '{{"{0}": -0.0}}'),
    *('{{"{0}": 1, "{0}": 2}}', '{{"{0}": 1, "\\u0061": 1, "a": 2}}', '{{"": {{"b": 1, "b": 1}}, "{0}": 1}}'),
    *('{{"{0}": "\\ud800"}}', '{{"{0}": "\\udc00\\ud800"}}', '{{"{0}": "\ud800"}}', '{{"\\ud800": 1}}'),
    *(
        '\ufeff{{"{0}": 1}}',
        '{{"{0}": "\ufffd"}}',
        '{{"{0}": "\\u0000"}}',
        '{{"{0}": "\0"}}',
        '{{"{0}": 1}} x',
    ),
    *(
        '{{"{0}": [[[[]]]]}}',
        '{{"{0}": {{}}}}',
        '{{"{0}": [1, "x", null]}}',
        '{{"{0}": "' + "x" * 65_000 + '"}}',
    ),
    *('{{"{0}": ' + "9" * 400 + "}}", '{{"{0}": ' + "9" * 5_000 + "}}", '{{"{0}": 1.' + "0" * 5_000 + "1}}"),
    *(
        '{{"{0}": 2.0}}',
        '{{"{0}": 2e0}}',
        '{{"{0}": 9223372036854775808}}',
        '{{"{0}": 1e-400}}',
        '{{"{0}": .5}}',
    ),
    *(
        '{{"{0}": 0x10}}',
        '{{"{0}": 01}}',
        '{{"{0}": +1}}',
        "{{'{0}': 1}}",
        '{{"{0}": 1,}}',
        '{{"{0}": undefined}}',
    ),
    *(
        '/**/{{"{0}": 1}}',
        '{{"__proto__": {{}}, "{0}": 1}}',
        '{{"{0}": "2026-01-01T00:00:00+16:00"}}',
        "x" * 70_000,
    ),
]
TYPES = [
    "application/json",
    "application/json; charset=utf-8",
    'Application/JSON; Charset="UTF-8"',
    "application/json; charset=utf-16",
    "application/json; charset=latin-1",
    "application/json;charset",
    "application/json;;;=;",
    "text/plain",
    "application/x-www-form-urlencoded",
    "",
    "application/json, text/plain",
]
HEADERS = [
    *(
        "",
        " ",
        "*",
        '"',
        '""',
        '"""',
        'W/"1"',
        '"1", "2"',
        '"1" "2"',
        "1",
        '"-1"',
        '"1e3"',
        '"' + "9" * 500 + '"',
    ),
    *(
        "x" * 9,
        '"' + "k" * 8 + '"',
        "k" * 65,
        "key with spaces",
        "k\u00e9y-12345",
        "\ud800" * 8,
        "\0" * 8,
        "k" * 8_000,
    ),
    *(",", ",,,", '"1",', ', "1"', '"1', "key-123456, key-123456", "'key-12345'", "\t", '"\x7f"', '"\u00ff"'),
]
WITH_BODIES = [name for name, route in ROUTES.items() if route.body is not None]
WITH_HEADERS = [
    (name, header) for name, route in ROUTES.items() for header in route.headers if header != "If-None-Match"
]


def assert_ours_is_no_fault(answer: Response) -> None:
    """Done, or refused with a document that says why; and never because the database said so."""
    assert answer.status < 500, answer.text
    if answer.status >= 400:
        assert answer.problem != "internal-error"
        assert "we should have named it" not in answer.json["detail"], answer.text


@pytest.mark.parametrize("name", WITH_BODIES)
def test_a_forged_body_is_refused_by_its_own_name(sent: Sent, name: str) -> None:
    route = ROUTES[name]
    assert route.body is not None
    usual = {"Idempotency-Key": "forged-body", "If-Match": '"1"'}
    for member in list(route.body.model_fields)[:3]:
        for body in BODIES:
            text = body.format(member) if "{{" in body else body
            answer = sent.client.send_at(route.method, route.resource, sent.ids, text=text, headers=usual)
            assert_ours_is_no_fault(answer)
    for content_type in TYPES:
        headers = {**usual, "Content-Type": content_type}
        answer = sent.client.send_at(route.method, route.resource, sent.ids, text="{}", headers=headers)
        assert_ours_is_no_fault(answer)


@pytest.mark.parametrize(("name", "header"), WITH_HEADERS)
def test_a_forged_header_is_refused_by_its_own_name(sent: Sent, name: str, header: str) -> None:
    route = ROUTES[name]
    usual = {"Idempotency-Key": "forged-header", "If-Match": '"1"'}
    for value in HEADERS:
        headers = {**usual, header: value}
        text = None if route.body is None else "{}"
        answer = sent.client.send_at(route.method, route.resource, sent.ids, text=text, headers=headers)
        assert_ours_is_no_fault(answer)


@pytest.mark.parametrize("value", HEADERS)
def test_a_forged_if_none_match_is_answered(sent: Sent, value: str) -> None:
    answer = sent.client.send_at("GET", "/catalog", {}, headers={"If-None-Match": value})
    assert answer.status in (200, 304)
