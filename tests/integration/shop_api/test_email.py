"""E-mail goes to addresses that their owners confirmed, says plain names alone, and has bounds."""

import re
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from domain.email import address_hash
from domain.events import read_event
from domain.events.customers import NotificationWritten
from domain.events.orders import OrderPlaced
from domain.events.refunds import OrderCancelled
from domain.limits import ACCOUNT_CHANGES, CANCELLATIONS, EMAIL_CODES, MAILS, Bound
from sql.connection import Database
from sql.transaction import Transaction
from sql.transactions.clean_cart import clean_cart
from sql.transactions.notify import DueMessage, confirm_cancellation, confirm_order, send_due
from tests.integration.shop import Shop
from tests.integration.shop_api.client import Api, Client, Response

#: The longest test here takes less, on a busy machine too.
_LONGEST_S = 30

STRANGER = "stranger@victim.example"
LINK = "Win at http://evil.example"


@pytest.fixture(autouse=True)
def _within_an_hour() -> None:
    """Uses are counted by the clock's hours: a test that begins at the end of one counts in two."""
    left_s = 3600 - time.time() % 3600
    if left_s < _LONGEST_S:
        time.sleep(left_s)


class Post:
    """Delivers what the outbox holds to those who send e-mail, and keeps what they sent."""

    def __init__(self, shop: Shop, consumers: Database) -> None:
        self._shop, self._consumers = shop, consumers
        self.sent: list[DueMessage] = []
        self.words: list[str] = []

    def deliver(self) -> list[DueMessage]:
        """Let all that was announced have its effect; give what was sent now."""
        before = len(self.sent)
        for kind, detail in self._shop.rows("delete from xpoints.outbox returning event_type, detail"):
            if kind == NotificationWritten.type_name:
                event = read_event(NotificationWritten, detail)
                word = send_due(self._consumers, event.data.notification_id, self.sent.append)
            elif kind == OrderPlaced.type_name:
                placed = read_event(OrderPlaced, detail)
                clean_cart(self._consumers, placed)
                word = confirm_order(self._consumers, placed, self.sent.append)
            else:
                cancelled = read_event(OrderCancelled, detail)
                word = confirm_cancellation(self._consumers, cancelled, self.sent.append)
            self.words.append(word)
        return self.sent[before:]

    def to(self, address: str) -> list[DueMessage]:
        """Give what went to an address."""
        return [message for message in self.sent if message.email == address]

    def code(self) -> str:
        """Deliver, and give the code of the one message that holds one."""
        (code,) = (code for one in self.deliver() if (code := code_in(one)))
        return code


def code_in(message: DueMessage) -> str | None:
    found = re.search(r"^  ([0-9A-Z]{4}-[0-9A-Z]{4})$", message.text.body, re.MULTILINE)
    return found and found[1]


@pytest.fixture
def customer(shop: Shop) -> UUID:
    return shop.customer(1000, "ana")


@pytest.fixture
def client(api: Api, customer: UUID) -> Client:
    return api.as_customer(customer)


@pytest.fixture
def post(shop: Shop, database: Callable[..., Database]) -> Post:
    return Post(shop, database("consumers"))


def put(client: Client, **changes: Any) -> Response:
    account = client.get("/account").json
    fields = {"first_name": account["first_name"], "email": account["pending_email"] or account["email"]}
    return client.put("/account", {**fields, **changes}, If_Match=f'"{account["version"]}"')


def confirm(client: Client, code: str) -> Response:
    return client.post("/account/email-confirmations", {"code": code})


def emails(client: Client) -> tuple[str | None, str | None]:
    account = client.get("/account").json
    return account["email"], account["pending_email"]


