"""The contracts as documents: `python -m events.contracts` writes them anew from domain/events/.

- events/schemas/<type>.json: the JSON Schema (2020-12) of each event as a consumer gets it in `detail`
- events/schemas/asyncapi.json: an AsyncAPI 3 document of those that are published
- events/samples/<type>.json: an SQS record with such an event, for `make invoke EVENT=`
- tests/golden/<type>.json: the schema as it is promised; it gains optional fields and never changes

The golden files are what a change is held against: see `breaking_changes` and `accept`.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from inspect import cleandoc
from pathlib import Path
from typing import Any

from domain.events import Payload, envelope_of
from domain.events.contracts import CONTRACTS, PUBLISHED
from events.publish import SOURCE
from local_dsql.console import run_command

ROOT = Path(__file__).resolve().parent.parent
SCHEMAS = ROOT / "events" / "schemas"
SAMPLES = ROOT / "events" / "samples"
GOLDEN = ROOT / "tests" / "golden"

#: Words of a schema that say nothing about which documents fit it.
_ANNOTATIONS = frozenset({"title", "description", "default", "examples", "$id", "$schema", "$defs"})

_EXAMPLE_ID = "00000000-0000-4000-8000-000000000001"
_EXAMPLE_TIME = "2026-01-01T12:00:00Z"

Schema = dict[str, Any]


def schema_of(contract: type[Payload]) -> Schema:
    """Give the JSON Schema of a contract's whole event, envelope and payload."""
    schema: Schema = without_titles(envelope_of(contract).model_json_schema())
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["$id"] = f"urn:rewards:event:{contract.type_name}"
    schema["title"] = contract.type_name
    schema["description"] = cleandoc(contract.__doc__ or "")
    schema["properties"]["type"] = {"const": contract.type_name}
    schema["properties"]["aggregate_type"] = {"const": contract.aggregate_type}
    return schema


def without_titles(schema: Any) -> Any:
    """Leave out the titles that pydantic makes of names: they say nothing more."""
    if isinstance(schema, dict):
        return {
            word: without_titles(value)
            for word, value in schema.items()
            if not (word == "title" and isinstance(value, str))
        }
    return [without_titles(one) for one in schema] if isinstance(schema, list) else schema


def asyncapi() -> Schema:
    """Give the AsyncAPI 3 document: one channel, the event bus, and every message on it."""
    names = sorted(PUBLISHED)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Rewards order pipeline",
            "version": "1",
            "description": (
                "Events are delivered at least once, in no order; `id` stays the same when one is repeated. "
                "A payload may get optional fields within a version; anything else is a new version."
            ),
        },
        "defaultContentType": "application/json",
        "channels": {
            "bus": {
                "address": "rewards-events",
                "description": f"The EventBridge bus (stack output EventBusName); source `{SOURCE}`.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
            }
        },
        "operations": {
            "publish": {
                "action": "send",
                "channel": {"$ref": "#/channels/bus"},
                "messages": [{"$ref": f"#/channels/bus/messages/{name}"} for name in names],
            }
        },
        "components": {
            "messages": {
                name: {
                    "name": name,
                    "summary": cleandoc(CONTRACTS[name].__doc__ or "").partition("\n")[0],
                    "correlationId": {"location": "$message.payload#/correlation_id"},
                    "payload": {
                        "schemaFormat": "application/schema+json;version=draft-2020-12",
                        "schema": {"$ref": f"./{name}.json"},
                    },
                    "examples": [{"payload": example(schema_of(CONTRACTS[name]))}],
                }
                for name in names
            }
        },
    }


def sample(contract: type[Payload]) -> Schema:
    """Give what a consumer's function is invoked with: one SQS record that holds EventBridge's event."""
    detail = example(schema_of(contract))
    body = {
        "version": "0",
        "id": _EXAMPLE_ID,
        "detail-type": contract.type_name,
        "source": SOURCE,
        "account": "123456789012",
        "time": _EXAMPLE_TIME,
        "region": detail["region"],
        "resources": [],
        "detail": detail,
    }
    text = json.dumps(body)
    record = {
        "messageId": _EXAMPLE_ID,
        "receiptHandle": "sample",
        "body": text,
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": "1767268800000",
            "SenderId": "AIDASAMPLE",
            "ApproximateFirstReceiveTimestamp": "1767268800001",
        },
        "messageAttributes": {},
        "md5OfBody": hashlib.md5(text.encode(), usedforsecurity=False).hexdigest(),
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:sample",
        "awsRegion": "us-east-1",
    }
    return {"Records": [record]}


