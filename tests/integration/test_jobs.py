"""Scheduled jobs against a real server: bounded, resumable, safe to run twice at once."""

import importlib
import json
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from types import ModuleType
from typing import Any
from uuid import UUID, uuid4

import pytest

from domain.audit import Difference
from handlers.edge.observability import FunctionFailedError, logger
from sql.connection import Database
from sql.references import REFERENCES, TABLES, OnOrphan, Reference
from sql.scan import MAX_BYTES, MAX_ROWS, Batch, Table, fill, scan
from sql.transaction import Transaction
from sql.transactions import audit_ledger
from sql.transactions.audit_ledger import PARTS, audit_everything, audit_pass, audit_sample, audit_stock
from sql.transactions.expire import EXPIRIES, expire
from sql.transactions.move_points import STAFF_CREDIT
from sql.transactions.place_order import place_order
from sql.transactions.sweep_orphans import orphans, sweep
from tests.integration.conftest import Connect
from tests.integration.shop import Shop, order_command, render
from tools.dsql_check import find
from tools.dsql_rules import Statement as CheckedStatement
from tools.dsql_rules import numbered

Ways = Callable[..., Database]


@pytest.fixture
def shop(connect: Connect) -> Shop:
    return Shop(connect())


def never() -> bool:
    return False


def after_looks(times: int) -> Callable[[], bool]:
    """A time that is up at the given look at it."""
    looks = iter(range(times))
    return lambda: next(looks, None) is None


def insert_inbox(shop: Shop, rows: int, age: str = "100 days") -> None:
    shop.connection.execute(
        "insert into xpoints.inbox (event_id, consumer, processed_at) "
        "select gen_random_uuid(), 'notify', now() - %s::interval from generate_series(1, %s)",
        (age, rows),
    )


INBOX = next(expiry for expiry in EXPIRIES if expiry.name == "inbox")


# --- Scans ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pipelined", [True, False])
def test_a_scan_deletes_all_that_is_due_and_nothing_else(shop: Shop, database: Ways, pipelined: bool) -> None:
    insert_inbox(shop, 50)
    insert_inbox(shop, 7, age="1 day")
    scanned = expire(database("jobs", pipelined=pipelined), INBOX, never)
    assert (scanned.rows, scanned.done) == (50, True)
    assert shop.count("inbox") == 7


def test_no_transaction_of_a_scan_changes_more_rows_than_the_database_allows(
    shop: Shop, database: Ways
) -> None:
    insert_inbox(shop, 7000)
    scanned = expire(database("jobs"), INBOX, never)
    assert scanned.rows == 7000
    assert 1000 < scanned.most_rows <= MAX_ROWS, "the scan's own progress counts as a row, too"


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_a_batch_of_large_rows_stays_under_the_bytes_of_a_transaction(table: Table) -> None:
    assert table.batch_rows * table.row_bytes <= MAX_BYTES < 10 * 1024 * 1024
    assert 1 <= table.batch_rows < MAX_ROWS


def test_a_scan_stops_when_the_time_is_up_and_the_next_run_resumes_behind_its_checkpoint(
    shop: Shop, database: Ways
) -> None:
    insert_inbox(shop, 40)
    visited: list[Batch] = []

    def visit(_: object, batch: Batch) -> list[object]:
        visited.append(batch)
        return []

    jobs = database("jobs")
    first = scan(jobs, "test", TABLES["inbox"], visit, after_looks(2), most=10)  # type: ignore[arg-type]
    assert (first.batches, first.done) == (2, False)
    second = scan(jobs, "test", TABLES["inbox"], visit, never, most=10)  # type: ignore[arg-type]
    assert (second.batches, second.done) == (2, True)
    assert [batch.after for batch in visited[1:]] == [batch.upto for batch in visited[:-1]]


def test_a_new_pass_begins_only_when_it_is_due(shop: Shop, database: Ways) -> None:
    jobs = database("jobs")
    insert_inbox(shop, 5)
    assert expire(jobs, INBOX, never).rows == 5
    insert_inbox(shop, 5)
    again = expire(jobs, INBOX, never)
    assert (again.rows, again.batches, again.done) == (0, 0, True)
    assert expire(jobs, INBOX, never, every_s=0).rows == 5


