"""The catalogue, past orders and points as a customer reads them."""

import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from domain.messages import confirmation_of
from handlers import storefront
from handlers.edge.paging import LONGEST_CURSOR, write_cursor
from handlers.edge.pictures import LONGEST_KEPT_URL, URL_LIFETIME, URL_MARGIN, URL_SPREAD, PictureUrls
from sql.connection import Database
from sql.queries import Statement
from sql.reads import catalogue
from sql.reads.catalogue import Sort, StoredPicture, show_item
from sql.transaction import Transaction
from sql.transactions.index_items import index_items
from tests.integration.shop import Shop
from tests.integration.shop_api.client import Api, Client


@pytest.fixture
def customer(shop: Shop) -> UUID:
    return shop.customer(1000)


@pytest.fixture
def client(api: Api, customer: UUID) -> Client:
    return api.as_customer(customer)


def read_all_pages(client: Client, path: str, rows: str, **query: str) -> list[dict[str, object]]:
    """Read all pages of a list."""
    found: list[dict[str, object]] = []
    while True:
        page = client.get(path, query).json
        found += page[rows]
        if page["next_cursor"] is None:
            return found
        # A search leads on when it has read a part of the list, whatever it found there.
        assert page[rows] or {"q", "category"} & query.keys()
        assert page["next_cursor"] != query.get("cursor")
        query["cursor"] = page["next_cursor"]


@pytest.mark.parametrize(
    ("sort", "column", "descending"),
    [
        ("name", "name", False),
        ("points", "points", False),
        ("-points", "points", True),
        ("-rating", "rating", True),
    ],
)
def test_the_pages_of_each_order_hold_every_item_once_and_in_order(
    shop: Shop, client: Client, sort: str, column: str, descending: bool
) -> None:
    shop.connection.execute(
        # Many equal values: the id has to decide between them.
        "insert into xpoints.catalog_items (name, category, points_price, rating) "
        "select 'Item ' || n % 5, 'Home', n % 4, (n % 3) + 0.3 from generate_series(1, 60) n"
    )

    items = read_all_pages(client, "/catalog", "items", sort=sort, limit="7")

    assert len({item["item_id"] for item in items}) == len(items) == 60
    values = [item[column] for item in items]
    assert values == sorted(values, reverse=descending)  # type: ignore[type-var]


@pytest.mark.parametrize("name", ["😀" * 50, '"' * 50, "\\" * 50, "漢" * 50, "ש" * 50, "\x01" * 50])
def test_the_longest_names_of_every_script_lead_on_to_the_next_page(
    shop: Shop, client: Client, name: str
) -> None:
    for _ in range(3):
        shop.item(name=name)

    items = read_all_pages(client, "/catalog", "items", limit="1")

    assert [item["name"] for item in items] == [name] * 3
    assert len({item["item_id"] for item in items}) == 3


@pytest.mark.parametrize(("given", "asked"), [("points", "-points"), ("-points", "points")])
def test_a_cursor_of_one_order_is_none_of_another_that_sorts_by_the_same_value(
    shop: Shop, client: Client, given: str, asked: str
) -> None:
    for points in (1, 2):
        shop.item(points)
    cursor = client.get("/catalog", {"sort": given, "limit": "1"}).json["next_cursor"]

    assert client.get("/catalog", {"sort": given, "cursor": cursor}).status == 200
    answer = client.get("/catalog", {"sort": asked, "cursor": cursor})
    assert answer.problem == "invalid-request"
    assert answer.json["errors"][0]["pointer"] == "query:cursor"


