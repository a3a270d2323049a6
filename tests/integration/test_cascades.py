"""Cascades against a real server: bounded, resumed after any crash, handed on exactly once, fair."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from uuid import UUID, uuid4

import pytest

from domain.audit import Difference
from domain.events import Envelope, Origin, read_event
from domain.events import event_of as first_event_of
from domain.events.contracts import CONTRACTS
from domain.events.customers import CustomerErased, CustomerErasureResumed
from domain.events.items import CatalogItemRetired, ItemRetirementResumed
from sql.cascade import Slice, SliceOutcome, UnknownStepError, slice_ids
from sql.connection import Database
from sql.queries import Statement
from sql.references import REFERENCES
from sql.scan import MAX_ROWS
from sql.transactions import retire_item_data as retirement
from sql.transactions.audit_ledger import PARTS, audit_everything, audit_stock
from sql.transactions.clean_region import Cleanup, CleanupKind, clean, enter, waiting_cleanups
from sql.transactions.erase_customer_data import NotErasedError, erase_customer_data
from sql.transactions.notify import DueMessage, UndeliverableError
from sql.transactions.place_order import place_order
from sql.transactions.retire_item_data import NotRetiredError, retire_item_data
from sql.transactions.sweep_orphans import sweep
from tests.integration.conftest import Connect
from tests.integration.shop import REGION, Shop, order_command, render

Ways = Callable[..., Database]


class CrashError(Exception):
    """The function ended here."""


@pytest.fixture
def shop(connect: Connect) -> Shop:
    return Shop(connect())


class World:
    """The cascades, with what they do outside recorded; they crash at the n-th look outside on demand."""

    def __init__(self, shop: Shop, database: Database, jobs: Database | None = None) -> None:
        self.shop = shop
        self.database = database
        self.jobs = jobs or database
        self.users: list[str] = []
        self.pictures: list[str] = []
        self.mails: list[DueMessage] = []
        self.refused: set[UUID] = set()
        self.slice_is_over: Callable[[], bool] = lambda: False
        self.crash_in: int | None = None
        self.looks = 0

    def _look(self) -> None:
        self.looks += 1
        if self.crash_in is not None and self.looks == self.crash_in:
            raise CrashError

    def is_over(self) -> bool:
        self._look()
        return self.slice_is_over()

    def clean(self, region: str = REGION) -> None:
        """Have a Region delete what is left to it."""
        for cleanup in waiting_cleanups(self.jobs, region):
            clean(self.jobs, region, cleanup, self._delete)

    def _delete(self, cleanup: Cleanup) -> None:
        self._look()
        (self.users if cleanup.kind is CleanupKind.USER else self.pictures).append(cleanup.name)
        self._look()

    def send(self, message: DueMessage) -> None:
        self._look()
        if message.id in self.refused:
            raise UndeliverableError
        self.mails.append(message)
        self._look()

    def take(self, event: Envelope[Any], database: Database | None = None) -> Slice:
        database = database or self.database
        now = datetime.now(UTC)
        if isinstance(event.data, CustomerErased | CustomerErasureResumed):
            return erase_customer_data(database, event, self.is_over, REGION, now)
        return retire_item_data(database, event, self.send, self.is_over, REGION, now)

    def next_slices(self) -> list[Envelope[Any]]:
        """Give what cascades left in the outbox, as the relay would, and take it out."""
        rows = self.shop.rows("delete from xpoints.outbox returning event_type, detail")
        following = [(CONTRACTS[kind], detail) for kind, detail in rows if "Resumed" in kind]
        return [read_event(kind, detail) for kind, detail in following]

    def run_to_the_end(self, event: Envelope[Any]) -> list[Slice]:
        """Run slices until none is handed on."""
        slices, queue = [], deque([event])
        while queue:
            slices.append(self.take(queue.popleft()))
            queue.extend(self.next_slices())
        return slices


@pytest.fixture
def world(shop: Shop, database: Ways) -> World:
    return World(shop, database("cascades"), database("jobs"))


def audit(jobs: Database) -> set[Difference]:
    found = set[Difference]()
    for part in PARTS:
        audit_everything(jobs, part, found.update)
    audit_stock(jobs, found.update)
    return found


def event_of(payload: Any, aggregate_id: UUID) -> Envelope[Any]:
    """Give the event by which a cascade begins, or its first slice's."""
    first, following = islice(slice_ids(first_event_of(aggregate_id), _consumer(payload)), 2)
    is_first = isinstance(payload, CustomerErased | CatalogItemRetired)
    origin = Origin(first if is_first else following, datetime.now(UTC), REGION, "correlation-1")
    return origin.announce(payload, aggregate_id, 2)


