"""The events' contracts: what is published stays, what is generated is current, nobody's data are in it."""

import copy
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin
from uuid import UUID, uuid4

import jsonschema
import pytest
from pydantic import BaseModel, ValidationError

from domain.events import Origin, Payload, event_of, read_event, write_event
from domain.events.contracts import CONTRACTS, PUBLISHED
from domain.events.orders import OrderedLine, OrderPlaced
from events.contracts import (
    GOLDEN,
    SCHEMAS,
    accept,
    breaking_changes,
    documents,
    example,
    sample,
    schema_of,
)

NAMES = sorted(CONTRACTS)

#: Parts of a field's name that would be a person's: what a customer is called, where they live or are
#: reached, what they look like, and what they typed.
PERSONAL = re.compile(
    r"(?<![a-z])(names?|first|last|maiden|full|user|username|e?mail|phone|mobile|address|street|city|state|zip|"
    r"postal|postcode|country|gender|sex|age|birth|birthday|ip|token|password|secret|note|message|comment|"
    r"text|description|subject|body|reason)(?![a-z])"
)

#: What a payload's field may be: ids, numbers, times, yes or no, and words from a closed list of our own.
FREE_TEXT = {
    ("CustomerErasureResumed.v1", "step"): "a step of our own cascade",
    ("ItemRetirementResumed.v1", "step"): "a step of our own cascade",
}
PLAIN = {UUID, int, bool, datetime, type(None)}


def fields(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, Any]]:
    """Give every field of a model with its path and its plain type, through nested models and lists."""
    for name, field in model.model_fields.items():
        yield from _fields(field.annotation, f"{path}.{name}" if path else name)


def _fields(annotation: Any, path: str) -> Iterator[tuple[str, Any]]:
    if get_origin(annotation) is Annotated:
        yield from _fields(get_args(annotation)[0], path)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from fields(annotation, path)
    elif all(isinstance(argument, str) for argument in get_args(annotation)) and get_args(annotation):
        yield path, type(None)  # a closed list of words
    elif get_args(annotation):
        for argument in get_args(annotation):
            if argument is not Ellipsis:
                yield from _fields(argument, path)
    else:
        yield path, annotation


@pytest.mark.parametrize("name", NAMES)
def test_no_field_of_an_event_can_hold_personal_data(name: str) -> None:
    for path, kind in fields(CONTRACTS[name]):
        assert not PERSONAL.search(path), (
            f"{name}: {path} sounds personal; send the id, let consumers look it up"
        )
        assert kind in PLAIN or (name, path) in FREE_TEXT, f"{name}: {path} could hold anything; use an id"


def test_the_rule_against_personal_data_would_find_some() -> None:
    class Telling(Payload):
        first_name: UUID
        customer_email: UUID
        remark: str

    found = dict(fields(Telling))
    assert [bool(PERSONAL.search(path)) for path in found] == [True, True, False]
    assert found["remark"] not in PLAIN


@pytest.mark.parametrize("name", NAMES)
def test_a_contract_is_named_as_a_past_fact_with_a_version(name: str) -> None:
    assert re.fullmatch(r"([A-Z][a-z]+){2,}(ed|en)\.v[1-9]\d*", name)
    assert CONTRACTS[name].type_name == name
    assert CONTRACTS[name].model_config["frozen"]


