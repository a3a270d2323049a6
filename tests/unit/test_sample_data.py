"""The sample data without a database: the same everywhere, whole in itself, within the tables' columns."""

import csv
import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID
from xml.etree import ElementTree

import boto3
import pytest
from moto import mock_aws

from local.sample_data import (
    DEMO_POINTS,
    DEMO_USERNAME,
    HOUSEHOLD_USERNAMES,
    MAX_ROWS,
    STAFF_USERNAMES,
    SampleData,
    draw_pictures,
    enrolment_messages,
    generate,
    upload_pictures,
    write_csv,
)
from local.sample_data.__main__ import main
from local.sample_data.load import batches
from local.sample_data.rows import TABLES, LedgerEntry

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MIGRATIONS = Path("sql/migrations")
BUCKET = "pictures"

_FINGERPRINT = """
import hashlib
from local.sample_data import generate
print(hashlib.sha256(repr(generate(60, 40, 7)).encode()).hexdigest())
"""


@pytest.fixture(scope="module")
def data() -> SampleData:
    return generate()


@pytest.fixture(scope="module")
def ledger(data: SampleData) -> dict[UUID, list[LedgerEntry]]:
    entries: dict[UUID, list[LedgerEntry]] = defaultdict(list)
    for entry in data.transactions:
        entries[entry.customer_id].append(entry)
    return entries


def test_another_process_generates_the_same_rows() -> None:
    # Hash randomization is what makes the order of sets differ between processes.
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    output = subprocess.run(
        [sys.executable, "-c", _FINGERPRINT], check=True, capture_output=True, text=True, env=environment
    ).stdout
    assert output.strip() == hashlib.sha256(repr(generate(60, 40, 7)).encode()).hexdigest()


def test_another_seed_generates_other_customers_and_items() -> None:
    first, second = generate(20, 20, 1), generate(20, 20, 2)
    assert not {row.id for row in first.customers} & {row.id for row in second.customers}
    assert not {row.id for row in first.catalog_items} & {row.id for row in second.catalog_items}


def test_samples_of_different_size_share_items_and_no_customer() -> None:
    small, large = generate(20, 20), generate(21, 20)
    assert small.catalog_items == large.catalog_items
    assert not {row.id for row in small.customers} & {row.id for row in large.customers}


def test_the_sample_has_the_promised_size(data: SampleData) -> None:
    assert len(data.customers) == 5000
    assert len(data.catalog_items) == 200
    assert len({item.category for item in data.catalog_items}) == 8
    assert len(data.orders) > 5000
    assert len({row.customer_id for row in data.shopping_cart_items}) > 2000


@pytest.mark.parametrize(("customers", "items"), [(4, 200), (5000, 9)])
def test_a_sample_too_small_for_its_cast_is_refused(customers: int, items: int) -> None:
    with pytest.raises(ValueError, match="ask for more"):
        generate(customers, items)


def test_the_smallest_sample_has_its_cast_and_something_of_everything() -> None:
    smallest = generate(5, 10)
    assert len({item.category for item in smallest.catalog_items}) == 8
    assert (
        len([row for row in smallest.shopping_cart_items if row.customer_id == smallest.customers[0].id]) == 3
    )


def test_more_items_than_were_written_down_are_further_editions_with_names_of_their_own() -> None:
    large = generate(5, 450)
    assert len({item.name for item in large.catalog_items}) == 450
    assert len({image.filename for image in large.images}) == 3 * 450


# The tables' columns


def _widths() -> dict[tuple[str, str], int]:
    text = "\n".join(path.read_text() for path in sorted(MIGRATIONS.glob("*.sql")))
    widths = {}
    for table, body in re.findall(r"create table if not exists xpoints\.(\w+) \((.*?)\n\);", text, re.DOTALL):
        for column, width in re.findall(r"^ +(\w+) varchar\((\d+)\)", body, re.MULTILINE):
            widths[table, column] = int(width)
    return widths


def test_every_text_fits_its_column() -> None:
    widths = _widths()
    large = generate(300, 450)
    checked = Counter[str]()
    for table in TABLES:
        for row in large.rows(table.name):
            for column, value in zip(table.columns, row, strict=True):
                if isinstance(value, str) and (table.name, column) != ("order_events", "lines"):
                    assert len(value) <= widths[table.name, column], (table.name, column, value)
                    checked[table.name] += 1
    assert checked["customers"] > 0
    assert checked["catalog_items"] > 0