def _consumer(payload: Any) -> str:
    return "erase-customer" if hasattr(payload, "customer_id") else "retire-item"


def erased(shop: Shop, customer_id: UUID) -> Envelope[Any]:
    """Mark a customer erased as the API does, points forfeited."""
    shop.connection.execute("update xpoints.customers set erased_at = now() where id = %s", (customer_id,))
    shop.connection.execute(
        "insert into xpoints.transactions (customer_id, tx_type, points, balance_after) "
        "select customer_id, 'FORFEIT', -points_balance, 0 from xpoints.points_balances "
        "where customer_id = %s",
        (customer_id,),
    )
    shop.connection.execute(
        "update xpoints.points_balances set points_balance = 0 where customer_id = %s", (customer_id,)
    )
    return event_of(CustomerErased(customer_id=customer_id), customer_id)


def retired(shop: Shop, item_id: UUID) -> Envelope[Any]:
    shop.connection.execute("update xpoints.catalog_items set retired_at = now() where id = %s", (item_id,))
    return event_of(CatalogItemRetired(item_id=item_id), item_id)


# --- A customer is erased -------------------------------------------------------------------------------

PERSONAL_TABLES = ("shopping_cart_items", "points_balances", "notifications", "idempotency_records")


def customer_with_all(shop: Shop, database: Ways, carts: int = 3) -> UUID:
    """Add a customer with an order, a cart, messages and stored answers."""
    customer_id = shop.customer()
    mug = shop.item()
    shop.fill_cart(customer_id, {mug: 2})
    place_order(database("checkout"), order_command(customer_id, 20), render)
    shop.connection.execute(b"update xpoints.orders set cart_cleaned_at = now()")
    shop.connection.execute(
        "insert into xpoints.shopping_cart_items (customer_id, item_id, quantity) "
        "select %s, gen_random_uuid(), 1 from generate_series(1, %s)",
        (customer_id, carts),
    )
    shop.connection.execute(
        "insert into xpoints.notifications (id, customer_id, event_id, kind, subject, body) "
        "select gen_random_uuid(), %s, gen_random_uuid(), 'k', '', '' from generate_series(1, 5)",
        (customer_id,),
    )
    return customer_id


def rows_of(shop: Shop, customer_id: UUID) -> dict[str, int]:
    return {
        table: shop.scalar(f"select count(*) from xpoints.{table} where customer_id = %s", [customer_id])
        for table in (*PERSONAL_TABLES, "orders", "transactions")
    }


def test_an_erased_customer_leaves_orders_and_ledger_and_nothing_that_names_them(
    shop: Shop, database: Ways, world: World
) -> None:
    customer_id, other = customer_with_all(shop, database), customer_with_all(shop, database)
    shop.connection.execute(
        "update xpoints.customers set last_name = 'x', maiden_name = 'x', gender = 'x', phone_num = '1', "
        "age = 1, address = 'x', city = 'x', state = 'x', state_code = 'x', postal_code = '1'"
    )
    username = shop.scalar("select username from xpoints.customers where id = %s", [customer_id])
    before = rows_of(shop, other)

    slices = world.run_to_the_end(erased(shop, customer_id))

    assert [each.outcome for each in slices] == [SliceOutcome.DONE]
    assert rows_of(shop, customer_id) == dict.fromkeys(PERSONAL_TABLES, 0) | {"orders": 1, "transactions": 3}
    world.clean()
    assert world.users == [username]
    cursor = shop.connection.execute("select * from xpoints.customers where id = %s", (customer_id,))
    row = cursor.fetchone()
    assert row is not None
    assert cursor.description is not None
    left = {column.name for column, value in zip(cursor.description, row, strict=True) if value is not None}
    assert left == {"id", "version", "erased_at"}
    assert rows_of(shop, other) == before, "nobody else lost anything"
    assert audit(database("jobs")) == set()


