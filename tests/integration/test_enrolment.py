"""Enrolment: a message gives a customer a user once, takes nobody's, and brings nobody back."""

import json
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import boto3
import pytest
from botocore.exceptions import ClientError

from domain.usernames import one_form
from handlers.edge.observability import FunctionFailedError
from tests.integration.shop import Shop
from tests.integration.test_cascade_handlers import aws, load, shop
from tests.unit.test_slices import Context

__all__ = ["aws", "load", "shop"]

DEMO = "Shop-Points-2026"
OWN = "My-Own-Password-1"


class Pool:
    """A user pool as the template makes it."""

    def __init__(self) -> None:
        self.client = boto3.client("cognito-idp", region_name="us-east-1")
        made = self.client.create_user_pool(
            PoolName="pool",
            Schema=[
                {"Name": "customer_id", "AttributeDataType": "String", "Mutable": False},
                {"Name": "enrolling", "AttributeDataType": "String", "Mutable": True},
            ],
            UsernameConfiguration={"CaseSensitive": False},
        )
        self.id = made["UserPool"]["Id"]
        self.client.create_group(UserPoolId=self.id, GroupName="staff")
        web = self.client.create_user_pool_client(
            UserPoolId=self.id, ClientName="web", ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH"]
        )
        self.web = web["UserPoolClient"]["ClientId"]

    def signs_in(self, username: str, password: str) -> bool:
        """Tell whether the password is the user's."""
        try:
            answer = self.client.initiate_auth(
                ClientId=self.web,
                AuthFlow="USER_PASSWORD_AUTH",
                AuthParameters={"USERNAME": username, "PASSWORD": password},
            )
        except ClientError:
            return False
        return "AuthenticationResult" in answer

    def groups(self, username: str) -> list[str]:
        """Give the groups of a user."""
        found = self.client.admin_list_groups_for_user(UserPoolId=self.id, Username=username)
        return [group["GroupName"] for group in found["Groups"]]

    def users(self) -> dict[str, dict[str, str]]:
        """Give every user's attributes by username, but the date and id that the pool gives."""
        return {
            user["Username"]: {
                one["Name"]: one["Value"]
                for one in user["Attributes"]
                if one["Name"] != "sub" and one["Value"]
            }
            for user in self.client.list_users(UserPoolId=self.id)["Users"]
        }

    def set_password(self, username: str, password: str = OWN, permanent: bool = True) -> None:
        """Change a password."""
        self.client.admin_set_user_password(
            UserPoolId=self.id, Username=username, Password=password, Permanent=permanent
        )


class Enroller(NamedTuple):
    """The function, on the test's database and pool."""

    module: ModuleType
    pool: Pool
    shop: Shop

    def __call__(self, **message: Any) -> bool:
        """Deliver a message; tell whether it was consumed."""
        return self.deliver(json.dumps({"email": "somebody@example.com", **message}))

    def deliver(self, body: str) -> bool:
        """Deliver a body; tell whether it was consumed."""
        answer = self.module.handler({"Records": [{"messageId": "m", "body": body}]}, Context(60_000))
        assert answer["batchItemFailures"] in ([], [{"itemIdentifier": "m"}])
        return not answer["batchItemFailures"]

    def erase(self, customer_id: UUID) -> None:
        """Have a customer erased, up to the forgotten name."""
        self.shop.connection.execute(
            "update xpoints.customers set erased_at = now(), username = null where id = %s", [customer_id]
        )

    def left(self) -> list[tuple[Any, ...]]:
        """Give the users that Regions have to delete."""
        return self.shop.rows("select kind, subject_id, name from xpoints.region_cleanups")


@pytest.fixture
def pool(aws: None) -> Pool:
    return Pool()


@pytest.fixture
def enrol(pool: Pool, shop: Shop, load: Callable[..., ModuleType]) -> Enroller:
    module = load("enrol_users", "enrolment", USER_POOL_ID=pool.id, DEMO_PASSWORD=DEMO)
    module.users.cache_clear()
    return Enroller(module, pool, shop)


def make_staff(shop: Shop, customer_id: UUID) -> None:
    shop.connection.execute("insert into xpoints.staff_members (customer_id) values (%s)", [customer_id])


