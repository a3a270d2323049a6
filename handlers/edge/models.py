"""What bodies, queries and answers are made of, and the kinds of values in them."""

from typing import Any, Protocol, Self

from pydantic import BeforeValidator, ConfigDict

from domain.contract import WHOLE as WHOLE
from domain.contract import Contract
from domain.contract import Id as Id
from domain.contract import PlainName as PlainName
from domain.contract import PlainText as PlainText


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
