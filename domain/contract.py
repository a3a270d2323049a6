"""What crosses a border, in or out: models that pydantic checks (docs/decisions/0016-pydantic.md)."""

from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


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
