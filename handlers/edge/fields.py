"""Kinds of values in requests and answers."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

#: What a person may write: no control characters, nothing that turns the reading order.
#: Refused: C0 and C1 controls (NUL among them), zero-width space, line and paragraph separators, byte-order
#: mark, interlinear marks, and whatever turns the direction of text: marks (the Arabic letter mark too),
#: embeddings, overrides, isolates. Letters of every script pass, those written from right to left included.
_REFUSED = r"\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb"
PLAIN = f"^[^{_REFUSED}]*$"

PlainText = Annotated[str, Field(pattern=PLAIN)]

#: Plain text with something to see in it: not of spaces only.
PlainName = Annotated[str, Field(pattern=rf"^[^{_REFUSED}]*[^\s{_REFUSED}][^{_REFUSED}]*$")]


def _whole(value: Any) -> Any:
    return int(value) if type(value) is float and value.is_integer() else value


#: JSON has one kind of number: 2.0 is as whole as 2. Text and booleans are no numbers.
WHOLE = BeforeValidator(_whole)
Whole = Annotated[int, WHOLE]

#: In answers: an id, and a moment with its offset from UTC.
IdText = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
