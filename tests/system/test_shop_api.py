"""The whole API as it is deployed: what its document says, and what an attacker finds."""

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import httpx
import pytest

from api.__main__ import DOCUMENT
from local.emulator import NO_CERTIFICATES
from local.region import LocalRegion
from sql.connection import Connection
from tests.integration.shop import Shop

SCHEMATHESIS = Path(__file__).with_name("schemathesis.toml")
#: For callers who are refused much of it, which is right then.
OF_OTHERS = SCHEMATHESIS.with_name("schemathesis_of_others.toml")
HOOKS = SCHEMATHESIS.with_name("schemathesis_hooks.py")

#: Generated cases for each operation and phase; a release may take more by hand.
EXAMPLES = 3


@dataclass(frozen=True)
class Deployed:
    """The API with members who can sign in."""

    region: LocalRegion
    shop: Shop
    members: dict[str, UUID]
    tokens: dict[str, str]

    def send(self, method: str, path: str, token: str | None = None, **options: Any) -> httpx.Response:
        headers = {**options.pop("headers", {}), **({"Authorization": token} if token is not None else {})}
        return httpx.request(
            method,
            f"{self.region.api_url}{path}",
            headers=headers,
            timeout=30,
            trust_env=False,
            verify=NO_CERTIFICATES,
            **options,
        )


@pytest.fixture(scope="module")
def deployed(region: LocalRegion) -> Iterator[Deployed]:
    suffix = uuid4().hex[:6]
    with Connection.connect(region.conninfo(), autocommit=True) as connection:
        shop = Shop(connection)
        members = {name: shop.customer(10_000, f"{name}_{suffix}") for name in ("owner", "thief")}
        members["staff"] = shop.staff_member(f"staff_{suffix}")
        region.enrol(
            [
                {
                    "username": f"{name}_{suffix}",
                    "email": f"{name}@example.com",
                    "customer_id": str(customer_id),
                    "staff": name == "staff",
                }
                for name, customer_id in members.items()
            ]
        )
        tokens = {name: region.sign_in(f"{name}_{suffix}") for name in members}
        yield Deployed(region, shop, members, tokens)


def problem(answer: httpx.Response) -> str:
    """The kind of problem that an answer is; every one is a document that names its status."""
    assert answer.headers["Content-Type"] == "application/problem+json", answer.text
    document = answer.json()
    assert document["status"] == answer.status_code
    assert {"type", "title", "status", "detail", "instance"} <= set(document)
    return str(document["type"]).removeprefix("urn:rewards:problem:")


def _schemathesis(
    deployed: Deployed,
    token: str | None,
    *options: str,
    config: Path = SCHEMATHESIS,
    phases: str = "examples,coverage,fuzzing,stateful",
) -> subprocess.CompletedProcess[str]:
    command = [
        *(
            str(Path(sys.executable).with_name("st")),
            "--config-file",
            str(config),
            "run",
            str(DOCUMENT),
        ),
        *("--url", deployed.region.api_url),
        *(() if token is None else ("-H", f"Authorization: Bearer {token}")),
        *("--checks", "all", "--phases", phases),
        *("--request-timeout", "29"),  # API Gateway's own
        *("--continue-on-failure", "--no-color", "--warnings", "off"),
        *options,
    ]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": str(HOOKS)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


class Run(NamedTuple):
    """One run of schemathesis: who calls, which phases, on which part of the API."""

    token: str | None
    phases: str
    part: tuple[str, ...] = ()
    config: Path = SCHEMATHESIS
    examples: int = EXAMPLES


def _at_once(deployed: Deployed, *runs: Run) -> None:
    """Do runs side by side: most of their time is spent waiting for answers. The seeds are told at the end.

    As processes and not as threads of one (`--workers`): Python 3.11 fails where two of them parse code. The
    account that everything else needs is not erased; tests of its own cover that.
    """

    def do(run: Run) -> subprocess.CompletedProcess[str]:
        options = ("--exclude-operation-id", "eraseAccount", *run.part, "--max-examples", str(run.examples))
        return _schemathesis(deployed, run.token, *options, config=run.config, phases=run.phases)

    with ThreadPoolExecutor(len(runs)) as pool:
        for done in pool.map(do, runs):
            assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_the_api_keeps_what_its_document_says_under_schemathesis(deployed: Deployed) -> None:
    for item in (deployed.shop.item(10, "Mug"), deployed.shop.item(5, "Cap", stock=[50, 50])):
        deployed.send("PUT", f"/cart/items/{item}", deployed.tokens["staff"], json={"quantity": 1})
    staff = deployed.tokens["staff"]
    _at_once(
        deployed,
        Run(staff, "coverage", ("--include-path-regex", "^/staff")),
        Run(staff, "coverage", ("--exclude-path-regex", "^/staff")),
        Run(staff, "examples,fuzzing,stateful"),
    )