def test_a_new_address_is_the_accounts_when_its_code_comes_back(client: Client, post: Post) -> None:
    changed = put(client, email="new@example.com")
    assert (changed.status, changed.json) == (200, {"version": 2, "pending_email": "new@example.com"})
    assert emails(client) == ("ana@example.com", "new@example.com")

    asked = post.deliver()
    assert sorted(message.email for message in asked) == ["ana@example.com", "new@example.com"]
    (code,) = (code for message in asked if (code := code_in(message)))
    done = confirm(client, code.lower().replace("-", " "))

    assert (done.status, done.json) == (200, {"version": 3, "email": "new@example.com"})
    assert done.headers["ETag"] == '"3"'
    assert emails(client) == ("new@example.com", None)
    (notice,) = post.deliver()
    assert (notice.email, notice.text.subject) == ("ana@example.com", "Your e-mail address was changed")
    assert confirm(client, code).json == done.json, "sent again after its answer was lost"
    assert post.deliver() == []


def test_a_code_is_stored_as_a_hash_and_no_address_stays_with_a_message(
    shop: Shop, client: Client, post: Post
) -> None:
    put(client, email="new@example.com")
    code = post.code()
    everything = str(
        [shop.rows(f"select * from xpoints.{name}") for name in ("notifications", "email_changes")]
    )
    assert code not in everything
    assert code.replace("-", "") not in everything
    assert "@" not in str(shop.rows("select * from xpoints.notifications"))
    assert shop.rows("select count(*) from xpoints.notifications where status = 'SENT'") == [(2,)]


def test_orders_are_told_to_the_confirmed_address_until_then_and_to_nobody_without_one(
    shop: Shop, client: Client, customer: UUID, post: Post
) -> None:
    put(client, email=STRANGER)
    post.deliver()
    order(shop, client, customer)
    assert [message.email for message in post.deliver()] == ["ana@example.com"]

    shop.connection.execute(b"update xpoints.customers set email = null")
    order(shop, client, customer)
    assert post.deliver() == []
    assert post.words[-1] == "skipped no-address"
    assert len(post.to(STRANGER)) == 1


def test_a_new_address_is_greeted_without_a_name(client: Client, post: Post) -> None:
    put(client, first_name="Berta", email="new@example.com")
    post.deliver()
    assert [message.text.body[:6] for message in post.sent] == ["Hello,"] * 2
    assert "Berta" not in str(post.sent)


def test_codes_that_are_tried_are_counted(client: Client, post: Post) -> None:
    put(client, email="new@example.com")
    code = post.code()
    for left in (4, 3, 2, 1, 0):
        wrong = confirm(client, "AAAA-AAAA")
        assert (wrong.status, wrong.problem) == (409, "wrong-code")
        assert f"{left} attempts are left" in wrong.json["detail"]
    assert confirm(client, code).problem == "code-expired"
    assert emails(client) == ("ana@example.com", "new@example.com")

    assert client.post("/account/email-codes").json == {"pending_email": "new@example.com"}
    assert confirm(client, code).problem == "wrong-code", "the code before does not hold"
    assert confirm(client, post.code()).status == 200


def test_a_code_ends_after_an_hour(shop: Shop, client: Client, post: Post) -> None:
    put(client, email="new@example.com")
    code = post.code()
    assert (
        shop.scalar("select round(extract(epoch from expires_at - now()) / 60) from xpoints.email_changes")
        == 60
    )
    shop.connection.execute(b"update xpoints.email_changes set expires_at = now()")
    assert confirm(client, code).problem == "code-expired"


def test_an_address_that_is_wanted_no_more_is_not_written_to(client: Client, post: Post) -> None:
    put(client, email=STRANGER)
    put(client, email="ana@example.com")
    assert emails(client) == ("ana@example.com", None)
    post.deliver()
    assert post.to(STRANGER) == []
    assert "skipped superseded" in post.words
    assert confirm(client, "AAAA-AAAA").problem == "no-email-change"
    assert client.post("/account/email-codes").problem == "no-email-change"


def test_a_code_is_for_the_address_it_went_to(client: Client, post: Post) -> None:
    put(client, email="first@example.com")
    first = post.code()
    put(client, email="second@example.com")
    assert confirm(client, first).problem == "wrong-code"
    assert confirm(client, post.code()).json["email"] == "second@example.com"


def test_an_address_is_compared_in_one_form(client: Client, post: Post) -> None:
    assert put(client, email="ANA@Example.com").json == {"version": 1, "pending_email": None}
    put(client, email="New@Example.com")
    assert put(client, email="new@example.COM").json == {"version": 2, "pending_email": "New@Example.com"}
    post.deliver()
    assert [message.email for message in post.sent if code_in(message)] == ["New@Example.com"]


