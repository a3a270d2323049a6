"""The checkout against a real PostgreSQL: whole or not at all, once, whatever fails."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import psycopg
import pytest

from domain import refusals
from domain.checkout import MAX_ORDER_LINES, MAX_STOCK_TAKES, AcceptedOrder
from domain.idempotency import Answer
from domain.refusals import Refusal
from sql.connection import Database
from sql.errors import Fault, RetriesExhaustedError
from sql.transaction import RetryPolicy, Transaction, run
from sql.transactions.place_order import PlaceOrder, place_order
from tests.integration.conftest import Connect
from tests.integration.shop import Shop, order_command, render
from tools.proxy import Handling, Proxy, forward

QUICK = RetryPolicy(base_s=0.001, cap_s=0.005)

DatabaseFactory = Callable[..., Database]


@pytest.fixture
def shop(connect: Connect) -> Shop:
    return Shop(connect())


@pytest.fixture(params=[True, False], ids=["pipelined", "one by one"])
def checkout(request: pytest.FixtureRequest, database: DatabaseFactory) -> Database:
    """The way of the checkout function to the database, with and without pipelining."""
    return database("checkout", pipelined=request.param, retries=QUICK)


@pytest.fixture
def filled(shop: Shop) -> tuple[UUID, int]:
    """A customer with 1,000 points and a cart of three lines; and the cart's total."""
    customer_id = shop.customer(1000)
    shop.fill_cart(customer_id, {shop.item(10): 2, shop.item(30): 1, shop.item(25, stock=[5]): 2})
    return customer_id, 100


def stored(answer: Answer | Refusal) -> Answer:
    assert isinstance(answer, Answer), answer
    return answer


# --- One order -------------------------------------------------------------------------------------------


def test_a_cart_becomes_an_order_with_everything_that_belongs_to_it(
    shop: Shop, checkout: Database, filled: tuple[UUID, int]
) -> None:
    customer_id, total = filled
    command = order_command(customer_id, total)
    completed = place_order(checkout, command, render)

    assert completed.value == Answer(201, render(command, _accepted(total))[1], replayed=False)
    assert completed.attempts == 1
    assert shop.balance(customer_id) == 900
    assert shop.scalar("select available from xpoints.stock") == 3
    assert shop.rows("select status, total_points, region, cart_cleaned_at from xpoints.orders") == [
        ("PLACED", 100, "us-east-1", None)
    ]
    assert shop.rows(
        "select points, balance_after, tx_type from xpoints.transactions where id = %s",
        [command.request.result_id],
    ) == [(-100, 900, "PURCHASE")]
    assert shop.count("order_items") == 3
    assert shop.count("shopping_cart_items") == 3, "the cart is a consumer's to clean"
    event = json.loads(shop.scalar("select detail from xpoints.outbox"))
    assert event["id"] == str(command.event_id)
    assert len(event["data"]["lines"]) == 3
    shop.assert_sound()


def test_a_replay_gives_the_stored_answer_and_writes_nothing(
    shop: Shop, checkout: Database, filled: tuple[UUID, int]
) -> None:
    customer_id, total = filled
    first = stored(place_order(checkout, order_command(customer_id, total), render).value)
    before = shop.contents()
    again = stored(place_order(checkout, order_command(customer_id, total), render).value)
    assert again == Answer(first.status, first.body, replayed=True)
    assert shop.contents() == before


def test_another_body_under_a_used_key_is_refused(
    shop: Shop, checkout: Database, filled: tuple[UUID, int]
) -> None:
    customer_id, total = filled
    place_order(checkout, order_command(customer_id, total), render)
    before = shop.contents()
    refused = place_order(checkout, order_command(customer_id, total, body="other"), render).value
    assert refused == refusals.idempotency_key_reused()
    assert shop.contents() == before


def test_a_key_is_its_customers_own(shop: Shop, checkout: Database) -> None:
    answers = []
    for _ in range(2):
        customer_id = shop.customer()
        shop.fill_cart(customer_id, {shop.item(10): 1})
        answers.append(stored(place_order(checkout, order_command(customer_id, 10), render).value))
    assert [answer.replayed for answer in answers] == [False, False]
    assert answers[0].body != answers[1].body