def test_what_is_generated_is_current() -> None:
    wanted = documents()
    stale = [str(path) for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    assert not stale, "run `python -m events.contracts` and commit what it writes"
    generated = {path for path in wanted if path.parent == SCHEMAS}
    assert set(SCHEMAS.glob("*.json")) == generated, (
        "a schema has no contract: run `python -m events.contracts`"
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_published_version_only_ever_gains_optional_fields(name: str) -> None:
    golden = GOLDEN / f"{name}.json"
    assert golden.exists(), "run `python -m events.contracts` and commit the golden file of the new version"
    published, now = json.loads(golden.read_text()), schema_of(CONTRACTS[name])
    broken = list(breaking_changes(published, now))
    assert not broken, f"make it {name.partition('.')[0]} with a new version: {broken}"
    assert published == now, "run `python -m events.contracts`: what was added is promised from now on"


GIFT = "$defs/OrderPlaced/properties/gift"


@pytest.mark.parametrize(
    ("later", "complaint"),
    [(None, "/data/gift was removed"), ({"type": "string"}, "/data/gift: type was boolean and is string")],
)
def test_a_field_that_was_added_later_may_not_change_either(
    tmp_path: Path, later: dict[str, str] | None, complaint: str
) -> None:
    golden, first = tmp_path / "golden.json", schema_of(CONTRACTS["OrderPlaced.v1"])
    second = _change(first, GIFT, {"type": "boolean"})
    assert accept(golden, first) == accept(golden, second) == []
    assert accept(golden, _change(second, GIFT, later)) == [complaint]
    assert json.loads(golden.read_text()) == second, "what was promised stays"


def test_a_published_version_is_never_taken_away() -> None:
    published = {path.stem for path in GOLDEN.glob("*.json")}
    assert published <= set(CONTRACTS), "consumers and the archive still hold this version"


def _change(schema: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(schema)
    *way, last = path.split("/")
    place: Any = changed
    for step in way:
        place = place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("$defs/OrderPlaced/properties/total_points", None, "/data/total_points was removed"),
        ("$defs/OrderPlaced/properties/order_id/format", None, "/data/order_id: format was uuid and is None"),
        ("$defs/OrderPlaced/properties/total_points/type", "string", "/data/total_points: type was integer"),
        ("$defs/OrderedLine/properties/quantity/exclusiveMinimum", 5, "/data/lines/*/quantity"),
        ("$defs/OrderedLine/required", ["item_id", "quantity"], "/data/lines/*/unit_points may be missing"),
        ("required", ["id", "shop"], "/shop is required now"),
        ("properties/region", None, "/region was removed"),
        ("properties/type", {"const": "OrderPlaced.v2"}, "/type: const was OrderPlaced.v1"),
    ],
)
def test_a_breaking_change_is_noticed(path: str, value: Any, complaint: str) -> None:
    published = schema_of(CONTRACTS["OrderPlaced.v1"])
    changes = list(breaking_changes(published, _change(published, path, value)))
    assert any(change.startswith(complaint) for change in changes), changes


def test_a_closed_list_in_another_order_is_the_same_list() -> None:
    published = schema_of(CONTRACTS["PointsCredited.v1"])
    kinds = "$defs/PointsCredited/properties/kind/enum"
    assert list(breaking_changes(published, _change(published, kinds, ["EARN", "GIFT", "BOOST"]))) == []
    assert list(breaking_changes(published, _change(published, kinds, ["EARN", "GIFT"]))) != []


def test_an_optional_field_more_is_no_breaking_change() -> None:
    published = schema_of(CONTRACTS["OrderPlaced.v1"])
    more = _change(published, "$defs/OrderPlaced/properties/gift", {"type": "boolean", "default": False})
    assert list(breaking_changes(published, more)) == []


@pytest.mark.parametrize("name", NAMES)
def test_an_event_as_it_is_written_fits_its_schema_and_its_type(name: str) -> None:
    contract, schema = CONTRACTS[name], schema_of(CONTRACTS[name])
    payload = contract.model_validate_json(json.dumps(example(schema)["data"]))
    origin = Origin(uuid4(), datetime(2026, 1, 1, 12, tzinfo=UTC), "us-east-1", "request-1", "trace-1")
    written = write_event(origin.announce(payload, uuid4(), version=3))
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    validator.validate(json.loads(written))
    assert read_event(contract, written).data == payload


def test_a_consumer_of_today_reads_an_event_with_a_field_of_tomorrow() -> None:
    contract = CONTRACTS["OrderPlaced.v1"]
    detail = {**example(schema_of(contract)), "tomorrow": 1}
    detail["data"]["tomorrow"] = 1
    read_event(contract, json.dumps(detail))


@pytest.mark.parametrize(
    "moment", ["2026-01-01T12:00:00", "2026-01-01", "34.90", 1.5, 0, "2026-13-01T12:00:00Z", None]
)
def test_an_event_without_a_moment_in_its_time_zone_is_refused(moment: object) -> None:
    contract = CONTRACTS["OrderPlaced.v1"]
    detail = {**example(schema_of(contract)), "occurred_at": moment}
    with pytest.raises(ValidationError):
        read_event(contract, json.dumps(detail))


def test_a_moment_of_another_time_zone_is_read_as_the_same_moment() -> None:
    contract = CONTRACTS["OrderPlaced.v1"]
    detail = {**example(schema_of(contract)), "occurred_at": "2026-01-01T14:00:00+02:00"}
    envelope = read_event(contract, json.dumps(detail))
    assert envelope.occurred_at == datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(("total", "quantity"), [(-1, 1), (10, 0), (10, "1"), (1.5, 1), (True, 1)])
def test_an_event_that_no_consumer_could_read_is_not_made(total: Any, quantity: Any) -> None:
    with pytest.raises(ValidationError, match="1 validation error"):
        OrderPlaced(
            order_id=uuid4(),
            customer_id=uuid4(),
            total_points=total,
            lines=(OrderedLine(item_id=uuid4(), quantity=quantity, unit_points=10),),
        )


def test_a_number_of_an_event_is_whole_however_it_is_written() -> None:
    contract = CONTRACTS["OrderPlaced.v1"]
    detail = example(schema_of(contract))
    detail["aggregate_version"], detail["data"]["total_points"] = 2.0, 2e2
    read = read_event(contract, json.dumps(detail))
    assert (read.aggregate_version, read.data.model_dump()["total_points"]) == (2, 200)


@pytest.mark.parametrize("form", ["{%s}", "urn:uuid:%s"])
def test_an_id_of_another_form_is_refused(form: str) -> None:
    contract = CONTRACTS["OrderPlaced.v1"]
    detail = {**example(schema_of(contract)), "id": form % uuid4()}
    with pytest.raises(ValidationError, match="must be a UUID"):
        read_event(contract, json.dumps(detail))


@pytest.mark.parametrize("wrong", ["2", True, 1.5, None, [2]])
def test_what_is_no_whole_number_is_refused_where_one_is_due(wrong: object) -> None:
    contract = CONTRACTS["OrderPlaced.v1"]
    detail = {**example(schema_of(contract)), "aggregate_version": wrong}
    with pytest.raises(ValidationError, match="aggregate_version"):
        read_event(contract, json.dumps(detail))


def test_what_a_refused_event_holds_is_not_in_the_error() -> None:
    contract = CONTRACTS["OrderPlaced.v1"]
    detail = {**example(schema_of(contract)), "region": ["ana@example.com"]}
    with pytest.raises(ValidationError) as error:
        read_event(contract, json.dumps(detail))
    assert "ana" not in str(error.value)


@pytest.mark.parametrize("name", NAMES)
def test_samples_hold_an_event_that_its_consumer_can_read(name: str) -> None:
    contract = CONTRACTS[name]
    body = json.loads(sample(contract)["Records"][0]["body"])
    assert body["detail-type"] == body["detail"]["type"] == name
    read_event(contract, json.dumps(body["detail"]))


def test_the_asyncapi_document_refers_to_what_is_there() -> None:
    path = SCHEMAS / "asyncapi.json"
    document = json.loads(path.read_text())
    assert document["asyncapi"].startswith("3.")
    for reference in re.findall(r'"\$ref": "([^"]+)"', path.read_text()):
        if reference.startswith("#/"):
            place: Any = document
            for step in reference[2:].split("/"):
                place = place[step]
        else:
            assert (Path(SCHEMAS) / reference).exists()
    assert set(document["components"]["messages"]) == set(PUBLISHED)


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("CleanCart", "order_id"),
        ("Notify", "order_id"),
        ("EraseCustomer", "customer_id"),
        ("RetireItem", "item_id"),
    ],
)
def test_a_functions_sample_is_taken_for_its_orders_or_its_cascades_own(name: str, fact: str) -> None:
    sample = json.loads(
        (Path(__file__).parents[2] / "events" / "samples" / f"{name}Function.json").read_text("utf-8")
    )
    for record in sample["Records"]:
        detail = json.loads(record["body"])["detail"]
        assert detail["id"] == str(event_of(UUID(detail["data"][fact])))
        assert detail["aggregate_id"] == detail["data"][fact]
