"""One order from the sign-in to the e-mail, then many at once, on a Region of this machine: `make demo`.

Everything goes the way that it goes on AWS: HTTP to the API, functions, database, bus, queues and mail.
The exit code is not 0 if anything was not as it must be.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Container, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any
from uuid import uuid4

import httpx
import psycopg

from demos.invariants import ALWAYS, AT_REST, breaches, count_effects, count_orders
from demos.shoppers import (
    BusTap,
    NotSoError,
    Shopper,
    api_client,
    console,
    errors,
    expect,
    heading,
    progress_bar,
    reader,
    wait_for,
)
from local.region import LocalRegion, stop_on_signals, stopwatch
from local.sample_data import DEMO_USERNAME, SampleData, enrolment_messages, generate, load
from local_dsql.arguments import whole_number
from local_dsql.console import run_command
from local_dsql.guard import StartError
from sql.connection import Database

#: Some 22 % of the customers have a cart that they can afford and that holds nothing of limited stock.
CUSTOMERS_AN_ORDER = 6


def one_order(region: LocalRegion, http: httpx.Client, database: Database, tap: BusTap) -> None:
    """Follow one order through everything."""
    heading("1. A shopper signs in and looks around")
    shopper = Shopper(region, http, DEMO_USERNAME)
    catalog = shopper.get("/catalog", sort="points", limit="3")
    console.print(f"   {DEMO_USERNAME} is signed in. The cheapest items of the catalogue:")
    for item in catalog["items"]:
        console.print(f"     {item['points']:>7,} points  {item['name']}")

    heading("2. The cart")
    cart = shopper.get("/cart")
    for line in cart["lines"]:
        console.print(f"     {line['quantity']:>3} x {line['name']:<44} {line['line_points']:>8,} points")
    total = cart["total_points"]
    before = shopper.get("/points")["balance"]
    console.print(f"     {'Total':<50} {total:>8,} points, of a balance of {before:,}")

    heading("3. Checkout: one DSQL transaction")
    key = f"demo-{uuid4()}"
    start = time.perf_counter()
    answer = shopper.order(total, key)
    elapsed_ms = (time.perf_counter() - start) * 1000
    if answer.status_code != 201:
        raise NotSoError(f"POST /orders answered {answer.status_code}: {answer.text}")
    order = answer.json()
    trips, attempts = answer.headers["Rewards-Round-Trips"], int(answer.headers["Rewards-Attempts"])
    console.print(f"   POST /orders -> 201, order {order['order_id']}")
    console.print(
        f"   {_function_ms(answer):.1f} ms in the function (its first call: it also connects), "
        f"{elapsed_ms:.0f} ms through the emulated gateway;\n"
        f"   {trips} database round trips, {attempts - 1} retries"
    )
    after = shopper.get("/points")["balance"]
    expect(after == before - total, f"balance: {before:,} - {total:,} = {after:,}")
    console.print("   The ledger, newest entry first:")
    entries = shopper.get("/points/ledger", limit="3")["entries"]
    for entry in entries:
        console.print(
            f"     {entry['kind']:<9} {entry['points']:>+9,}  leaves {entry['balance_after']:>8,}"
            f"   {entry['description']}"
        )
    expect(entries[0]["points"] == -total, "the debit is the ledger's newest entry")

    heading("4. What follows, from the message in the outbox")
    waited_s = wait_for("the event on the bus", lambda: tap.events_of(order["order_id"]) != [])
    (event,) = tap.events_of(order["order_id"])
    console.print(f"   {event['detail-type']} on the bus {waited_s:.1f} s after this chapter began:")
    console.print(_indented(json.dumps(_shortened(event["detail"]), indent=2), 5), markup=False)
    # The API shows what was ordered as gone from the start; whether the rows have gone, the order says.
    wait_for("the cart's cleaning", lambda: not breaches(database, ("orders_whose_cart_is_not_cleaned",)))
    expect(
        shopper.get("/cart")["lines"] == [], "a consumer took exactly the ordered quantities out of the cart"
    )
    wait_for("the confirmation", lambda: region.emails() != [])
    mail = region.emails()[-1]
    console.print(f"   The e-mail to {', '.join(mail['To'])}:")
    console.print(_indented(f"Subject: {mail['Subject']}\n\n{mail['BodyText']}", 5), markup=False)

    heading("5. The same request again, and requests that are refused")
    again = shopper.order(total, key)
    expect(
        again.status_code == 201
        and again.headers["Idempotency-Replayed"] == "true"
        and again.json() == order,
        "same key, same body: the stored answer, marked as a replay",
    )
    refusals = [
        ("same key, another body", shopper.order(total + 1, key), 422, "idempotency-key-reused"),
        ("an empty cart", shopper.order(0, f"demo-{uuid4()}"), 409, "empty-cart"),
        ("a malformed key", shopper.order(total, "x"), 400, "idempotency-key-malformed"),
        ("no sign-in", http.post("/orders", json={}), 401, None),
    ]
    for name, refused, status, kind in refusals:
        problem = refused.json()
        named = kind is None or problem["type"] == f"urn:rewards:problem:{kind}"
        expect(refused.status_code == status and named, f"{name}: {status} {kind or ''}".rstrip())
    expect(shopper.get("/points")["balance"] == after, "and nobody paid for any of that")


def many_orders(
    region: LocalRegion,
    http: httpx.Client,
    database: Database,
    tap: BusTap,
    data: SampleData,
    orders: int,
    in_flight: int,
) -> None:
    """Place many orders at once, some of them twice, and check that every one happened once."""
    heading(f"6. {orders} orders, {in_flight} at a time, every tenth one sent twice at once")
    placed_before, _ = count_orders(database)
    effects_before, mails_before = count_effects(database), len(region.emails())
    answers: Counter[str] = Counter()
    retries = resent = 0
    latencies_ms: list[float] = []
    start = time.monotonic()
    buyers = _buyers(data, orders)
    if len(buyers) < orders:
        raise NotSoError(f"only {len(buyers)} of {orders} customers have a cart that they can afford")

    def buy(number: int, username: str) -> tuple[list[tuple[str, int, float]], int]:
        shopper = Shopper(region, http, username)
        total = shopper.get("/cart")["total_points"]
        key = f"many-{uuid4()}"
        twice = 2 if number % 10 == 0 else 1
        with ThreadPoolExecutor(twice) as pool:
            return list(pool.map(lambda _: _timed_order(shopper, total, key), range(twice))), shopper.resent

    with progress_bar() as progress, ThreadPoolExecutor(in_flight) as pool:
        task = progress.add_task("   orders", total=orders)
        waiting = [pool.submit(buy, *buyer) for buyer in enumerate(buyers)]
        try:
            for future in as_completed(waiting):
                outcomes, sent_again = future.result()
                resent += sent_again
                for outcome, tried_again, took_ms in outcomes:
                    answers[outcome] += 1
                    retries += tried_again
                    latencies_ms.append(took_ms)
                progress.advance(task)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    elapsed_s = time.monotonic() - start
    latencies_ms.sort()
    counted = ", ".join(f"{count} {outcome}" for outcome, count in answers.most_common())
    console.print(
        f"   {counted} in {elapsed_s:.1f} s (the emulated gateway and cold starts set the pace)\n"
        f"   in the functions p50 {latencies_ms[len(latencies_ms) // 2]:.1f} ms, {retries} retries; "
        f"{resent} requests were sent again by their client"
    )
    duplicates = len(range(0, orders, 10))
    # A request that was sent again may find its own order: then that is a replay as well.
    expect(
        answers.total() == answers["placed"] + answers["replayed"] == orders + duplicates
        and duplicates <= answers["replayed"] <= duplicates + resent,
        f"{orders} orders were placed, {duplicates} duplicate requests got their order's answer again",
    )

    heading("7. Everything comes to rest, and adds up")

    def effects() -> dict[str, int]:
        return {name: count - effects_before[name] for name, count in count_effects(database).items()}

    # The invariants of rest hold as well while events are in a queue and no consumer has seen them yet.
    waited_s = wait_for(
        "the follow-up", lambda: min(effects().values()) >= orders and not breaches(database, AT_REST)
    )
    console.print(f"   The follow-up came to rest {waited_s:.1f} s later.")
    broken = breaches(database, ALWAYS + AT_REST)
    for name in ALWAYS + AT_REST:
        expect(name not in broken, f"no {name.replace('_', ' ')}")
    placed, debits = count_orders(database)
    expect(placed == debits == placed_before + orders, f"{placed} orders, {debits} debits")
    wait_for("the last e-mail", lambda: len(region.emails()) >= mails_before + orders)
    wait_for("the last event", lambda: len(_orders_seen(tap)) >= orders + 1)
    for consumer, count in effects().items():
        expect(count == orders, f"{consumer}: {orders} effects")
    expect(len(region.emails()) - mails_before == orders, f"{orders} e-mails")
    events = {event["id"] for event in (seen["detail"] for seen in tap.listen())}
    expect(len(events) == len(_orders_seen(tap)) == orders + 1, f"{orders + 1} orders, one event each")


def _timed_order(shopper: Shopper, total: int, key: str) -> tuple[str, int, float]:
    answer = shopper.order(total, key)
    if answer.status_code != 201:
        return f"{answer.status_code} {answer.json().get('type')}", 0, 0.0
    replayed = answer.headers["Idempotency-Replayed"] == "true"
    retries = int(answer.headers["Rewards-Attempts"]) - 1
    return "replayed" if replayed else "placed", retries, _function_ms(answer)


def _function_ms(answer: httpx.Response) -> float:
    return float(answer.headers["Server-Timing"].partition("dur=")[2])


def _buyers(data: SampleData, count: int) -> list[str]:
    """Choose customers whose cart is affordable and holds nothing of limited stock."""
    limited = {row.item_id for row in data.stock}
    points = {item.id: item.points_price for item in data.catalog_items}
    balances = {row.customer_id: row.points_balance for row in data.points_balances}
    carts: dict[Any, list[Any]] = {}
    for row in data.shopping_cart_items:
        carts.setdefault(row.customer_id, []).append(row)
    chosen = []
    for customer in data.customers:
        lines = carts.get(customer.id, [])
        if customer.username == DEMO_USERNAME or not lines:
            continue
        if any(line.item_id in limited or line.item_id not in points for line in lines):
            continue
        if sum(points[line.item_id] * line.quantity for line in lines) <= balances[customer.id]:
            chosen.append(customer.username)
    return chosen[:count]


def _orders_seen(tap: BusTap) -> set[str]:
    return {event["detail"]["data"]["order_id"] for event in tap.listen()}


def _shortened(detail: dict[str, Any]) -> dict[str, Any]:
    lines = detail["data"]["lines"]
    return {**detail, "data": {**detail["data"], "lines": [*lines[:1], f"... {len(lines) - 1} more"]}}


def _indented(text: str, by: int) -> str:
    return "\n".join(" " * by + line for line in text.splitlines())


def _open_shop(region: LocalRegion, data: SampleData) -> None:
    """Load the sample."""
    with psycopg.connect(region.conninfo(), autocommit=True) as connection:
        load(connection, data)


def _enrol(region: LocalRegion, data: SampleData, usernames: Container[str]) -> None:
    """Have users made who can sign in."""
    region.enrol([message for message in enrolment_messages(data) if message["username"] in usernames])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 if everything was as it must be."""
    parser = argparse.ArgumentParser(prog="python -m demos.demo", description=__doc__)
    parser.add_argument(
        "--orders",
        type=whole_number(1, 5000),
        default=200,
        help="orders of the last chapter (%(default)s)",
    )
    parser.add_argument(
        "--in-flight", type=whole_number(1, 64), default=8, help="how many at a time (%(default)s)"
    )
    options = parser.parse_args(arguments)
    stop_on_signals()
    say = stopwatch()
    try:
        with LocalRegion(say=say) as region:
            data = generate(customers=max(100, CUSTOMERS_AN_ORDER * options.orders))
            say(f"loading {len(data.customers)} customers, enrolling the first user")
            _open_shop(region, data)
            _enrol(region, data, {DEMO_USERNAME})
            say(f"the shop is open; {options.orders} more users are enrolled meanwhile")
            tap, database = BusTap(region, "demo-tap"), reader(region, "rewards-demo")
            try:
                with api_client(region) as http, ThreadPoolExecutor(1) as aside:
                    enrolment = aside.submit(_enrol, region, data, set(_buyers(data, options.orders)))
                    one_order(region, http, database, tap)
                    enrolment.result()
                    many_orders(region, http, database, tap, data, options.orders, options.in_flight)
            except NotSoError:
                console.print(_indented("\n".join(errors(region)), 3), markup=False)
                raise
            finally:
                database.discard()
            console.print(
                "\n[bold green]Everything was as it must be.[/] Next: make up, which opens the "
                "shop for a browser, and docs/pages.md."
            )
            say("stopping")
        say("nothing is left running")
    except (NotSoError, StartError) as error:
        console.print(f"\n[bold red]Not as it must be:[/] {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; nothing is left running")
        return 130
    return 0


if __name__ == "__main__":
    run_command(main)