def test_what_was_ordered_counts_as_gone_before_the_cart_is_cleaned(shop: Shop, checkout: Database) -> None:
    customer_id, item_id = shop.customer(), shop.item(10)
    shop.fill_cart(customer_id, {item_id: 2})
    stored(place_order(checkout, order_command(customer_id, 20, "first-key"), render).value)
    assert (
        place_order(checkout, order_command(customer_id, 20, "second-key"), render).value
        == refusals.empty_cart()
    )
    shop.connection.execute("update xpoints.shopping_cart_items set quantity = 5")
    stored(place_order(checkout, order_command(customer_id, 30, "third-key"), render).value)
    assert shop.balance(customer_id) == 950
    shop.assert_sound()


# --- Refusals --------------------------------------------------------------------------------------------


def _refused_cases(shop: Shop) -> dict[str, tuple[UUID, int, Refusal]]:
    """Set up one customer for each reason to refuse; give what to expect and what comes back."""
    poor, browsing, looking, retired, unknown, changed, sold_out, hoarder = (
        shop.customer(10) for _ in range(8)
    )
    dear, gone, last, nothing = shop.item(11), shop.item(1), shop.item(1, stock=[1, 0]), UUID(int=7)
    shop.connection.execute("update xpoints.catalog_items set retired_at = now() where id = %s", [gone])
    shop.fill_cart(poor, {dear: 1})
    shop.fill_cart(retired, {gone: 1})
    shop.fill_cart(unknown, {nothing: 1})
    shop.fill_cart(changed, {dear: 1})
    shop.fill_cart(sold_out, {last: 2})
    shop.fill_cart(hoarder, {shop.item(0): 1 for _ in range(MAX_ORDER_LINES + 1)})
    return {
        "not enough points": (poor, 11, refusals.insufficient_points(11, 10)),
        "empty cart": (browsing, 0, refusals.empty_cart()),
        "no account": (UUID(int=1), 0, refusals.unknown_customer()),
        "empty cart at another total": (looking, 5, refusals.empty_cart()),
        "retired item": (retired, 0, refusals.item_unavailable((gone,))),
        "unknown item": (unknown, 0, refusals.item_unavailable((nothing,))),
        "price changed": (changed, 10, refusals.price_changed(10, 11)),
        "sold out": (sold_out, 2, refusals.out_of_stock(last, 2, 1)),
        "too many lines": (hoarder, 0, refusals.too_many_lines(MAX_ORDER_LINES + 1, MAX_ORDER_LINES)),
    }


def test_a_refusal_says_which_and_writes_nothing(shop: Shop, checkout: Database) -> None:
    cases = _refused_cases(shop)
    before = shop.contents()
    for name, (customer_id, expected, refusal) in cases.items():
        completed = place_order(checkout, order_command(customer_id, expected), render)
        assert completed.value == refusal, name
        assert completed.attempts == 1, f"{name}: a refusal is not retried"
    assert shop.contents() == before


def test_whoever_is_being_erased_orders_nothing_more_not_even_for_nothing(
    shop: Shop, checkout: Database
) -> None:
    customer_id = shop.customer()
    shop.fill_cart(customer_id, {shop.item(0): 1})
    shop.connection.execute("update xpoints.customers set erased_at = now() where id = %s", [customer_id])
    before = shop.contents()
    assert place_order(checkout, order_command(customer_id, 0), render).value == refusals.unknown_customer()
    assert shop.contents() == before


def test_the_largest_order_changes_no_more_rows_than_a_transaction_may(
    shop: Shop, checkout: Database
) -> None:
    each = MAX_STOCK_TAKES // MAX_ORDER_LINES
    customer_id = shop.customer(0)
    items = [shop.item(0, stock=[1] * each) for _ in range(MAX_ORDER_LINES)]
    shop.fill_cart(customer_id, dict.fromkeys(items, each))
    stored(place_order(checkout, order_command(customer_id, 0), render).value)
    assert shop.scalar("select sum(available) from xpoints.stock") == 0, "every item's last unit was sold"
    # PostgreSQL says of each row which transaction wrote it.
    changed = sum(
        shop.scalar(f"select count(*) from xpoints.{table} where xmin = (select xmin from xpoints.orders)")
        for table in shop.contents()
    )
    assert changed == MAX_STOCK_TAKES + 2 * MAX_ORDER_LINES + 5
    assert changed < 3_000, "DSQL's limit"
    shop.assert_sound()