def test_no_row_of_an_erased_customer_holds_a_trace_of_their_name(
    shop: Shop, database: Ways, world: World
) -> None:
    customer_id = customer_with_all(shop, database)
    name = "user_" + "q" * 12
    shop.connection.execute("update xpoints.customers set username = %s, email = %s", (name, name))
    shop.connection.execute(
        "update xpoints.notifications set body = %s where customer_id = %s", (name, customer_id)
    )
    shop.connection.execute("update xpoints.idempotency_records set response_body = %s", (name,))
    world.run_to_the_end(erased(shop, customer_id))
    world.clean()
    for (table,) in shop.rows(
        "select table_name from information_schema.tables "
        "where table_schema = 'xpoints' and table_type = 'BASE TABLE'"
    ):
        found = shop.scalar(f"select count(*) from xpoints.{table} t where t::text like %s", [f"%{name}%"])
        assert found == 0, table


def test_points_that_came_in_after_the_erasure_are_forfeited_by_a_ledger_entry(
    shop: Shop, database: Ways, world: World
) -> None:
    customer_id = customer_with_all(shop, database)
    event = erased(shop, customer_id)
    shop.connection.execute(
        "update xpoints.points_balances set points_balance = 7 where customer_id = %s", (customer_id,)
    )
    shop.connection.execute(
        "insert into xpoints.transactions (customer_id, tx_type, points, balance_after) "
        "values (%s, 'GIFT', 7, 7)",
        (customer_id,),
    )
    world.run_to_the_end(event)
    assert (
        shop.scalar("select sum(points) from xpoints.transactions where customer_id = %s", [customer_id]) == 0
    )
    assert audit(database("jobs")) == set()


@pytest.mark.parametrize("pipelined", [True, False])
def test_a_credit_that_commits_while_the_account_is_closed_is_not_lost_from_the_ledger(
    shop: Shop, connect: Connect, database: Ways, pipelined: bool
) -> None:
    customer_id = shop.customer()
    world = World(shop, database("cascades", pipelined=pipelined))
    event = erased(shop, customer_id)
    credit = connect(autocommit=False)
    credit.execute(
        "update xpoints.points_balances set points_balance = 9 where customer_id = %s", (customer_id,)
    )
    credit.execute(
        "insert into xpoints.transactions (customer_id, tx_type, points, balance_after) "
        "values (%s, 'EARN', 9, 9)",
        (customer_id,),
    )
    closing = threading.Thread(target=world.take, args=[event])
    closing.start()
    closing.join(0.3)  # it waits for the credit, or has not come so far: both are fine
    credit.commit()
    closing.join()
    ledger = shop.scalar("select sum(points) from xpoints.transactions where customer_id = %s", [customer_id])
    assert (ledger, shop.count("points_balances")) == (0, 0)


def test_an_event_about_a_customer_who_is_not_marked_erased_removes_nothing(
    shop: Shop, database: Ways, world: World
) -> None:
    customer_id = customer_with_all(shop, database)
    before = rows_of(shop, customer_id)
    with pytest.raises(NotErasedError):
        world.take(event_of(CustomerErased(customer_id=customer_id), customer_id))
    assert rows_of(shop, customer_id) == before
    assert shop.count("inbox") == 0, "it comes again, and ends among the dead letters"


@pytest.mark.parametrize("step", ["account", "cart", "messages", "answers", "name"])
def test_a_slice_that_is_resumed_asks_whether_the_customer_is_erased(
    shop: Shop, database: Ways, world: World, step: str
) -> None:
    customer_id = customer_with_all(shop, database)
    before = rows_of(shop, customer_id)
    with pytest.raises(NotErasedError):
        world.take(event_of(CustomerErasureResumed(customer_id=customer_id, step=step), customer_id))
    assert rows_of(shop, customer_id) == before


# --- An item is retired ---------------------------------------------------------------------------------


def put_into_carts(shop: Shop, item_id: UUID, customers: int) -> None:
    """Add customers who all have the item in their cart."""
    shop.connection.execute(
        "with shoppers as (insert into xpoints.customers (first_name, email) "
        "select 'Ana', 'ana' || n || '@example.com' from generate_series(1, %s) n returning id) "
        "insert into xpoints.shopping_cart_items (customer_id, item_id, quantity) "
        "select id, %s, 1 from shoppers",
        (customers, item_id),
    )


