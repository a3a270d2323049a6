"""Cursors: where the last page ended, opaque to the caller.

A cursor is not secret and not signed: it holds a place in a list, never whose list it is, so a forged one
leads to another place in the caller's own list at most. Its shape is checked all the same.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from handlers.edge.models import NUMBER, Parameters
from handlers.edge.problems import FieldError, ProblemError

#: Entries of a page, where the caller asks for no number of their own, and at most.
USUAL_PAGE = 20
LARGEST_PAGE = 100

FIRST_ID = UUID(int=0)
LAST_ID = UUID(int=2**128 - 1)
LAST_TIME = datetime(9999, 12, 31, tzinfo=UTC)

#: Numbers that every column which a list is sorted by can be compared with.
_LARGEST: dict[type[Any], float] = {int: 2**53, float: 1e6}

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


def read_cursor(cursor: str, *kinds: type) -> list[Any]:
    """Give a cursor's place, of which each part is of one of the kinds: str, int, float, datetime or UUID.

    Raises ProblemError for text that `write_cursor` cannot have given for such a place.
    """
    try:
        place = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if type(place) is list and len(place) == len(kinds):
            return [_part(part, kind) for part, kind in zip(place, kinds, strict=True)]
    except (ValueError, RecursionError):
        pass
    raise ProblemError(
        "invalid-request",
        "Start again from the first page, without a cursor.",
        [FieldError("query:cursor", "is not a cursor of this list")],
    )


def _part(part: Any, kind: type[Any]) -> Any:
    if kind is UUID or kind is datetime:
        if type(part) is not str or len(part) > 40:
            raise ValueError
        return UUID(part) if kind is UUID else datetime.fromisoformat(part)
    if type(part) is not kind:
        raise ValueError
    if isinstance(part, str):
        part.encode()  # half of a surrogate pair is a ValueError
        if "\0" in part:
            raise ValueError
    elif not abs(part) <= _LARGEST[kind]:  # NaN is no number to this comparison either
        raise ValueError
    return part
