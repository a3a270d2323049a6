"""Seeding a shop: the sample's catalogue or an own one, again and again, and nothing that went comes back."""

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import boto3
import pytest

from operations import seed
from operations.site import Site, SiteError
from sql.connection import Database
from tests.integration.shop import Shop
from tests.integration.test_cascade_handlers import Ways, aws, shop
from tests.unit.test_texts import UNSEEN, WRITTEN

__all__ = ["aws", "shop"]

TABLES = ("catalog_items", "item_words", "catalog_images", "images", "stock", "customers")

Seed = Callable[..., dict[str, Any]]


@pytest.fixture
def load(aws: None, database: Ways) -> Seed:
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="pictures")

    class Here(Site):
        """A site over the test's database."""

        @property
        def database(self) -> Database:
            """The database as its owner."""
            return database("admin")

    site = Here({}, {"PicturesBucketName": "pictures"}, {}, "us-east-1", "admin")

    def load_content(catalogue: Path | None = None, items: int = 12, customers: int | None = None) -> Any:
        return seed.load(site, seed.what_to_load(catalogue, items, customers), lambda *_: None)

    return load_content


def keys() -> set[str]:
    listed = boto3.client("s3", region_name="us-east-1").list_objects_v2(Bucket="pictures")
    return {entry["Key"] for entry in listed.get("Contents", ())}


def counts(shop: Shop) -> dict[str, int]:
    return {table: shop.count(table) for table in TABLES}


def test_the_samples_catalogue_is_loaded_without_its_customers_and_only_once(load: Seed, shop: Shop) -> None:
    assert load()["pictures"] == len(keys()) == 36
    before = counts(shop)
    assert (before["catalog_items"], before["images"], before["customers"]) == (12, 36, 0)
    assert load() == {"rows": 0, "pictures": 0}
    assert counts(shop) == before
    assert load(items=14)["pictures"] == 6, "more of the same"


def test_what_the_staff_have_changed_since_stays_and_what_they_have_retired_does_not_return(
    load: Seed, shop: Shop
) -> None:
    load()
    shop.connection.execute(b"update xpoints.catalog_items set points_price = 7")
    shop.connection.execute(b"delete from xpoints.stock")  # unlimited from now on
    shop.connection.execute(
        b"update xpoints.catalog_items set retired_at = now() "
        b"where name = (select min(name) from xpoints.catalog_items)"
    )
    gone = {row[0] for row in shop.rows("select id from xpoints.catalog_items where retired_at is not null")}
    for table in ("catalog_images", "item_words"):
        shop.connection.execute(f"delete from xpoints.{table} where item_id = any(%s)".encode(), [[*gone]])
    shop.connection.execute(
        b"delete from xpoints.images i where not exists "
        b"(select 1 from xpoints.catalog_images c where c.image_id = i.id) and not exists "
        b"(select 1 from xpoints.catalog_items t where t.thumbnail_id = i.id and t.retired_at is null)"
    )
    objects = boto3.client("s3", region_name="us-east-1")
    for key in keys() - {row[0] for row in shop.rows("select filename from xpoints.images")}:
        objects.delete_object(Bucket="pictures", Key=key)
    before, left = counts(shop), keys()
    assert len(left) == 33
    assert load() == {"rows": 0, "pictures": 0}
    assert (counts(shop), keys()) == (before, left)
    assert shop.rows("select distinct points_price from xpoints.catalog_items") == [(7,)]