def test_a_search_finds_beginnings_of_words_of_names_and_descriptions_whatever_case_and_accents(
    shop: Shop, client: Client, database: Callable[..., Database]
) -> None:
    for name, description in (
        ("100% Wool scarf", None),
        ("1000 wooden beads", "of wood"),
        ("Cap", "of WOOL, unwoolly"),
        ("Émeraude", None),
        ("E\u0301meraude en Straße", "decomposed"),
    ):
        shop.connection.execute(
            "insert into xpoints.catalog_items (name, description, category, points_price) "
            "values (%s, %s, 'Home', 1)",
            [name, description],
        )
    index_items(database("jobs"), lambda: False)

    def names(**query: str) -> list[str]:
        return [item["name"] for item in client.get("/catalog", query).json["items"]]

    assert names(q="wool") == ["100% Wool scarf", "Cap"]
    assert names(q="WOOL SCA") == names(q="scarf, wool!") == ["100% Wool scarf"]
    assert names(q="100%") == ["100% Wool scarf", "1000 wooden beads"]
    assert names(q="olly") == names(q="wool beads") == names(q="%") == names(q="_") == names(q="=Home") == []
    assert names(q="wo", category="Home") == ["100% Wool scarf", "1000 wooden beads", "Cap"]
    for other in ("Hom", "Homes", "home", "=Home"):
        assert names(q="wo", category=other) == names(category=other) == [], "compared letter by letter"
    assert len(names(category="Home")) == 5
    for query in ("émeraude", "emeraude", "ÉMERAUDE", "e\u0301mer"):
        assert names(q=query) == ["E\u0301meraude en Straße", "Émeraude"], query
    assert names(q="strasse") == names(q="STRASSE") == ["E\u0301meraude en Straße"]


@pytest.mark.parametrize(("most_found", "part"), [(1000, 2000), (5, 7), (0, 1), (0, 23)])
@pytest.mark.parametrize("sort", ["name", "points", "-points", "-rating"])
def test_a_search_finds_the_same_items_in_the_same_order_however_it_goes_about_it(
    shop: Shop,
    client: Client,
    database: Callable[..., Database],
    monkeypatch: pytest.MonkeyPatch,
    sort: str,
    most_found: int,
    part: int,
) -> None:
    shop.connection.execute(
        "insert into xpoints.catalog_items (name, description, category, points_price, rating) "
        "select 'Item ' || n % 7, 'number ' || n || case when n % 6 = 0 then ' even' else '' end, "
        "case when n % 4 = 0 then 'Rare' else 'Home' end, n % 5, case when n % 9 > 0 then n % 3 end "
        "from generate_series(1, 60) n"
    )
    index_items(database("jobs"), lambda: False)
    monkeypatch.setattr(catalogue, "MAX_FOUND", most_found)
    monkeypatch.setattr(catalogue, "LIST_PART", part)
    order = {
        "name": "name, id", "points": "points_price, id", "-points": "points_price desc, id desc",
        "-rating": "rating desc, id desc",
    }[sort]  # fmt: skip
    for query, condition in (
        ({"q": "EVEN"}, "description ~ 'even'"),
        ({"q": "item 3"}, "name = 'Item 3' or description ~ '^number 3'"),
        ({"q": "even", "category": "Rare"}, "description ~ 'even' and category = 'Rare'"),
        ({"category": "Rare"}, "category = 'Rare'"),
        ({"q": "number"}, "true"),
        ({"q": "nowhere"}, "false"),
    ):
        found = read_all_pages(client, "/catalog", "items", sort=sort, limit="4", **query)

        expected = shop.rows(
            f"select id::text from xpoints.catalog_items where ({condition}) "
            f"{'and rating is not null' if sort == '-rating' else ''} order by {order}"
        )
        assert [(item["item_id"],) for item in found] == expected, (sort, query)


