"""Finds what in a new OpenAPI document would break a client that was written against an older one.

A client breaks when it can no longer send what it sent (a request that is narrower) or no longer gets what it
got (an answer that is wider or lacks something). Everything else may change.
"""

from collections.abc import Callable, Iterator
from typing import Any

Schema = dict[str, Any]

#: Of a request's schema: limits that break when they become smaller, and larger.
_UPPER = ("maximum", "maxLength", "maxItems", "exclusiveMaximum")
_LOWER = ("minimum", "minLength", "minItems", "exclusiveMinimum")

#: Of a request's schema: what breaks when it is new or another one.
_NARROWING = ("pattern", "format", "not", "multipleOf", "uniqueItems")


def breaking_changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Say each breaking change in a sentence; an empty list means that old clients still work."""
    return list(_Comparison(old, new).changes())


class _Comparison:
    def __init__(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        self.old = old
        self.new = new

    def changes(self) -> Iterator[str]:
        for path, methods in self.old["paths"].items():
            for method, operation in methods.items():
                place = f"{method.upper()} {path}"
                other = self.new["paths"].get(path, {}).get(method)
                if other is None:
                    yield f"{place} is gone"
                else:
                    yield from self._operation(place, operation, other)

    def _operation(self, place: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        if old["operationId"] != new["operationId"]:
            yield f"{place}: operationId {old['operationId']} became {new['operationId']}"
        yield from self._parameters(place, old, new)
        yield from self._body(place, old.get("requestBody"), new.get("requestBody"))
        for status, one in old["responses"].items():
            answer = _resolve(self.old, one)
            other = _resolve(self.new, new["responses"].get(status, {}))
            if other:
                yield from self._response(f"{place} {status}", status, answer, other)
            else:
                yield f"{place}: {status} is no longer answered"
        # A problem that is new is one problem more; another kind of success is what no client looks for.
        for status in new["responses"]:
            if status < "4" and status not in old["responses"]:
                yield f"{place}: {status} may be answered now"

    def _response(self, place: str, status: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        for media, content in old.get("content", {}).items():
            other = new.get("content", {}).get(media)
            if other is None:
                yield f"{place}: {media} is no longer answered"
            elif status < "4":
                yield from self._answer(place, content["schema"], other["schema"])
            else:
                gone = _types(content) - _types(other)
                yield from (f"{place}: problem {one} is gone" for one in sorted(gone))
        for name, header in old.get("headers", {}).items():
            other = new.get("headers", {}).get(name)
            if other is None:
                yield f"{place}: header {name} is gone"
            else:
                yield from self._answer(f"{place} header {name}", header["schema"], other["schema"])

    def _body(self, place: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> Iterator[str]:
        if new is None:
            if old is not None:
                yield f"{place}: the body is no longer read"
            return
        if new.get("required") and not (old or {}).get("required"):
            yield f"{place}: a body is required now"
        for media, content in (old or {}).get("content", {}).items():
            other = new["content"].get(media)
            if other is None:
                yield f"{place}: a body may no longer be {media}"
            else:
                yield from self._request(f"{place} body", content["schema"], other["schema"])

    def _parameters(self, place: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        before = {(one["in"], one["name"]): one for one in old.get("parameters", ())}
        after = {(one["in"], one["name"]): one for one in new.get("parameters", ())}
        for key, one in after.items():
            name = f"{place} {key[0]} parameter {key[1]}"
            if one["required"] and not before.get(key, {}).get("required", False):
                yield f"{name} is required now"
            if key in before:
                yield from self._request(name, before[key]["schema"], one["schema"])
        yield from (f"{place}: {key[0]} parameter {key[1]} is gone" for key in before if key not in after)

    def _request(self, place: str, old: Schema, new: Schema) -> Iterator[str]:
        """Find what could be sent before and cannot be sent any more."""
        after = _choices(self.new, new)
        for one in _choices(self.old, old):
            # Whatever was one of the old alternatives has to be one of the new.
            yield from _nearest(
                [other for other in after if _is_kind_of(one, other)],
                lambda other, one=one: self._narrowed(place, one, other),  # type: ignore[misc]
                f"{place} may no longer be {_kind(one)}",
            )

    def _narrowed(self, place: str, old: Schema, new: Schema) -> Iterator[str]:
        for name in _UPPER:
            if name in new and new[name] < old.get(name, float("inf")):
                yield f"{place}: {name} is {new[name]} now"
        for name in _LOWER:
            if name in new and new[name] > old.get(name, float("-inf")):
                yield f"{place}: {name} is {new[name]} now"
        for name in _NARROWING:
            if name in new and old.get(name) != new[name]:
                yield f"{place}: another {name}"
        if gone := _beyond(old, new):
            yield f"{place} may no longer be {gone}"
        if new.get("additionalProperties") is False and old.get("additionalProperties") is not False:
            yield f"{place}: further members are refused now"
        before, after = old.get("properties", {}), new.get("properties", {})
        for name in new.get("required", ()):
            if name not in old.get("required", ()):
                yield f"{place}/{name} is required now"
        for name, schema in before.items():
            if name in after:
                yield from self._request(f"{place}/{name}", schema, after[name])
            elif new.get("additionalProperties") is False:
                yield f"{place}/{name} is refused now"
        if "items" in new:
            yield from self._request(f"{place}[]", old.get("items", {}), new["items"])

    def _answer(self, place: str, old: Schema, new: Schema) -> Iterator[str]:
        """Find what was answered before and is no more, and answers that a client cannot know."""
        before = _choices(self.old, old)
        for one in _choices(self.new, new):
            # Whatever is one of the new alternatives has to be one of the old.
            yield from _nearest(
                [other for other in before if _is_kind_of(one, other)],
                lambda other, one=one: self._widened(place, other, one),  # type: ignore[misc]
                f"{place} may be {_kind(one)} now",
            )

    def _widened(self, place: str, old: Schema, new: Schema) -> Iterator[str]:
        if more := _beyond(new, old):
            yield f"{place} may be {more} now"
        for name in ("pattern", "format"):
            if name in old and old[name] != new.get(name):
                yield f"{place}: another {name}"
        for name, schema in old.get("properties", {}).items():
            other = new.get("properties", {}).get(name)
            if other is None:
                yield f"{place}/{name} is gone"
            elif name in old.get("required", ()) and name not in new.get("required", ()):
                yield f"{place}/{name} may be missing now"
            else:
                yield from self._answer(f"{place}/{name}", schema, other)
        if "items" in old:
            yield from self._answer(f"{place}[]", old["items"], new.get("items", {}))


def _nearest(others: list[Schema], compare: Callable[[Schema], Iterator[str]], otherwise: str) -> list[str]:
    """Give the changes against the alternative that differs least, or say that there is none of the kind."""
    return min((list(compare(other)) for other in others), key=len, default=[otherwise])


def _types(content: dict[str, Any]) -> set[str]:
    return set(content["schema"].get("properties", {}).get("type", {}).get("enum", ()))


def _resolve(document: dict[str, Any], schema: Schema) -> Schema:
    while "$ref" in schema:
        _, _, section, name = schema["$ref"].split("/")
        schema = document["components"][section][name]
    return schema


def _choices(document: dict[str, Any], schema: Schema) -> list[Schema]:
    """Give a schema's alternatives, those of alternatives included; a schema without any is its only one."""
    schema = _resolve(document, schema)
    parts = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    return [one for part in parts for one in _choices(document, part)] if parts else [schema]


def _kind(schema: Schema) -> str:
    return str(schema.get("type", "anything"))


def _is_kind_of(one: Schema, other: Schema) -> bool:
    """Tell whether all that is of one schema's kind is of the other's."""
    kind, wider = _kind(one), _kind(other)
    return wider in ("anything", kind) or (kind, wider) == ("integer", "number")


def _values(schema: Schema) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _beyond(one: Schema, other: Schema) -> str:
    """Say which of one schema's values the other does not have; nothing where it has them all."""
    allowed = _values(other)
    if allowed is None:
        return ""
    values = _values(one)
    return "anything" if values is None else ", ".join(str(value) for value in values if value not in allowed)