@pytest.mark.parametrize("table", ["images", "item_words", "catalog_images", "stock"])
def test_a_loading_that_was_cut_off_goes_on(
    load: Seed, shop: Shop, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading = import_module("local.sample_data.load")
    copy = loading._copy

    def cut_off(connection: Any, into: Any, rows: Any) -> None:
        copy(connection, into, rows)
        if into.name == table:
            raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(loading, "_copy", cut_off)
        with pytest.raises(ConnectionError):
            load()
    load()
    done = counts(shop)
    assert load() == {"rows": 0, "pictures": 0}
    assert (done["catalog_items"], done["images"]) == (12, 36)
    assert done["item_words"] > 12


def test_customers_of_the_sample_come_with_all_they_have_but_those_who_were_erased(
    load: Seed, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading = import_module("local.sample_data.load")
    copy = loading._copy

    def cut_off(connection: Any, into: Any, rows: Any) -> None:
        copy(connection, into, rows)
        if into.name == "customers":
            raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(loading, "_copy", cut_off)
        with pytest.raises(ConnectionError):
            load(customers=5)
    shop.connection.execute(
        b"update xpoints.customers set erased_at = now(), username = null where username like 'carlos%'"
    )
    (erased,) = shop.rows("select id from xpoints.customers where erased_at is not null")
    load(customers=5)
    load(customers=5)
    assert (shop.count("customers"), shop.count("points_balances")) == (5, 4)
    for table in ("points_balances", "shopping_cart_items", "orders", "transactions"):
        found = shop.rows(f"select count(*) from xpoints.{table} where customer_id = %s", erased)
        assert found == [(0,)], table
    assert shop.rows(
        "select count(*) from xpoints.order_items i where not exists "
        "(select 1 from xpoints.orders o where o.id = i.tx_id)"
    ) == [(0,)]


OWN = """name,points_price,description,category,usd_price,sku,stock,picture
Mug,500,"Blue, with a handle",Kitchen,9.90,MUG-1,3,mug.png
Cafe\u0301 du matin,0,,,,,,
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "mug.png").write_bytes(b"png")
    file = tmp_path / "own.csv"
    file.write_text(OWN, encoding="utf-8")
    return file


def test_an_own_catalogue_is_loaded_and_grows_with_its_file(load: Seed, shop: Shop, own: Path) -> None:
    assert load(own)["pictures"] == 1
    assert shop.rows(
        "select i.name, i.points_price, i.category, i.usd_price::text, i.sku, s.available, "
        "m.filename is not null from xpoints.catalog_items i left join xpoints.stock s on s.item_id = i.id "
        "left join xpoints.images m on m.id = i.thumbnail_id order by 1"
    ) == [
        ("Caf\u00e9 du matin", 0, None, None, None, None, False),
        ("Mug", 500, "Kitchen", "9.90", "MUG-1", 3, True),
    ]
    own.write_text(OWN.replace("500", "700") + "Cup,100,,,,,,\n", encoding="utf-8")
    load(own)
    assert shop.rows("select name, points_price from xpoints.catalog_items order by 1") == [
        ("Caf\u00e9 du matin", 0),
        ("Cup", 100),
        ("Mug", 500),
    ]
    assert ("cafe",) in shop.rows("select word from xpoints.item_words")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'name' is missing. 'points_price' is missing"),
        ("name,points_price,colour\n", "'colour' is not known"),
        ("name,points_price\n", "has no items"),
        ("name,points_price\nMug\n", "line 2: it has not as many values"),
        ("name,points_price\nMug,1,2\n", "line 2: it has not as many values"),
        ("name,points_price\nMug,cheap\n", "line 2: points_price must be a whole number"),
        ("name,points_price\nMug,-1\n", "line 2: points_price"),
        ("name,points_price\nMug,9999999999\n", "line 2: points_price"),
        ("name,points_price\n ,1\n", "line 2: name must be 1 to 50"),
        ("name,points_price\n\u200b,1\n", "line 2: name shows nothing, or holds"),
        ("name,points_price,name\nMug,1,Cup\n", "'name' stands there twice"),
        ("name,points_price\nMug,nan\n", "line 2: points_price must be a whole number"),
        ("name,points_price\nMug,\u0663\n", "line 2: points_price must be a whole number"),
        ("name,points_price,usd_price\nMug,1,NaN\n", "line 2: usd_price must be an amount"),
        ("name,points_price,usd_price\nMug,1,Infinity\n", "line 2: usd_price must be an amount"),
        ("name,points_price,stock\nMug,1,inf\n", "line 2: stock must be units"),
        ("name,points_price,picture\nMug,1,a\0.png\n", "line 2: picture shows nothing, or holds"),
        ("name,points_price,usd_price\nMug,1,9\n", "line 2: usd_price must be an amount such as 34.90"),
        ("name,points_price,stock\nMug,1,9999999\n", "line 2: stock must be units up to"),
        ("name,points_price,picture\nMug,1,cup.png\n", "line 2: there is no picture cup.png"),
        ("name,points_price,picture\nMug,1,own.csv\n", "line 2: there is no picture own.csv"),
        ("name,points_price\nMug,1\nmug,2\n", "line 3: the same item as in line 2"),
        ('name,points_price\n"Mug,1\n', "cannot be read as CSV"),
    ],
)
def test_a_wrong_file_is_named_with_its_line_before_anything_is_loaded(
    own: Path, text: str, said: str
) -> None:
    own.write_text(text, encoding="utf-8")
    with pytest.raises(SiteError, match=said.replace("(", r"\(")):
        seed.read_catalogue(own)


@pytest.mark.parametrize("column", ["name", "description", "category", "sku"])
@pytest.mark.parametrize(
    "text",
    [
        *(text for kind, text in UNSEEN.items() if kind != "spaces"),
        "a\u202eb",
        "a\tb",
        "a\x85b",
        '"a\nb"',
        "a\ufffdb",
    ],
)
def test_a_text_that_the_api_refuses_is_refused_in_a_file(own: Path, column: str, text: str) -> None:
    own.write_text("name,points_price,description,category,sku\n" + _row(column, text), encoding="utf-8")
    with pytest.raises(SiteError, match=f"{column} (shows nothing|must be)"):
        seed.read_catalogue(own)


@pytest.mark.parametrize("text", WRITTEN)
def test_a_text_that_the_api_takes_is_taken_from_a_file_as_the_api_stores_it(own: Path, text: str) -> None:
    own.write_text("name,points_price\n" + f'"{text}",1\n', encoding="utf-8")
    from handlers.staff import ItemRequest  # once the API of test_texts has given functions their settings

    (item,) = seed.read_catalogue(own).tables["catalog_items"]
    body = json.dumps({"name": text.strip(), "points_price": 1})
    assert item[1] == ItemRequest.model_validate_json(body).name


def _row(column: str, text: str) -> str:
    columns = ("name", "points_price", "description", "category", "sku")
    usual = {"name": "Mug", "points_price": "1"}
    return ",".join({**usual, column: text}.get(name, "") for name in columns) + "\n"


def test_a_file_that_is_not_there_or_no_text_is_said(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match="cannot be read"):
        seed.read_catalogue(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes("name,points_price\nCaf\u00e9,1\n".encode("latin-1"))
    with pytest.raises(SiteError, match="UTF-8"):
        seed.read_catalogue(tmp_path / "latin.csv")