def test_a_search_for_what_is_common_reads_a_part_of_the_list_and_says_where_to_go_on(
    shop: Shop, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        shop.item(number, name="Cup Nr" if number == 29 else "Cup")
    monkeypatch.setattr(catalogue, "MAX_FOUND", 0)
    monkeypatch.setattr(catalogue, "LIST_PART", 10)
    query = {"q": "nr", "sort": "points", "limit": "5"}

    pages = [client.get("/catalog", query).json]
    while pages[-1]["next_cursor"] is not None:
        pages.append(client.get("/catalog", {**query, "cursor": pages[-1]["next_cursor"]}).json)

    assert [len(page["items"]) for page in pages] == [0, 0, 1, 0]


def test_retired_items_are_neither_listed_nor_shown(shop: Shop, client: Client) -> None:
    item_id = shop.item()
    shop.connection.execute("update xpoints.catalog_items set retired_at = now() where id = %s", [item_id])

    assert client.get("/catalog").json["items"] == []
    assert client.get(f"/catalog/{item_id}").problem == "unknown-item"
    assert client.get(f"/catalog/{uuid4()}").problem == "unknown-item"


def test_an_item_shows_what_is_left_of_limited_stock(shop: Shop, client: Client) -> None:
    limited, unlimited = shop.item(stock=[3, 0, 4]), shop.item()

    assert client.get(f"/catalog/{limited}").json["available"] == 7
    assert client.get(f"/catalog/{unlimited}").json["available"] is None


def test_a_catalogue_answer_that_the_caller_has_is_not_sent_again(shop: Shop, client: Client) -> None:
    item_id = shop.item()
    for path in ("/catalog", f"/catalog/{item_id}"):
        tag = client.get(path).headers["ETag"]

        again = client.get(path, If_None_Match=f'"other", W/{tag}')
        assert (again.status, again.text, again.headers["ETag"]) == (304, "", tag)

        shop.connection.execute("update xpoints.catalog_items set points_price = points_price + 1")
        changed = client.get(path, If_None_Match=tag)
        assert changed.status == 200
        assert changed.headers["ETag"] != tag


@pytest.mark.parametrize(
    "cursor",
    [
        "AAAA",
        "x" * (LONGEST_CURSOR + 1),
        "no base64!",
        write_cursor("points", 1, str(UUID(int=7))),  # of another order
        write_cursor("name", 1, str(UUID(int=7))),
        write_cursor("name", "a\0", str(UUID(int=7))),
        # Half of a surrogate pair, which only a forger writes.
        urlsafe_b64encode(json.dumps(["name", "\ud800", str(UUID(int=7))]).encode()).decode().rstrip("="),
        write_cursor("name", "a", "no uuid"),
        write_cursor("name", "a", str(UUID(int=7)), 1),
        write_cursor({"name": "a"}),
        write_cursor("-rating", 1e300, str(UUID(int=7))),
    ],
)
def test_a_cursor_that_was_tampered_with_is_refused(client: Client, cursor: str) -> None:
    sort = "-rating" if cursor.startswith(write_cursor("-rating")[:8]) else "name"
    assert client.get("/catalog", {"cursor": cursor, "sort": sort}).problem == "invalid-request"


@pytest.mark.parametrize("rating", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("query", [{}, {"q": "mug"}])
@pytest.mark.parametrize("sort", Sort.__args__)  # type: ignore[attr-defined]
def test_a_rating_that_only_other_tools_can_store_breaks_no_page(
    shop: Shop, client: Client, rating: str, query: dict[str, str], sort: str
) -> None:
    """In a table that the workshop's own SQL has made, before ours came."""
    for number in range(3):
        item_id = shop.item(number, f"Mug {number}")
    shop.connection.execute("alter table xpoints.catalog_items drop constraint catalog_items_figures")
    shop.connection.execute("update xpoints.catalog_items set rating = %s, usd_price = 'NaN'", [rating])
    cursor, seen = None, 0
    while cursor is not None or not seen:
        page = client.get(
            "/catalog", {**query, "sort": sort, "limit": "1", **({"cursor": cursor} if cursor else {})}
        )
        assert page.status == 200, page.text
        seen += 1
        for item in page.json["items"]:
            assert item["rating"] is None
        assert not re.search("NaN|Infinity", re.sub('"next_cursor":"[^"]*"', "", page.text))
        cursor = page.json["next_cursor"]
    assert seen <= 4
    shown = client.get(f"/catalog/{item_id}")
    assert (shown.status, shown.json["usd_price"]) == (200, None)


def test_anothers_cursor_leads_into_ones_own_list(api: Api, shop: Shop, client: Client) -> None:
    other = shop.customer(5)
    shop.connection.execute(
        "insert into xpoints.transactions (customer_id, tx_type, points, tx_dt) "
        "select %s, 'EARN', 0, now() - make_interval(mins => n) from generate_series(1, 5) n",
        [other],
    )
    cursor = api.as_customer(other).get("/points/ledger", {"limit": "2"}).json["next_cursor"]

    stolen = client.get("/points/ledger", {"cursor": cursor}).json["entries"]

    assert {entry["kind"] for entry in stolen} <= {"OPENING"}, "at most one's own opening balance"


# --- Pictures ---


def _picture(shop: Shop, item_id: UUID, filename: str) -> UUID:
    image_id: UUID = shop.scalar("insert into xpoints.images (filename) values (%s) returning id", [filename])
    shop.connection.execute(
        "insert into xpoints.catalog_images (item_id, image_id) values (%s, %s)", [item_id, image_id]
    )
    return image_id


@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_picture_urls_are_kept_until_shortly_before_they_expire_and_by_chance_a_little_less(
    shop: Shop, database: Callable[..., Database], chance: float
) -> None:
    item_id = shop.item()
    image_id = _picture(shop, item_id, "mug 1.svg")
    storefront_database = database("storefront")
    urls = PictureUrls("pictures", "us-east-1", lambda: chance)

    def url(now: datetime) -> str:
        found = show_item(storefront_database, "us-east-1", item_id)
        assert found is not None
        return urls.resolve(storefront_database, found[2], now)[image_id]

    first_seen = datetime(2026, 1, 1, tzinfo=UTC)
    first = url(first_seen)
    assert first.startswith("https://pictures.s3.us-east-1.amazonaws.com/mug%201.svg?")
    assert f"X-Amz-Expires={int(URL_LIFETIME.total_seconds())}" in first
    # The signature holds the real time, so that a new one is another URL at the earliest a second later.
    shop.connection.execute("update xpoints.image_urls set presigned_url = 'kept'")

    last_moment = first_seen + URL_LIFETIME - URL_MARGIN - chance * URL_SPREAD
    assert url(last_moment - timedelta(seconds=1)) == "kept"
    assert url(last_moment) != "kept"
    assert shop.scalar("select created from xpoints.image_urls") == last_moment.replace(tzinfo=None)


def test_each_region_keeps_urls_of_its_own(shop: Shop, database: Callable[..., Database]) -> None:
    item_id = shop.item()
    image_id = _picture(shop, item_id, "mug.svg")
    picture = [StoredPicture(image_id, "mug.svg", None, None)]
    for region in ("us-east-1", "us-west-2"):
        PictureUrls("pictures", region).resolve(database("storefront"), picture, datetime.now(UTC))

    assert shop.rows("select region from xpoints.image_urls order by 1") == [("us-east-1",), ("us-west-2",)]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storefront, "_PICTURES", PictureUrls("pictures", "us-east-1"))


def _thumbnail(shop: Shop, item_id: UUID, image_id: UUID) -> None:
    shop.connection.execute(
        "update xpoints.catalog_items set thumbnail_id = %s where id = %s", [image_id, item_id]
    )


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize(
    "error", [psycopg.errors.SerializationFailure, psycopg.OperationalError, psycopg.errors.DataError]
)
def test_urls_that_cannot_be_kept_are_given_all_the_same_after_one_attempt(
    shop: Shop,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    error: type[psycopg.Error],
) -> None:
    item_id = shop.item()
    _thumbnail(shop, item_id, _picture(shop, item_id, "a.svg"))
    commit = Transaction.commit
    attempts = []

    def lose(self: Transaction, *statements: Statement[Any]) -> object:
        if statements[0].query.name == "keep_picture_urls":
            attempts.append(1)
            raise error("lost")
        return commit(self, *statements)

    monkeypatch.setattr(Transaction, "commit", lose)
    for number, path in enumerate(("/catalog", f"/catalog/{item_id}"), start=1):
        answer = client.get(path)
        assert answer.status == 200
        assert "/a.svg?" in answer.text
        assert len(attempts) == number
    assert capsys.readouterr().out.count('"PictureUrlsNotKept":[1.0]') == 2
    assert caplog.messages.count("picture URLs not kept") == 2


@pytest.mark.usefixtures("bucket")
def test_a_url_that_is_too_long_to_be_kept_is_given_all_the_same(
    shop: Shop, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "t" * LONGEST_KEPT_URL)
    item_id = shop.item()
    _thumbnail(shop, item_id, _picture(shop, item_id, "a.svg"))

    for path in ("/catalog", f"/catalog/{item_id}"):
        assert "/a.svg?" in client.get(path).text
    assert shop.count("image_urls") == 0
    assert "picture URLs not kept" not in caplog.messages, "nothing was tried in vain"


@pytest.mark.usefixtures("bucket")
def test_a_picture_without_a_file_has_no_url(shop: Shop, client: Client) -> None:
    item_id = shop.item()
    image_id = shop.scalar("insert into xpoints.images (filename) values (null) returning id")
    _thumbnail(shop, item_id, image_id)

    assert client.get("/catalog").json["items"][0]["picture_url"] is None
    detail = client.get(f"/catalog/{item_id}").json
    assert (detail["picture_url"], detail["pictures"]) == (None, [])


@pytest.mark.usefixtures("bucket")
def test_of_many_pictures_the_thumbnail_is_never_left_out(shop: Shop, client: Client) -> None:
    item_id = shop.item()
    pictures = sorted(_picture(shop, item_id, f"{number}.svg") for number in range(25))
    _thumbnail(shop, item_id, pictures[-1])

    detail = client.get(f"/catalog/{item_id}").json

    assert detail["picture_url"] is not None
    assert len(detail["pictures"]) == 20


@pytest.mark.usefixtures("bucket")
def test_a_page_shows_thumbnails_and_an_item_all_its_pictures(shop: Shop, client: Client) -> None:
    item_id = shop.item()
    thumbnail, other = _picture(shop, item_id, "a.svg"), _picture(shop, item_id, "b.svg")
    _thumbnail(shop, item_id, thumbnail)

    (listed,) = client.get("/catalog").json["items"]
    detail = client.get(f"/catalog/{item_id}").json

    assert "/a.svg?" in listed["picture_url"]
    assert detail["picture_url"] == listed["picture_url"], "signed once, then kept"
    assert {picture["image_id"] for picture in detail["pictures"]} == {str(thumbnail), str(other)}


# --- Orders and points ---


def test_past_orders_are_listed_newest_first_with_their_units(
    api: Api, shop: Shop, customer: UUID, client: Client
) -> None:
    item_id = shop.item(10)
    placed = []
    for quantity in (1, 2, 3):
        client.put(f"/cart/items/{item_id}", {"quantity": quantity})
        placed.append(client.post("/orders", {"expected_total_points": 10 * quantity}).json["order_id"])
        shop.connection.execute("update xpoints.orders set cart_cleaned_at = now()")

    orders = read_all_pages(client, "/orders", "orders", limit="2")

    assert [order["order_id"] for order in orders] == placed[::-1]
    assert [order["unit_count"] for order in orders] == [3, 2, 1]
    assert api.as_customer(shop.customer()).get("/orders").json["orders"] == []


def test_an_order_shows_its_lines_and_its_history(shop: Shop, client: Client) -> None:
    item_id = shop.item(10, name="Teapot")
    client.put(f"/cart/items/{item_id}", {"quantity": 3})
    order_id = client.post("/orders", {"expected_total_points": 30}).json["order_id"]
    line = {"item_id": str(item_id), "quantity": 1}
    client.post(f"/orders/{order_id}/refunds", {"lines": [line]})

    order = client.get(f"/orders/{order_id}").json

    assert order["status"] == "PART_REFUNDED"
    assert order["lines"] == [
        {
            "item_id": str(item_id),
            "name": "Teapot",
            "quantity": 3,
            "refunded": 1,
            "unit_points": 10,
            "picture_url": None,
        }
    ]
    assert [(event["version"], event["type"], event["points"]) for event in order["history"]] == [
        (1, "OrderPlaced.v1", -30),
        (2, "OrderRefunded.v1", 10),
    ]
    assert order["history"][1]["lines"] == [line]


def test_the_ledger_runs_back_from_the_balance_over_pages_and_foreign_rows(
    shop: Shop, customer: UUID, client: Client
) -> None:
    # Rows as the workshop's tools write them: without what we add.
    shop.connection.execute(
        "insert into xpoints.transactions (customer_id, tx_type, points, tx_dt) "
        "select %s, 'EARN', n, now() + make_interval(mins => n) from generate_series(1, 9) n",
        [customer],
    )
    shop.connection.execute("update xpoints.points_balances set points_balance = points_balance + 45")

    entries = read_all_pages(client, "/points/ledger", "entries", limit="4")

    assert client.get("/points").json == {"balance": 1045}
    assert [entry["points"] for entry in entries] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 1000]
    assert [entry["balance_after"] for entry in entries] == [
        1045, 1036, 1028, 1021, 1015, 1010, 1006, 1003, 1001, 1000,
    ]  # fmt: skip


