"""A shop as production deploys it, without a demo password: from "deployed" to people who sign in and buy.

The commands are run as docs/deploy.md has them.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from local.emulator import NO_CERTIFICATES
from local.region import ROOT, LocalRegion
from sql.connection import Connection
from tests.authenticator import code
from tests.integration.shop import Shop
from tests.system.waiting import until

CHOSEN = "Chosen-By-Myself-1"

#: Who tries new versions: the id that the deployment names.
SMOKE_CUSTOMER = UUID("5a0e5a0e-5a0e-4a0e-8a0e-5a0e5a0e5a0e")


@pytest.fixture(scope="module")
def shop() -> Iterator[LocalRegion]:
    """A Region of its own, as production is deployed."""
    with LocalRegion(parameters={"DemoPassword": "", "SmokeCustomerId": str(SMOKE_CUSTOMER)}) as region:
        yield region


def rewards(region: LocalRegion, *arguments: str, expected: int = 0) -> Any:
    """Type a `./rewards` command; give its JSON, or what it says where it fails."""
    done = subprocess.run(
        [str(ROOT / "rewards"), *arguments, "--json"],
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **region.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == expected, done.stderr
    return json.loads(done.stdout) if expected == 0 else done.stderr


def mails(region: LocalRegion, address: str) -> list[str]:
    """Give the texts of the mails to an address, oldest first."""
    return [str(mail.get("BodyText")) for mail in region.emails() if address in mail["To"]]


def first_sign_in(region: LocalRegion, username: str, address: str) -> str:
    """Sign in with the password of the mail, choose one, and give the ID token."""
    found = re.search(r"the password (\S+)", mails(region, address)[-1])
    assert found is not None
    client, web = region.client("cognito-idp"), region.outputs["UserPoolClientId"]
    asked = client.initiate_auth(
        ClientId=web,
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": username, "PASSWORD": found[1]},
    )
    assert asked["ChallengeName"] == "NEW_PASSWORD_REQUIRED"
    client.respond_to_auth_challenge(
        ClientId=web,
        ChallengeName="NEW_PASSWORD_REQUIRED",
        Session=asked["Session"],
        ChallengeResponses={"USERNAME": username, "NEW_PASSWORD": CHOSEN},
    )
    return region.sign_in(username, CHOSEN)


def set_up_authenticator(region: LocalRegion, username: str) -> str:
    """Set an authenticator app up, sign in with it, and give the ID token."""
    client, web = region.client("cognito-idp"), region.outputs["UserPoolClientId"]

    def begin() -> Any:
        return client.initiate_auth(
            ClientId=web,
            AuthFlow="USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": username, "PASSWORD": CHOSEN},
        )

    access = begin()["AuthenticationResult"]["AccessToken"]
    secret = client.associate_software_token(AccessToken=access)["SecretCode"]
    client.verify_software_token(AccessToken=access, UserCode=code(secret))
    client.set_user_mfa_preference(
        AccessToken=access, SoftwareTokenMfaSettings={"Enabled": True, "PreferredMfa": True}
    )
    asked = begin()
    assert asked["ChallengeName"] == "SOFTWARE_TOKEN_MFA"
    answer = client.respond_to_auth_challenge(
        ClientId=web,
        ChallengeName="SOFTWARE_TOKEN_MFA",
        Session=asked["Session"],
        ChallengeResponses={"USERNAME": username, "SOFTWARE_TOKEN_MFA_CODE": code(secret)},
    )
    return str(answer["AuthenticationResult"]["IdToken"])


def send(region: LocalRegion, method: str, path: str, token: str, **body: Any) -> httpx.Response:
    """Send a request to the shop."""
    headers = {"Authorization": token, "Idempotency-Key": str(uuid4()), "If-Match": "*"}
    return httpx.request(
        method,
        f"{region.api_url}{path}",
        headers=headers,
        json=body or None,
        timeout=30,
        trust_env=False,
        verify=NO_CERTIFICATES,
    )


def test_nothing_is_deployed_that_knows_a_published_password(shop: LocalRegion) -> None:
    assert not [name for name in shop.resources if name.startswith("EnrolUsers")]
    assert not {"DemoPassword", "EnrolUsersQueueUrl"} & set(shop.outputs)
    queues = {queue["queue"] for queue in rewards(shop, "queues", "list")["queues"]}
    assert "enrol-users" not in queues
    pool = shop.client("cognito-idp").describe_user_pool(UserPoolId=shop.outputs["UserPoolId"])["UserPool"]
    assert pool["AdminCreateUserConfig"]["AllowAdminCreateUserOnly"] is True


def test_people_are_invited_sign_in_and_buy(shop: LocalRegion, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("name,points_price,stock\nMug,500,3\n", encoding="utf-8")
    assert rewards(shop, "seed", "--items", "10")["would_load"] == {"items": 10, "pictures": 30}
    assert rewards(shop, "seed", "--items", "10", "--yes")["loaded"]["pictures"] == 30
    assert rewards(shop, "seed", "--items", "10", "--yes")["loaded"] == {"rows": 0, "pictures": 0}
    assert rewards(shop, "seed", "--catalogue", str(tmp_path / "own.csv"), "--yes")["loaded"]["rows"] > 0

    assert rewards(shop, "invite", "Ana", "ana@example.com")["would_invite"]["state"] == "to be invited"
    assert mails(shop, "ana@example.com") == []
    ana = rewards(shop, "invite", "Ana", "ana@example.com", "--yes")["invited"]
    boss = rewards(shop, "invite", "boss", "boss@example.com", "--staff", "--yes")["invited"]
    assert (ana["state"], boss["staff"]) == ("mailed", True)
    passwords = re.findall(r"the password (\S+)", mails(shop, "ana@example.com")[0])
    assert not [line for line in shop.logs() if passwords[0] in line or "ana@example.com" in line]

    token = first_sign_in(shop, "ana", "ana@example.com")
    without_code = first_sign_in(shop, "boss", "boss@example.com")
    assert send(shop, "GET", "/points", token).json()["balance"] == 0
    credit = {"points": 600, "kind": "GIFT", "description": "Welcome"}
    path = f"/staff/customers/{ana['customer_id']}/credits"
    assert send(shop, "POST", path, token, **credit).status_code == 403
    assert send(shop, "POST", path, without_code, **credit).status_code == 403, "a password alone"
    staff = set_up_authenticator(shop, "boss")
    assert send(shop, "POST", path, staff, **credit).status_code == 201
    (mug,) = [
        item for item in send(shop, "GET", "/catalog?q=mug", token).json()["items"] if item["name"] == "Mug"
    ]
    send(shop, "PUT", f"/cart/items/{mug['item_id']}", token, quantity=1).raise_for_status()
    seen = send(shop, "GET", "/cart", token).json()
    order = send(shop, "POST", "/orders", token, expected_total_points=500, cart_version=seen["cart_version"])
    assert order.status_code == 201, order.text

    assert rewards(shop, "invite", "ANA", "ana@example.com", "--yes")["invited"]["state"] == "invited before"
    assert len([each for each in mails(shop, "ana@example.com") if "the password" in each]) == 1
    assert shop.sign_in("ana", CHOSEN), "no password was set again"
    assert "another one" in rewards(shop, "invite", "ana", "thief@example.com", "--yes", expected=1)

    assert [one["username"] for one in rewards(shop, "staff", "list")["staff"]] == ["boss"]
    rewards(shop, "staff", "dismiss", "boss", "--yes")
    assert rewards(shop, "staff", "list")["staff"] == []

    assert send(shop, "DELETE", "/account", token).status_code == 202
    assert "is being erased" in rewards(shop, "invite", "ana", "ana@example.com", "--yes", expected=1)
    with psycopg.connect(shop.conninfo()) as connection:
        erased = connection.execute("select count(*) from xpoints.customers where erased_at is not null")
        assert erased.fetchone() == (1,)


def test_one_who_has_not_come_yet_is_mailed_again(shop: LocalRegion) -> None:
    rewards(shop, "invite", "eva", "eva@example.com", "--yes")
    assert (
        rewards(shop, "invite", "eva", "eva@example.com", "--resend", "--yes")["invited"]["state"]
        == "mailed again"
    )
    assert len(mails(shop, "eva@example.com")) == 2
    assert first_sign_in(shop, "eva", "eva@example.com")


@pytest.fixture
def tried(shop: LocalRegion) -> Iterator[Shop]:
    """The Region's database with the test customer and something to buy, and no run but the test's own."""
    scheduler = shop.client("scheduler")
    (name,) = (
        each["Name"] for each in scheduler.list_schedules()["Schedules"] if "SmokeOrder" in each["Name"]
    )
    schedule = scheduler.get_schedule(Name=name)
    wanted = ("Name", "ScheduleExpression", "FlexibleTimeWindow", "Target")
    scheduler.update_schedule(**{key: schedule[key] for key in wanted}, State="DISABLED")
    with Connection.connect(shop.conninfo(), autocommit=True) as connection:
        made = Shop(connection)
        made.customer(100, "smoke", SMOKE_CUSTOMER)
        made.item(5, "Sticker", stock=[3])
        yield made


def test_the_smoke_order_tries_a_version_and_fails_where_its_checkout_is_broken(
    shop: LocalRegion, tried: Shop
) -> None:
    functions, checkout = shop.client("lambda"), shop.resources["CheckoutFunction"]

    def run(**event: bool) -> tuple[str | None, Any]:
        answer = functions.invoke(
            FunctionName=shop.outputs["SmokeOrderFunctionName"], Payload=json.dumps(event)
        )
        return answer.get("FunctionError"), json.loads(answer["Payload"].read())

    def left() -> tuple[list[str], int]:
        query = "select status from xpoints.orders where customer_id = %s"
        return [status for (status,) in tried.rows(query, [SMOKE_CUSTOMER])], tried.balance(SMOKE_CUSTOMER)

    def logged(message: str) -> list[Any]:
        found = [json.loads(line) for line in shop.logs() if f'"{message}"' in line]
        return [line for line in found if line.get("message") == message]

    def outcomes() -> list[str]:
        return [line["outcome"] for line in logged("checkout")]

    assert run() == (None, {"smoke_orders": 0}), "no version is on trial"
    assert left() == ([], 100)

    before = len(outcomes())
    assert run(now=True) == (None, {"smoke_orders": 1})
    assert left() == (["CANCELLED"], 100)
    assert until(lambda: outcomes()[before + 1 :] and outcomes()[before:]) == ["placed", "replayed"]

    # As CodeDeploy does: the alias lets a tenth of the requests go to a new version.
    variables = functions.get_function_configuration(FunctionName=checkout)["Environment"]["Variables"]
    broken = {**variables, "DATABASE_PORT": "1"}
    functions.update_function_configuration(FunctionName=checkout, Environment={"Variables": broken})
    version = functions.publish_version(FunctionName=checkout)["Version"]
    functions.update_function_configuration(FunctionName=checkout, Environment={"Variables": variables})
    functions.update_alias(
        FunctionName=checkout, Name="live", RoutingConfig={"AdditionalVersionWeights": {version: 0.1}}
    )
    assert run()[0] == "Unhandled"
    assert left() == (["CANCELLED"], 100)
    (failed,) = until(lambda: logged("smoke order failed"))
    assert (failed["step"], failed["version"], failed["status"]) == ("POST /orders", version, 503)

    # And takes it back.
    functions.update_alias(FunctionName=checkout, Name="live", RoutingConfig={"AdditionalVersionWeights": {}})
    assert run() == (None, {"smoke_orders": 0})
    assert rewards(shop, "audit", "--whole")["differences"] == []