def test_the_api_keeps_what_its_document_says_whoever_calls_under_schemathesis(deployed: Deployed) -> None:
    """A customer; and somebody without a sign-in, whom the gateway answers much the same whatever is sent."""
    _at_once(
        deployed,
        Run(deployed.tokens["owner"], "examples,fuzzing", config=OF_OTHERS),
        Run(None, "examples,fuzzing", config=OF_OTHERS, examples=1),
    )


@pytest.mark.parametrize("caller", ["nobody", "owner"])
def test_schemathesis_would_notice_a_caller_whom_nothing_is_done_for(deployed: Deployed, caller: str) -> None:
    """A token that is dead, or without the staff's rights: each refusal is a documented answer."""
    operation = "showCart" if caller == "nobody" else "staffFindMembers"
    token = deployed.tokens.get(caller, "dead")
    options = ("--include-operation-id", operation, "--max-examples", str(EXAMPLES))
    done = _schemathesis(deployed, token, *options)
    assert done.returncode == 1, done.stdout[-6000:] + done.stderr[-2000:]
    assert "401" in done.stdout or "403" in done.stdout


# --- Who gets in ---


def _tampered(token: str, **claims: object) -> str:
    header, body, signature = token.split(".")
    content = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    changed = base64.urlsafe_b64encode(json.dumps({**content, **claims}).encode()).decode().rstrip("=")
    return f"{header}.{changed}.{signature}"


def _unsigned(token: str) -> str:
    header = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
    return f"{header}.{token.split('.')[1]}."


def test_a_token_that_was_forged_is_refused(deployed: Deployed) -> None:
    token = deployed.tokens["thief"]
    forged = [
        "",
        "Bearer",
        "no token at all",
        _tampered(token, **{"custom:customer_id": str(deployed.members["owner"])}),
        _tampered(token, **{"cognito:groups": ["staff"]}),
        _tampered(token, exp=2**33),
        _unsigned(token),
    ]
    for one in forged:
        answer = deployed.send("GET", "/points", one)
        assert (answer.status_code, problem(answer)) == (401, "unauthenticated"), one
        assert answer.headers["WWW-Authenticate"] == "Bearer", one
    assert deployed.send("GET", "/points", token).status_code == 200


def test_an_access_token_is_no_id_token(deployed: Deployed) -> None:
    """It is of the right pool and in order, but made for another purpose: it does not say which customer."""
    answer = deployed.region.client("cognito-idp").initiate_auth(
        ClientId=deployed.region.outputs["UserPoolClientId"],
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={
            "USERNAME": deployed.shop.scalar(
                "select username from xpoints.customers where id = %s", [deployed.members["owner"]]
            ),
            "PASSWORD": deployed.region.outputs["DemoPassword"],
        },
    )
    token = answer["AuthenticationResult"]["AccessToken"]

    assert problem(deployed.send("GET", "/points", token)) == "unauthenticated"


def test_a_token_of_another_pool_is_refused(deployed: Deployed) -> None:
    cognito = deployed.region.client("cognito-idp")
    pool = cognito.create_user_pool(PoolName="elsewhere")["UserPool"]["Id"]
    client = cognito.create_user_pool_client(
        UserPoolId=pool, ClientName="web", ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH"]
    )["UserPoolClient"]["ClientId"]
    password = deployed.region.outputs["DemoPassword"]
    cognito.admin_create_user(UserPoolId=pool, Username="owner", MessageAction="SUPPRESS")
    cognito.admin_set_user_password(UserPoolId=pool, Username="owner", Password=password, Permanent=True)
    answer = cognito.initiate_auth(
        ClientId=client,
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": "owner", "PASSWORD": password},
    )
    token = answer["AuthenticationResult"]["IdToken"]

    assert problem(deployed.send("GET", "/points", token)) == "unauthenticated"