def test_a_customer_gets_a_user_of_their_own_and_staff_their_group(enrol: Enroller, pool: Pool) -> None:
    ana, bea = enrol.shop.customer(username="ana"), enrol.shop.customer(username="Bea")
    make_staff(enrol.shop, bea)
    assert enrol(username="ana", customer_id=str(ana))
    assert enrol(username="BEA", customer_id=str(bea).upper(), staff=True)
    assert pool.users() == {
        name: {"email": "somebody@example.com", "email_verified": "true", "custom:customer_id": str(owner)}
        for name, owner in (("ana", ana), ("bea", bea))
    }
    assert (pool.groups("ana"), pool.groups("bea")) == ([], ["staff"])
    assert pool.signs_in("ana", DEMO)
    assert pool.signs_in("bea", DEMO)


@pytest.mark.parametrize("name", ["jos\u00e9", "JOS\u00c9", "jose\u0301", "JOSE\u0301"])
@pytest.mark.parametrize("namesakes", [True, False])
def test_a_user_is_not_taken_over_by_a_message_about_somebody_else(
    enrol: Enroller, pool: Pool, name: str, namesakes: bool
) -> None:
    jose = enrol.shop.customer(username="Jos\u00e9")
    thief = enrol.shop.customer(username=name if namesakes else "thief")
    make_staff(enrol.shop, thief)
    assert enrol(username="jos\u00e9", customer_id=str(jose))
    pool.set_password("jos\u00e9")
    before = pool.users()

    assert not enrol(username=name, customer_id=str(thief), email="thief@example.com", staff=True)

    assert pool.users() == before
    assert pool.groups("jos\u00e9") == []
    assert pool.signs_in("jos\u00e9", OWN)


def test_a_second_delivery_changes_nothing_of_a_user_who_is_complete(enrol: Enroller, pool: Pool) -> None:
    ana = enrol.shop.customer(username="ana")
    make_staff(enrol.shop, ana)
    assert enrol(username="ana", customer_id=str(ana), staff=True)
    pool.set_password("ana")
    pool.client.admin_remove_user_from_group(UserPoolId=pool.id, Username="ana", GroupName="staff")
    for variant in ("ana", "ANA"):
        assert enrol(username=variant, customer_id=str(ana), staff=True)
        assert enrol(username=variant, customer_id=str(ana).upper(), staff=False)
    assert pool.groups("ana") == []
    assert pool.signs_in("ana", OWN)
    # Not even one for which an operator has set a password that is to be changed.
    pool.set_password("ana", "Once-Only-1234", permanent=False)
    assert enrol(username="ana", customer_id=str(ana), staff=True)
    assert not pool.signs_in("ana", DEMO)
    assert pool.groups("ana") == []


def test_somebody_who_was_invited_never_gets_the_demos_password(enrol: Enroller, pool: Pool) -> None:
    ana = enrol.shop.customer(username="ana")
    pool.client.admin_create_user(
        UserPoolId=pool.id,
        Username="ana",
        UserAttributes=[{"Name": "custom:customer_id", "Value": str(ana).upper()}],
    )
    assert enrol(username="ana", customer_id=str(ana))
    assert not pool.signs_in("ana", DEMO)


@pytest.mark.parametrize(
    "cut_off_at", ["admin_add_user_to_group", "admin_set_user_password", "admin_update_user_attributes"]
)
def test_an_enrolment_that_was_cut_off_is_completed_by_the_next_delivery(
    enrol: Enroller, pool: Pool, cut_off_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ana = enrol.shop.customer(username="ana")
    make_staff(enrol.shop, ana)

    def end(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "TooManyRequestsException"}}, cut_off_at)

    with monkeypatch.context() as patch:
        patch.setattr(enrol.module.users(), cut_off_at, end)
        assert not enrol(username="ana", customer_id=str(ana), staff=True)
    changed = cut_off_at == "admin_update_user_attributes"  # the first delivery came as far as the password
    if changed:
        pool.set_password("ana")
    assert enrol(username="ana", customer_id=str(ana), staff=True)
    assert pool.groups("ana") == ["staff"]
    assert pool.signs_in("ana", OWN if changed else DEMO)
    assert "custom:enrolling" not in pool.users()["ana"]


