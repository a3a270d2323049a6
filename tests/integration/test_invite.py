"""Invitations: a user and a customer, once; nobody's name is taken, and nobody comes back."""

from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest

from operations import invite
from operations.site import Site, SiteError
from sql.connection import Database
from sql.transactions.invite import enter_customer, list_staff
from tests.integration.shop import Shop
from tests.integration.test_cascade_handlers import Ways, aws, shop
from tests.integration.test_enrolment import OWN, Pool

__all__ = ["aws", "shop"]


class Office(NamedTuple):
    """The command, on the test's database and pool."""

    site: Site
    pool: Pool
    shop: Shop

    def __call__(self, name: str, email: str, *, staff: bool = False, resend: bool = False) -> dict[str, Any]:
        """Invite somebody."""
        return invite.invite(self.site, invite.read_invitation(name, email, staff), resend)

    def customers(self) -> list[tuple[Any, ...]]:
        """Give every customer with the points that they have."""
        return self.shop.rows(
            "select c.username, c.email, b.points_balance, c.erased_at is not null from xpoints.customers c "
            "left join xpoints.points_balances b on b.customer_id = c.id order by 1"
        )

    def state(self) -> tuple[Any, ...]:
        """Give all that an invitation changes."""
        return self.customers(), self.pool.users(), self.shop.rows("select * from xpoints.staff_members")


@pytest.fixture
def office(aws: None, shop: Shop, database: Ways) -> Office:
    pool = Pool()

    class Here(Site):
        """A site over the test's database."""

        @property
        def database(self) -> Database:
            """The database as the role that the command takes."""
            return database("operations")

    return Office(Here({}, {"UserPoolId": pool.id}, {}, "us-east-1", "operations"), pool, shop)


def test_who_is_invited_is_a_customer_with_a_user_and_no_points(office: Office) -> None:
    told = office("Ana", "ana@example.com")
    assert told["state"] == "mailed"
    assert office.customers() == [("ana", "ana@example.com", 0, False)]
    (user,) = office.pool.users().values()
    assert user["custom:customer_id"] == str(told["customer_id"])
    assert (user["email"], user["email_verified"]) == ("ana@example.com", "true")
    assert office.pool.groups("ana") == []


def test_staff_are_entered_in_the_database_and_in_the_group(office: Office) -> None:
    told = office("boss", "boss@example.com", staff=True)
    assert office.shop.rows("select customer_id from xpoints.staff_members") == [(told["customer_id"],)]
    assert office.pool.groups("boss") == ["staff"]


@pytest.mark.parametrize("again", ["ana", "ANA"])
def test_inviting_again_changes_nothing_and_no_password(office: Office, again: str) -> None:
    first = office("ana", "ana@example.com")
    office.pool.set_password("ana")
    before = office.state()
    second = office(again, "Ana@Example.com")
    assert (second["customer_id"], second["state"]) == (first["customer_id"], "invited before")
    assert office.state() == before
    assert office.pool.signs_in("ana", OWN)
    with pytest.raises(SiteError, match="has chosen a password"):
        office(again, "ana@example.com", resend=True)
    assert office.pool.signs_in("ana", OWN)


@pytest.mark.parametrize("name", ["jos\u00e9", "JOSE\u0301"])
@pytest.mark.parametrize("known_by", ["pool", "database", "both"])
def test_nobodys_name_is_taken(office: Office, name: str, known_by: str) -> None:
    if known_by == "database":
        jose = office.shop.customer(username="jos\u00e9")
        assert jose
    else:
        office("jos\u00e9", "jos\u00e9@example.com".replace("\u00e9", "e"))
    if known_by == "pool":
        office.shop.connection.execute(b"delete from xpoints.customers")
    before = office.state()
    with pytest.raises(SiteError, match="their address is another one"):
        office(name, "thief@example.com", staff=True)
    assert office.state() == before


def test_a_customer_who_is_there_already_gets_a_user(office: Office) -> None:
    bea = office.shop.customer(points=70, username="Bea")
    told = office("Bea", "bea@example.com".replace("bea", "Bea"))
    assert told["customer_id"] == bea
    assert office.customers() == [("Bea", "Bea@example.com", 70, False)]
    assert set(office.pool.users()) == {"bea"}


