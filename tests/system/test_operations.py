"""The operator's command on a deployed Region, as a person runs it."""

import json
import os
import subprocess
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from local.emulator import NO_CERTIFICATES
from local.region import ROOT, STACK_NAME, LocalRegion
from sql.connection import Connection
from tests.integration.shop import Shop
from tests.system.waiting import until


class Rewards:
    """Runs `./rewards ... --json` against the Region; gives what it wrote."""

    def __init__(self, region: LocalRegion) -> None:
        # With the rights of an operator, which the Region enforces, and no others.
        role = region.client("sts").assume_role(
            RoleArn=region.outputs["OperationsRoleArn"], RoleSessionName="operator"
        )["Credentials"]
        self._environment = {
            **os.environ,
            "AWS_ACCESS_KEY_ID": role["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": role["SecretAccessKey"],
            "AWS_SESSION_TOKEN": role["SessionToken"],
            "AWS_ENDPOINT_URL": region.endpoint_url,
            "AWS_REGION": region.region_name,
            "NO_PROXY": "127.0.0.1",
        }

    def __call__(self, *arguments: str) -> Any:
        done = subprocess.run(
            [str(ROOT / "rewards"), *arguments, "--json", "--stack", STACK_NAME],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def rewards(region: LocalRegion) -> Rewards:
    return Rewards(region)


@pytest.fixture(scope="module")
def order(region: LocalRegion) -> tuple[UUID, UUID]:
    """A customer who has ordered over the API, and the order."""
    with Connection.connect(region.conninfo(), autocommit=True) as connection:
        shop = Shop(connection)
        username = f"buyer_{uuid4().hex[:8]}"
        customer_id = shop.customer(username=username)
        shop.fill_cart(customer_id, {shop.item(5): 2})
    email = f"{username}@example.com"
    region.enrol([{"username": username, "email": email, "customer_id": str(customer_id)}])
    answer = httpx.post(
        f"{region.api_url}/orders",
        headers={"Authorization": region.sign_in(username), "Idempotency-Key": str(uuid4())},
        json={"expected_total_points": 10},
        timeout=30,
        trust_env=False,
        verify=NO_CERTIFICATES,
    )
    assert answer.status_code == 201, answer.text
    return customer_id, UUID(answer.json()["order_id"])


def test_an_orders_story_shows_what_followed_it(rewards: Rewards, order: tuple[UUID, UUID]) -> None:
    customer_id, order_id = order

    def followed() -> Any:
        # A message is taken away after it was published: consumers may be done before that.
        story = rewards("order", str(order_id), "--logs")
        has_effects = {"clean-cart", "notify"} <= {each["consumer"] for each in story["effects"]}
        return story if has_effects and story["waiting_messages"] == [] else None

    story = until(followed, "both effects, with no message left")
    assert story["order"]["customer_id"] == str(customer_id)
    consumed = until(
        lambda: [
            line
            for line in rewards("order", str(order_id), "--logs")["log"]
            if line["message"] == "event consumed"
        ]
    )
    assert {line["event_type"] for line in consumed} == {"OrderPlaced.v1"}


def test_the_relay_holds_all_shards_and_nothing_waits(rewards: Rewards, order: tuple[UUID, UUID]) -> None:
    def drained() -> bool:
        # A worker that has just started, or is about to end, is there and holds nothing.
        status = rewards("outbox", "status")
        return not status["waiting"] and sum(relay["shards"] for relay in status["relays"]) == 16

    until(drained, "one worker's hold of all shards, with nothing waiting")


def test_a_message_that_a_consumer_could_not_read_is_redriven_by_filter(
    region: LocalRegion, rewards: Rewards
) -> None:
    sqs = region.client("sqs")
    dead = region.resources["CleanCartDeadLetterQueue"]
    sqs.send_message(QueueUrl=dead, MessageBody=json.dumps({"detail-type": "OrderPlaced.v9", "detail": {}}))
    sqs.send_message(QueueUrl=dead, MessageBody="no event")
    chosen = ("queues", "redrive", "clean-cart", "--type", "OrderPlaced.v9")
    assert len(rewards(*chosen)["would_redrive"]) == 1
    done = rewards(*chosen, "--yes")
    assert (done["count"], done["kept"]) == (1, 1)
    depths = {row["queue"]: row["messages"] for row in rewards("queues", "list")["queues"]}
    assert depths["clean-cart"] == 1


def test_a_replay_brings_events_again_and_they_have_no_second_effect(
    region: LocalRegion, rewards: Rewards, order: tuple[UUID, UUID]
) -> None:
    def duplicates() -> int:
        return sum('"effect":"duplicate"' in line for line in region.logs())

    before = duplicates()
    assert rewards("replay", "clean-cart", "--since", "1h", "--yes")["state"] == "COMPLETED"
    until(lambda: duplicates() > before)
    emails = [mail for mail in region.emails() if str(order[1]) in json.dumps(mail)]
    assert len(emails) == 1
