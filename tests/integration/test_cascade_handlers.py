"""The functions of cascades and jobs as Lambda calls them, with Cognito, S3 and SES beside the database."""

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from types import ModuleType
from typing import Any
from unittest.mock import Mock
from uuid import UUID, uuid4

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from moto import mock_aws

from domain.email import address_hash, sending_of
from domain.events import event_of
from domain.messages import MessageText
from handlers.edge.consume import NotNowError
from handlers.edge.observability import FunctionFailedError
from handlers.edge.slices import MARGIN_MS
from sql.connection import Database
from sql.transactions.notify import DueMessage, UndeliverableError
from sql.transactions.place_order import place_order
from tests.integration.conftest import Connect
from tests.integration.shop import Shop, order_command, render
from tests.unit.test_slices import Context

Ways = Callable[..., Database]

SENDER = "orders@shop.example.com"


@pytest.fixture
def shop(connect: Connect) -> Shop:
    return Shop(connect())


@pytest.fixture
def aws() -> Iterator[None]:
    with mock_aws():
        yield


@pytest.fixture
def pool(aws: None) -> str:
    return make_pool()


def clean_region(load: Callable[..., ModuleType], pool: str = "us-east-1_none") -> None:
    """Have the Region delete what is left to it, as its schedule does."""
    load("clean_region", "jobs", USER_POOL_ID=pool, PICTURES_BUCKET="pictures").handler({}, Context(60_000))


def make_pool() -> str:
    users = boto3.client("cognito-idp")
    schema = [{"Name": "customer_id", "AttributeDataType": "String", "Mutable": False}]
    made = users.create_user_pool(PoolName="pool", Schema=schema)  # type: ignore[arg-type]
    return str(made["UserPool"]["Id"])


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, database: Ways) -> Iterator[Callable[..., ModuleType]]:
    """Import a function's module in the environment that the template gives it, on the test's database."""
    loaded: list[str] = []

    def load_module(name: str, role: str, **environment: str) -> ModuleType:
        variables = {"DATABASE_HOST": "127.0.0.1", "DATABASE_ROLE": role, **environment}
        for variable, value in variables.items():
            monkeypatch.setenv(variable, value)
        sys.modules.pop(f"handlers.{name}", None)
        # A client is of the Region in which it was made.
        importlib.import_module("handlers.edge.user_pool").users.cache_clear()
        loaded.append(f"handlers.{name}")
        module = importlib.import_module(f"handlers.{name}")
        monkeypatch.setattr(module, "_DATABASE", database(role))
        return module

    yield load_module
    for name in loaded:
        sys.modules.pop(name, None)


def record(kind: str, aggregate_type: str, aggregate_id: UUID, field: str) -> dict[str, Any]:
    detail = {
        "id": str(event_of(aggregate_id)),
        "type": kind,
        "occurred_at": "2026-01-01T00:00:00Z",
        "aggregate_type": aggregate_type,
        "aggregate_id": str(aggregate_id),
        "aggregate_version": 2,
        "region": "us-east-1",
        "correlation_id": "c",
        "data": {field: str(aggregate_id)},
    }
    return {"Records": [{"messageId": "m", "body": json.dumps({"detail-type": kind, "detail": detail})}]}


def usernames(pool: str) -> set[str]:
    return {user["Username"] for user in boto3.client("cognito-idp").list_users(UserPoolId=pool)["Users"]}


def add_user(pool: str, username: str, customer_id: UUID) -> None:
    boto3.client("cognito-idp").admin_create_user(
        UserPoolId=pool,
        Username=username,
        UserAttributes=[{"Name": "custom:customer_id", "Value": str(customer_id)}],
    )


def test_an_erased_customer_can_no_longer_sign_in_and_a_namesake_still_can(
    shop: Shop, pool: str, load: Callable[..., ModuleType]
) -> None:
    ana, bea = shop.customer(username="ana"), shop.customer(username="bea")
    shop.connection.execute(
        b"update xpoints.customers set erased_at = now() where username in ('ana', 'bea', 'eva')"
    )
    add_user(pool, "ana", ana)
    add_user(pool, "bea", uuid4())
    shop.customer(username="eva")
    module = load("erase_customer", "cascades")
    for customer_id in (ana, bea):
        event = record("CustomerErased.v1", "customer", customer_id, "customer_id")
        assert module.handler(event, Context(60_000)) == {"batchItemFailures": []}
    clean_region(load, pool)
    assert usernames(pool) == {"bea"}
    assert shop.scalar("select count(*) from xpoints.customers where username is not null") == 1


