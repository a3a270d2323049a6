"""What the catalogue's search finds an item by: words without case and accents.

The words of an item stand in a table of their own (`item_words`), written with the item; a search looks there
for words that begin as it asks, by an index that any database has.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

#: Characters of a word that count. The table's column has room for them.
MAX_WORD_LENGTH = 40

_WORD = re.compile(r"[^\W_]+")
#: Sorts behind everything that a word may go on with, in the database's order too (by bytes of UTF-8).
_LAST = "\U0010ffff"
#: Letters that have no accent apart from them, as people type them without: I is the capital of i and of ı.
_PLAIN = str.maketrans("ıøłđðħŧ", "iolddht") | {ord("æ"): "ae", ord("œ"): "oe", ord("þ"): "th"}


class WordRange(NamedTuple):
    """Words from `first` on and before `last`: those that begin alike."""

    first: str
    last: str


def fold(text: str) -> str:
    """Give a text without case and accents: "Émeraude", composed or decomposed, becomes "emeraude"."""
    if text.isascii():
        return text.casefold()
    import unicodedata  # its tables are not loaded at every start

    apart = unicodedata.normalize("NFKD", text)
    letters = "".join(letter for letter in apart if not unicodedata.combining(letter))
    folded = letters.casefold().translate(_PLAIN)
    return unicodedata.normalize("NFKC", folded)


def words_of(text: str) -> Iterator[str]:
    """Give a text's words, folded: runs of letters and digits."""
    for word in _WORD.findall(fold(text)):
        yield word[:MAX_WORD_LENGTH]


def item_words(name: str | None, description: str | None) -> set[str]:
    """Give everything that an item is found by."""
    return {*words_of(name or ""), *words_of(description or "")}


def wanted_words(text: str | None) -> list[WordRange] | None:
    """Give what an item must have a word of each of; None for a text without a letter or digit: none has.

    Every word of the text may be the beginning of an item's.
    """
    words = sorted(set(words_of(text or "")))
    if text is not None and not words:
        return None
    return [WordRange(word, word + _LAST) for word in words]
