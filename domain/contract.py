"""What crosses a border, in or out: models that pydantic checks (docs/decisions/0016-pydantic.md)."""

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