def _sign_in_through(deployed: Deployed, client_id: str) -> str:
    username = deployed.shop.scalar(
        "select username from xpoints.customers where id = %s", [deployed.members["owner"]]
    )
    answer = deployed.region.client("cognito-idp").initiate_auth(
        ClientId=client_id,
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": username, "PASSWORD": deployed.region.outputs["DemoPassword"]},
    )
    token: str = answer["AuthenticationResult"]["IdToken"]
    return token


def test_a_token_made_for_another_application_of_the_same_pool_is_refused(deployed: Deployed) -> None:
    client = deployed.region.client("cognito-idp").create_user_pool_client(
        UserPoolId=deployed.region.outputs["UserPoolId"],
        ClientName="another application",
        ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH"],
        ReadAttributes=["custom:customer_id"],
    )["UserPoolClient"]["ClientId"]
    token = _sign_in_through(deployed, client)

    answer = deployed.send("GET", "/points", token)
    assert (answer.status_code, problem(answer)) == (401, "unauthenticated")


def test_an_expired_token_is_refused(deployed: Deployed) -> None:
    cognito, outputs = deployed.region.client("cognito-idp"), deployed.region.outputs
    ours = {"UserPoolId": outputs["UserPoolId"], "ClientId": outputs["UserPoolClientId"]}
    settings = cognito.describe_user_pool_client(**ours)["UserPoolClient"]
    kept = {
        name: settings[name]
        for name in (
            "ExplicitAuthFlows",
            "ReadAttributes",
            "WriteAttributes",
            "IdTokenValidity",
            "TokenValidityUnits",
        )
        if settings.get(name)
    }
    # AWS has no tokens of a few seconds; the emulator's authorizer reads the same claim, sooner.
    brief = {**kept, "IdTokenValidity": 3, "TokenValidityUnits": {"IdToken": "seconds"}}
    cognito.update_user_pool_client(**ours, **brief)
    try:
        token = _sign_in_through(deployed, outputs["UserPoolClientId"])
    finally:
        cognito.update_user_pool_client(**ours, **kept)
    assert deployed.send("GET", "/points", token).status_code == 200
    give_up_at = time.monotonic() + 20
    while (answer := deployed.send("GET", "/points", token)).status_code == 200:
        assert time.monotonic() < give_up_at, "the token is still good"
        time.sleep(0.2)
    assert (answer.status_code, problem(answer)) == (401, "unauthenticated")


def test_no_staff_route_serves_a_customer(deployed: Deployed) -> None:
    some_id = str(uuid4())
    document = json.loads(DOCUMENT.read_text())
    for path, methods in document["paths"].items():
        for method in methods:
            if path.startswith("/staff"):
                filled = path.format(item_id=some_id, customer_id=some_id, order_id=some_id)
                answer = deployed.send(method, filled, deployed.tokens["owner"], json={})
                assert (answer.status_code, problem(answer)) == (403, "forbidden"), (method, path)


def test_a_thief_finds_nothing_of_another_customer(deployed: Deployed) -> None:
    item = deployed.shop.item(10)
    owner, thief = deployed.tokens["owner"], deployed.tokens["thief"]
    deployed.send("PUT", f"/cart/items/{item}", owner, json={"quantity": 1})
    key = {"Idempotency-Key": "the-owners-key"}
    body = {"expected_total_points": 10}
    placed = deployed.send("POST", "/orders", owner, headers=key, json=body)
    assert placed.status_code == 201
    order = f"/orders/{placed.json()['order_id']}"

    assert problem(deployed.send("GET", order, thief)) == "unknown-order"
    assert problem(deployed.send("POST", f"{order}/cancel", thief, headers=key)) == "unknown-order"
    assert problem(deployed.send("POST", f"{order}/refunds", thief, headers=key, json={})) == "unknown-order"
    # The owner's key under the thief's name is a new key: no stored answer leaks.
    assert problem(deployed.send("POST", "/orders", thief, headers=key, json=body)) == "empty-cart"
    assert deployed.send("GET", "/cart", thief).json()["lines"] == []
    assert [entry["kind"] for entry in deployed.send("GET", "/points/ledger", thief).json()["entries"]] == [
        "OPENING"
    ]
    # Naming the owner anywhere changes nothing.
    spoofed = deployed.send(
        "GET", "/orders", thief, headers={"X-Customer-Id": str(deployed.members["owner"])}
    )
    assert spoofed.json()["orders"] == []
    assert problem(deployed.send("GET", "/orders?customer_id=1", thief)) == "invalid-request"