def example(schema: Schema, root: Schema | None = None) -> Any:
    """Give the plainest document that fits a schema of ours."""
    root = schema if root is None else root
    schema = _resolve(schema, root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return example(schema["anyOf"][-1], root)  # the last of an optional field's is null
    match schema["type"]:
        case "object":
            return {name: example(each, root) for name, each in schema["properties"].items()}
        case "array":
            return [example(schema["items"], root)]
        case "integer":
            return schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
        case "string":
            return {"uuid": _EXAMPLE_ID, "date-time": _EXAMPLE_TIME}.get(schema.get("format", ""), "sample")
        case "boolean":
            return True
        case "null":
            return None
    raise NotImplementedError(f"no example for {schema}; teach events.contracts.example this type")


def breaking_changes(published: Schema, now: Schema) -> Iterator[str]:
    """Name what would break a consumer of a published version, or an old event from the archive.

    Within a version only optional fields may be added. Whatever else is to change needs a new version.
    """
    yield from _compare(published, now, published, now, "")


def accept(golden: Path, now: Schema) -> list[str]:
    """Make a schema the one that is promised unless it breaks what was promised; give the breaches."""
    if golden.exists() and (
        broken := list(breaking_changes(json.loads(golden.read_text(encoding="utf-8")), now))
    ):
        return broken
    golden.write_text(to_text(now), encoding="utf-8")
    return []


def _compare(old: Schema, new: Schema, old_root: Schema, new_root: Schema, path: str) -> Iterator[str]:
    old, new = _resolve(old, old_root), _resolve(new, new_root)
    here = path or "/"
    fields, new_fields = old.get("properties", {}), new.get("properties", {})
    for name in fields:
        if name in new_fields:
            yield from _compare(fields[name], new_fields[name], old_root, new_root, f"{path}/{name}")
        else:
            yield f"{path}/{name} was removed"
    required, now_required = set(old.get("required", ())), set(new.get("required", ()))
    for name in sorted(required & set(new_fields) - now_required):
        yield f"{path}/{name} may be missing now"
    for name in sorted(now_required - required):
        yield f"{path}/{name} is required now, and events in the archive lack it"
    if "items" in old and "items" in new:
        yield from _compare(old["items"], new["items"], old_root, new_root, f"{path}/*")
    ours = _ANNOTATIONS | {"properties", "required", "items"}
    for word in sorted((old.keys() | new.keys()) - ours):
        same = word == "enum" and set(old.get(word, ())) == set(new.get(word, ()))  # in whatever order
        if not same and old.get(word) != new.get(word):
            yield f"{here}: {word} was {old.get(word)} and is {new.get(word)}"
    if ("items" in old) != ("items" in new):
        yield f"{here}: was an array or is one"


def _resolve(schema: Schema, root: Schema) -> Schema:
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema


def documents() -> dict[Path, str]:
    """Give every generated file with its text; the golden files are not among them."""
    written: dict[Path, Mapping[str, Any]] = {SCHEMAS / "asyncapi.json": asyncapi()}
    for name, contract in CONTRACTS.items():
        written[SCHEMAS / f"{name}.json"] = schema_of(contract)
        written[SAMPLES / f"{name}.json"] = sample(contract)
    return {path: to_text(document) for path, document in written.items()}


def to_text(document: Mapping[str, Any]) -> str:
    """Write a document the way all of them are written."""
    return json.dumps(document, indent=2) + "\n"


def main() -> None:
    """Write the documents and the golden files; exit with what breaks a published version, if anything."""
    argparse.ArgumentParser(prog="python -m events.contracts", description=__doc__).parse_args()
    wanted = documents()
    for directory in (SCHEMAS, SAMPLES, GOLDEN):
        directory.mkdir(exist_ok=True)
    for directory in (SCHEMAS, SAMPLES):
        for path in directory.glob("*.v[0-9]*.json"):
            if path not in wanted:
                path.unlink()
    for path, text in wanted.items():
        path.write_text(text, encoding="utf-8")
    broken = [
        f"{name}: {breach}"
        for name, contract in CONTRACTS.items()
        for breach in accept(GOLDEN / f"{name}.json", schema_of(contract))
    ]
    if broken:
        sys.exit("\n".join(("This needs a new version beside the old one:", *broken)))


if __name__ == "__main__":
    run_command(main)
