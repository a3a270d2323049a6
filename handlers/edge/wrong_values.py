"""What is wrong with a request's values, each by its place: imported when a request is refused, never before.

msgspec stops at the first wrong value. Here the values are looked at one by one, so that a caller can fix
all of them at once.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice
from types import UnionType
from typing import Annotated, Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin

from msgspec import DecodeError, Struct, ValidationError, convert, json
from msgspec.structs import fields

from handlers.edge.problems import FieldError, ProblemError

#: Wrong values that one problem document names; the caller fixes these first.
MAX_FIELD_ERRORS = 20

Place = tuple[int | str, ...]
Wrong = tuple[Place, str]
S = TypeVar("S", bound=Struct)

#: Python's types in the words of JSON.
_JSON_NAMES = {
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "bool": "a boolean",
    "uuid": "a UUID",
    "array": "an array",
    "object": "an object",
}

_QUOTED = re.compile(r"`([^`]+)`")

#: How msgspec says that an element is wrong, and not the list that it is in.
_IN_A_LIST = " - at `$["


def read_again(text: str, model: type[S]) -> S:
    """Read a body that the strict reader refused: 2.0 is as whole as 2, for JSON has one kind of number.

    Raises ProblemError that names each wrong value by its JSON pointer, or says that the text is no JSON.
    """
    try:
        document = _READER.decode(text)
    except (DecodeError, UnicodeEncodeError, RecursionError):
        raise ProblemError("malformed-request", "The body is not valid JSON. Send a JSON object.") from None
    try:
        return convert(document, model)
    except ValidationError:
        _refuse(_wrong_values(document, model, strict=True), json_pointer)


def refuse_parameters(parameters: Mapping[str, str], model: type[Struct]) -> NoReturn:
    """Raise ProblemError that names each wrong parameter of a query string."""
    _refuse(_wrong_values(parameters, model, strict=False), lambda place: f"query:{place[0]}")


def json_pointer(names: Place) -> str:
    """Say where a value stands in a document (RFC 6901); the whole document is the empty text.

    Names are never cut, which would point to something else: the body that they come from is bounded.
    """
    return "".join("/" + str(name).replace("~", "~0").replace("/", "~1") for name in names)


def _number(digits: str) -> float | int:
    value = float(digits)
    return int(value) if value.is_integer() else value


_READER = json.Decoder(float_hook=_number)


def _refuse(wrong: Iterator[Wrong], point: Callable[[Place], str]) -> NoReturn:
    # guard: no more wrong values are looked at than are named
    errors = [FieldError(point(place), detail) for place, detail in islice(wrong, MAX_FIELD_ERRORS)]
    raise ProblemError(
        "invalid-request", "Correct the values named in errors and send the request again.", errors
    )


def _wrong_values(value: Any, kind: Any, *, strict: bool, place: Place = ()) -> Iterator[Wrong]:
    """Give the place of each value that does not fit its kind, and what it must be."""
    try:
        convert(value, kind, strict=strict)
    except ValidationError as error:
        said = str(error)
    else:
        return
    for one in _alternatives(kind):
        if isinstance(one, type) and issubclass(one, Struct) and isinstance(value, Mapping):
            members = {member.encode_name: member for member in fields(one)}
            for name, member in members.items():
                if name in value:
                    yield from _wrong_values(value[name], member.type, strict=strict, place=(*place, name))
                elif member.required:
                    yield (*place, name), "is required"
            for name in value:
                if name not in members:
                    yield (*place, name), "is not known here"
            return
        if get_origin(one) is list and isinstance(value, list) and _IN_A_LIST in said:
            for index, element in enumerate(value):
                yield from _wrong_values(element, get_args(one)[0], strict=strict, place=(*place, index))
            return
    yield place, _words(said, kind, strict=strict)


def _alternatives(kind: Any) -> Iterator[Any]:
    """Give the types that a type says a value may have, without their bounds."""
    origin = get_origin(kind)
    if origin is Annotated:
        yield from _alternatives(get_args(kind)[0])
    elif origin in (Union, UnionType):
        for one in get_args(kind):
            yield from _alternatives(one)
    else:
        yield kind


def _words(text: str, kind: Any, *, strict: bool) -> str:
    """Say what msgspec says in the words of the API."""
    if text.startswith("Expected `str` matching"):
        return "holds a character that may not stand here, or has another form"
    if text.startswith("Invalid enum value"):
        closed = (get_args(one) for one in _alternatives(kind) if get_origin(one) is Literal)
        return "must be one of " + ", ".join(chain.from_iterable(closed))
    if "out of range" in text:
        return "must be a smaller number"
    text = text.replace("Expected", "must be").replace("Invalid", "must be a valid")
    if not strict:  # in a query string everything comes as text
        text = text.partition(", got")[0]
    return _QUOTED.sub(lambda quoted: _json_names(quoted[1]), text)


def _json_names(names: str) -> str:
    return " or ".join(_JSON_NAMES.get(name, name) for name in names.split(" | "))