def test_a_forged_place_in_the_ledger_shows_the_balance_of_that_place(
    shop: Shop, customer: UUID, client: Client
) -> None:
    shop.connection.execute(
        "insert into xpoints.transactions (customer_id, tx_type, points, tx_dt) "
        "select %s, 'EARN', n, now() + make_interval(mins => n) from generate_series(1, 4) n",
        [customer],
    )
    shop.connection.execute("update xpoints.points_balances set points_balance = points_balance + 10")
    third = shop.scalar("select tx_dt from xpoints.transactions where points = 3")

    forged = write_cursor(third.isoformat(), str(UUID(int=0)))
    entries = client.get("/points/ledger", {"cursor": forged}).json["entries"]

    assert [(entry["points"], entry["balance_after"]) for entry in entries] == [
        (2, 1003),
        (1, 1001),
        (1000, 1000),
    ]
    with_a_sum_of_its_own = write_cursor(third.isoformat(), str(UUID(int=0)), 10**9)
    assert client.get("/points/ledger", {"cursor": with_a_sum_of_its_own}).problem == "invalid-request"


def test_a_customer_without_a_points_account_is_told_so(api: Api, shop: Shop) -> None:
    customer = shop.customer()
    shop.connection.execute("delete from xpoints.points_balances where customer_id = %s", [customer])
    pointless = api.as_customer(customer)
    assert pointless.get("/points").problem == "unknown-customer"
    assert pointless.get("/points/ledger").problem == "unknown-customer"
    assert pointless.get("/cart").json["balance"] is None