def test_every_customers_text_fits_its_column(data: SampleData) -> None:
    widths = _widths()
    for customer in data.customers:
        for column, value in customer._asdict().items():
            if isinstance(value, str):
                assert 0 < len(value) <= widths["customers", column], (column, value)


def test_customers_read_like_the_workshops(data: SampleData) -> None:
    usernames = [customer.username for customer in data.customers]
    assert len(set(usernames)) == len(usernames)
    for customer in data.customers:
        assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)+", customer.username)
        # SES's simulator takes it and nobody gets it, whoever loads the sample into a real shop.
        name = re.fullmatch(r"success\+([a-z0-9_]+)@simulator\.amazonses\.com", customer.email)
        assert name
        assert customer.username.endswith(name[1])
        assert re.fullmatch(r"555-01\d\d", customer.phone_num)
        assert 18 <= customer.age <= 88
        assert customer.maiden_name != customer.last_name
        assert "#" not in customer.postal_code
        assert "{" not in customer.address


def test_items_cost_what_their_price_in_dollars_says(data: SampleData) -> None:
    for item in data.catalog_items:
        assert item.points_price % 50 == 0
        assert abs(item.points_price - item.usd_price * 100) <= 25
        assert item.points_price > 0
        assert 0 <= item.rating <= 5
        assert min(item.weight, item.width, item.height, item.depth) > 0


def test_no_id_is_used_twice(data: SampleData) -> None:
    ids = [
        row.id
        for rows in (data.customers, data.catalog_items, data.images, data.transactions)
        for row in rows
    ]
    assert len(set(ids)) == len(ids)
    assert all(identifier.version == 4 for identifier in ids)


def test_no_primary_key_is_used_twice(data: SampleData) -> None:
    for table in TABLES:
        keys = [row[: table.key_columns] for row in data.rows(table.name)]
        assert len(set(keys)) == len(keys), table.name


# The ledger


def test_each_balance_is_the_sum_of_its_ledger(
    data: SampleData, ledger: dict[UUID, list[LedgerEntry]]
) -> None:
    assert {row.customer_id: row.points_balance for row in data.points_balances} == {
        customer.id: sum(entry.points for entry in ledger[customer.id]) for customer in data.customers
    }


def test_each_entry_says_what_balance_it_left_and_none_is_below_zero(
    ledger: dict[UUID, list[LedgerEntry]],
) -> None:
    for entries in ledger.values():
        assert entries[0].tx_type == "OPENING"
        assert entries[0].balance_after == entries[0].points
        for before, after in pairwise(entries):
            assert before.tx_dt < after.tx_dt
            assert after.tx_type in {"PURCHASE", "REFUND"}
            assert after.balance_after == before.balance_after + after.points
        assert min(entry.balance_after for entry in entries) >= 0


def test_each_order_is_the_sum_of_its_lines_and_stands_in_the_ledger_under_its_own_id(
    data: SampleData,
) -> None:
    total: Counter[UUID] = Counter()
    refunded: Counter[UUID] = Counter()
    for line in data.order_items:
        total[line.tx_id] += line.unit_cnt * line.unit_points_price
        refunded[line.tx_id] += line.refunded_cnt * line.unit_points_price
        assert 0 <= line.refunded_cnt <= line.unit_cnt
    purchases = {entry.id: entry for entry in data.transactions if entry.tx_type == "PURCHASE"}
    refunds: Counter[UUID | None] = Counter()
    for entry in data.transactions:
        if entry.tx_type == "REFUND":
            refunds[entry.reference_id] += entry.points
    assert set(purchases) == {order.id for order in data.orders} == set(total)
    for order in data.orders:
        purchase = purchases[order.id]
        assert order.total_points == total[order.id] == -purchase.points
        assert order.refunded_points == refunded[order.id] == refunds[order.id]
        assert purchase.reference_id == order.id
        assert purchase.customer_id == order.customer_id
        assert purchase.tx_dt.replace(tzinfo=UTC) == order.placed_at
        # A checkout takes uncleaned orders off the cart: the past must not.
        assert order.cart_cleaned_at > order.placed_at


