"""Transfers between members, credits, and the household boost that must not be skewed."""

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest

import sql.transactions.move_points as module
from domain import refusals
from domain.events import Origin, event_of
from domain.idempotency import Answer, Request
from domain.points import BalanceChange
from domain.refusals import Refusal
from sql.connection import Database
from sql.transaction import Completed, RetryPolicy, Transaction
from tests.integration.shop import REGION, Shop
from tests.integration.shop_api.client import Api, staff_client


def transfer(payee: str, points: int) -> dict[str, object]:
    return {"payee_username": payee, "points": points}


def test_a_transfer_moves_points_and_says_what_the_payer_has_left(api: Api, shop: Shop) -> None:
    payer, payee = shop.customer(500, "ana"), shop.customer(10, "bo")

    answer = api.as_customer(payer).post("/points/transfers", transfer("bo", 120))

    assert answer.status == 201
    assert answer.json["balance_after"] == 380
    assert answer.headers["Rewards-Round-Trips"] == "2"
    assert (shop.balance(payer), shop.balance(payee)) == (380, 130)
    transfer_id = UUID(answer.json["transfer_id"])
    assert shop.rows(
        "select customer_id, points, balance_after, reference_id from xpoints.transactions "
        "where tx_type = 'TRANSFER' order by points"
    ) == [(payer, -120, 380, transfer_id), (payee, 120, 130, transfer_id)]
    shop.assert_sound()


@pytest.mark.parametrize("typed", ["JOS\u00c9", "jose\u0301", "Jos\u00e9"])
def test_a_member_is_found_by_their_username_however_it_was_typed(api: Api, shop: Shop, typed: str) -> None:
    payer, payee = shop.customer(100, "ana"), shop.customer(0, "jos\u00e9")

    assert api.as_customer(payer).post("/points/transfers", transfer(typed, 7)).status == 201
    assert shop.balance(payee) == 7
    found = api.as_staff().get("/staff/customers", {"username": typed}).json["customers"]
    assert [one["customer_id"] for one in found] == [str(payee)]


def test_a_transfer_is_refused_with_nothing_written(api: Api, shop: Shop) -> None:
    payer = api.as_customer(shop.customer(100, "ana"))
    shop.customer(2**53, "rich")
    for _ in range(2):
        shop.customer(0, "doubles")
    gone = shop.customer(0, "gone")
    shop.connection.execute("update xpoints.customers set erased_at = now() where id = %s", [gone])
    before = shop.contents()

    def refused(payee: str, points: int) -> str:
        return payer.post("/points/transfers", transfer(payee, points)).problem

    assert refused("nobody", 1) == "unknown-payee"
    assert refused("doubles", 1) == "unknown-payee"
    assert refused("gone", 1) == "unknown-payee"
    assert refused("ana", 1) == "self-transfer"
    assert refused("rich", 101) == "insufficient-points"
    assert refused("rich", 1) == "balance-limit"
    for points in (0, -5, 2**63, 1.5, 1e300, "1", True, None):
        assert refused("rich", points) == "invalid-request"  # type: ignore[arg-type]
    assert shop.contents() == before
    assert api.as_customer(uuid4()).post("/points/transfers", transfer("ana", 1)).problem == "account-closed"


def test_a_transfer_that_is_sent_again_is_not_done_again(api: Api, shop: Shop) -> None:
    payer, payee = shop.customer(100, "ana"), shop.customer(0, "bo")
    client = api.as_customer(payer)

    answers = [client.post("/points/transfers", transfer("bo", 60), key="transfer-1") for _ in range(3)]

    assert len({answer.text for answer in answers}) == 1
    assert (shop.balance(payer), shop.balance(payee)) == (40, 60)
    assert client.post("/points/transfers", transfer("bo", 61), key="transfer-1").problem == (
        "idempotency-key-reused"
    )