def test_an_account_without_an_address_has_none_at_once_and_the_former_hears_of_it(
    client: Client, post: Post
) -> None:
    put(client, email=None)
    assert emails(client) == (None, None)
    (notice,) = post.deliver()
    assert (notice.email, notice.text.subject) == ("ana@example.com", "Your e-mail address was changed")


def test_a_code_whose_answer_is_lost_is_another_one_the_next_time(
    shop: Shop, client: Client, post: Post, database: Callable[..., Database]
) -> None:
    put(client, email="new@example.com")
    (notification_id,) = shop.rows("select change_id from xpoints.email_changes")[0]
    taken: list[DueMessage] = []

    def take_then_die(message: DueMessage) -> None:
        taken.append(message)
        raise TimeoutError

    with pytest.raises(TimeoutError):
        send_due(database("consumers"), notification_id, take_then_die)
    second = post.code()
    lost = code_in(taken[0])
    assert lost is not None
    assert lost != second
    assert confirm(client, lost).problem == "wrong-code"
    assert confirm(client, second).status == 200


def test_an_erased_customers_new_address_is_not_written_to(shop: Shop, client: Client, post: Post) -> None:
    put(client, email=STRANGER)
    client.delete("/account")
    for word in ("email-confirmations", "email-codes"):
        assert client.post(f"/account/{word}", {"code": "AAAA-AAAA"} if "conf" in word else None).problem == (
            "account-closed"
        )
    shop.connection.execute(b"delete from xpoints.outbox where event_type = 'CustomerErased.v1'")
    assert post.deliver() == []
    assert post.words == ["skipped no-address"] * 2


# --- Bounds ---


def order(shop: Shop, client: Client, customer: UUID, points: int = 0) -> str:
    """Order something that costs nothing."""
    shop.fill_cart(customer, {shop.item(points): 1})
    placed = client.post("/orders", {"expected_total_points": points})
    assert placed.status == 201, placed.text
    return str(placed.json["order_id"])


def set_uses(shop: Shop, limit: Bound, subject: str, in_hour: int, in_day: int) -> None:
    shop.connection.execute(
        "insert into xpoints.usage_counts values (%s, %s, extract(epoch from now())::bigint / 3600, %s, "
        "extract(epoch from now())::bigint / 86400, %s) on conflict (subject, operation) do update set "
        "in_hour = excluded.in_hour, in_day = excluded.in_day",
        (subject, limit.operation, in_hour, in_day),
    )


def test_an_attacker_sends_a_stranger_one_message_without_a_word_of_theirs(
    shop: Shop, client: Client, customer: UUID, post: Post
) -> None:
    """A stranger's address, a link as a name, orders of nothing and their cancellations, again and again."""
    assert put(client, first_name=LINK, email=STRANGER).status == 200
    cancelled = 0
    for _ in range(MAILS.an_hour + 10):
        order_id = order(shop, client, customer)
        post.deliver()
        cancelled += client.post(f"/orders/{order_id}/cancel").status == 201
        post.deliver()
    (only,) = post.to(STRANGER)
    assert code_in(only)
    for said in ("evil", "http", "Win", "//"):
        assert said not in only.text.subject + only.text.body
        assert not any(said in message.text.body for message in post.sent)
    assert cancelled == CANCELLATIONS.an_hour
    assert len(post.to("ana@example.com")) <= MAILS.an_hour
    assert post.words.count("skipped too-many") > 10


def test_codes_have_a_bound_by_customer(client: Client, post: Post) -> None:
    for number in range(EMAIL_CODES.an_hour):
        assert put(client, email=f"s{number}@victim.example").status == 200
    beyond = put(client, email="one-more@victim.example")
    assert (beyond.status, beyond.problem) == (429, "too-many-requests")
    assert 0 < int(beyond.headers["Retry-After"]) <= 3600
    assert client.post("/account/email-codes").problem == "too-many-requests"
    assert emails(client) == ("ana@example.com", f"s{EMAIL_CODES.an_hour - 1}@victim.example")
    assert put(client, city="Lyon").status == 200, "the rest of the account may change"