# --- What the gateway and the functions make of nonsense ---


def test_every_kind_of_nonsense_gets_a_problem_document(deployed: Deployed) -> None:
    token = deployed.tokens["owner"]
    line = f"/cart/items/{uuid4()}"
    json_type = {"Content-Type": "application/json"}

    def sent(method: str, path: str, **options: Any) -> tuple[int, str]:
        answer = deployed.send(method, path, token, **options)
        assert "Traceback" not in answer.text
        assert "xpoints" not in answer.text
        return answer.status_code, problem(answer)

    def put(content: str | bytes, headers: dict[str, str] = json_type) -> tuple[int, str]:
        return sent("PUT", line, content=content, headers=headers)

    assert sent("GET", "/nothing/here") == (404, "not-found")
    assert sent("GET", "/") == (404, "not-found")
    assert sent("DELETE", "/points") == (405, "method-not-allowed")
    assert sent("PATCH", line) == (405, "method-not-allowed")
    assert sent("GET", "/catalog/not-a-uuid") == (400, "invalid-request")
    assert sent("GET", "/catalog/%00") == (400, "invalid-request")
    assert sent("GET", "/catalog/{5d0f7e3e-6a0c-4a86-9d42-0b6c2f4b8a10}") == (400, "invalid-request")
    assert sent("GET", "/catalog?q=%00") == (400, "invalid-request")
    assert sent("GET", "/catalog?q=%E2%80%AE") == (400, "invalid-request")
    assert sent("GET", "/catalog?limit=1&limit=2") == (400, "invalid-request")
    assert sent("GET", "/catalog?limit=9223372036854775808") == (400, "invalid-request")
    assert sent("GET", "/catalog?limit=") == (400, "invalid-request")
    assert sent("GET", "/cart?x=1") == (400, "invalid-request")
    assert sent("GET", "/orders?cursor=AAAA") == (400, "invalid-request")
    assert put("") == (400, "malformed-request")
    assert put("{") == (400, "malformed-request")
    assert put(b"\xff\xfe{}") == (400, "malformed-request")
    assert put("[" * 10_000) == (400, "malformed-request")
    assert put('{"quantity": 1}', {"Content-Type": "text/plain"}) == (415, "unsupported-media-type")
    assert put('{"quantity": 1}', {}) == (415, "unsupported-media-type")
    assert put('{"quantity": 9223372036854775808}') == (400, "invalid-request")
    assert put('{"quantity": ' + "9" * 5000 + "}") == (400, "malformed-request")
    assert put('{"quantity": -1}') == (400, "invalid-request")
    assert put('{"quantity": 1, "price": 0}') == (400, "invalid-request")
    assert put("[]") == (400, "invalid-request")
    assert put("null") == (400, "invalid-request")
    assert put('{"quantity": 1' + " " * 70_000 + "}") == (413, "too-large")
    # 40,000 characters of two bytes each: what counts is bytes.
    assert put(('{"q": "' + "é" * 40_000 + '"}').encode()) == (413, "too-large")
    body = {"expected_total_points": 1}
    assert sent("POST", "/orders", json=body) == (400, "idempotency-key-missing")
    for key in ("short", "x" * 65, "spaces in it", "slash/slash"):
        headers = {"Idempotency-Key": key}
        assert sent("POST", "/orders", json=body, headers=headers) == (400, "idempotency-key-malformed")


def test_a_browser_may_call_from_another_origin(deployed: Deployed) -> None:
    asked = deployed.send(
        "OPTIONS",
        "/orders",
        headers={"Origin": "http://127.0.0.1:8000", "Access-Control-Request-Method": "POST"},
    )
    assert asked.headers["Access-Control-Allow-Origin"] == "*"
    assert "Idempotency-Key" in asked.headers["Access-Control-Allow-Headers"]
    for token in (deployed.tokens["owner"], "no token"):
        assert deployed.send("GET", "/points", token).headers["Access-Control-Allow-Origin"] == "*"


def _pictured(deployed: Deployed, points: int, name: str) -> UUID:
    """Add an item with a picture that is in the bucket."""
    item_id, image_id, key = deployed.shop.item(points, name), uuid4(), f"{uuid4()}.svg"
    bucket = deployed.region.outputs["PicturesBucketName"]
    deployed.region.client("s3").put_object(
        Bucket=bucket, Key=key, Body=b"<svg/>", ContentType="image/svg+xml"
    )
    connection = deployed.shop.connection
    connection.execute("insert into xpoints.images values (%s, %s)", (image_id, key))
    connection.execute(
        "update xpoints.catalog_items set thumbnail_id = %s where id = %s", (image_id, item_id)
    )
    return item_id


