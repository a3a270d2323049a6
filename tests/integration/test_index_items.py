"""The search's words follow from the items, whoever wrote these."""

from collections.abc import Callable

import pytest

from domain.search import item_words
from sql.connection import Database
from sql.transactions import index_items as indexing
from sql.transactions.index_items import index_items
from tests.integration.conftest import Connect
from tests.integration.shop import Shop


@pytest.fixture
def shop(connect: Connect) -> Shop:
    return Shop(connect())


def _words(shop: Shop) -> set[tuple[object, ...]]:
    return set(shop.rows("select item_id, word from xpoints.item_words"))


def _wanted(shop: Shop) -> set[tuple[object, ...]]:
    items = shop.rows("select id, name, description from xpoints.catalog_items where retired_at is null")
    return {(item_id, word) for item_id, *texts in items for word in item_words(*texts)}


def _add_items(shop: Shop) -> None:
    shop.connection.execute(
        "insert into xpoints.catalog_items (name, description, category) "
        "select 'Item ' || n, 'of ' || md5(n::text), 'Category ' || n % 5 from generate_series(1, 250) n"
    )


def test_what_other_tools_wrote_is_found_after_a_pass_and_what_is_right_is_left(
    shop: Shop, database: Callable[..., Database]
) -> None:
    shop.item(name="Right")
    _add_items(shop)
    wrong = shop.item(name="Wrong")
    shop.connection.execute("update xpoints.catalog_items set name = 'Put right' where id = %s", [wrong])
    retired = shop.item(name="Retired")
    shop.connection.execute("update xpoints.catalog_items set retired_at = now() where id = %s", [retired])
    shop.connection.execute("delete from xpoints.item_words where item_id = %s", [retired])

    indexed = index_items(database("jobs"), lambda: False)

    assert _words(shop) == _wanted(shop)
    assert indexed.done
    assert indexed.most_rows <= 3000
    assert index_items(database("jobs"), lambda: False).rows == 0, "the next pass is not due"
    assert index_items(database("jobs"), lambda: False, every_s=0).rows <= indexed.batches, (
        "but for the progress"
    )


def test_a_batch_never_changes_more_rows_than_a_transaction_may(
    shop: Shop, database: Callable[..., Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "MAX_ROWS", 100)
    _add_items(shop)

    most = [index_items(database("jobs"), lambda: False, every_s=0).most_rows for _ in range(20)]

    assert max(most) <= 100
    assert _words(shop) == _wanted(shop)
