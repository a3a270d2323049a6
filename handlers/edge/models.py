"""What bodies, queries and answers are made of, and the kinds of values in them."""

from typing import Annotated, Any, Protocol, Self

from pydantic import BeforeValidator, ConfigDict, Field

from domain.contract import WHOLE as WHOLE
from domain.contract import Contract
from domain.contract import Id as Id

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


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


#: A whole number in a query string, where everything comes as text.
NUMBER = BeforeValidator(_number)


class Body(Contract):
    """What a request body's model starts from: no unknown member, no value of another type."""

    model_config = ConfigDict(allow_inf_nan=False)


class Parameters(Contract):
    """What a query string's model starts from: no unknown parameter."""


class Record(Protocol):
    """A record from inside: a named tuple."""

    def _asdict(self) -> dict[str, Any]: ...


class AnswerBody(Contract):
    """What an answer's model starts from. It takes records as they are, and writes itself as JSON."""

    model_config = ConfigDict(extra="ignore", from_attributes=True)

    @classmethod
    def of(cls, *records: Record, **more: Any) -> Self:
        """Make the answer of records, by the names of their fields, and of what they do not hold.

        Raises pydantic.ValidationError for what the contract does not have: a fault of ours.
        """
        fields: dict[str, Any] = {}
        for record in records:
            fields |= record._asdict()
        return cls(**(fields | more))


class Versioned(AnswerBody):
    """An answer whose `version` is also its ETag."""

    version: int
