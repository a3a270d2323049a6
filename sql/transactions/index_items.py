"""Puts the search's words of items right: of those that other tools wrote, or an earlier release.

Whoever writes an item here writes its words in the same transaction; this is the net under that.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from domain.search import item_words
from sql.connection import Database
from sql.queries import Statement, load
from sql.references import TABLES
from sql.scan import MAX_ROWS, Batch, ScanResult, scan
from sql.transaction import Transaction

INDEX_EVERY_S = 20 * 3600

#: Of a dozen words each, as items have: all of them anew are about 1,200 rows.
_ITEMS_AT_ONCE = 100


class ItemTexts(NamedTuple):
    """What an item is found by."""

    id: UUID
    name: str | None
    description: str | None


class ItemWord(NamedTuple):
    """A word that an item is found by."""

    item_id: UUID
    word: str


_ITEMS = load("items")
_READ_TEXTS = _ITEMS["read_texts_of_items"].of(ItemTexts)
_READ_WORDS = _ITEMS["read_words_of_items"].of(ItemWord)
_INSERT = _ITEMS["insert_words_of_items"]
_DELETE = _ITEMS["delete_words_of_items"]


def index_items(
    database: Database, time_is_up: Callable[[], bool], every_s: int = INDEX_EVERY_S
) -> ScanResult:
    """Go on with a pass over all items on the shelf. Raises as `sql.scan.scan` does.

    Of a batch whose words are more than a transaction may change, the rest is left for the next pass.
    """
    return scan(
        database,
        "item words",
        TABLES["catalog_items"],
        _put_right,
        time_is_up,
        most=_ITEMS_AT_ONCE,
        every_s=every_s,
    )


def _put_right(transaction: Transaction, batch: Batch) -> Sequence[Statement[Any]]:
    bounds = batch.parameters()
    texts, stored = transaction.read(_READ_TEXTS(**bounds), _READ_WORDS(**bounds))
    wanted = {ItemWord(item.id, word) for item in texts for word in item_words(item.name, item.description)}
    missing = sorted(wanted.difference(stored))[: MAX_ROWS - 1]
    left_over = sorted(set(stored) - wanted)[: MAX_ROWS - 1 - len(missing)]
    return [query(**_columns(words)) for query, words in ((_INSERT, missing), (_DELETE, left_over)) if words]


def _columns(words: Sequence[ItemWord]) -> dict[str, list[Any]]:
    return {"item_ids": [word.item_id for word in words], "words": [word.word for word in words]}