def test_the_schema_refuses_a_negative_balance_whatever_the_code_decided(
    shop: Shop, checkout: Database, filled: tuple[UUID, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    customer_id, total = filled

    def generous(*_: object, **__: object) -> AcceptedOrder:
        return _accepted(5000)

    monkeypatch.setattr("sql.transactions.place_order.decide_checkout", generous)
    before = shop.contents()
    with pytest.raises(psycopg.errors.CheckViolation, match="points_balance_not_negative"):
        place_order(checkout, order_command(customer_id, total), render)
    assert shop.contents() == before


# --- At once ---------------------------------------------------------------------------------------------


def _at_once(
    database: DatabaseFactory, commands: list[PlaceOrder], pipelined: bool = True
) -> list[tuple[Answer | Refusal, int]]:
    """Run checkouts that have all read before any of them writes; give values and attempts."""
    barrier = threading.Barrier(len(commands))

    def buy(command: PlaceOrder) -> tuple[Answer | Refusal, int]:
        met = False

        def meet(command: PlaceOrder, order: AcceptedOrder) -> tuple[int, str]:
            nonlocal met
            if not met:
                met = True
                barrier.wait(10)
            return render(command, order)

        completed = place_order(database("checkout", pipelined=pipelined, retries=QUICK), command, meet)
        return completed.value, completed.attempts

    with ThreadPoolExecutor(len(commands)) as pool:
        return list(pool.map(buy, commands))


@pytest.mark.parametrize("pipelined", [True, False])
def test_two_requests_with_one_key_at_once_give_one_order_and_one_answer(
    shop: Shop, database: DatabaseFactory, filled: tuple[UUID, int], pipelined: bool
) -> None:
    customer_id, total = filled
    results = _at_once(
        database, [order_command(customer_id, total), order_command(customer_id, total)], pipelined
    )
    answers = [stored(answer) for answer, _ in results]
    assert answers[0].body == answers[1].body
    assert sorted(answer.replayed for answer in answers) == [False, True]
    assert sorted(attempts for _, attempts in results) == [1, 2], "the loser's retry fired"
    assert shop.count("orders") == 1
    shop.assert_sound()


@pytest.mark.parametrize(
    ("server", "fault"), [("dsql", Fault.CONFLICT), ("postgres", Fault.DUPLICATE_RECORD)]
)
def test_a_duplicate_request_that_wrote_its_record_first_is_found(
    shop: Shop,
    database: Callable[..., Database],
    filled: tuple[UUID, int],
    server: str,
    fault: Fault,
    request: pytest.FixtureRequest,
) -> None:
    """PostgreSQL says 23505 where the duplicate touched no other row that this one does; DSQL says OC000."""
    customer_id, total = filled
    checkout = database("checkout", port=request.getfixturevalue(server).port)

    def send_a_duplicate(command: PlaceOrder, order: AcceptedOrder) -> tuple[int, str]:
        shop.connection.execute(
            "insert into xpoints.idempotency_records "
            "(customer_id, idempotency_key, request_hash, result_id, response_status, response_body) "
            "values (%s, %s, %s, gen_random_uuid(), 201, 'the other''s')",
            (customer_id, command.request.key, command.request.hash),
        )
        return render(command, order)

    completed = place_order(checkout, order_command(customer_id, total), send_a_duplicate)
    assert completed.value == Answer(201, "the other's", replayed=True)
    assert dict(completed.faults) == {fault: 1}
    assert shop.count("orders") == 0


def _word(result: tuple[Answer | Refusal, object]) -> str:
    return result[0].code if isinstance(result[0], Refusal) else "answer"


def test_two_tabs_at_once_order_the_cart_once(
    shop: Shop, database: DatabaseFactory, filled: tuple[UUID, int]
) -> None:
    customer_id, total = filled
    commands = [
        order_command(customer_id, total, "tab-one-key"),
        order_command(customer_id, total, "tab-two-key"),
    ]
    results = _at_once(database, commands)
    assert sorted(map(_word, results)) == ["answer", "empty-cart"]
    assert shop.count("orders") == 1
    shop.assert_sound()


def test_the_last_unit_goes_to_one_of_two_buyers(shop: Shop, database: DatabaseFactory) -> None:
    seat = shop.item(10, stock=[1])
    buyers = [shop.customer(100), shop.customer(100)]
    for buyer in buyers:
        shop.fill_cart(buyer, {seat: 1})
    results = _at_once(database, [order_command(buyer, 10) for buyer in buyers])
    assert sorted(map(_word, results)) == ["answer", "out-of-stock"]
    assert shop.scalar("select available from xpoints.stock") == 0
    shop.assert_sound()


# --- Faults ----------------------------------------------------------------------------------------------


def _disturb_once(shop: Shop, state: str, message: str, at_commit: bool) -> None:
    """Have the server raise an error, the first time that an order is inserted only."""
    shop.connection.execute("create sequence faults")
    shop.connection.execute("grant usage on sequence faults to public")
    body = (
        "begin if nextval('faults') = 1 then raise exception using errcode = "
        f"'{state}', message = '{message}'; end if; return null; end"
    )
    shop.connection.execute(
        f"create function disturb() returns trigger language plpgsql as $${body}$$".encode()
    )
    when = "constraint trigger disturb after insert on xpoints.orders deferrable initially deferred"
    if not at_commit:
        when = "trigger disturb after insert on xpoints.orders"
    shop.connection.execute(f"create {when} for each row execute function disturb()".encode())


@pytest.mark.parametrize(
    ("state", "message", "at_commit", "fault"),
    [
        ("40001", "change conflicts with another transaction, please retry: (OC000)", True, Fault.CONFLICT),
        ("40001", "change conflicts with another transaction, please retry: (OC000)", False, Fault.CONFLICT),
        ("40001", "schema has been updated, please retry: (OC001)", True, Fault.SCHEMA_CHANGED),
        ("40001", "schema has been updated, please retry: (OC001)", False, Fault.SCHEMA_CHANGED),
        ("XX000", "server unavailable", True, Fault.UNKNOWN_COMMIT),
    ],
)
def test_a_passing_fault_is_retried_and_one_order_is_placed(
    shop: Shop,
    checkout: Database,
    filled: tuple[UUID, int],
    state: str,
    message: str,
    at_commit: bool,
    fault: Fault,
) -> None:
    customer_id, total = filled
    _disturb_once(shop, state, message, at_commit)
    completed = place_order(checkout, order_command(customer_id, total), render)
    assert not stored(completed.value).replayed
    assert completed.attempts == 2
    assert dict(completed.faults) == {fault: 1}
    assert shop.count("orders") == 1
    shop.assert_sound()


def test_a_concurrent_debit_makes_the_checkout_decide_again(
    shop: Shop, checkout: Database, filled: tuple[UUID, int]
) -> None:
    customer_id, total = filled
    seen: list[int] = []

    def spend_meanwhile(command: PlaceOrder, order: AcceptedOrder) -> tuple[int, str]:
        if not seen:
            shop.connection.execute(
                "with spent as (update xpoints.points_balances set points_balance = points_balance - 950 "
                "where customer_id = %s) insert into xpoints.transactions (customer_id, tx_type, points) "
                "values (%s, 'GIFT', -950)",
                (customer_id, customer_id),
            )
        seen.append(order.balance_after)
        return render(command, order)

    completed = place_order(checkout, order_command(customer_id, total), spend_meanwhile)
    assert completed.value == refusals.insufficient_points(100, 50)
    assert completed.attempts == 2
    assert seen == [900], "the second attempt decided on the new balance and refused"
    shop.assert_sound()


class _Wire:
    """A checkout's way to the database through a proxy that fails it once."""

    def __init__(self, database: DatabaseFactory, proxy: Proxy, pipelined: bool) -> None:
        self.proxy = proxy
        self.database = database("checkout", port=proxy.port, pipelined=pipelined, retries=QUICK)


@pytest.fixture(params=[True, False], ids=["pipelined", "one by one"])
def wire(request: pytest.FixtureRequest, database: DatabaseFactory, checkout_port: int) -> Iterator[_Wire]:
    with Proxy(checkout_port) as proxy:
        wire = _Wire(database, proxy, request.param)
        yield wire
        wire.database.discard()


@pytest.fixture
def checkout_port(database: DatabaseFactory) -> int:
    return database("checkout").settings.port


def _once(condition: Callable[[bytes], bool], verdict: Handling) -> Callable[[bytes], Handling]:
    done = False

    def hook(data: bytes) -> Handling:
        nonlocal done
        if not done and condition(data):
            done = True
            return verdict
        return Handling.FORWARD

    return hook


def _has_commit(data: bytes) -> bool:
    return b"COMMIT" in data


def test_a_connection_lost_before_commit_arrives_is_opened_again(
    shop: Shop, wire: _Wire, filled: tuple[UUID, int]
) -> None:
    customer_id, total = filled
    wire.proxy.on_client_bytes = _once(_has_commit, Handling.CUT)
    completed = place_order(wire.database, order_command(customer_id, total), render)
    assert not stored(completed.value).replayed
    assert (completed.attempts, dict(completed.faults)) == (2, {Fault.UNKNOWN_COMMIT: 1})
    assert wire.database.connections_opened == 2
    assert shop.count("orders") == 1
    shop.assert_sound()


def test_a_commit_whose_answer_is_lost_is_found_and_not_repeated(
    shop: Shop, wire: _Wire, filled: tuple[UUID, int]
) -> None:
    customer_id, total = filled
    rendered: list[UUID] = []

    def remember(command: PlaceOrder, order: AcceptedOrder) -> tuple[int, str]:
        rendered.append(command.request.result_id)
        return render(command, order)

    # The server's answer to the commit says COMMIT too: it was done, and nobody hears of it.
    wire.proxy.on_server_bytes = _once(_has_commit, Handling.CUT)
    completed = place_order(wire.database, order_command(customer_id, total), remember)
    answer = stored(completed.value)
    assert (completed.attempts, dict(completed.faults)) == (2, {Fault.UNKNOWN_COMMIT: 1})
    assert not answer.replayed, "it is this very request's order, not an earlier one's"
    assert len(rendered) == 1, "the second attempt found the record and decided nothing"
    assert shop.count("orders") == 1
    shop.assert_sound()


@pytest.fixture
def silence(database: DatabaseFactory, checkout_port: int, wire: _Wire) -> Iterator[_Wire]:
    """A way that waits a second for answers; without any bound the test ends, and fails, after thirty."""
    late: list[bool] = []

    def end_it() -> None:
        late.append(True)
        wire.proxy.cut_all()

    impatient = database(
        "checkout",
        port=wire.proxy.port,
        pipelined=wire.database.settings.pipelined,
        attempt_s=1,
        retries=QUICK,
    )
    watchdog = threading.Timer(30, end_it)
    watchdog.start()
    wire.database = impatient
    yield wire
    watchdog.cancel()
    assert not late, "it waited for an answer without end"


def test_an_answer_to_commit_that_never_comes_is_an_unknown_outcome(
    shop: Shop, silence: _Wire, filled: tuple[UUID, int]
) -> None:
    customer_id, total = filled
    silence.proxy.on_server_bytes = _once(_has_commit, Handling.DROP)
    completed = place_order(silence.database, order_command(customer_id, total), render)
    assert not stored(completed.value).replayed
    assert (completed.attempts, dict(completed.faults)) == (2, {Fault.UNKNOWN_COMMIT: 1})
    assert shop.count("orders") == 1
    shop.assert_sound()


def test_an_answer_to_a_read_that_never_comes_is_a_lost_connection(
    shop: Shop, silence: _Wire, filled: tuple[UUID, int]
) -> None:
    customer_id, total = filled
    silence.database.connection()
    silence.proxy.on_server_bytes = _once(lambda _: True, Handling.DROP)
    completed = place_order(silence.database, order_command(customer_id, total), render)
    stored(completed.value)
    assert (completed.attempts, dict(completed.faults)) == (2, {Fault.CONNECTION_LOST: 1})
    shop.assert_sound()


def test_a_rollback_that_nobody_answers_costs_the_connection_and_not_the_refusal(
    shop: Shop, silence: _Wire
) -> None:
    silence.proxy.on_server_bytes = _once(lambda data: b"ROLLBACK" in data, Handling.DROP)
    completed = place_order(silence.database, order_command(shop.customer(), 0), render)
    assert completed.value == refusals.empty_cart()
    assert silence.database.connection()
    assert silence.database.connections_opened == 2


def test_a_refusal_after_an_unknown_commit_is_no_answer_because_that_may_still_arrive(
    shop: Shop, wire: _Wire, filled: tuple[UUID, int]
) -> None:
    customer_id, total = filled
    is_first = _once(_has_commit, Handling.HOLD)

    def hold_the_first_commit_and_raise_prices(data: bytes) -> Handling:
        verdict = is_first(data)
        if verdict is Handling.HOLD:
            shop.connection.execute("update xpoints.catalog_items set points_price = points_price + 1")
        return verdict

    wire.proxy.on_client_bytes = hold_the_first_commit_and_raise_prices
    with pytest.raises(RetriesExhaustedError) as raised:
        place_order(wire.database, order_command(customer_id, total), render)
    assert (raised.value.attempts, raised.value.fault) == (2, Fault.UNKNOWN_COMMIT)
    assert shop.count("orders") == 0

    wire.proxy.release()
    ends_at = time.monotonic() + 30
    while shop.count("orders") == 0 and time.monotonic() < ends_at:
        pass
    answer = stored(place_order(wire.database, order_command(customer_id, total), render).value)
    assert answer.replayed, "the same request again gives the order that was placed after all"
    shop.assert_sound()


def test_a_socket_that_died_while_the_environment_was_frozen_is_replaced(
    shop: Shop, wire: _Wire, filled: tuple[UUID, int]
) -> None:
    customer_id, total = filled
    wire.database.connection()
    wire.proxy.cut_all()
    completed = place_order(wire.database, order_command(customer_id, total), render)
    stored(completed.value)
    assert (completed.attempts, dict(completed.faults)) == (2, {Fault.CONNECTION_LOST: 1})
    shop.assert_sound()


def test_a_database_that_stays_away_is_given_up_with_nothing_written(
    shop: Shop, wire: _Wire, filled: tuple[UUID, int]
) -> None:
    customer_id, total = filled
    before = shop.contents()
    wire.proxy.on_client_bytes = lambda data: Handling.CUT if _has_commit(data) else forward(data)
    with pytest.raises(RetriesExhaustedError) as raised:
        place_order(wire.database, order_command(customer_id, total), render)
    assert raised.value.attempts == QUICK.attempts
    assert shop.contents() == before


def test_a_checkout_takes_two_round_trips(shop: Shop, database: DatabaseFactory, checkout_port: int) -> None:
    item_id = shop.item(1)
    with Proxy(checkout_port) as proxy:
        counts: dict[bool, set[int]] = {}
        for pipelined in (True, False):
            warm = database("checkout", port=proxy.port, pipelined=pipelined)
            for number in range(10):
                customer_id = shop.customer()
                shop.fill_cart(customer_id, {item_id: 1})
                before = sum(proxy.round_trips)
                completed = place_order(warm, order_command(customer_id, 1), render)
                if number > 0:
                    assert completed.round_trips == (2 if pipelined else 11), "what it says of itself"
                    counts.setdefault(pipelined, set()).add(sum(proxy.round_trips) - before)
            warm.discard()
    assert counts[True] == {2}
    assert min(counts[False]) == 11, "one by one, the same statements take a round trip each"


# --- Retrying --------------------------------------------------------------------------------------------


def test_pauses_grow_with_full_jitter_and_attempts_are_bounded(database: DatabaseFactory) -> None:
    pauses: list[float] = []
    upper: list[float] = []

    def uniform(low: float, high: float) -> float:
        assert low == 0
        upper.append(high)
        return high

    def conflict(_: Transaction) -> None:
        raise psycopg.errors.SerializationFailure("(OC000)")

    policy = RetryPolicy(attempts=5, base_s=0.02, cap_s=0.25, deadline_s=60)
    with pytest.raises(RetriesExhaustedError) as raised:
        run(database("checkout", retries=policy), conflict, sleep=pauses.append, uniform=uniform)
    assert raised.value.attempts == 5
    assert pauses == [0.04, 0.08, 0.16, 0.25]
    assert pauses == upper[:4]


def test_no_attempt_starts_after_the_deadline(database: DatabaseFactory) -> None:
    now = [0.0]

    def conflict(_: Transaction) -> None:
        now[0] += 4.0
        raise psycopg.errors.SerializationFailure("(OC000)")

    policy = RetryPolicy(attempts=100, deadline_s=10)
    with pytest.raises(RetriesExhaustedError) as raised:
        run(database("checkout", retries=policy), conflict, sleep=lambda _: None, monotonic=lambda: now[0])
    assert raised.value.attempts == 3


def _accepted(total: int) -> AcceptedOrder:
    return AcceptedOrder((), total, 0, ())
