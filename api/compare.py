"""Finds what in a new OpenAPI document would break a client that was written against an older one.

A client breaks when it can no longer send what it sent (a request that is narrower) or no longer gets what it
got (an answer that is wider or lacks something). Everything else may change.
"""

from collections.abc import Iterator
from typing import Any

#: Of a request's schema: limits that break when they become smaller, and larger.
_UPPER = ("maximum", "maxLength", "maxItems", "exclusiveMaximum")
_LOWER = ("minimum", "minLength", "minItems", "exclusiveMinimum")


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
        if "requestBody" in new:
            if "requestBody" not in old:
                yield f"{place}: a body is required now"
            else:
                yield from self._request(f"{place} body", _body(old), _body(new))
        for status, one in old["responses"].items():
            answer = _resolve(self.old, one)
            other = _resolve(self.new, new["responses"].get(status, {}))
            if not other:
                if status.startswith("2"):
                    yield f"{place}: {status} is no longer answered"
                continue
            for media, content in answer.get("content", {}).items():
                if media not in other.get("content", {}):
                    yield f"{place} {status}: {media} is no longer answered"
                elif status.startswith("2"):
                    yield from self._answer(
                        f"{place} {status}", content["schema"], other["content"][media]["schema"]
                    )
                else:
                    gone = _types(content) - _types(other["content"][media])
                    yield from (f"{place}: problem {one} is gone" for one in sorted(gone))
            gone = set(answer.get("headers", {})) - set(other.get("headers", {}))
            yield from (f"{place} {status}: header {name} is gone" for name in sorted(gone))

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

    def _request(self, place: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        """Find what could be sent before and cannot be sent any more."""
        old, new = _resolve(self.old, old), _resolve(self.new, new)
        yield from self._narrowed(place, old, new)
        before, after = old.get("properties", {}), new.get("properties", {})
        for name in new.get("required", ()):
            if name not in old.get("required", ()):
                yield f"{place}/{name} is required now"
        for name, schema in before.items():
            if name not in after:
                yield f"{place}/{name} is refused now"
            else:
                yield from self._request(f"{place}/{name}", schema, after[name])
        if "items" in old and "items" in new:
            yield from self._request(f"{place}[]", old["items"], new["items"])

    def _narrowed(self, place: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        lost = _kinds(self.old, old) - _kinds(self.new, new)
        if lost and "anything" not in _kinds(self.new, new):
            yield f"{place} is no longer {' or '.join(sorted(lost))}"
        for part, other in _alternatives(self.old, self.new, old, new):
            for name in _UPPER:
                if name in other and other[name] < part.get(name, float("inf")):
                    yield f"{place}: {name} is {other[name]} now"
            for name in _LOWER:
                if name in other and other[name] > part.get(name, float("-inf")):
                    yield f"{place}: {name} is {other[name]} now"
            if "enum" in other and (gone := set(part.get("enum", ["anything"])) - set(other["enum"])):
                yield f"{place} may no longer be {', '.join(map(str, sorted(gone, key=str)))}"
            if "pattern" in other and part.get("pattern") != other["pattern"]:
                yield f"{place}: another pattern"

    def _answer(self, place: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        """Find what was answered before and is no more, and answers that a client cannot know."""
        old, new = _resolve(self.old, old), _resolve(self.new, new)
        added = _kinds(self.new, new) - _kinds(self.old, old)
        if added:
            yield f"{place} may be {' or '.join(sorted(added))} now"
        for part, other in _alternatives(self.old, self.new, old, new):
            if "enum" in part and (more := set(other.get("enum", ["anything"])) - set(part["enum"])):
                yield f"{place} may be {', '.join(map(str, sorted(more, key=str)))} now"
        for name, schema in old.get("properties", {}).items():
            other = new.get("properties", {}).get(name)
            if other is None:
                yield f"{place}/{name} is gone"
            elif name in old.get("required", ()) and name not in new.get("required", ()):
                yield f"{place}/{name} may be missing now"
            else:
                yield from self._answer(f"{place}/{name}", schema, other)
        if "items" in old and "items" in new:
            yield from self._answer(f"{place}[]", old["items"], new["items"])


def _body(operation: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = operation["requestBody"]["content"]["application/json"]["schema"]
    return schema


def _types(content: dict[str, Any]) -> set[str]:
    return set(content["schema"].get("properties", {}).get("type", {}).get("enum", ()))


def _resolve(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        _, _, section, name = schema["$ref"].split("/")
        schema = document["components"][section][name]
    return schema


def _choices(document: dict[str, Any], schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [_resolve(document, one) for one in schema.get("anyOf", [schema])]


def _kinds(document: dict[str, Any], schema: dict[str, Any]) -> set[str]:
    return {
        "number" if one.get("type") == "number" else str(one.get("type", "anything"))
        for one in _choices(document, schema)
    }


def _alternatives(
    old_document: dict[str, Any], new_document: dict[str, Any], old: dict[str, Any], new: dict[str, Any]
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Pair the alternatives of two schemas that are of one kind."""
    after = {one.get("type"): one for one in _choices(new_document, new)}
    for one in _choices(old_document, old):
        if one.get("type") in after:
            yield one, after[one.get("type")]