def test_transfers_in_both_directions_at_once_all_succeed_and_lose_no_point(
    shop: Shop, database: Callable[..., Database]
) -> None:
    members = {name: shop.customer(1000, name) for name in ("ana", "bo", "cy")}
    names = list(members)

    def send(number: int) -> list[Completed[Answer | Refusal]]:
        way = database("checkout", retries=RetryPolicy(attempts=50, base_s=0.001, cap_s=0.05))
        return [
            module.transfer_points(
                way,
                module.Transfer(
                    request=Request(members[names[(number + n) % 3]], str(uuid4()), "h", uuid4()),
                    origin=_origin(),
                    payee_username=names[(number + n + 1 + n % 2) % 3],
                    points=1,
                    payee_entry_id=uuid4(),
                ),
                lambda _, __: (201, "{}"),
            )
            for n in range(10)
        ]

    with ThreadPoolExecutor(4) as threads:
        outcomes = [completed for part in threads.map(send, range(4)) for completed in part]

    assert all(isinstance(completed.value, Answer) for completed in outcomes)
    assert sum(shop.balance(member) for member in members.values()) == 3000
    shop.assert_sound()


def test_staff_credit_points_and_customers_cannot(api: Api, shop: Shop) -> None:
    customer = shop.customer(5)
    path, body = f"/staff/customers/{customer}/credits", {"points": 50, "kind": "GIFT"}

    answer = api.as_staff().post(path, body)

    assert (answer.status, answer.json["balance_after"]) == (201, 55)
    assert shop.scalar("select count(*) from xpoints.outbox where event_type = 'PointsCredited.v1'") == 1
    assert api.as_customer(customer).post(path, body).problem == "forbidden"
    assert api.as_staff().post(f"/staff/customers/{uuid4()}/credits", body).problem == "unknown-customer"
    assert api.as_staff().post(path, {"points": -1, "kind": "GIFT"}).problem == "invalid-request"
    assert api.as_staff().post(path, {"points": 1, "kind": "PURCHASE"}).problem == "invalid-request"
    shop.assert_sound()


def test_who_of_the_staff_credited_whom_is_written_down_and_nobody_credits_themselves(
    api: Api, shop: Shop
) -> None:
    one, other, clerk = shop.customer(283, "ana"), shop.customer(288, "bo"), shop.staff_member()
    staff = staff_client(clerk)
    gift = {"points": 50, "kind": "GIFT"}

    credit = staff.post(f"/staff/customers/{one}/credits", gift, key="credit-key").json["credit_id"]
    staff.post(f"/staff/customers/{one}/credits", gift, key="credit-key")
    boost = staff.post("/staff/boosts", {"beneficiary": str(other), "partner": str(one)}).json["credit_id"]

    log = (
        "select id::text, operation, outcome, subject_id, actor_id from xpoints.request_log order by outcome"
    )
    written = [(boost, "staff-credit", "boost", other, clerk), (credit, "staff-credit", "gift", one, clerk)]
    assert shop.rows(log) == written
    assert staff.post(f"/staff/customers/{clerk}/credits", gift).problem == "self-credit"
    for body in (
        {"beneficiary": str(clerk), "partner": str(one), "below_points": 9999},
        {"beneficiary": str(one), "partner": str(clerk), "below_points": 9999},
    ):
        assert staff.post("/staff/boosts", body).problem == "self-credit"
    assert shop.balance(clerk) == 1000
    assert shop.rows(log) == written, "what is refused is not written down"


# --- The household boost (write skew) ---


def _origin() -> Origin:
    from datetime import UTC, datetime

    return Origin(uuid4(), datetime.now(UTC), REGION, "test")


def _boost_both_at_once(
    shop: Shop, database: Callable[..., Database], monkeypatch: pytest.MonkeyPatch
) -> tuple[list[Completed[Answer | Refusal]], tuple[int, int]]:
    """Boost each of two members (283 and 288 points) in a Region of its own, at once; give what came out."""
    household = (shop.customer(283), shop.customer(288))
    # Both have read before either writes; where rows are locked, the second waits with its reading.
    both_have_read = threading.Barrier(2)
    read = Transaction.read
    waited = threading.local()

    def read_together(self: Transaction, *statements: Any) -> object:
        rows = read(self, *statements)
        if not hasattr(waited, "once"):
            waited.once = True
            with contextlib.suppress(threading.BrokenBarrierError):
                both_have_read.wait(0.5)
        return rows

    monkeypatch.setattr(Transaction, "read", read_together)

    def boost(beneficiary: UUID) -> Completed[Answer | Refusal]:
        command = module.Boost(
            request=Request(uuid4(), "boost-key", "h", uuid4()),
            origin=_origin(),
            beneficiary=beneficiary,
            partner=household[beneficiary == household[0]],
            points=429,
            below_points=1000,
        )
        return module.boost_household(database("staff"), command, _render)

    with ThreadPoolExecutor(2) as regions:
        outcomes = list(regions.map(boost, household))
    return outcomes, (shop.balance(household[0]), shop.balance(household[1]))


