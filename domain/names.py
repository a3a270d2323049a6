"""What of a name may stand in an e-mail: a name, and nothing that could be taken for something else.

A name is what its owner typed. In a message that the shop signs it must not become the message: no address of
a page, no markup, nothing invisible, and no more than names need. Who has another name is greeted without it.
"""

import re
from collections.abc import Sequence

#: The longest name that is said, in characters and words.
MAX_NAME_LENGTH = 40
MAX_NAME_WORDS = 4

#: Marks of one letter: no script's names stack more.
_MAX_MARKS = 3

#: Between letters of a name. A full stop ends a word ("J."), so that no name is a domain.
_JOINING = frozenset("'-\u2019\u00b7")

#: Letters and marks by their category that show nothing: Hangul fillers, joiners, variation selectors.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)

#: In an item's name, which the staff typed: an address of a page or a person, or markup.
_ADDRESS = re.compile(r"://|www\.|[^\W\d_]\.[^\W\d_]{2,}|[@<>\[\]{}\\`|]", re.IGNORECASE)


def plain_name(name: str | None) -> str | None:
    """Give a person's name as it may stand in an e-mail; None where it is no plain name."""
    import unicodedata  # its tables are not loaded at every start

    text = unicodedata.normalize("NFC", name or "").strip(" ")
    words = text.split(" ")
    # guard: a name in an e-mail is short
    if len(text) > MAX_NAME_LENGTH or len(words) > MAX_NAME_WORDS:
        return None
    # guard: a name in an e-mail is made of name characters
    return (
        text
        if all(_is_plain([*zip(word, map(unicodedata.category, word), strict=True)]) for word in words)
        else None
    )


def _is_plain(word: Sequence[tuple[str, str]]) -> bool:
    """Tell whether characters, each with its category, are a word of a name."""
    marks = 0
    for place, (character, category) in enumerate(word):
        marks = marks + 1 if category in ("Mn", "Mc") else 0
        letter = category.startswith("L") or 0 < marks <= _MAX_MARKS
        stop = character == "." and place == len(word) - 1 > 0
        if not (letter or character in _JOINING or stop) or _INVISIBLE.match(character):
            return False
    return any(category.startswith("L") for _, category in word)


def plain_title(title: str) -> str | None:
    """Give an item's name as it may stand in an e-mail; None where it holds what is no name's."""
    import unicodedata  # as above

    text = unicodedata.normalize("NFC", title).strip(" ")
    # guard: an item's name in an e-mail is no address
    if not text or len(text) > 50 or _ADDRESS.search(text) or _INVISIBLE.search(text):
        return None
    # Controls, formats (directions, zero-width), surrogates, private use, unassigned; lines, paragraphs.
    shown = all(unicodedata.category(one)[0] != "C" for one in text)
    return text if shown and not re.search(r"[^\S ]", text) else None
