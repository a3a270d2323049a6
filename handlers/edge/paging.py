"""Cursors: where the last page ended, opaque to the caller.

A cursor is not secret and not signed: it holds a place in a list, never whose list it is, so a forged one
leads to another place in the caller's own list at most. It is read with the bounds of the columns that the
list is sorted by, in the one form that we write: what is left over is a place that the list might have.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar
from uuid import UUID

from pydantic import Field

from domain.items import LARGEST_REAL, as_stored
from handlers.edge.models import NUMBER, Parameters
from handlers.edge.problems import FieldError, ProblemError

#: Entries of a page, where the caller asks for no number of their own, and at most.
USUAL_PAGE = 20
LARGEST_PAGE = 100

FIRST_ID = UUID(int=0)
LAST_ID = UUID(int=2**128 - 1)
LAST_TIME = datetime(9999, 12, 31, tzinfo=UTC)

Limit = Annotated[int, Field(ge=1, le=LARGEST_PAGE, description="Entries of a page."), NUMBER]
#: Characters of a cursor. The longest holds a name of 50 characters, each of up to six bytes in JSON (control
#: characters, which only other tools write), an order and an id: some 350 bytes, a third more in base64.
LONGEST_CURSOR = 512

Cursor = Annotated[
    str,
    Field(
        max_length=LONGEST_CURSOR,
        pattern="^[A-Za-z0-9_-]+$",
        description="The next_cursor of the page before, as it was; only for the same query.",
    ),
]


class Page(Parameters):
    """Which part of a list."""

    limit: Limit = USUAL_PAGE
    cursor: Cursor | None = None


def write_cursor(*place: Any) -> str:
    """Give the cursor of a place: JSON scalars."""
    # Letters beyond ASCII as they are: escaped, one emoji would be twelve bytes and not four.
    text = json.dumps(place, separators=(",", ":"), ensure_ascii=False)
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(cursor: str, *columns: "Column") -> list[Any]:
    """Give a cursor's place, of which each part is a value that the column at its place may have.

    Raises ProblemError for text that `write_cursor` cannot have given for such a place.
    """
    try:
        place = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if type(place) is list and len(place) == len(columns):
            # guard: a cursor is as it was written
            if write_cursor(*place) != cursor:
                raise ValueError("in another form than ours")
            return [read(part) for part, read in zip(place, columns, strict=True)]
    except (ValueError, RecursionError):
        pass
    raise ProblemError(
        "invalid-request",
        "Start again from the first page, without a cursor.",
        [FieldError("query:cursor", "is not a cursor of this list")],
    )


#: Reads a part of a place as a value of the column that a list is sorted by. Raises ValueError for what the
#: database could not compare with the column, whoever has written it.
Column = Callable[[Any], Any]


def column_id(part: Any) -> UUID:
    """Read an id."""
    value = UUID(_text(part, 36))
    return _written(value, str(value), part)


def column_time(part: Any) -> datetime:
    """Read a moment in UTC."""
    value = datetime.fromisoformat(_text(part, 32))
    # guard: a moment of a cursor is in UTC
    if value.utcoffset() != timedelta():
        raise ValueError("a moment of a cursor is in UTC")
    return _written(value, value.isoformat(), part)


def column_time_without_zone(part: Any) -> datetime:
    """Read a moment of a column that is UTC and has no zone."""
    value = datetime.fromisoformat(_text(part, 26))
    if value.tzinfo is not None:
        raise ValueError("this column has no zone")
    return _written(value, value.isoformat(), part)


def column_text(part: Any) -> str:
    """Read a text: a name, or the word for an order of sorting."""
    value = _text(part, 50)
    value.encode()  # half of a surrogate pair is a ValueError
    if "\0" in value:
        raise ValueError("the database has no text with NUL")
    return value


def column_points(part: Any) -> int:
    """Read a whole number that an int of the database holds."""
    # guard: a number of a cursor is one of its column
    if type(part) is not int or not 0 <= part <= 2**31 - 1:
        raise ValueError("not a number of points")
    return part


def column_rating(part: Any) -> float:
    """Read a number that a real of the database holds; one that is too small for it is none of its own.

    NaN and the infinities are some: whoever writes SQL of their own can store them, and pages go on behind
    them. Only the API and the loaders take no such rating.
    """
    if type(part) is not float or LARGEST_REAL < abs(part) < float("inf"):
        raise ValueError("not a rating")
    # guard: a rating of a cursor is not below the least of its column
    if part != 0 and as_stored(part) == 0:
        raise ValueError("not a rating")
    return part


T = TypeVar("T")


def _written(value: T, text: str, part: str) -> T:
    """Give the value of a part, which must be in the form that we write."""
    if text != part:
        raise ValueError("in another form than ours")
    return value


def _text(part: Any, most: int) -> str:
    if type(part) is not str or len(part) > most:
        raise ValueError("not a text of this length")
    return part
