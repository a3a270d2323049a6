"""The shelf: its items, their pictures and categories."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple
from uuid import UUID

from domain.search import WordRange
from sql.connection import Database
from sql.queries import Query, load, part
from sql.transaction import RetryPolicy, run, snapshot

_CATALOG = load("catalog")

Sort = Literal["name", "points", "-points", "-rating"]


#: Items that one search looks at and sorts; where every word has more, the list is read instead.
MAX_FOUND = 1000
#: Rows of a list that one search reads on the way to what it looks for.
LIST_PART = 1000


class StoredPicture(NamedTuple):
    """An image's file name in the bucket, with the URL that was last presigned for it in this Region.

    `filename` is None where the workshop's own tools stored a picture without a file.
    """

    image_id: UUID
    filename: str | None
    url: str | None
    created: datetime | None

    @classmethod
    def in_columns(
        cls, image_id: UUID | None, filename: str | None, url: str | None, created: datetime | None
    ) -> "StoredPicture | None":
        """Give the picture of a row's columns, if it has one."""
        return None if image_id is None else cls(image_id, filename, url, created)


class Item(NamedTuple):
    """An item on the shelf. `available` is None where stock is unlimited."""

    item_id: UUID
    name: str
    description: str | None
    category: str | None
    points: int
    rating: float | None
    available: int | None


class ItemPage(NamedTuple):
    """A page of items, and the sort value and id to go on behind; None where nothing follows."""

    items: list[tuple[Item, StoredPicture | None]]
    end: tuple[Any, UUID] | None


class ItemDetail(NamedTuple):
    """What only an item's own page shows. Measures have the units that the workshop's data has."""

    usd_price: Decimal | None
    sku: str | None
    weight: float | None
    width: float | None
    height: float | None
    depth: float | None
    thumbnail_id: UUID | None


_TEMPLATES = load("templates/catalog")
_UP, _DOWN = {"beyond": ">", "down": ""}, {"beyond": "<", "down": " desc"}
#: What each order of sorting is by: the column, its type, and how it is gone through.
_SORTS: dict[str, dict[str, str]] = {
    "name": {"column": "name", "type": "varchar", **_UP},
    "points": {"column": "points_price", "type": "bigint", **_UP},
    "-points": {"column": "points_price", "type": "bigint", **_DOWN},
    "-rating": {"column": "rating", "type": "real", **_DOWN},
}


def _list_query(sort: str, shelf: str) -> Query[object]:
    """Write into the list's template what it is by and of: names from here, none that a caller gave."""
    query = _TEMPLATES["list_items"]
    text = query.text.decode().format(shelf=_TEMPLATES[shelf].text.decode(), **_SORTS[sort])
    return Query(f"{query.name} by {sort}, {shelf}", text.encode(), query.comment)


#: The lists' statements by their order of sorting: of the whole shelf, and of one category.
LISTS = {sort: _list_query(sort, "whole_shelf").of(dict) for sort in _SORTS}
CATEGORY_LISTS = {sort: _list_query(sort, "shelf_of_category").of(dict) for sort in _SORTS}
_FIND_ITEMS = _CATALOG["find_items"].of(dict)
_SHOW_ITEM = _CATALOG["show_item"].of(dict)
_LIST_PICTURES = _CATALOG["list_item_pictures"].of(StoredPicture)
_KEEP_URLS = _CATALOG["keep_picture_urls"]
_LIST_CATEGORIES = _CATALOG["list_categories"].of(str)


def list_items(
    database: Database,
    region: str,
    sort: Sort,
    after: Any,
    after_id: UUID,
    wanted: Sequence[WordRange],
    category: str | None,
    limit: int,
) -> ItemPage:
    """Give a page of a category's items, or of all, that have a word in each range, with their thumbnails.

    A search of which one word is rare looks at all items with that word. What is common is found on the way
    along the list, of which one call reads a bounded part: then a page may hold fewer items than its limit,
    or none, and still lead on.
    """
    ranges = {"firsts": [one.first for one in wanted], "lasts": [one.last for one in wanted]}
    place = {"region": region, "after_id": after_id, "category": category, "most": limit + 1, **ranges}
    if wanted:
        is_text = isinstance(after, str)
        sign = -1 if sort.startswith("-") else 1
        (rows,) = snapshot(
            database,
            _FIND_ITEMS(
                bound=MAX_FOUND,
                sort=sort,
                down=sign < 0,
                text_after=after if is_text else "",
                number_after=0 if is_text else sign * after,
                **place,
            ),
        )
        if rows[0]["rarest"] <= MAX_FOUND:
            return _page([row for row in rows if row["item_id"]], sort, limit)
    # guard: a search reads a bounded part of a list
    rows_read = max(LIST_PART, limit + 1) if wanted else limit + 1
    lists = LISTS if category is None else CATEGORY_LISTS
    (rows,) = snapshot(database, lists[sort](after=after, part=rows_read, **place))
    return _page(rows, sort, limit)


def _page(rows: list[dict[str, Any]], sort: Sort, limit: int) -> ItemPage:
    """Give what is wanted of a page's rows, and where to go on, if more may follow."""
    found: list[tuple[Item, StoredPicture | None]] = []
    end: Item | None = None
    for row in rows:
        item = part(Item, row)
        picture = part(StoredPicture, row)
        if row["is_wanted"] and len(found) < limit:
            found.append((item, picture if picture.image_id is not None else None))
        elif row["is_wanted"]:
            end = found[-1][0]
            break
        if row["is_last"]:
            end = item
    if end is None:
        return ItemPage(found, None)
    value = {"name": end.name, "rating": end.rating}.get(sort.lstrip("-"), end.points)
    return ItemPage(found, (value, end.item_id))


def show_item(
    database: Database, region: str, item_id: UUID
) -> tuple[Item, ItemDetail, list[StoredPicture]] | None:
    """Give one item of the shelf with its pictures, or None."""
    items, pictures = snapshot(
        database, _SHOW_ITEM(item_id=item_id), _LIST_PICTURES(item_id=item_id, region=region)
    )
    for row in items:
        return part(Item, row), ItemDetail(**row), pictures
    return None


def keep_picture_urls(database: Database, region: str, urls: dict[UUID, str], created: datetime) -> None:
    """Store presigned URLs for the next reader in this Region. `created` is UTC without a zone.

    One attempt: raises RetriesExhaustedError for what another could fix, and psycopg.Error for the rest.
    """
    statement = _KEEP_URLS(region=region, created=created, image_ids=list(urls), urls=list(urls.values()))
    run(database, lambda transaction: transaction.commit(statement), RetryPolicy(attempts=1))


def list_categories(database: Database) -> list[str]:
    """Give what the items on the shelf are filed under, 100 categories at most."""
    (rows,) = snapshot(database, _LIST_CATEGORIES())
    return rows
