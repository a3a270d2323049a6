"""Kinds of values in requests and answers."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

#: What a person may write: no control characters, nothing that turns the reading order.
#: Refused: C0 and C1 controls (NUL among them), zero-width space, line and paragraph separators, the marks,
#: embeddings, overrides and isolates that turn the direction of text, byte-order mark, interlinear marks.
#: Letters of every script pass, those written from right to left included.
PLAIN = r"^[^\u0000-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb]*$"

PlainText = Annotated[str, Field(pattern=PLAIN)]


def _whole(value: Any) -> Any:
    return int(value) if type(value) is float and value.is_integer() else value


#: JSON has one kind of number: 2.0 is as whole as 2. Text and booleans are no numbers.
Whole = Annotated[int, BeforeValidator(_whole)]

#: In answers: an id, and a moment with its offset from UTC.
IdText = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