def test_an_erasure_of_somebody_who_never_had_a_sign_in_ends_all_the_same(
    shop: Shop, pool: str, load: Callable[..., ModuleType]
) -> None:
    ana = shop.customer(username="ana")
    shop.connection.execute(b"update xpoints.customers set erased_at = now()")
    module = load("erase_customer", "cascades")
    event = record("CustomerErased.v1", "customer", ana, "customer_id")
    assert module.handler(event, Context(60_000)) == {"batchItemFailures": []}
    clean_region(load, pool)
    assert (shop.count("inbox"), shop.count("region_cleanups")) == (1, 0)


def test_each_region_deletes_its_own_user_when_it_is_there_again(
    shop: Shop, aws: None, load: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    ana, pools = shop.customer(username="ana"), {}
    for region in ("us-east-1", "us-west-2"):
        monkeypatch.setenv("AWS_REGION", region)
        monkeypatch.setenv("AWS_DEFAULT_REGION", region)
        pools[region] = make_pool()
        add_user(pools[region], "ana", ana)
        clean_region(load, pools[region])  # it is known from its first run on
    shop.connection.execute(b"update xpoints.customers set erased_at = now()")
    module = load("erase_customer", "cascades")
    event = record("CustomerErased.v1", "customer", ana, "customer_id")
    assert module.handler(event, Context(60_000)) == {"batchItemFailures": []}
    for region, left in (("us-west-2", {"us-east-1"}), ("us-east-1", set())):
        monkeypatch.setenv("AWS_REGION", region)
        monkeypatch.setenv("AWS_DEFAULT_REGION", region)
        clean_region(load, pools[region])
        assert {row[0] for row in shop.rows("select region from xpoints.region_cleanups")} == left
        assert usernames(pools[region]) == set()


def test_what_cannot_be_deleted_keeps_nothing_else_from_it_and_comes_again(
    shop: Shop, pool: str, load: Callable[..., ModuleType]
) -> None:
    ana = uuid4()
    add_user(pool, "ana", ana)
    shop.connection.execute(
        "insert into xpoints.region_cleanups (region, kind, subject_id, name) values "
        "('us-east-1', 'picture', gen_random_uuid(), 'mug.png'), ('us-east-1', 'user', %s, 'ana')",
        (ana,),
    )
    module = load("clean_region", "jobs", USER_POOL_ID=pool, PICTURES_BUCKET="no-such-bucket")
    with pytest.raises(FunctionFailedError, match="PartsFailedError"):
        module.handler({}, Context(60_000))
    assert usernames(pool) == set()
    assert shop.rows("select kind from xpoints.region_cleanups") == [("picture",)]
    assert module.handler({}, Context(9_999)) == {"deleted": 0}, "no time: nothing is begun"


def test_what_a_lost_region_has_still_to_delete_is_measured_in_the_others(
    shop: Shop, aws: None, load: Callable[..., ModuleType]
) -> None:
    module = load("measure_backlog", "jobs")
    assert module.handler({}, Context(60_000))["RegionCleanupAge"] == 0
    shop.connection.execute(
        "insert into xpoints.region_cleanups (region, kind, subject_id, name, created_at) values "
        "('us-east-1', 'user', gen_random_uuid(), 'ana', now()), "
        "('us-west-2', 'user', gen_random_uuid(), 'bea', now() - interval '2 days')"
    )
    assert module.handler({}, Context(60_000))["RegionCleanupAge"] // 86_400 == 2


def test_a_retired_items_picture_leaves_the_bucket_and_its_shopper_gets_an_e_mail(
    shop: Shop, aws: None, load: Callable[..., ModuleType]
) -> None:
    objects, mail = boto3.client("s3"), boto3.client("sesv2")
    objects.create_bucket(Bucket="pictures")
    for name in ("mug.png", "cup.png"):
        objects.put_object(Bucket="pictures", Key=name, Body=b"")
    mail.create_email_identity(EmailIdentity=SENDER)
    mug, image_id, ana = shop.item(name="Mug"), uuid4(), shop.customer(username="ana")
    shop.fill_cart(ana, {mug: 1})
    shop.connection.execute("insert into xpoints.images values (%s, 'mug.png')", (image_id,))
    shop.connection.execute("insert into xpoints.catalog_images values (%s, %s)", (mug, image_id))
    shop.connection.execute(b"update xpoints.catalog_items set retired_at = now()")
    module = load(
        "retire_item", "cascades", SENDER_ADDRESS=SENDER, MAIL_CONFIGURATION="mail", QUEUE_URL="queue"
    )

    event = record("CatalogItemRetired.v1", "catalog_item", mug, "item_id")
    assert module.handler(event, Context(60_000)) == {"batchItemFailures": []}

    clean_region(load)
    assert [one["Key"] for one in objects.list_objects_v2(Bucket="pictures")["Contents"]] == ["cup.png"]
    assert shop.rows("select status, kind from xpoints.notifications") == [("SENT", "item-retired")]
    assert (shop.count("shopping_cart_items"), shop.count("images")) == (0, 0)


def metrics_of(output: str) -> dict[str, float]:
    """Add up the metrics that a function wrote as log lines."""
    found: dict[str, float] = {}
    for line in output.splitlines():
        entry = json.loads(line) if line.startswith("{") else {}
        for group in entry.get("_aws", {}).get("CloudWatchMetrics", ()):
            for metric in group["Metrics"]:
                name = metric["Name"]
                found[name] = found.get(name, 0) + sum(entry[name])
    return found


def test_the_audit_says_zero_when_it_finds_nothing_and_names_who_differs_when_it_does(
    shop: Shop,
    load: Callable[..., ModuleType],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    ana = shop.customer()
    module = load("audit_ledger", "jobs")
    assert module.handler({"audit": "whole"}, Context(60_000)) == {}
    assert metrics_of(capsys.readouterr().out) == {"LedgerDifferences": 0}
    shop.connection.execute(b"update xpoints.points_balances set points_balance = 1")
    assert module.handler({"audit": "whole"}, Context(60_000)) == {}, "not due again"
    capsys.readouterr()
    assert module.handler({"audit": "sample"}, Context(60_000)) == {"balance-differs": 1}
    assert metrics_of(capsys.readouterr().out) == {"LedgerDifferences": 1}
    named = [vars(line)["customer_id"] for line in caplog.records if line.message == "ledger difference"]
    assert named == [str(ana)]


def test_the_sweep_and_the_expiry_report_what_they_did(
    shop: Shop, load: Callable[..., ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    shop.fill_cart(uuid4(), {shop.item(): 1})
    shop.connection.execute(b"insert into xpoints.points_balances values (gen_random_uuid(), 1)")
    shop.connection.execute(b"insert into xpoints.inbox values (gen_random_uuid(), 'c', '2020-01-01')")
    found = load("sweep_orphans", "jobs").handler({}, Context(60_000))
    assert {reference: rows for reference, rows in found.items() if rows} == {
        "shopping_cart_items.customer_id": 1,
        "points_balances.customer_id": 1,
    }
    assert metrics_of(capsys.readouterr().out) == {"OrphansReported": 1, "OrphansDeleted": 1}
    assert load("expire", "jobs").handler({}, Context(60_000))["inbox"] == 1
    assert metrics_of(capsys.readouterr().out)["Expired_inbox"] == 1


@pytest.mark.parametrize("name", ["expire", "sweep_orphans", "audit_ledger"])
def test_a_job_without_time_leaves_everything_for_its_next_run(
    shop: Shop, load: Callable[..., ModuleType], name: str
) -> None:
    shop.connection.execute(b"insert into xpoints.inbox values (gen_random_uuid(), 'c', '2020-01-01')")
    shop.connection.execute(b"insert into xpoints.points_balances values (gen_random_uuid(), 1)")
    found = load(name, "jobs").handler({"audit": "whole"}, Context(9_999))
    assert not any(found.values())
    assert shop.count("inbox") == 1
    assert shop.scalar("select count(*) from xpoints.job_progress where finished_at is not null") == 0


# --- How e-mails are sent -------------------------------------------------------------------------------


def test_a_message_whose_answer_is_lost_is_handed_over_once_in_a_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mail = importlib.import_module("handlers.edge.mail")
    client = mail._client.__wrapped__()
    monkeypatch.setattr(mail, "_client", lambda: client)
    handed_over = []

    def lose_the_answer(request: Any, **_: Any) -> None:
        handed_over.append(request)
        raise ReadTimeoutError(endpoint_url=request.url)

    client.meta.events.register("before-send.sesv2.SendEmail", lose_the_answer)
    with pytest.raises(ReadTimeoutError):
        mail.Mail(SENDER, "mail").send(DueMessage(uuid4(), "ana@example.com", MessageText("s", "b")))
    assert len(handed_over) == 1
    config = client.meta.config
    queues = mail._queues.__wrapped__().meta.config
    longest_s = config.connect_timeout + config.read_timeout + mail._PAUSE_S * mail._PAUSES
    longest_s += queues.connect_timeout + queues.read_timeout  # and it goes back into its queue
    assert longest_s < MARGIN_MS / 1000, "it ends before the functions do that send"


_FAST, _QUOTA = "Maximum sending rate exceeded.", "Daily message quota exceeded."


@pytest.mark.parametrize(
    ("code", "said", "times", "asked", "raised"),
    [
        ("TooManyRequestsException", _FAST, 1, 2, None),
        ("ThrottlingException", _FAST, 5, 6, None),
        ("TooManyRequestsException", _FAST, 6, 6, NotNowError),
        # The day's lasts: nobody waits for it in a run.
        ("TooManyRequestsException", _QUOTA, 1, 1, NotNowError),
        ("ThrottlingException", _QUOTA, 1, 1, NotNowError),
        ("LimitExceededException", _QUOTA, 1, 1, NotNowError),
        ("SendingPausedException", "", 1, 1, ClientError),
        ("BadRequestException", "", 1, 2, UndeliverableError),  # the second is to whom SES always delivers
    ],
)
def test_what_ses_refused_for_its_rate_alone_is_asked_again_for_some_seconds(
    code: str,
    said: str,
    times: int,
    asked: int,
    raised: type[Exception] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mail = importlib.import_module("handlers.edge.mail")
    refused = ClientError({"Error": {"Code": code, "Message": said}}, "SendEmail")
    answers: list[object] = [refused] * times + [{}]
    client, pauses = Mock(send_email=Mock(side_effect=answers)), list[float]()
    monkeypatch.setattr(mail, "_client", lambda: client)
    monkeypatch.setattr(mail, "sleep", pauses.append)
    with pytest.raises(raised) if raised else nullcontext():
        mail.Mail(SENDER, "mail").send(DueMessage(uuid4(), "ana@example.com", MessageText("s", "b")))
    assert client.send_email.call_count == asked
    assert pauses == [mail._PAUSE_S] * (0 if raised is UndeliverableError else asked - 1)


def test_a_mail_beyond_the_quota_waits_in_its_queue_and_is_sent_when_there_is_room(
    shop: Shop,
    aws: None,
    database: Ways,
    load: Callable[..., ModuleType],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However often it is refused it is no failure, so it becomes no dead letter; nor is it sent twice."""
    customer_id = shop.customer(username="ana")
    shop.fill_cart(customer_id, {shop.item(1): 1})
    command = order_command(customer_id, 1, "key-12345")
    place_order(database("checkout"), command, render)
    detail = shop.scalar("select detail from xpoints.outbox where id = %s", [command.event_id])
    body = json.dumps({"detail-type": "OrderPlaced.v1", "detail": json.loads(detail)})

    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName="notify")["QueueUrl"]
    notify = load("notify", "consumers", SENDER_ADDRESS=SENDER, MAIL_CONFIGURATION="mail", QUEUE_URL=url)
    mail = importlib.import_module("handlers.edge.mail")
    refused = ClientError({"Error": {"Code": "TooManyRequestsException", "Message": _QUOTA}}, "SendEmail")
    client = Mock(send_email=Mock(side_effect=[refused, refused, {}]))
    monkeypatch.setattr(mail, "_client", lambda: client)
    monkeypatch.setattr(mail, "_queues", lambda: sqs)
    monkeypatch.setattr(mail, "WAIT_S", 0)

    for status in ("PENDING", "PENDING", "SENT"):
        record = {"messageId": "m", "body": body, "attributes": {"ApproximateReceiveCount": "1"}}
        assert notify.handler({"Records": [record]}, Context(60_000)) == {"batchItemFailures": []}
        assert shop.scalar("select status from xpoints.notifications") == status
        waiting = sqs.receive_message(QueueUrl=url).get("Messages", [])
        assert [each["Body"] for each in waiting] == ([body] if status == "PENDING" else [])
        for each in waiting:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
    assert client.send_email.call_count == 3


def test_a_message_says_which_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    mail = importlib.import_module("handlers.edge.mail")
    client = Mock()
    monkeypatch.setattr(mail, "_client", lambda: client)
    message = DueMessage(uuid4(), "ana@example.com", MessageText("s", "b"))
    mail.Mail(SENDER, "mail").send(message)
    (call,) = client.send_email.call_args_list
    assert call.kwargs["ConfigurationSetName"] == "mail"
    sending = sending_of(message.id, address_hash(message.email))
    assert call.kwargs["EmailTags"] == [
        {"Name": "notification", "Value": str(message.id)},
        {"Name": "sending", "Value": str(sending)},
    ]


def _ses(refuses: Callable[[str, str], bool]) -> Mock:
    """An SES that answers BadRequestException by sender and recipient."""

    def send(**mail: Any) -> dict[str, str]:
        (recipient,) = mail["Destination"]["ToAddresses"]
        if refuses(mail["FromEmailAddress"], recipient):
            raise ClientError({"Error": {"Code": "BadRequestException"}}, "SendEmail")
        return {}

    return Mock(send_email=Mock(side_effect=send))


def test_a_sender_that_ses_refuses_skips_nobodys_message(monkeypatch: pytest.MonkeyPatch) -> None:
    mail = importlib.import_module("handlers.edge.mail")
    client = _ses(lambda sender, _: sender == "shop@broken")
    monkeypatch.setattr(mail, "_client", lambda: client)
    broken = mail.Mail("shop@broken", "mail")
    for _ in range(2):
        with pytest.raises(mail.SenderRefusedError):
            broken.send(DueMessage(uuid4(), "ana@example.com", MessageText("s", "b")))


def test_a_recipient_whom_ses_refuses_is_told_from_the_sender_and_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mail = importlib.import_module("handlers.edge.mail")
    client = _ses(lambda _, recipient: recipient == "ana@broken")
    monkeypatch.setattr(mail, "_client", lambda: client)
    shop = mail.Mail(SENDER, "mail")
    mail.metrics().clear_metrics()
    for _ in range(3):
        with pytest.raises(UndeliverableError):
            shop.send(DueMessage(uuid4(), "ana@broken", MessageText("s", "b")))
    recipients = [call.kwargs["Destination"]["ToAddresses"] for call in client.send_email.call_args_list]
    assert recipients.count([mail._ALWAYS_GOOD]) == 1, "once it is known that the sender works"
    mail.metrics().flush_metrics()
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["MailsRefused"] == [1.0] * 3


def test_what_is_skipped_is_counted_by_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    mail = importlib.import_module("handlers.edge.mail")
    mail.metrics().clear_metrics()
    capsys.readouterr()
    for word in ("sent", "skipped too-many", "duplicate", "skipped suppressed", "skipped too-many"):
        assert mail.count_skipped(word) == word
    mail.metrics().flush_metrics()
    assert metrics_of(capsys.readouterr().out) == {"MailSkipped_too-many": 2, "MailSkipped_suppressed": 1}