@pytest.mark.parametrize("deletes", [True, False])
def test_runs_of_one_scan_that_overlap_share_the_work_and_do_nothing_twice(
    shop: Shop, database: Ways, deletes: bool
) -> None:
    insert_inbox(shop, 400)
    meet = threading.Barrier(3, timeout=30)

    def work(name: str, jobs: Database) -> None:
        done = False
        meet.wait()
        while not done:

            def visit(transaction: object, batch: Batch) -> list[object]:
                return [INBOX.query(**batch.parameters(), age_s=INBOX.age_s)] if deletes else []

            scanned = scan(jobs, "test", TABLES["inbox"], visit, never, most=10, every_s=3600)  # type: ignore[arg-type]
            rows[name] += scanned.rows
            batches[name] += scanned.batches
            done = scanned.done

    rows = {"first": 0, "second": 0, "third": 0}
    batches = dict(rows)
    ways = {name: database("jobs", region=region) for name, region in zip(rows, ("a", "b", "b"), strict=True)}
    threads = [threading.Thread(target=work, args=item) for item in ways.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(batches.values()) == 40, "each batch is visited once"
    assert (sum(rows.values()), shop.count("inbox")) == ((400, 0) if deletes else (0, 400))
    assert shop.rows("select checkpoint from xpoints.job_progress") == [(None,)], "one pass, finished once"


# --- Expiry ---------------------------------------------------------------------------------------------

DUE = {
    "idempotency_records": (
        "insert into xpoints.idempotency_records values (gen_random_uuid(), 'k', 'h', gen_random_uuid(), "
        "201, '', now() - make_interval(secs => %s))"
    ),
    "inbox": "insert into xpoints.inbox values (gen_random_uuid(), 'c', now() - make_interval(secs => %s))",
    "consumed_versions": (
        "insert into xpoints.consumed_versions values (gen_random_uuid(), 'c', 1, "
        "now() - make_interval(secs => %s))"
    ),
    "shopping_cart_items": (
        "insert into xpoints.shopping_cart_items values (gen_random_uuid(), gen_random_uuid(), 1, "
        "now() - make_interval(secs => %s))"
    ),
    "image_urls": (
        "insert into xpoints.image_urls values (gen_random_uuid(), 'us-east-1', 'https://', "
        "(now() at time zone 'UTC') - make_interval(secs => %s))"
    ),
    "notifications": (
        "insert into xpoints.notifications values (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), "
        "'k', 'SENT', '', '', now(), now() - make_interval(secs => %s))"
    ),
    "request_log": (
        "insert into xpoints.request_log values (gen_random_uuid(), 'o', gen_random_uuid(), "
        "gen_random_uuid(), 'r', 'sold', 1, 0, now() - make_interval(secs => %s), now())"
    ),
    "email_changes": (
        "insert into xpoints.email_changes values (gen_random_uuid(), gen_random_uuid(), 'a@example.com', "
        "'', 0, now() - make_interval(secs => %s))"
    ),
}


def test_records_go_when_their_time_is_over_and_not_a_minute_earlier(shop: Shop, database: Ways) -> None:
    jobs = database("jobs")
    for expiry in EXPIRIES:
        if expiry.name == "usage_counts":
            continue  # kept by whole days
        for age_s in (expiry.age_s + 60, expiry.age_s - 60):
            shop.connection.execute(DUE[expiry.name].encode(), (age_s,))
        assert (expire(jobs, expiry, never).rows, shop.count(expiry.table.name)) == (1, 1), expiry.name


def test_counts_of_a_day_go_when_a_whole_day_is_behind_it(shop: Shop, database: Ways) -> None:
    (counts,) = [expiry for expiry in EXPIRIES if expiry.name == "usage_counts"]
    for ago in (0, 1, 2, 3):
        shop.connection.execute(
            "insert into xpoints.usage_counts select gen_random_uuid()::text, 'mail', 0, 1, "
            "floor(extract(epoch from now()) / 86400)::int - %s, 1",
            (ago,),
        )
    assert expire(database("jobs"), counts, never).rows == 2
    days = "select floor(extract(epoch from now()) / 86400)::int - day from xpoints.usage_counts order by 1"
    assert shop.rows(days) == [(0,), (1,)]


def test_a_message_that_was_never_sent_does_not_expire(shop: Shop, database: Ways) -> None:
    shop.connection.execute(
        "insert into xpoints.notifications values (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), "
        "'k', 'PENDING', '', '', now() - interval '1 year')"
    )
    notifications = next(expiry for expiry in EXPIRIES if expiry.name == "notifications")
    assert expire(database("jobs"), notifications, never).rows == 0


def test_who_of_the_staff_credited_whom_stays_as_long_as_the_ledger(shop: Shop, database: Ways) -> None:
    shop.connection.execute(
        "insert into xpoints.request_log values (gen_random_uuid(), %s, gen_random_uuid(), "
        "gen_random_uuid(), 'r', 'gift', 1, 0, now() - interval '9 years', now() - interval '9 years')",
        [STAFF_CREDIT],
    )
    log = next(expiry for expiry in EXPIRIES if expiry.name == "request_log")
    assert expire(database("jobs"), log, never).rows == 0


# --- The declared references ----------------------------------------------------------------------------


#: uuid columns that are no reference to one table, with the reason.
EXEMPT: dict[str, str] = {
    "customers.id": "its own key",
    "catalog_items.id": "its own key",
    "images.id": "its own key",
    "transactions.id": "its own key; that a PURCHASE has its order is the audit's",
    "orders.id": "its own key; that an order has its PURCHASE entry is the audit's",
    "notifications.id": "its own key",
    "region_cleanups.subject_id": "a customer or an image, which is gone by then",
    "email_changes.change_id": "also the id of the message with its code, which is gone after 30 days",
    "notifications.claim_token": "names a run that sends, of which no row is kept",
    "outbox.id": "its own key",
    "outbox_dead_letters.id": "its own key",
    "request_log.id": "its own key",
    "transactions.reference_id": "an order, a transfer or nothing, by tx_type; the audit compares refunds",
    "idempotency_records.customer_id": "gone after two days; whoever sent the request need not be a customer",
    "idempotency_records.result_id": "whatever the operation made; gone after two days",
    "orders.correlation_id": "names a request, of which no row is kept",
    "relay_leases.token": "names a relay run, of which no row is kept",
    "relays.token": "names a relay run, of which no row is kept",
    "consumed_versions.aggregate_id": "an order, a customer or an item, by the consumer",
    "inbox.event_id": "events are on the bus and not in a table",
    "notifications.event_id": "events are on the bus and not in a table",
    "order_events.event_id": "events are on the bus and not in a table",
    "request_log.subject_id": "a log of what was tried, also with what does not exist",
    "request_log.actor_id": "a log of who tried, also of those who are gone",
}


def test_every_uuid_column_of_the_schema_is_a_declared_reference_or_exempt(shop: Shop) -> None:
    columns = {
        f"{table}.{column}"
        for table, column in shop.rows(
            "select table_name, column_name from information_schema.columns c "
            "join information_schema.tables t using (table_schema, table_name) "
            "where table_schema = 'xpoints' and table_type = 'BASE TABLE' "
            "and (data_type = 'uuid' or right(column_name, 3) = '_id')"
        )
    }
    declared = {str(reference) for reference in REFERENCES}
    assert columns == declared | EXEMPT.keys(), "list it in sql/references.py, or here with a reason"
    assert not declared & EXEMPT.keys()


def test_tables_are_scanned_in_the_order_of_their_primary_key(shop: Shop) -> None:
    for table in TABLES.values():
        key = shop.rows(
            "select a.attname from pg_index i "
            "cross join unnest(i.indkey) with ordinality as k (number, place) "
            "join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number "
            "where i.indrelid = %s::regclass and i.indisprimary order by k.place",
            [f"xpoints.{table.name}"],
        )
        assert list(table.key) == [column for (column,) in key]


def test_the_statements_of_the_sweep_are_such_as_the_database_takes() -> None:
    queries = [fill("read_batch_end", table) for table in TABLES.values()]
    queries += [orphans(reference) for reference in REFERENCES]
    assert (
        find(
            [],
            [CheckedStatement(numbered(query.text.decode()), query.name, query.comment) for query in queries],
        )
        == []
    )


# --- The orphan sweep -----------------------------------------------------------------------------------

CHILDREN = {
    "staff_members": "(customer_id) values (%(customer)s)",
    "shopping_cart_items": "(customer_id, item_id, quantity) values (%(customer)s, %(item)s, 1)",
    "notifications": (
        "(id, customer_id, event_id, kind, subject, body) values (%(id)s, %(customer)s, %(id)s, 'k', '', '')"
    ),
    "item_words": "(item_id, word) values (%(item)s, 'mug')",
    "catalog_images": "(item_id, image_id) values (%(item)s, %(image)s)",
    "image_urls": "(image_id, region) values (%(image)s, 'us-east-1')",
    "catalog_items": "(id, thumbnail_id) values (%(id)s, %(image)s)",
    "stock": "(item_id, slot, available) values (%(item)s, 0, 1)",
    "points_balances": "(customer_id, points_balance) values (%(customer)s, 0)",
    "transactions": "(id, customer_id, points) values (%(id)s, %(customer)s, 0)",
    "orders": "(id, customer_id, total_points, region) values (%(id)s, %(customer)s, 0, 'r')",
    "order_items": "(tx_id, cat_item_id) values (%(tx)s, %(item)s)",
    "email_changes": "(customer_id, change_id, email) values (%(customer)s, %(id)s, 'a@example.com')",
    "order_events": (
        "(order_id, version, event_id, event_type, points, lines, occurred_at) "
        "values (%(order)s, 2, %(id)s, 't', 0, '', now())"
    ),
}
PARENTS = {
    "customers": "customer",
    "catalog_items": "item",
    "images": "image",
    "transactions": "tx",
    "orders": "order",
}


PARENT_ROWS = {
    "orders": (
        "with customer as (insert into xpoints.customers (id) values (%(id)s)) "
        "insert into xpoints.orders (id, customer_id, total_points, region) values (%(id)s, %(id)s, 0, 'r')"
    ),
}


def add_child(shop: Shop, reference: Reference, **missing: UUID) -> None:
    """Add a row whose parents are there, but for those named."""
    ids = {
        "id": uuid4(),
        "customer": uuid4(),
        "item": uuid4(),
        "image": uuid4(),
        "tx": uuid4(),
        "order": uuid4(),
    }
    for parent, name in PARENTS.items():
        if name not in missing:
            shop.connection.execute(
                PARENT_ROWS.get(parent, f"insert into xpoints.{parent} (id) values (%(id)s)").encode(),
                {"id": ids[name]},
            )
    shop.connection.execute(
        f"insert into xpoints.{reference.table} {CHILDREN[reference.table]}".encode(), ids | missing
    )


def test_the_sweep_finds_an_orphan_at_every_reference_and_spares_what_has_its_parent(
    shop: Shop, database: Ways
) -> None:
    jobs = database("jobs")
    for reference in REFERENCES:
        missing = uuid4()
        add_child(shop, reference)
        add_child(shop, reference, **{PARENTS[reference.parent]: missing})

        swept = sweep(jobs, reference, never)

        query = f"select count(*) from xpoints.{reference.table} where {reference.column} = %s"
        left = shop.scalar(query, [missing])
        if reference.on_orphan is OnOrphan.DELETE:
            assert (left, swept.deleted, swept.done) == (0, 1, True), reference
        else:
            assert (left, swept.missing, swept.done) == (1, {missing}, True), reference
            shop.connection.execute(
                f"delete from xpoints.{reference.table} where {reference.column} = %s".encode(), (missing,)
            )


def test_a_parent_that_was_erased_or_retired_counts_as_gone(shop: Shop, database: Ways) -> None:
    jobs = database("jobs")
    marked = [reference for reference in REFERENCES if reference.gone_column]
    for reference in marked:
        add_child(shop, reference)
        mark = f"update xpoints.{reference.parent} set {reference.gone_column} = now()"
        shop.connection.execute(mark.encode())
        assert sweep(jobs, reference, never).deleted == 1, reference
    assert len(marked) == 7


def test_the_ledger_and_orders_are_never_deleted_by_the_sweep() -> None:
    money = {"transactions", "orders", "order_items", "order_events", "points_balances", "stock"}
    assert {r.on_orphan for r in REFERENCES if r.table in money} == {OnOrphan.REPORT}


def test_sweeps_that_overlap_leave_no_orphan_and_delete_nothing_twice(shop: Shop, database: Ways) -> None:
    shop.connection.execute(
        "insert into xpoints.shopping_cart_items (customer_id, item_id, quantity) "
        "select gen_random_uuid(), gen_random_uuid(), 1 from generate_series(1, 20000)"
    )
    reference = REFERENCES[0]
    deleted: list[int] = []

    def work(jobs: Database) -> None:
        while not (swept := sweep(jobs, reference, never)).done:
            deleted.append(swept.deleted)
        deleted.append(swept.deleted)

    threads = [threading.Thread(target=work, args=[database("jobs")]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(deleted) == 20000
    assert shop.count("shopping_cart_items") == 0


# --- The ledger audit -----------------------------------------------------------------------------------


@pytest.fixture
def traded(shop: Shop, database: Ways) -> Shop:
    """Three customers who each ordered twice."""
    mug = shop.item(points=10)
    for _ in range(3):
        customer_id = shop.customer(points=1000)
        for number in range(2):
            shop.connection.execute("update xpoints.orders set cart_cleaned_at = now()")
            shop.connection.execute("delete from xpoints.shopping_cart_items")
            shop.fill_cart(customer_id, {mug: 2 + number})
            place_order(
                database("checkout"),
                order_command(customer_id, 20 + 10 * number, key=f"key-{number}"),
                render,
            )
    return shop


def audit(jobs: Database) -> list[str]:
    everything, scheduled, sample = set[Difference](), set[Difference](), set[Difference]()
    for part in PARTS:
        audit_everything(jobs, part, everything.update)
        assert audit_pass(jobs, part, scheduled.update, never, every_s=0).done
        # Behind the last row comes the first.
        audit_sample(jobs, part, sample.update, UUID(int=2**128 - 1), never)
    assert everything == scheduled == sample, "a sample of everything is the whole"
    audit_stock(jobs, everything.update)
    return sorted(difference.kind for difference in everything)


def test_the_audit_finds_nothing_in_a_sound_shop(traded: Shop, database: Ways) -> None:
    assert audit(database("jobs")) == []
    assert audit_pass(database("jobs"), PARTS[0], print, never).batches == 0, "not due again"
    assert traded.scalar("select count(*) from xpoints.orders") == 6


CUSTOMER = "(select id from xpoints.customers order by id limit 1)"
ORDER = "(select id from xpoints.orders order by id limit 1)"


@pytest.mark.parametrize(
    ("damage", "kinds"),
    [
        (
            f"update xpoints.points_balances set points_balance = 1 where customer_id = {CUSTOMER}",
            ["balance-differs"],
        ),
        (f"delete from xpoints.points_balances where customer_id = {CUSTOMER}", ["balance-missing"]),
        (
            f"insert into xpoints.transactions (customer_id, points, balance_after) "
            f"values ({CUSTOMER}, 5, 5)",
            ["balance-differs", "chain-broken"],
        ),
        (f"update xpoints.transactions set balance_after = 7 where id = {ORDER}", ["chain-broken"]),
        (
            f"update xpoints.customers set erased_at = now() where id = {CUSTOMER}; "
            f"delete from xpoints.points_balances where customer_id = {CUSTOMER}",
            ["closed-account-holds-points"],
        ),
        (
            f"update xpoints.customers set erased_at = now() - interval '2 days' where id = {CUSTOMER}",
            ["erasure-unfinished"],
        ),
        (
            f"update xpoints.order_items set unit_cnt = unit_cnt + 1 where tx_id = {ORDER}",
            ["order-differs-from-lines"],
        ),
        (f"delete from xpoints.order_items where tx_id = {ORDER}", ["order-differs-from-lines"]),
        (
            f"update xpoints.transactions set tx_type = 'BOOST' where id = {ORDER}",
            ["order-without-debit"],
        ),
        (
            f"update xpoints.orders set refunded_points = 1, status = 'PART_REFUNDED' where id = {ORDER}",
            ["lines-differ-from-refunds", "order-differs-from-refunds", "status-differs-from-refunds"],
        ),
        (
            f"update xpoints.orders set status = 'REFUNDED' where id = {ORDER}",
            ["status-differs-from-refunds"],
        ),
        (
            f"update xpoints.orders set cart_cleaned_at = null, placed_at = now() - interval '2 hours' "
            f"where id = {ORDER}",
            ["order-without-effect"],
        ),
        (
            f"delete from xpoints.idempotency_records where result_id = {ORDER}",
            ["order-without-record"],
        ),
        (
            "alter table xpoints.stock drop constraint stock_not_negative; "
            "insert into xpoints.stock values (gen_random_uuid(), 0, -1)",
            ["stock-negative"],
        ),
    ],
)
def test_the_audit_finds_each_kind_of_damage(
    traded: Shop, database: Ways, damage: str, kinds: list[str]
) -> None:
    for statement in damage.split("; "):
        traded.connection.execute(statement.encode())
    assert audit(database("jobs")) == kinds


def test_entries_whose_clocks_disagree_about_their_order_are_no_difference(
    traded: Shop, database: Ways
) -> None:
    traded.connection.execute(
        f"update xpoints.transactions set tx_dt = tx_dt - interval '1 hour' where id = {ORDER}".encode()
    )
    assert audit(database("jobs")) == []


def test_entries_of_programs_that_know_no_balance_after_are_audited_by_their_sum(
    traded: Shop, database: Ways
) -> None:
    traded.connection.execute(
        f"insert into xpoints.transactions (customer_id, points) values ({CUSTOMER}, 5)".encode()
    )
    assert audit(database("jobs")) == ["balance-differs"]


@pytest.fixture
def wrong(traded: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop in which all three balances are wrong, audited one customer or order a batch."""
    monkeypatch.setattr(audit_ledger, "BATCH_ROWS", 1)
    traded.connection.execute(b"update xpoints.points_balances set points_balance = points_balance + 1")
    return traded


def test_a_pass_that_was_cut_off_goes_on_where_it_stopped(wrong: Shop, database: Ways) -> None:
    found: list[Difference] = []
    runs = 1
    while not audit_pass(database("jobs"), PARTS[0], found.extend, after_looks(1)).done:
        runs += 1
    assert runs == 4
    assert len(found) == len(set(found)) == 3, "each customer is looked at once a pass"


def test_an_audit_of_everything_looks_at_what_a_half_done_pass_has_passed_and_takes_nothing_from_it(
    wrong: Shop, database: Ways
) -> None:
    jobs = database("jobs")
    scheduled: list[Difference] = []
    assert not audit_pass(jobs, PARTS[0], scheduled.extend, after_looks(2)).done
    progress = wrong.rows("select * from xpoints.job_progress")

    everything: list[Difference] = []
    assert audit_everything(jobs, PARTS[0], everything.extend) == 3

    assert len(everything) == 3
    assert wrong.rows("select * from xpoints.job_progress") == progress
    assert audit_pass(jobs, PARTS[0], scheduled.extend, never).done
    assert len(scheduled) == 3


# --- The handlers: a part that fails stops no other, and what was found before is told --------------------


class Context:
    """A function with time left for so many looks at it."""

    def __init__(self, looks: int = 1000) -> None:
        self._time_is_up = after_looks(looks)

    def get_remaining_time_in_millis(self) -> int:
        """Give the milliseconds left."""
        return 0 if self._time_is_up() else 60_000


@dataclass
class Job:
    """A job's handler on the test's database, and what its runs said."""

    module: ModuleType
    read: Callable[[], str]

    def run(self, **event: str) -> list[dict[str, Any]]:
        """Run it; give its log lines and metrics, with the words of the exception that ended it."""
        said = []
        try:
            self.module.handler(event, Context())
        except FunctionFailedError as failure:
            said.append({"failed": str(failure)})
        return said + [json.loads(line) for line in self.read().splitlines() if line.startswith("{")]


Jobs = Callable[[str], Job]


@pytest.fixture
def job(
    database: Ways, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Jobs]:
    handler, output = logger.registered_handler, StringIO()
    assert isinstance(handler, logging.StreamHandler)
    before = handler.setStream(output)
    monkeypatch.setenv("DATABASE_HOST", "127.0.0.1")
    monkeypatch.setenv("DATABASE_ROLE", "jobs")

    def read() -> str:
        said = output.getvalue() + capsys.readouterr().out
        output.seek(0)
        output.truncate()
        return said

    def make(name: str) -> Job:
        module = importlib.import_module(f"handlers.{name}")
        monkeypatch.setattr(module, "_DATABASE", database("jobs"))
        return Job(module, read)

    yield make
    handler.setStream(before)


def highest(said: list[dict[str, Any]], metric: str) -> float:
    """Give a metric's maximum, as its alarm sees it."""
    values: list[float] = [value for line in said if metric in line for value in line[metric]]
    return max(values)


def test_an_audit_that_fails_at_the_second_table_has_told_what_it_found_in_the_first(
    wrong: Shop, job: Jobs
) -> None:
    wrong.connection.execute(b"revoke select on xpoints.orders from jobs")
    for audit in ("sample", "whole"):
        said = job("audit_ledger").run(audit=audit)
        kinds = [line["kind"] for line in said if line.get("message") == "ledger difference"]
        assert kinds == ["balance-differs"] * 3
        assert highest(said, "LedgerDifferences") == 3
        assert [line["part"] for line in said if line.get("message") == "part failed"] == ["orders"]
        assert {"failed": "PartsFailedError"} in said
    assert wrong.rows("select job from xpoints.job_progress where finished_at is not null") == [
        ("audit customers",)
    ]


def test_an_audit_that_fails_in_the_middle_of_a_table_has_told_what_it_found_before(
    wrong: Shop, job: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    audited = job("audit_ledger")
    part = PARTS[0]
    calls = iter(range(3))

    def check(transaction: Transaction, batch: Batch) -> list[Difference]:
        if next(calls) == 2:
            raise ZeroDivisionError
        return part.check(transaction, batch)

    monkeypatch.setattr(audited.module, "PARTS", (part._replace(check=check),))
    assert highest(audited.run(audit="whole"), "LedgerDifferences") == 2
    monkeypatch.setattr(audited.module, "PARTS", (part,))
    assert highest(audited.run(audit="whole"), "LedgerDifferences") == 1, "the next run begins behind them"


def test_a_sweep_that_fails_at_one_reference_has_told_what_it_found_and_sweeps_the_others(
    shop: Shop, job: Jobs
) -> None:
    lost, found = uuid4(), uuid4()
    reported = [reference for reference in REFERENCES if reference.on_orphan is OnOrphan.REPORT]
    first, later = reported[0], next(each for each in reported if each.table == "orders")
    add_child(shop, first, **{PARENTS[first.parent]: lost})
    add_child(shop, later, **{PARENTS[later.parent]: found})
    shop.connection.execute(b"revoke select on xpoints.points_balances from jobs")

    said = job("sweep_orphans").run()

    told = {line["reference"]: line["missing_ids"] for line in said if line.get("message") == "orphans found"}
    assert told == {str(first): [str(lost)], str(later): [str(found)]}
    assert highest(said, "OrphansReported") == 2
    failed = [line["part"] for line in said if line.get("message") == "part failed"]
    assert failed == ["points_balances.customer_id"]
    assert {"failed": "PartsFailedError"} in said


def test_a_sweep_that_fails_in_the_middle_of_a_table_has_told_what_it_found_before(
    shop: Shop, database: Ways
) -> None:
    reference = next(each for each in REFERENCES if each.table == "orders")
    add_child(shop, reference, customer=uuid4())
    found: list[UUID] = []

    class CutError(Exception):
        pass

    def cut() -> bool:
        if found:
            raise CutError
        return False

    with pytest.raises(CutError):
        sweep(database("jobs"), reference, cut, found=found.extend)
    assert len(found) == 1


def test_an_expiry_that_fails_at_one_table_goes_on_with_the_others(shop: Shop, job: Jobs) -> None:
    insert_inbox(shop, 3)
    shop.connection.execute(b"revoke delete on xpoints.idempotency_records from jobs")
    shop.connection.execute(DUE["idempotency_records"].encode(), (10**6,))

    said = job("expire").run()

    assert shop.count("inbox") == 0
    assert [line["part"] for line in said if line.get("message") == "part failed"] == ["idempotency_records"]
    assert {"failed": "PartsFailedError"} in said