def test_each_refund_is_in_its_orders_history(data: SampleData) -> None:
    orders = {order.id: order for order in data.orders}
    returned = {(line.tx_id, str(line.cat_item_id)): line.refunded_cnt for line in data.order_items}
    assert {event.order_id for event in data.order_events} == {
        order.id for order in data.orders if order.version == 2
    }
    for event in data.order_events:
        assert event.version == orders[event.order_id].version
        assert event.event_type == "OrderRefunded.v1"
        assert event.points == orders[event.order_id].refunded_points
        assert event.occurred_at > orders[event.order_id].placed_at
        for line in json.loads(event.lines):
            assert line["quantity"] == returned[event.order_id, line["item_id"]] > 0


def test_an_orders_status_says_how_much_of_it_came_back(data: SampleData) -> None:
    seen = Counter(order.status for order in data.orders)
    assert set(seen) == {"PLACED", "PART_REFUNDED", "REFUNDED"}
    for order in data.orders:
        if order.status == "PLACED":
            assert order.refunded_points == 0
        elif order.status == "REFUNDED":
            assert order.refunded_points == order.total_points
        else:
            assert 0 < order.refunded_points < order.total_points


# Carts, stock, and the cast


def test_carts_and_orders_hold_known_items_and_leave_the_contested_ones_alone(data: SampleData) -> None:
    known = {item.id for item in data.catalog_items}
    contested = {data.hot_drop_item_id, data.single_seat_item_id}
    held = {row.item_id for row in data.shopping_cart_items} | {row.cat_item_id for row in data.order_items}
    assert held <= known - contested
    assert all(row.quantity > 0 for row in data.shopping_cart_items)


def test_the_hot_drop_is_spread_and_the_single_seat_is_one(data: SampleData) -> None:
    slots = defaultdict(list)
    for row in data.stock:
        slots[row.item_id].append(row)
    hot, seat = slots.pop(data.hot_drop_item_id), slots.pop(data.single_seat_item_id)
    assert [row.slot for row in hot] == list(range(64))
    assert sum(row.available for row in hot) == 1000
    assert [(row.slot, row.available) for row in seat] == [(0, 1)]
    assert slots
    assert all([row.slot for row in rows] == [0] and rows[0].available > 1 for rows in slots.values())


def test_the_first_customer_is_the_demo_customer(
    data: SampleData, ledger: dict[UUID, list[LedgerEntry]]
) -> None:
    carlos = data.customers[0]
    price = {item.id: item.points_price for item in data.catalog_items}
    cart = [row for row in data.shopping_cart_items if row.customer_id == carlos.id]
    assert carlos.username == DEMO_USERNAME == "carlos_salazar_121"
    assert data.points_balances[0] == (carlos.id, DEMO_POINTS)
    assert len(cart) == 3
    assert sum(price[row.item_id] * row.quantity for row in cart) < DEMO_POINTS
    assert not {row.item_id for row in cart} & {row.item_id for row in data.stock}
    assert [entry.tx_type for entry in ledger[carlos.id]] == ["OPENING", "PURCHASE", "PURCHASE", "PURCHASE"]


def test_the_household_of_the_write_skew_exercise_has_its_two_balances(data: SampleData) -> None:
    ids = {customer.username: customer.id for customer in data.customers}
    balances = dict(data.points_balances)
    first, second = HOUSEHOLD_USERNAMES
    assert balances[ids[first]] == 283
    assert balances[ids[second]] == 288


def test_enrolment_messages_name_customers_and_mark_the_staff(data: SampleData) -> None:
    messages = list(enrolment_messages(data, 10))
    assert [message["customer_id"] for message in messages] == [str(row.id) for row in data.customers[:10]]
    assert {message["username"] for message in messages if message["staff"]} == set(STAFF_USERNAMES)
    assert len(list(enrolment_messages(data))) == 5000


# Batches, CSV files, pictures