def test_the_categories_of_the_shelf_are_listed_once_each(shop: Shop, client: Client) -> None:
    for category in ("Travel", "Kitchen", "Kitchen", None):
        item = shop.item()
        shop.connection.execute(
            "update xpoints.catalog_items set category = %s where id = %s", (category, item)
        )
    retired = shop.item()
    shop.connection.execute(
        "update xpoints.catalog_items set category = 'Attic', retired_at = now() where id = %s", (retired,)
    )
    answer = client.get("/catalog/categories")
    assert answer.json == {"categories": ["Kitchen", "Travel"]}
    again = client.get("/catalog/categories", None, **{"If-None-Match": answer.headers["ETag"]})
    assert again.status == 304


def test_an_order_tells_its_owner_what_followed_it(shop: Shop, client: Client) -> None:
    item = shop.item(10)
    client.put(f"/cart/items/{item}", {"quantity": 1})
    order_id = client.post("/orders", {"expected_total_points": 10}).json["order_id"]
    order = client.get(f"/orders/{order_id}").json
    assert (order["cart_cleaned_at"], order["confirmation"], order["confirmed_at"]) == (None, "PENDING", None)
    assert order["lines"][0]["picture_url"] is None
    shop.connection.execute("update xpoints.orders set cart_cleaned_at = now()")
    shop.connection.execute(
        "insert into xpoints.notifications (id, customer_id, event_id, kind, status, subject, body, sent_at) "
        "select %s, customer_id, id, 'order-confirmation', 'SENT', 's', 'b', now() from xpoints.orders",
        (confirmation_of(UUID(order_id)),),
    )
    order = client.get(f"/orders/{order_id}").json
    assert order["confirmation"] == "SENT"
    assert order["cart_cleaned_at"] is not None
    assert order["confirmed_at"] is not None