def _render(_: module.Boost, change: BalanceChange) -> tuple[int, str]:
    return 201, str(change.balance_after)


def test_of_two_boosts_of_one_household_at_once_one_is_refused(
    shop: Shop, database: Callable[..., Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes, balances = _boost_both_at_once(shop, database, monkeypatch)

    assert sorted(balances) in ([288, 712], [283, 717])
    assert sum(refusals.household_above_limit.fits(outcome.value) for outcome in outcomes) == 1
    assert sum(outcome.attempts for outcome in outcomes) == 3, "the loser ran again and then saw the boost"
    shop.assert_sound()


def test_without_the_lock_both_boosts_commit_which_is_write_skew(
    shop: Shop, database: Callable[..., Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why the balances are locked: this is how it goes wrong. Each changes a row of its own: no conflict."""
    locking = module._LOCK_BALANCES
    plain = locking._replace(text=locking.text.replace(b"for update", b""))
    monkeypatch.setattr(module, "_LOCK_BALANCES", plain)

    outcomes, balances = _boost_both_at_once(shop, database, monkeypatch)

    assert balances == (712, 717)
    assert [outcome.attempts for outcome in outcomes] == [1, 1]


def test_a_boost_by_the_api(api: Api, shop: Shop) -> None:
    one, other = shop.customer(283), shop.customer(288)
    body = {"beneficiary": str(one), "partner": str(other)}
    staff = api.as_staff()

    assert staff.post("/staff/boosts", body).json["balance_after"] == 712
    assert staff.post("/staff/boosts", body).problem == "household-above-limit"
    assert staff.post("/staff/boosts", {**body, "partner": str(one)}).problem == "not-a-household"
    for name in body:
        assert staff.post("/staff/boosts", {**body, name: str(uuid4())}).problem == "unknown-customer"


def test_whatever_a_request_does_is_announced_under_the_id_that_follows_from_it(api: Api, shop: Shop) -> None:
    ana, bo, mug = shop.customer(500, "ana"), shop.customer(0, "bo"), shop.item(5)
    client, staff = api.as_customer(ana), api.as_staff()
    one_unit = {"lines": [{"item_id": str(mug), "quantity": 1}]}
    for what, body in (("refunds", one_unit), ("cancel", None)):
        shop.fill_cart(ana, {mug: 2})
        order_id = client.post("/orders", {"expected_total_points": 10}).json["order_id"]
        client.post(f"/orders/{order_id}/{what}", body)
        shop.connection.execute("delete from xpoints.shopping_cart_items")
        shop.connection.execute("update xpoints.orders set cart_cleaned_at = now()")
    client.post("/points/transfers", transfer("bo", 60))
    staff.post(f"/staff/customers/{bo}/credits", {"points": 5, "kind": "GIFT"})
    staff.post("/staff/boosts", {"beneficiary": str(ana), "partner": str(bo)})
    staff.delete(f"/staff/items/{mug}")
    client.delete("/account")

    # The payee's entry of a transfer is announced with the payer's, and the end of an account by the account.
    entries = shop.rows(
        "select id from xpoints.transactions where tx_type not in ('OPENING', 'FORFEIT') "
        "and (tx_type <> 'TRANSFER' or points < 0)"
    )
    announced = sorted(shop.rows("select id from xpoints.outbox"))
    assert announced == sorted((event_of(fact_id),) for (fact_id,) in [*entries, (ana,), (mug,)])
    assert len(announced) == 9