def test_codes_have_a_bound_by_address(shop: Shop, api: Api, post: Post) -> None:
    asked = []
    for number in range(EMAIL_CODES.an_hour + 3):
        other = api.as_customer(shop.customer(0, f"member{number}"))
        spelled = STRANGER if number % 2 else STRANGER.upper()
        asked.append(put(other, email=spelled).status)
    assert asked == [200] * EMAIL_CODES.an_hour + [429] * 3
    post.deliver()
    assert sum(message.email.lower() == STRANGER for message in post.sent) == EMAIL_CODES.an_hour


def test_the_days_bound_outlasts_the_hours(shop: Shop, client: Client, customer: UUID) -> None:
    set_uses(shop, EMAIL_CODES, str(customer), 0, EMAIL_CODES.a_day)
    beyond = put(client, email="new@example.com")
    assert beyond.problem == "too-many-requests"
    day_left_s = shop.scalar("select 86400 - mod(extract(epoch from now())::bigint, 86400)")
    assert abs(int(beyond.headers["Retry-After"]) - day_left_s) < 60
    shop.connection.execute(b"update xpoints.usage_counts set day = day - 1, hour = hour - 24")
    assert put(client, email="new@example.com").status == 200


def test_changes_of_an_account_have_a_bound(shop: Shop, client: Client, customer: UUID) -> None:
    for number in range(3):
        assert put(client, city=f"City {number}").status == 200
    assert shop.rows("select in_hour, in_day from xpoints.usage_counts") == [(3, 3)]
    set_uses(shop, ACCOUNT_CHANGES, str(customer), ACCOUNT_CHANGES.an_hour, 40)
    beyond = put(client, city="Oslo")
    assert (beyond.status, beyond.problem) == (429, "too-many-requests")
    assert client.get("/account").json["city"] == "City 2"


def test_cancellations_have_a_bound_and_refunds_none(shop: Shop, client: Client, customer: UUID) -> None:
    set_uses(shop, CANCELLATIONS, str(customer), CANCELLATIONS.an_hour - 1, 40)
    first, second = order(shop, client, customer, 5), order(shop, client, customer, 5)
    key = str(uuid4())
    assert client.post(f"/orders/{first}/cancel", key=key).status == 201
    beyond = client.post(f"/orders/{second}/cancel")
    assert (beyond.status, beyond.problem) == (429, "too-many-requests")
    assert int(beyond.headers["Retry-After"]) <= 3600
    assert client.post(f"/orders/{first}/cancel", key=key).status == 201, "the same again is no other"
    assert client.post(f"/orders/{second}/refunds", {}).status == 201


def test_of_two_uses_at_once_both_count(shop: Shop, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    set_uses(shop, EMAIL_CODES, address_hash(STRANGER), EMAIL_CODES.an_hour - 1, 4)
    read, reads = Transaction.read, []

    def read_then_lose(self: Transaction, *statements: Any) -> object:
        rows = read(self, *statements)
        reads.append(1)
        if len(reads) == 1:  # somebody else has a code sent there, between the reading and the writing
            set_uses(shop, EMAIL_CODES, address_hash(STRANGER), EMAIL_CODES.an_hour, 5)
        return rows

    account = client.get("/account").json
    monkeypatch.setattr(Transaction, "read", read_then_lose)
    beyond = client.put("/account", {"email": STRANGER}, If_Match=f'"{account["version"]}"')
    assert beyond.problem == "too-many-requests"
    assert len(reads) == 2


# --- Addresses to which nothing is sent any more ---


def test_nothing_is_sent_to_an_address_that_bounced(
    shop: Shop, client: Client, customer: UUID, post: Post
) -> None:
    shop.connection.execute(
        "insert into xpoints.suppressed_addresses (address_hash, reason) values (%s, 'bounce')",
        (address_hash("Ana@Example.com"),),
    )
    order(shop, client, customer)
    assert post.deliver() == []
    assert post.words == ["skipped suppressed"]
