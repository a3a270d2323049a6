"""Erasure, retirement and the scheduled jobs on a deployed Region, from the API to what is left."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from local.emulator import NO_CERTIFICATES
from local.region import LocalRegion
from sql.connection import Connection
from tests.integration.shop import Shop
from tests.system.waiting import until


@pytest.fixture(scope="module")
def shop(region: LocalRegion) -> Iterator[Shop]:
    with Connection.connect(region.conninfo(), autocommit=True) as connection:
        yield Shop(connection)


def enrolled(region: LocalRegion, shop: Shop, staff: bool = False) -> tuple[UUID, str, dict[str, str]]:
    """Add a customer who can sign in; give id, username and the headers of their requests."""
    username = f"user_{uuid4().hex[:8]}"
    customer_id = (shop.staff_member if staff else shop.customer)(username=username)
    region.enrol(
        [
            {
                "username": username,
                "email": f"{username}@example.com",
                "customer_id": str(customer_id),
                "staff": staff,
            }
        ]
    )
    return customer_id, username, {"Authorization": region.sign_in(username)}


def delete(region: LocalRegion, path: str, headers: dict[str, str]) -> None:
    headers = {**headers, "Idempotency-Key": str(uuid4()), "If-Match": '"1"'}
    answer = httpx.delete(
        f"{region.api_url}{path}", headers=headers, timeout=30, trust_env=False, verify=NO_CERTIFICATES
    )
    assert answer.is_success, answer.text


def invoke(region: LocalRegion, function: str, event: dict[str, str]) -> Any:
    """Start a function as its schedule does; give its answer."""
    done = region.client("lambda").invoke(
        FunctionName=region.resources[function], Payload=json.dumps(event).encode()
    )
    answer = json.loads(done["Payload"].read())
    assert "FunctionError" not in done, answer
    return answer


def usernames(region: LocalRegion) -> set[str]:
    pool = region.outputs["UserPoolId"]
    return {user["Username"] for user in region.client("cognito-idp").list_users(UserPoolId=pool)["Users"]}


def test_a_customer_who_erases_their_account_is_forgotten(region: LocalRegion, shop: Shop) -> None:
    customer_id, username, headers = enrolled(region, shop)
    shop.fill_cart(customer_id, {shop.item(): 1})
    assert username in usernames(region)

    delete(region, "/account", headers)

    until(
        lambda: (
            shop.rows("select username, email from xpoints.customers where id = %s", [customer_id])
            == [(None, None)]
        )
    )
    assert invoke(region, "CleanRegionFunction", {}) is not None
    until(lambda: username not in usernames(region))
    for table in ("shopping_cart_items", "points_balances", "idempotency_records"):
        left = shop.scalar(f"select count(*) from xpoints.{table} where customer_id = %s", [customer_id])
        assert left == 0, table
    assert (
        shop.scalar("select sum(points) from xpoints.transactions where customer_id = %s", [customer_id]) == 0
    )


def test_a_retired_item_leaves_the_carts_and_its_shopper_gets_an_e_mail(
    region: LocalRegion, shop: Shop
) -> None:
    customer_id, username, _ = enrolled(region, shop)
    _, _, staff = enrolled(region, shop, staff=True)
    lamp = shop.item(name="Lamp")
    shop.fill_cart(customer_id, {lamp: 1})

    delete(region, f"/staff/items/{lamp}", staff)

    until(lambda: any(f"{username}@example.com" in str(mail) for mail in region.emails()))
    assert shop.scalar("select count(*) from xpoints.shopping_cart_items where item_id = %s", [lamp]) == 0


@pytest.mark.parametrize(
    ("function", "event"),
    [
        ("AuditLedgerFunction", {"audit": "whole"}),
        ("AuditLedgerFunction", {"audit": "sample"}),
        ("SweepOrphansFunction", {}),
        ("ExpireFunction", {}),
    ],
)
def test_the_scheduled_jobs_run_as_deployed_and_find_nothing_wrong(
    region: LocalRegion, function: str, event: dict[str, str]
) -> None:
    answer = invoke(region, function, event)
    if function == "AuditLedgerFunction":
        assert answer == {}