def _is_there(url: str) -> bool:
    answer = httpx.get(url, timeout=30, trust_env=False, verify=NO_CERTIFICATES)
    return (answer.status_code, answer.headers["Content-Type"]) == (200, "image/svg+xml")


def test_a_page_learns_all_that_it_shows(deployed: Deployed) -> None:
    """What the shop's pages are drawn from, each through the gateway, as its document has it."""
    name = f"looker_{uuid4().hex[:6]}"
    customer_id = deployed.shop.customer(1_000, name)
    deployed.region.enrol([{"username": name, "email": "k@example.com", "customer_id": str(customer_id)}])
    token = deployed.region.sign_in(name)
    lamp, mug = _pictured(deployed, 30, "Pictured Lamp"), _pictured(deployed, 5, "Pictured Mug")

    def sent(method: str, path: str, **options: Any) -> httpx.Response:
        answer = deployed.send(method, path, token, **options)
        assert answer.is_success, answer.text
        exposed = {each.lower() for each in answer.headers["Access-Control-Expose-Headers"].split(",")}
        # Who asks about a request names it, and a page can read its name.
        assert "x-amzn-requestid" in exposed & set(answer.headers)
        assert {each for each in answer.headers if each.startswith("rewards-")} <= exposed
        return answer

    categories = sent("GET", "/catalog/categories").json()["categories"]
    assert "Home" in categories
    assert categories == sorted(set(categories))

    # A change of the cart says what it comes to, and how often it was tried.
    for item, quantity, totals in ((lamp, 2, (1, 2, 60)), (mug, 3, (2, 5, 75))):
        changed = sent("PUT", f"/cart/items/{item}", json={"quantity": quantity})
        names = ("line_count", "unit_count", "total_points")
        assert changed.json() == dict(zip(names, totals, strict=True))
        assert (changed.headers["Rewards-Attempts"], changed.headers["Rewards-Round-Trips"]) == ("1", "2")
    removed = sent("DELETE", f"/cart/items/{mug}")
    assert removed.json() == {"line_count": 1, "unit_count": 2, "total_points": 60}

    cart = sent("GET", "/cart").json()
    assert (cart["balance"], cart["unit_count"], cart["total_points"]) == (1_000, 2, 60)
    assert [_is_there(line["picture_url"]) for line in cart["lines"]] == [True]

    headers = {"Idempotency-Key": str(uuid4())}
    placed = sent("POST", "/orders", json={"expected_total_points": 60}, headers=headers)
    assert (placed.headers["Rewards-Attempts"], placed.headers["Idempotency-Replayed"]) == ("1", "false")
    order = sent("GET", f"/orders/{placed.json()['order_id']}").json()
    assert [_is_there(line["picture_url"]) for line in order["lines"]] == [True]

    document = json.loads(DOCUMENT.read_text())
    open_to_all = {
        path for path, ways in document["paths"].items() if ways.get("get", {}).get("security") == []
    }
    assert open_to_all == {"/health"}
    schemas = document["components"]["schemas"]
    for schema, members in (
        ("Categories", {"categories"}),
        ("CartTotals", {"line_count", "unit_count", "total_points"}),
        ("Cart", {"balance", "line_count", "unit_count", "total_points"}),
        ("CartLine", {"picture_url"}),
        ("FollowedLine", {"picture_url"}),
        ("StoryStep", {"published_at"}),
        ("StoryTransaction", {"attempts", "round_trips"}),
    ):
        assert members <= set(schemas[schema]["required"]), schema
    for path in ("/staff/operations", "/staff/orders/{order_id}/story"):
        assert problem(deployed.send("GET", path.format(order_id=uuid4()), token)) == "forbidden"


def test_an_erased_customer_is_not_served_although_the_token_is_good(deployed: Deployed) -> None:
    name = f"leaver_{uuid4().hex[:6]}"
    customer_id = deployed.shop.customer(50, name)
    deployed.region.enrol([{"username": name, "email": "l@example.com", "customer_id": str(customer_id)}])
    token = deployed.region.sign_in(name)

    assert deployed.send("DELETE", "/account", token).status_code == 202
    assert problem(deployed.send("GET", "/account", token)) == "account-closed"