def test_a_retired_item_leaves_every_cart_and_each_shopper_is_told_once(shop: Shop, world: World) -> None:
    mug, cup = shop.item(name="Mug"), shop.item(name="Cup")
    put_into_carts(shop, mug, 25)
    put_into_carts(shop, cup, 5)
    addresses = {
        email
        for (email,) in shop.rows(
            "select email from xpoints.customers c "
            "join xpoints.shopping_cart_items i on i.customer_id = c.id where i.item_id = %s",
            [mug],
        )
    }

    slices = world.run_to_the_end(retired(shop, mug))

    assert [each.outcome for each in slices] == [SliceOutcome.DONE]
    assert shop.rows("select distinct item_id from xpoints.shopping_cart_items") == [(cup,)]
    assert sorted(mail.email for mail in world.mails) == sorted(addresses)
    assert "no longer for sale, and no longer in your cart: Mug." in world.mails[0].text.body
    assert shop.rows("select status, count(*) from xpoints.notifications group by status") == [("SENT", 25)]


def add_image(shop: Shop, filename: str, *items: UUID, thumbnail_of: UUID | None = None) -> UUID:
    image_id = uuid4()
    shop.connection.execute("insert into xpoints.images values (%s, %s)", (image_id, filename))
    for item_id in items:
        shop.connection.execute("insert into xpoints.catalog_images values (%s, %s)", (item_id, image_id))
    if thumbnail_of:
        shop.connection.execute(
            "update xpoints.catalog_items set thumbnail_id = %s where id = %s", (image_id, thumbnail_of)
        )
    for region in ("us-east-1", "us-east-2"):
        shop.connection.execute(
            "insert into xpoints.image_urls (image_id, region, presigned_url) values (%s, %s, 'https://')",
            (image_id, region),
        )
    return image_id


def test_a_retired_item_takes_its_pictures_along_and_leaves_those_that_another_item_shows(
    shop: Shop, world: World
) -> None:
    mug, cup, bowl = shop.item(), shop.item(), shop.item()
    add_image(shop, "own.png", mug)
    add_image(shop, "small.png", thumbnail_of=mug)
    shared = add_image(shop, "shared.png", mug, cup)
    thumbnail = add_image(shop, "bowl.png", mug, thumbnail_of=bowl)

    world.run_to_the_end(retired(shop, mug))
    world.clean()

    assert sorted(world.pictures) == ["own.png", "small.png"]
    assert {image_id for (image_id,) in shop.rows("select id from xpoints.images")} == {shared, thumbnail}
    assert shop.count("image_urls") == 4
    assert shop.rows("select * from xpoints.catalog_images") == [(cup, shared)]
    assert shop.rows("select id from xpoints.catalog_items where thumbnail_id is not null") == [(bowl,)]


OTHER = "us-west-2"


def test_each_region_deletes_its_own_user_and_picture_whichever_ran_the_slices(
    shop: Shop, database: Ways, world: World
) -> None:
    for region in (REGION, OTHER):
        enter(world.jobs, region)
        enter(world.jobs, region)
    customer_id, mug = customer_with_all(shop, database), shop.item()
    username = shop.scalar("select username from xpoints.customers where id = %s", [customer_id])
    add_image(shop, "own.png", mug)
    world.run_to_the_end(erased(shop, customer_id))
    world.run_to_the_end(retired(shop, mug))

    world.clean(REGION)
    world.clean(REGION)
    assert (world.users, world.pictures) == ([username], ["own.png"]), "not for the other Region"
    world.clean(OTHER)
    assert (world.users, world.pictures) == ([username] * 2, ["own.png"] * 2)
    assert shop.count("region_cleanups") == 0