def test_no_batch_is_larger_than_a_transaction_may_be(data: SampleData) -> None:
    sizes = [(len(rows), len(repr(rows).encode())) for _, rows in batches(data)]
    assert max(rows for rows, _ in sizes) == MAX_ROWS == 3000
    assert max(size for _, size in sizes) < 5 * 1024 * 1024
    assert sum(rows for rows, _ in sizes) == sum(len(data.rows(table.name)) for table in TABLES)


def test_csv_files_have_the_workshops_tables_and_columns_and_stay_below_a_transaction(
    data: SampleData, tmp_path: Path
) -> None:
    (tmp_path / "customers.9.csv").write_text("left over")
    files = write_csv(data, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in files} | {"load.sql"}
    rows: Counter[str] = Counter()
    headers: dict[str, list[str]] = {}
    for path in files:
        with path.open(encoding="utf-8", newline="") as lines:
            header, *body = csv.reader(lines)
        table = path.name.partition(".")[0]
        assert headers.setdefault(table, header) == header
        assert len(body) <= 3000
        rows[table] += len(body)
    assert rows["customers"] == 5000
    assert rows["image_urls"] == 0
    assert headers["transactions"] == ["id", "customer_id", "tx_type", "points", "tx_dt", "tx_description"]
    assert set(headers) == {
        "customers",
        "catalog_items",
        "catalog_images",
        "shopping_cart_items",
        "points_balances",
        "transactions",
        "order_items",
        "images",
        "image_urls",
    }


def test_every_image_row_has_a_picture_that_is_well_formed_and_stands_alone(data: SampleData) -> None:
    drawn: dict[str, bytes] = {}
    told: list[tuple[str, int, int]] = []
    count = draw_pictures(data, drawn.__setitem__, lambda *step: told.append(step))
    assert count == len(drawn) == 600
    assert set(drawn) == {image.filename for image in data.images}
    assert told[-1] == ("Drawing pictures", 600, 600)
    for filename, content in drawn.items():
        root = ElementTree.fromstring(content)
        assert root.tag == "{http://www.w3.org/2000/svg}svg", filename
        # A picture shown by <img> loads nothing and runs nothing.
        assert b"<script" not in content
        assert b"href" not in content
        styles = re.findall(rb"\.(\w+)\{", content)
        used = {name for value in re.findall(rb'class="([^"]+)"', content) for name in value.split()}
        assert used <= set(styles), filename
    assert len(set(drawn.values())) > 590


def test_catalogue_images_and_thumbnails_are_known_images(data: SampleData) -> None:
    images = {image.id: image.filename for image in data.images}
    for item in data.catalog_items:
        assert images[item.thumbnail_id].endswith("-thumbnail.svg")
    shown = Counter(row.item_id for row in data.catalog_images)
    assert set(shown.values()) == {2}
    assert {row.image_id for row in data.catalog_images} <= set(images)


def test_pictures_are_written_into_a_directory(tmp_path: Path) -> None:
    small = generate(5, 10)
    assert draw_pictures(small, tmp_path) == 30
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.svg")} == {
        image.filename for image in small.images
    }


@pytest.fixture
def s3() -> Iterator["S3Client"]:
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        yield client


def test_pictures_are_put_once_and_again_only_where_they_differ(s3: "S3Client") -> None:
    small = generate(5, 10)
    assert upload_pictures(s3, BUCKET, small) == 30
    answer = s3.get_object(Bucket=BUCKET, Key=small.images[0].filename)
    assert answer["ContentType"] == "image/svg+xml"
    assert upload_pictures(s3, BUCKET, small) == 0
    s3.put_object(Bucket=BUCKET, Key=small.images[0].filename, Body=b"an older drawing")
    assert upload_pictures(s3, BUCKET, small) == 1


def test_the_command_writes_files_and_refuses_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes: list[Any] = ["--customers", "10", "--items", "10"]
    assert main(["csv", "--directory", str(tmp_path / "csv"), *sizes]) == 0
    assert "psql -f load.sql" in capsys.readouterr().out
    assert main(["pictures", "--directory", str(tmp_path / "pictures"), *sizes]) == 0
    assert "Drew 30 pictures" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["csv", "--directory", str(tmp_path), "--customers", "1"])
    assert ended.value.code == 2
    assert "not a whole number from 5 to" in capsys.readouterr().err
