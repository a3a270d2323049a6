"""What a Region deletes of somebody who was erased: their user, whatever it is called, and nobody else's."""

from collections.abc import Callable
from itertools import count
from types import ModuleType
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import boto3
import pytest
from botocore.exceptions import ClientError

from handlers.edge.observability import FunctionFailedError
from tests.integration.shop import Shop
from tests.integration.test_cascade_handlers import aws, load, shop
from tests.unit.test_slices import Context

__all__ = ["aws", "load", "shop"]


class Cleaner(NamedTuple):
    """The function, on the test's database and a pool whose usernames have a case."""

    module: ModuleType
    pool: str
    shop: Shop

    @property
    def client(self) -> Any:
        """The pool's client that the function has."""
        return self.module.users()

    def add(self, username: str, customer_id: object) -> None:
        """Add a user of a customer, or of nobody for None."""
        owner = [] if customer_id is None else [{"Name": "custom:customer_id", "Value": str(customer_id)}]
        self.client.admin_create_user(UserPoolId=self.pool, Username=username, UserAttributes=owner)

    def leave(self, customer_id: UUID, name: str) -> None:
        """Leave the Region the deletion of a customer's user."""
        self.shop.connection.execute(
            "insert into xpoints.region_cleanups (region, kind, subject_id, name) "
            "values ('us-east-1', 'user', %s, %s)",
            (customer_id, name),
        )

    def run(self, context: Any = None) -> dict[str, int]:
        """Run the function."""
        answer: dict[str, int] = self.module.handler({}, context or Context(60_000))
        return answer

    def users(self) -> set[str]:
        """Give the usernames of the pool."""
        pages = self.client.get_paginator("list_users").paginate(UserPoolId=self.pool)
        return {user["Username"] for page in pages for user in page["Users"]}

    def left(self) -> int:
        """Count what the Region has to delete."""
        return self.shop.count("region_cleanups")


@pytest.fixture
def cleaner(aws: None, shop: Shop, load: Callable[..., ModuleType]) -> Cleaner:
    made = boto3.client("cognito-idp", region_name="us-east-1").create_user_pool(
        PoolName="pool",
        Schema=[{"Name": "customer_id", "AttributeDataType": "String", "Mutable": False}],
        UsernameConfiguration={"CaseSensitive": True},
    )
    pool = made["UserPool"]["Id"]
    module = load("clean_region", "jobs", USER_POOL_ID=pool, PICTURES_BUCKET="pictures")
    module.users.cache_clear()
    return Cleaner(module, pool, shop)


def spelled(customer_id: UUID) -> list[str]:
    return [str(customer_id).upper(), f"{{{customer_id}}}", customer_id.hex, customer_id.urn]


@pytest.mark.parametrize(
    ("called", "stored"),
    [("ana", "ana"), ("ana", "ANA"), ("ANA", "ana"), ("jos\u00e9", "JOSE\u0301"), ("another", "ana")],
)
def test_a_user_goes_whatever_form_name_and_id_have(cleaner: Cleaner, called: str, stored: str) -> None:
    for form in range(4):
        ana = uuid4()
        owner = spelled(ana)[form]
        cleaner.add(called, owner)
        cleaner.leave(ana, stored)
        assert cleaner.run() == {"deleted": 1}, owner
        assert (cleaner.users(), cleaner.left()) == (set(), 0), owner


def test_two_users_whose_names_differ_in_case_go_both(cleaner: Cleaner) -> None:
    ana = uuid4()
    cleaner.add("ana", ana)
    cleaner.add("ANA", ana)
    cleaner.leave(ana, "ANA")
    assert cleaner.run() == {"deleted": 1}
    assert (cleaner.users(), cleaner.left()) == (set(), 0)


def test_every_user_of_the_customer_goes_and_a_namesake_stays(cleaner: Cleaner) -> None:
    ana, other = uuid4(), uuid4()
    for number in range(130):  # more than a page
        cleaner.add(f"other_{number}", uuid4())
    cleaner.add("ana", other)
    cleaner.add("ana_maria", ana)
    cleaner.add("am", str(ana).upper())
    cleaner.add("nobody", None)
    cleaner.leave(ana, "ana")
    before = cleaner.users()
    assert cleaner.run() == {"deleted": 1}
    assert cleaner.users() == before - {"ana_maria", "am"}
    assert cleaner.left() == 0


def test_a_user_of_the_name_who_names_nobody_is_for_a_person_to_look_at(
    cleaner: Cleaner, caplog: pytest.LogCaptureFixture
) -> None:
    ana, bea = uuid4(), uuid4()
    cleaner.add("ana", None)
    cleaner.add("bea", bea)
    cleaner.leave(ana, "ana")
    cleaner.leave(bea, "bea")
    for _ in range(2):
        with pytest.raises(FunctionFailedError, match="PartsFailedError"):
            cleaner.run()
        assert (cleaner.users(), cleaner.left()) == ({"ana"}, 1)
    assert {type(line.exc_info[1]).__name__ for line in caplog.records if line.exc_info} >= {
        "UnclearOwnerError"
    }


def test_somebody_without_a_user_is_done_once_the_whole_pool_was_looked_through(cleaner: Cleaner) -> None:
    for number in range(3):
        cleaner.add(f"other_{number}", uuid4())
    cleaner.leave(uuid4(), "ana")
    looks = count()

    class Short:
        """Time for the first looks alone."""

        def get_remaining_time_in_millis(self) -> int:
            """Give the milliseconds left."""
            return 60_000 if next(looks) < 2 else 0

    with pytest.raises(FunctionFailedError, match="PartsFailedError"):
        cleaner.run(Short())
    assert cleaner.left() == 1, "who knows"
    assert cleaner.run() == {"deleted": 1}
    assert cleaner.left() == 0


@pytest.mark.parametrize("call", ["admin_get_user", "list_users", "admin_delete_user"])
def test_what_cognito_does_not_answer_is_not_done(
    cleaner: Cleaner, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ana = uuid4()
    cleaner.add("another", ana)
    cleaner.leave(ana, "ana")

    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "TooManyRequestsException"}}, call)

    with monkeypatch.context() as patch:
        if call == "list_users":
            patch.setattr(cleaner.client, "get_paginator", lambda _: type("P", (), {"paginate": refuse}))
        else:
            patch.setattr(cleaner.client, call, refuse)
        with pytest.raises(FunctionFailedError):
            cleaner.run()
    assert (cleaner.users(), cleaner.left()) == ({"another"}, 1)
    assert cleaner.run() == {"deleted": 1}
    assert (cleaner.users(), cleaner.left()) == (set(), 0)