def test_what_waits_for_a_region_is_given_page_by_page_and_no_row_twice(
    shop: Shop, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sql.transactions.clean_region._PAGE", 2)
    shop.connection.execute(
        "insert into xpoints.region_cleanups (region, kind, subject_id, name) "
        "select %s, kind, gen_random_uuid(), 'n' from unnest(array['user', 'picture']) kind, "
        "generate_series(1, 3)",
        (REGION,),
    )
    waiting = list(waiting_cleanups(world.jobs, REGION))
    assert len(waiting) == len(set(waiting)) == 6


def test_a_picture_of_two_items_that_are_retired_at_once_goes_with_the_later(
    shop: Shop, database: Ways, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    mug, cup = shop.item(), shop.item()
    add_image(shop, "shared.png", mug, cup)
    second = retired(shop, cup)
    touch = retirement._TOUCH_IMAGE
    meanwhile = [lambda: World(shop, database("cascades")).take(second)]

    def touch_after_the_other(**parameters: UUID) -> Statement[Any]:
        # Between this one's look and its commit, the other lets go of the picture.
        if meanwhile:
            meanwhile.pop()()
        return touch(**parameters)

    monkeypatch.setattr(retirement, "_TOUCH_IMAGE", touch_after_the_other)
    world.take(retired(shop, mug))
    world.clean()
    assert (world.pictures, shop.count("images"), shop.count("image_urls")) == (["shared.png"], 0, 0)


def test_a_shopper_who_cannot_be_reached_keeps_no_other_from_being_told(shop: Shop, world: World) -> None:
    mug = shop.item()
    put_into_carts(shop, mug, 6)
    shop.connection.execute(
        b"update xpoints.customers set erased_at = now() where email = 'ana1@example.com'"
    )
    world.slice_is_over = lambda: True
    event = retired(shop, mug)
    world.take(event)
    world.refused = {
        row[0]
        for row in shop.rows(
            "select n.id from xpoints.notifications n join xpoints.customers c on c.id = n.customer_id "
            "where c.email = 'ana2@example.com'"
        )
    }
    queue = world.next_slices()
    while queue:
        world.take(queue.pop())
        queue += world.next_slices()
    assert sorted(mail.email for mail in world.mails) == [f"ana{n}@example.com" for n in (3, 4, 5, 6)]
    assert shop.rows("select status, count(*) from xpoints.notifications group by 1 order by 1") == [
        ("SENT", 4),
        ("SKIPPED", 2),
    ]


def test_an_event_about_an_item_that_is_not_marked_retired_removes_nothing(shop: Shop, world: World) -> None:
    mug = shop.item()
    put_into_carts(shop, mug, 2)
    with pytest.raises(NotRetiredError):
        world.take(event_of(CatalogItemRetired(item_id=mug), mug))
    assert (shop.count("shopping_cart_items"), shop.count("inbox")) == (2, 0)


# --- Slices: bounded, resumed, handed on ----------------------------------------------------------------


def test_no_transaction_of_a_cascade_changes_more_rows_than_the_database_allows(
    shop: Shop, database: Ways, world: World
) -> None:
    mug = shop.item()
    put_into_carts(shop, mug, 4000)
    world.slice_is_over = lambda: shop.count("notifications") == 4000  # nobody has to be written to here
    carts = world.take(retired(shop, mug))
    assert (carts.rows, carts.most_rows) == (8000, MAX_ROWS), "a line and a message each"

    world.slice_is_over = lambda: False
    erasure = world.take(erased(shop, customer_with_all(shop, database, carts=7000)))
    assert erasure.rows > 7000
    assert 1000 < erasure.most_rows <= MAX_ROWS


def test_a_cascade_of_the_shortest_slices_ends_all_the_same_and_every_slice_is_handed_on_once(
    shop: Shop, database: Ways, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retirement, "CARTS_AT_ONCE", 4)
    world.slice_is_over = lambda: True
    mug = shop.item()
    put_into_carts(shop, mug, 10)
    add_image(shop, "own.png", mug)
    slices = world.run_to_the_end(retired(shop, mug))
    outcomes = [each.outcome for each in slices]
    assert outcomes == [SliceOutcome.PARTIAL] * (len(slices) - 1) + [SliceOutcome.DONE]
    assert len(slices) == 3 + 1 + 2 + 11, "carts and their end, pictures and their end, messages and theirs"
    assert (shop.count("shopping_cart_items"), len(world.mails), shop.count("images")) == (0, 10, 0)
    assert shop.count("inbox") == len(slices)

    customer_id = customer_with_all(shop, database)
    assert [each.outcome for each in world.run_to_the_end(erased(shop, customer_id))] == [
        *[SliceOutcome.PARTIAL] * 4,
        SliceOutcome.DONE,
    ]
    assert rows_of(shop, customer_id) == dict.fromkeys(PERSONAL_TABLES, 0) | {"orders": 1, "transactions": 3}


def test_the_next_slice_begins_behind_the_last_key_that_was_done(
    shop: Shop, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retirement, "CARTS_AT_ONCE", 4)
    world.slice_is_over = lambda: True
    mug = shop.item()
    put_into_carts(shop, mug, 10)
    shoppers = [row[0] for row in shop.rows("select customer_id from xpoints.shopping_cart_items order by 1")]
    event = retired(shop, mug)
    for last in (shoppers[3], shoppers[7], shoppers[9]):
        world.take(event)
        (event,) = world.next_slices()
        assert (event.data.step, event.data.after) == ("carts", last)
    assert event.causation_id is not None
    assert event.correlation_id == "correlation-1"


def test_a_slice_that_is_delivered_again_has_no_effect_and_hands_nothing_on(shop: Shop, world: World) -> None:
    world.slice_is_over = lambda: True
    mug = shop.item()
    put_into_carts(shop, mug, 3)
    event = retired(shop, mug)
    world.take(event)
    (following,) = world.next_slices()
    assert world.take(event).outcome is SliceOutcome.DUPLICATE
    assert world.next_slices() == []
    put_into_carts(shop, mug, 1)
    assert world.take(event).rows == 0, "not even with new work there"
    world.run_to_the_end(following)
    assert world.take(following).outcome is SliceOutcome.DUPLICATE


def test_deliveries_of_one_slice_at_the_same_time_tell_everybody_once_and_hand_on_once(
    shop: Shop, database: Ways, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retirement, "CARTS_AT_ONCE", 20)
    mug = shop.item()
    put_into_carts(shop, mug, 300)
    event = retired(shop, mug)
    meet = threading.Barrier(3, timeout=30)
    world.slice_is_over = lambda: shop.count("shopping_cart_items") == 0
    outcomes: list[SliceOutcome] = []
    lock = threading.Lock()

    class Alone(World):
        def is_over(self) -> bool:
            with lock:
                return super().is_over()

    def deliver(database: Database) -> None:
        mine = Alone(shop, database)
        mine.slice_is_over = world.slice_is_over
        meet.wait()
        outcomes.append(mine.take(event).outcome)

    threads = [threading.Thread(target=deliver, args=[database("cascades")]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [SliceOutcome.DUPLICATE, SliceOutcome.DUPLICATE, SliceOutcome.PARTIAL]
    assert len(world.next_slices()) == 1
    assert shop.count("shopping_cart_items") == 0
    assert shop.rows("select count(*), count(distinct customer_id) from xpoints.notifications") == [
        (300, 300)
    ]


def crashes(world: World, event: Envelope[Any]) -> Iterator[int]:
    """Crash a cascade at its first look outside, then at its second..., redelivering it after each crash."""
    queue = deque([event])
    crash = 0
    while queue:
        crash += 1
        world.looks, world.crash_in = 0, crash
        try:
            world.take(queue[0])
        except CrashError:
            # Before it is delivered again, more time passes than a claim on a message lasts.
            world.shop.connection.execute(b"update xpoints.notifications set claimed_until = now()")
            yield crash
        else:
            queue.popleft()
            crash = 0
        queue.extend(world.next_slices())


def clean_after_every_crash(world: World) -> None:
    """Have the Region delete what is left to it, crashing at its first look outside, then at its second..."""
    crash = 0
    while world.shop.count("region_cleanups"):
        crash += 1
        world.looks, world.crash_in = 0, crash
        with suppress(CrashError):
            world.clean()
    assert crash == 3, "before it is deleted, after it, and not at all"


@pytest.mark.parametrize("short_slices", [True, False])
def test_a_retirement_that_crashes_at_every_place_one_after_another_ends_all_the_same(
    shop: Shop, world: World, monkeypatch: pytest.MonkeyPatch, short_slices: bool
) -> None:
    monkeypatch.setattr(retirement, "CARTS_AT_ONCE", 2)
    world.slice_is_over = lambda: short_slices
    mug = shop.item()
    put_into_carts(shop, mug, 5)
    add_image(shop, "own.png", mug)
    times = sum(1 for _ in crashes(world, retired(shop, mug)))
    assert times >= 7
    assert (shop.count("shopping_cart_items"), shop.count("images"), shop.count("image_urls")) == (0, 0, 0)
    clean_after_every_crash(world)
    assert set(world.pictures) == {"own.png"}
    told = [mail.id for mail in world.mails]
    assert len(set(told)) == 5
    assert len(told) <= 5 + times, "one message too many a crash at most, and none too few"
    assert shop.rows("select status, count(*) from xpoints.notifications group by 1") == [("SENT", 5)]


@pytest.mark.parametrize("short_slices", [True, False])
def test_an_erasure_that_crashes_at_every_place_one_after_another_ends_all_the_same(
    shop: Shop, database: Ways, world: World, short_slices: bool
) -> None:
    world.slice_is_over = lambda: short_slices
    customer_id = customer_with_all(shop, database)
    username = shop.scalar("select username from xpoints.customers where id = %s", [customer_id])
    assert sum(1 for _ in crashes(world, erased(shop, customer_id))) == 5, "after each step"
    assert rows_of(shop, customer_id) == dict.fromkeys(PERSONAL_TABLES, 0) | {"orders": 1, "transactions": 3}
    clean_after_every_crash(world)
    assert set(world.users) == {username}
    assert shop.scalar("select username from xpoints.customers where id = %s", [customer_id]) is None
    assert audit(database("jobs")) == set()


def test_a_small_cascade_waits_for_one_slice_of_a_large_one_and_not_for_its_end(
    shop: Shop, database: Ways, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retirement, "CARTS_AT_ONCE", 10)
    large, small = shop.item(), shop.item()
    put_into_carts(shop, large, 200)
    put_into_carts(shop, small, 2)
    queue = deque([retired(shop, large), retired(shop, small)])
    left_when_ended: dict[UUID, int] = {}
    while queue:
        event = queue.popleft()
        looks = iter(range(5))
        world.slice_is_over = lambda looks=looks: next(looks, None) is None  # type: ignore[misc]
        if world.take(event).outcome is SliceOutcome.DONE:
            left_when_ended[event.data.item_id] = shop.count("shopping_cart_items")
        queue.extend(world.next_slices())
    assert list(left_when_ended) == [small, large]
    assert left_when_ended[small] == 200 - 6 * 10, "the large one had one slice of six transactions before"


def test_a_slice_of_another_release_fails_and_is_not_taken_for_done(shop: Shop, world: World) -> None:
    mug = shop.item()
    retired(shop, mug)
    payload = ItemRetirementResumed(item_id=mug, retirement_id=uuid4(), step="ledger")
    with pytest.raises(UnknownStepError):
        world.take(event_of(payload, mug))
    assert shop.count("inbox") == 0


def test_a_line_that_slips_into_a_cart_behind_the_cascade_is_swept_up(
    shop: Shop, database: Ways, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retirement, "CARTS_AT_ONCE", 2)
    mug = shop.item()
    put_into_carts(shop, mug, 4)
    first = shop.scalar("select customer_id from xpoints.shopping_cart_items order by 1 limit 1")
    event = retired(shop, mug)

    def slip_in() -> bool:
        with suppress(Exception):
            shop.fill_cart(first, {mug: 1})
        return False

    world.slice_is_over = slip_in
    world.run_to_the_end(event)
    assert shop.rows("select customer_id from xpoints.shopping_cart_items") == [(first,)]
    for reference in REFERENCES:
        sweep(database("jobs"), reference, lambda: False)
    assert shop.count("shopping_cart_items") == 0


def test_an_event_of_anothers_cascade_uses_up_no_slice_of_it(shop: Shop, world: World) -> None:
    ana, bob, mug, cap = shop.customer(), shop.customer(), shop.item(), shop.item()
    true = [erased(shop, ana), erased(shop, bob), retired(shop, mug), retired(shop, cap)]
    other = [true[1], true[0], true[3], true[2]]
    for event, of in zip(true, other, strict=True):
        with pytest.raises((NotErasedError, NotRetiredError)):
            world.take(event.model_copy(update={"id": of.id}))
        with pytest.raises((NotErasedError, NotRetiredError)):
            world.take(event.model_copy(update={"id": uuid4()}))
    assert shop.count("inbox") == 0
    for event in true:
        assert world.take(event).outcome is SliceOutcome.DONE