def test_an_invitation_that_stopped_half_way_is_completed(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(invite, "enter_customer", fail)
        with pytest.raises(ConnectionError):
            office("ana", "ana@example.com", staff=True)
    assert office.customers() == []
    told = office("ana", "ana@example.com", staff=True)
    (user,) = office.pool.users().values()
    assert user["custom:customer_id"] == str(told["customer_id"])
    assert office.customers() == [("ana", "ana@example.com", 0, False)]
    assert office.pool.groups("ana") == ["staff"]


def erase(shop: Shop, customer_id: UUID) -> None:
    shop.connection.execute("update xpoints.customers set erased_at = now() where id = %s", [customer_id])
    shop.connection.execute("delete from xpoints.points_balances where customer_id = %s", [customer_id])


def test_whoever_is_being_erased_is_not_invited_back(office: Office) -> None:
    told = office("ana", "ana@example.com")
    erase(office.shop, told["customer_id"])
    before = office.state()
    with pytest.raises(SiteError, match="is being erased"):
        office("ana", "ana@example.com", staff=True)
    assert office.state() == before
    # Once nothing is left of them but their id, the name is somebody else's.
    office.shop.connection.execute(b"update xpoints.customers set username = null, email = null")
    with pytest.raises(SiteError, match="is being erased"):
        office("ana", "ana@example.com")
    office.pool.client.admin_delete_user(UserPoolId=office.pool.id, Username="ana")
    assert office("ana", "another@example.com")["customer_id"] != told["customer_id"]


def test_whoever_is_erased_during_the_invitation_has_no_user_afterwards(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    bea = office.shop.customer(username="bea")
    enter = enter_customer

    def erase_and_enter(*arguments: Any, **options: Any) -> None:
        erase(office.shop, bea)
        enter(*arguments, **options)

    monkeypatch.setattr(invite, "enter_customer", erase_and_enter)
    with pytest.raises(SiteError, match="is being erased"):
        office("bea", "bea@example.com", staff=True)
    assert office.shop.rows("select kind, subject_id, name from xpoints.region_cleanups") == [
        ("user", bea, "bea")
    ]
    assert office.shop.count("points_balances") == office.shop.count("staff_members") == 0


def test_one_of_the_staff_becomes_a_customer_again(office: Office) -> None:
    told = office("boss", "boss@example.com", staff=True)
    office.pool.set_password("boss")
    assert [one["username"] for one in list_staff(office.site.database)] == ["boss"]
    assert invite.dismiss(office.site, told["customer_id"])
    assert not invite.dismiss(office.site, told["customer_id"])
    assert list_staff(office.site.database) == []
    assert office.pool.groups("boss") == []
    # An invitation that is repeated as for a customer does not bring it back.
    office("boss", "boss@example.com")
    assert (list_staff(office.site.database), office.pool.groups("boss")) == ([], [])
    assert office.pool.signs_in("boss", OWN)


def test_a_plan_changes_nothing(office: Office) -> None:
    assert invite.plan(office.site, invite.read_invitation("ana", "ana@example.com", True)) == {
        "username": "ana",
        "customer_id": "a new one",
        "staff": True,
        "state": "to be invited",
    }
    assert office.state() == ([], {}, [])


def test_a_user_who_is_no_customers_is_named(office: Office) -> None:
    office.pool.client.admin_create_user(UserPoolId=office.pool.id, Username="admin")
    with pytest.raises(SiteError, match="no customer's"):
        office("admin", "admin@example.com")
    office.pool.client.admin_create_user(
        UserPoolId=office.pool.id,
        Username="eva",
        UserAttributes=[
            {"Name": "custom:customer_id", "Value": str(uuid4())},
            {"Name": "email", "Value": "eva@example.com"},
        ],
    )
    office.shop.customer(username="eva")
    with pytest.raises(SiteError, match="another customer's"):
        office("eva", "eva@example.com")


@pytest.mark.parametrize(
    "name",
    ["", " ana", "a b", "-ana", "ana.", "a" * 51, "ana@example.com", "a\u200bna", "\u3164", "a\u3164b"],
)
def test_what_cannot_be_a_username_is_refused(name: str) -> None:
    with pytest.raises(SiteError, match="cannot be a username"):
        invite.read_invitation(name, "ana@example.com", False)


@pytest.mark.parametrize(
    "email", ["", "ana", "ana@", "@example.com", "a na@example.com", "ana@example", f"{'a' * 40}@example.com"]
)
def test_what_cannot_be_an_address_is_refused(email: str) -> None:
    with pytest.raises(SiteError, match="no e-mail address"):
        invite.read_invitation("ana", email, False)
