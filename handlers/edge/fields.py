"""Kinds of values in requests and answers."""

from typing import Annotated

from msgspec import Meta

#: Where a text ends. Python's $ also matches before a last line feed, JSON Schema's does not.
# guard: a pattern ends where the text ends
END = r"$(?!\n)"

#: What a person may write: no control characters, nothing that turns the reading order.
#: Refused: C0 and C1 controls (NUL among them), zero-width space, line and paragraph separators, byte-order
#: mark, interlinear marks, and whatever turns the direction of text: marks (the Arabic letter mark too),
#: embeddings, overrides, isolates. Letters of every script pass, those written from right to left included.
_REFUSED = r"\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb"
PLAIN = f"^[^{_REFUSED}]*{END}"

PlainText = Annotated[str, Meta(pattern=PLAIN)]

#: Plain text with something to see in it: not of spaces only.
PlainName = Annotated[str, Meta(pattern=rf"^[^{_REFUSED}]*[^\s{_REFUSED}][^{_REFUSED}]*{END}")]

#: In answers: an id, and a moment with its offset from UTC.
IdText = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
Timestamp = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