@pytest.mark.parametrize("redelivered", [True, False])
def test_whoever_was_erased_does_not_come_back(enrol: Enroller, pool: Pool, redelivered: bool) -> None:
    ana = enrol.shop.customer(username="ana")
    if redelivered:
        assert enrol(username="ana", customer_id=str(ana))
        pool.client.admin_delete_user(UserPoolId=pool.id, Username="ana")
    enrol.erase(ana)
    for name in ("ana", "ANA", "another"):
        assert enrol(username=name, customer_id=str(ana).upper()), "there is nothing to do for anybody"
    assert pool.users() == {}


@pytest.mark.parametrize("cut_off", [True, False])
def test_whoever_is_erased_while_the_user_is_made_has_none_afterwards(
    enrol: Enroller, pool: Pool, cut_off: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ana = enrol.shop.customer(username="ana")
    users = enrol.module.users()
    make = users.admin_create_user

    def erase_and_make(**user: Any) -> Any:
        enrol.erase(ana)
        made = make(**user)
        if cut_off:
            raise ClientError({"Error": {"Code": "InternalErrorException"}}, "AdminCreateUser")
        return made

    with monkeypatch.context() as patch:
        patch.setattr(users, "admin_create_user", erase_and_make)
        assert enrol(username="ana", customer_id=str(ana)) is not cut_off
    if cut_off:
        assert enrol(username="ana", customer_id=str(ana))
    assert enrol.left() == [("user", ana, "ana")]


def test_a_message_that_fits_nobody_is_reported(
    enrol: Enroller, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    ana = enrol.shop.customer(username="ana")
    for kind, message in (
        ("UnknownCustomerError", {"username": "ana", "customer_id": str(uuid4())}),
        ("WrongUsernameError", {"username": "anna", "customer_id": str(ana)}),
        ("NotStaffError", {"username": "ana", "customer_id": str(ana), "staff": True}),
        ("MalformedCommandError", {"username": "ana", "customer_id": f"{{{ana}}}"}),
        ("MalformedCommandError", {"username": "ana", "customer_id": str(ana), "password": "x"}),
        ("MalformedCommandError", {"username": "", "customer_id": str(ana)}),
    ):
        caplog.clear()
        assert not enrol(**message), kind
        failed = [line.exc_info[1] for line in caplog.records if line.exc_info]
        assert [type(error).__name__ for error in failed] == [kind]
    assert not enrol.deliver("nonsense")
    assert pool.users() == {}


def test_the_usernames_of_the_sample_are_in_the_one_form_already() -> None:
    from local.sample_data import generate

    assert {one.username for one in generate(50).customers} == {
        one_form(one.username) for one in generate(50).customers
    }


def test_staff_are_staff_with_an_authenticator_app_alone(
    pool: Pool, load: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("DATABASE_HOST", "DATABASE_ROLE"):
        monkeypatch.delenv(variable, raising=False)
    module = import_module("handlers.staff_sign_in")
    module.users.cache_clear()
    pool.client.admin_create_user(UserPoolId=pool.id, Username="ana")

    def groups(*had: str) -> list[str]:
        request = {"groupConfiguration": {"groupsToOverride": [*had]}}
        event = {"userPoolId": pool.id, "userName": "ana", "request": request, "response": {}}
        answer = module.handler(event, None)
        override = answer["response"].get("claimsOverrideDetails", {}).get("groupOverrideDetails")
        return [*had] if override is None else list(override["groupsToOverride"])

    assert groups("staff", "press") == ["press"]
    assert groups("press") == ["press"]
    assert groups() == []
    asked = module.users().admin_get_user(UserPoolId=pool.id, Username="ana")
    for settings, expected in ((["SMS_MFA"], []), (["SOFTWARE_TOKEN_MFA"], ["staff"])):
        monkeypatch.setattr(
            module.users(),
            "admin_get_user",
            lambda settings=settings, **_: {**asked, "UserMFASettingList": settings},
        )
        assert groups("staff") == expected


def test_who_cannot_be_looked_up_gets_no_token_as_staff(pool: Pool) -> None:
    module = import_module("handlers.staff_sign_in")
    module.users.cache_clear()
    request = {"groupConfiguration": {"groupsToOverride": ["staff"]}}
    event = {"userPoolId": pool.id, "userName": "nobody", "request": request, "response": {}}
    with pytest.raises(FunctionFailedError):
        module.handler(event, None)
