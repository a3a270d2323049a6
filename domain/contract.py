"""What crosses a border, in or out: models that pydantic checks (docs/decisions/0016-pydantic.md).

And what a person may write, wherever it comes in: by the API, in a file of a catalogue, on a command line.
"""

import re
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError


class Contract(BaseModel):
    """What requests, answers, events and inputs have in common: frozen, and of no other type than they say.

    Members that are not known are refused; a model that must take them says so. Built when it is first used,
    since a function uses a few of those that it imports. A value is never quoted in an error's text.
    """

    model_config = ConfigDict(
        # guard: what comes in is of the type that it says
        strict=True,
        frozen=True,
        # guard: what comes in has no member that nobody asked for
        extra="forbid",
        defer_build=True,
        hide_input_in_errors=True,
    )


def _whole(value: Any) -> Any:
    # guard: 2.0 is a whole number
    return int(value) if type(value) is float and value.is_integer() else value


#: JSON has one kind of number: 2.0 is as whole as 2. Last in an Annotated, so that bounds are the type's.
WHOLE = BeforeValidator(_whole)


_UUID = r"[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}"


def _id(value: Any) -> Any:
    if isinstance(value, str):
        if not re.fullmatch(_UUID, value):
            raise PydanticCustomError("uuid", "must be a UUID")
        return UUID(value)
    return value


#: An id that comes in: a UUID in its usual form, in none of the others that pydantic reads (braces, urn:).
Id = Annotated[UUID, BeforeValidator(_id)]

_MOMENT = r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)"


def _moment(value: Any) -> Any:
    if isinstance(value, datetime) or (isinstance(value, str) and re.fullmatch(_MOMENT, value)):
        return value
    raise PydanticCustomError("moment", "must be a moment such as 2026-01-01T12:00:00Z")


#: A moment that comes in, with its time zone, as RFC 3339 writes it; pydantic also reads seconds since 1970.
Moment = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_moment)]

#: What nobody may write: C0 and C1 controls (NUL among them), zero-width space, line and paragraph
#: separators, byte-order mark, interlinear marks, and whatever turns the direction of text: marks (also the
#: Arabic letter mark), embeddings, overrides, isolates. Letters of every script pass, whether written from
#: left to right or not.
_REFUSED = r"\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb"

#: What shows nothing by itself: spaces, joiners and other format characters, fillers, the empty braille cell,
#: combining marks, variation selectors, and at the end the plane of tags and more selectors.
_UNSEEN = (
    r"\s\u00ad\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u0600-\u0605\u0610-\u061a\u064b-\u065f\u115f\u1160\u17b4"
    r"\u17b5\u180b-\u180f\u1ab0-\u1aff\u1dc0-\u1dff\u200c\u200d\u2060-\u206f\u20d0-\u20ff\u2800\u3099\u309a"
    r"\u3164\ufe00-\ufe0f\ufe20-\ufe2f\uffa0\ufff0-\ufff8\ufffe\uffff"
    "\U0001bca0-\U0001bca3\U0001d165-\U0001d169\U0001d16d-\U0001d182\U000e0000-\U000effff"
)

#: What a person may write; with something to see in it, if anything at all.
PLAIN = f"^([^{_REFUSED}]*[^{_REFUSED}{_UNSEEN}][^{_REFUSED}]*)?$"


def composed(value: Any) -> Any:
    """Give a text in its composed form (NFC): a name is the same, on whatever keyboard it was typed."""
    if not isinstance(value, str) or value.isascii():
        return value
    import unicodedata  # its tables are not loaded at every start

    return unicodedata.normalize("NFC", value)


#: Free text as it comes in. Lengths are those of the composed form, which is what is stored.
PlainText = Annotated[
    str,
    Field(pattern=PLAIN),
    # guard: text comes in composed
    BeforeValidator(composed),
]

#: Plain text that is not empty: whatever has to have a name.
PlainName = Annotated[
    str,
    Field(pattern=f"^[^{_REFUSED}]*[^{_REFUSED}{_UNSEEN}][^{_REFUSED}]*$"),
    BeforeValidator(composed),
]
