"""Every function with its sample event in Lambda's real runtime, on the local Region; the samples' shapes.

A sample is proven twice: against what the local Region delivers to a function with the same kinds of event
sources (recorder.yaml), and against what the SAM CLI generates as AWS's. Where these two differ from each
other or a sample holds more, it stands in a table here, and docs/sam-local-invoke.md explains it.
"""

import json
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from local import region_file
from local.emulator import NO_CERTIFICATES
from local.functions import sample
from local.invoke import main
from local.region import LocalRegion
from local.sample_data import DEMO_USERNAME, STAFF_USERNAMES, generate
from local.sample_data.rows import TABLES
from sql.connection import Connection
from tests.integration.shop import Shop
from tests.system.waiting import until
from tools.bundle import ROOT
from tools.template import functions, started_by

RECORDER = Path(__file__).with_name("recorder.yaml")
RECORDER_STACK = "recorder"

#: The customer and the item of the samples for erasure and retirement: consumers check that they were marked.
GONE = "a1111111-2222-4333-8444-555555555555"


ROUTED = started_by("Api")
QUEUED = started_by("SQS")
OF_THE_BUS = [name for name in QUEUED if name != "EnrolUsersFunction"]
SCHEDULED = [name for name in started_by("ScheduleV2") if name != "AuditLedgerFunction"]

#: What the local Region adds to AWS's event, and what it lacks of it.
LOCAL_ONLY = {"version"}
AWS_ONLY = {
    "requestContext.deploymentId",
    "requestContext.domainName",
    "requestContext.domainPrefix",
    *(
        f"requestContext.identity.{name}"
        for name in (
            *("accessKey", "accountId", "apiKey", "apiKeyId", "caller", "cognitoAuthenticationProvider"),
            *("cognitoAuthenticationType", "cognitoIdentityId", "cognitoIdentityPoolId", "principalOrgId"),
            *("user", "userArn"),
        )
    ),
}
#: What the SAM CLI's generator, older than these, leaves out of an API's event.
NOT_GENERATED = {
    "multiValueQueryStringParameters",
    "requestContext.authorizer.claims",
    "requestContext.deploymentId",
    "requestContext.domainName",
    "requestContext.domainPrefix",
    "requestContext.extendedRequestId",
    "requestContext.identity.apiKey",
    "requestContext.identity.apiKeyId",
    "requestContext.identity.principalOrgId",
}

#: Objects whose names are the caller's or the template's: they hold text or lists of it, whatever the names.
OPEN = {
    "headers",
    "multiValueHeaders",
    "queryStringParameters",
    "multiValueQueryStringParameters",
    "pathParameters",
    "stageVariables",
    "requestContext.authorizer.claims",
    "Records.messageAttributes",
    "ResourceProperties",
}


def sample_of(function: str) -> Any:
    return json.loads(sample(function).read_text(encoding="utf-8"))


def shape(value: Any, place: str = "") -> dict[str, str]:
    """Give the kind of each place of an event; null may be anything and has the kind ""."""
    if place in OPEN and (value is None or isinstance(value, dict)):
        return {place: "open"}
    if isinstance(value, dict):
        return {
            inner: kind
            for name, part in value.items()
            for inner, kind in shape(part, f"{place}.{name}".strip(".")).items()
        }
    if isinstance(value, list):
        return {inner: kind for part in value for inner, kind in shape(part, place).items()} or {
            place: "list"
        }
    return {place: "" if value is None else type(value).__name__}


def assert_same_shape(ours: Any, theirs: Any, ours_only: set[str], theirs_only: set[str]) -> None:
    our_shape, their_shape = shape(ours), shape(theirs)
    assert our_shape.keys() - their_shape.keys() <= ours_only, "the sample holds more"
    assert their_shape.keys() - our_shape.keys() <= theirs_only, "the sample lacks something"
    differing = {
        place: (our_shape[place], their_shape[place])
        for place in our_shape.keys() & their_shape.keys()
        if our_shape[place] and their_shape[place] and our_shape[place] != their_shape[place]
    }
    assert not differing


# --- The samples have the shapes of what is delivered --------------------------------------------------


@pytest.fixture(scope="module")
def recorded(region: LocalRegion) -> list[dict[str, Any]]:
    """Give events of the local Region: a custom resource's, two requests', a message's, two schedules'."""
    username = f"recorded_{uuid4().hex[:8]}"
    with Connection.connect(region.conninfo(), autocommit=True) as connection:
        customer_id = Shop(connection).customer(username=username)
    user = {"username": username, "email": "a@example.com", "customer_id": str(customer_id), "staff": True}
    region.enrol([user])
    pool = region.client("cognito-idp").describe_user_pool(UserPoolId=region.outputs["UserPoolId"])
    values = {"UserPoolArn": pool["UserPool"]["Arn"], "EventBusName": region.outputs["EventBusName"]}
    client = region.client("cloudformation")
    client.create_stack(
        StackName=RECORDER_STACK,
        TemplateBody=RECORDER.read_text(),
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in values.items()],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )
    outputs = until(lambda: _outputs(client), "the recorder's stack")
    url = f"{region.endpoint_url}/_aws/execute-api/{outputs['ApiId']}/v1"
    headers = {"Authorization": region.sign_in(username), "Idempotency-Key": "recorded-0001"}
    with httpx.Client(headers=headers, timeout=30, trust_env=False, verify=NO_CERTIFICATES) as http:
        assert http.post(f"{url}/orders", json={"expected_total_points": 1}).status_code == 200
        assert http.get(f"{url}/nothing/here", params={"limit": "2"}).status_code == 200
    entry = {"Source": "rewards.orders", "DetailType": "Recorded.v1", "Detail": '{"id": "1"}'}
    region.client("events").put_events(Entries=[{**entry, "EventBusName": region.outputs["EventBusName"]}])
    events = until(lambda: _recorded(region), "six recorded events")
    client.delete_stack(StackName=RECORDER_STACK)
    return events


def _outputs(client: Any) -> dict[str, str] | None:
    stack = client.describe_stacks(StackName=RECORDER_STACK)["Stacks"][0]
    assert not stack["StackStatus"].endswith(("FAILED", "ROLLBACK_COMPLETE")), stack
    if stack["StackStatus"] != "CREATE_COMPLETE":
        return None
    return {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}


def _recorded(region: LocalRegion) -> list[dict[str, Any]] | None:
    messages = [
        one["message"]
        for one in region.client("logs").filter_log_events(logGroupName="/aws/lambda/recorder")["events"]
    ]
    found = [json.loads(text.split("RECORDED ", 1)[1]) for text in messages if "RECORDED " in text]
    return found if len(found) == 6 else None


def pick(events: list[dict[str, Any]], **expected: Any) -> dict[str, Any]:
    (event,) = [one for one in events if all(one.get(name) == value for name, value in expected.items())]
    return event


@pytest.mark.parametrize("function", ROUTED)
def test_a_request_has_the_shape_that_the_api_delivers(function: str, recorded: list[dict[str, Any]]) -> None:
    event = sample_of(function)
    delivered = pick(recorded, httpMethod="POST" if event["body"] else "GET")

    assert_same_shape(event, delivered, AWS_ONLY, LOCAL_ONLY)


@pytest.mark.parametrize("function", QUEUED)
def test_a_message_has_the_shape_that_a_queue_delivers(function: str, recorded: list[dict[str, Any]]) -> None:
    (delivered,) = [event for event in recorded if "Records" in event]

    assert_same_shape(sample_of(function), delivered, set(), set())


@pytest.mark.parametrize("function", OF_THE_BUS)
def test_a_messages_body_has_the_shape_that_the_bus_delivers(
    function: str, recorded: list[dict[str, Any]]
) -> None:
    (delivered,) = [event for event in recorded if "Records" in event]
    theirs = json.loads(delivered["Records"][0]["body"])
    ours = json.loads(sample_of(function)["Records"][0]["body"])

    assert_same_shape({**ours, "detail": {}}, {**theirs, "detail": {}}, set(), set())


@pytest.mark.parametrize("function", SCHEDULED)
def test_a_tick_has_the_shape_that_a_schedule_without_input_delivers(
    function: str, recorded: list[dict[str, Any]]
) -> None:
    assert_same_shape(sample_of(function), pick(recorded, source="aws.scheduler"), set(), set())


def test_a_schedules_input_is_all_that_is_delivered(recorded: list[dict[str, Any]]) -> None:
    assert sample_of("AuditLedgerFunction") == pick(recorded, audit="sample")


def test_a_migrations_event_has_the_shape_that_a_deployment_delivers(recorded: list[dict[str, Any]]) -> None:
    delivered = pick(recorded, RequestType="Create")

    assert_same_shape(sample_of("MigrateFunction"), delivered, set(), set())
    assert sample_of("MigrateFunction")["ResourceProperties"].keys() == delivered["ResourceProperties"].keys()


@cache
def generated(service: str, event: str) -> Any:
    """Give an event of `sam local generate-event`, AWS's own account of what is delivered."""
    folder = f"*/site-packages/samcli/lib/generated_sample_events/events/{service}/{event}.json"
    (path,) = (ROOT / ".local" / "sam" / "lib").glob(folder)
    return json.loads(path.read_text().replace('"{{{querystringparameters}}}"', "{}"))


@pytest.mark.parametrize("function", ROUTED)
def test_a_request_has_the_shape_that_aws_gives_as_an_example(function: str) -> None:
    assert_same_shape(sample_of(function), generated("apigateway", "AwsProxy"), NOT_GENERATED, set())


@pytest.mark.parametrize("function", QUEUED)
def test_a_message_has_the_shape_that_aws_gives_as_an_example(function: str) -> None:
    assert_same_shape(sample_of(function), generated("sqs", "Sqs"), set(), set())


def test_a_migrations_event_has_the_shape_that_aws_gives_as_an_example() -> None:
    theirs = generated("cloudformation", "CfnCreateRequest")

    assert_same_shape(sample_of("MigrateFunction"), theirs, set(), set())
    assert_same_shape(sample_of("PublishPagesFunction"), theirs, set(), set())


# --- Each function answers its sample in Lambda's runtime -------------------------------------------------


@pytest.fixture(scope="module")
def cast(region: LocalRegion) -> None:
    """Put what the samples name into the Region: rows of `make up`'s data, and what is erased or retired."""
    data = generate(1000)
    people = {
        customer.id for customer in data.customers if customer.username in (DEMO_USERNAME, STAFF_USERNAMES[0])
    }
    orders = {order.id for order in data.orders if order.customer_id in people}
    with psycopg.connect(region.conninfo(), autocommit=True) as connection:
        for table in TABLES:
            marks = ", ".join(["%s"] * len(table.columns))
            statement = (
                f"insert into xpoints.{table.name} ({', '.join(table.columns)}) values ({marks}) "
                "on conflict do nothing"
            )
            rows = [
                row
                for row in data.rows(table.name)
                if table.name in ("catalog_items", "stock") or {*people, *orders} & {*row[:3]}
            ]
            connection.cursor().executemany(statement.encode(), rows)
        connection.execute(
            "insert into xpoints.customers (id, username, erased_at) values (%s, 'gone', now())", [GONE]
        )
        connection.execute(
            "insert into xpoints.catalog_items (id, name, retired_at) values (%s, 'Gone', now())", [GONE]
        )


@pytest.fixture(scope="module")
def region_env(region: LocalRegion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the file that `make up` would have written."""
    if sys.platform != "linux":
        pytest.skip("Lambda's interface emulator is a program for Linux")
    path = tmp_path_factory.mktemp("region") / "region.env"
    region_file.write(region.environment, path, region.functions().values())
    return path


Invoke = Callable[..., tuple[int, Any]]


@pytest.fixture
def invoke(region_env: Path, capsys: pytest.CaptureFixture[str]) -> Invoke:
    """Give what `make invoke` runs: exit status and answer of a function."""

    def run(*arguments: str) -> tuple[int, Any]:
        status = main([*arguments, "--region-file", str(region_env)])
        said = capsys.readouterr()
        sys.stderr.write(said.err)  # for the report of a test that fails
        return status, json.loads(said.out)

    return run


STATUS = {
    "CheckoutFunction": 201,
    "StorefrontFunction": 200,
    "OrdersFunction": 201,
    "AccountFunction": 200,
    "StaffFunction": 200,
    "OperationsFunction": 200,
    "FallbackFunction": 404,
}


def test_every_function_has_a_sample_and_a_test() -> None:
    tested = {*STATUS, *QUEUED, *SCHEDULED, "AuditLedgerFunction", "StaffSignInFunction"}
    tested |= {"MigrateFunction", "PublishPagesFunction"}

    assert tested == set(functions())
    assert all(sample_of(function) for function in tested)


@pytest.mark.parametrize("function", STATUS)
def test_a_function_of_the_api_answers_its_sample(function: str, invoke: Invoke, cast: None) -> None:
    status, answer = invoke(function)

    assert (status, answer["statusCode"]) == (0, STATUS[function]), answer
    assert json.loads(answer["body"])


@pytest.mark.parametrize("function", QUEUED)
def test_a_consumer_takes_its_sample(function: str, invoke: Invoke, cast: None) -> None:
    assert invoke(function) == (0, {"batchItemFailures": []})


@pytest.mark.parametrize("function", [*SCHEDULED, "AuditLedgerFunction"])
def test_a_scheduled_function_does_its_work_at_its_sample(function: str, invoke: Invoke) -> None:
    status, answer = invoke(function, "--set", "RELAY_RUN_S=1")

    assert status == 0
    assert all(isinstance(figure, int) for figure in answer.values())


def test_a_sign_in_of_a_customer_stays_as_it_was(invoke: Invoke) -> None:
    assert invoke("StaffSignInFunction") == (0, sample_of("StaffSignInFunction"))


def test_the_migration_answers_cloudformation(invoke: Invoke) -> None:
    status, answer = invoke("MigrateFunction")

    assert (status, answer["Status"], answer["Data"]) == (0, "SUCCESS", {"AppliedStatements": "0"})
    assert answer["RequestId"] == sample_of("MigrateFunction")["RequestId"]


def test_the_pages_are_published_and_cloudformation_is_answered(region: LocalRegion, invoke: Invoke) -> None:
    refused, failure = invoke("PublishPagesFunction")
    assert (refused, failure["Status"]) == (1, "FAILED"), failure

    region.client("s3").create_bucket(Bucket="sample-pages")
    status, answer = invoke("PublishPagesFunction")

    assert (status, answer["Status"], answer["PhysicalResourceId"]) == (0, "SUCCESS", "sample-pages")
    assert region.client("s3").head_object(Bucket="sample-pages", Key="index.html")["ContentLength"]


def test_a_relay_run_by_hand_is_a_worker_beside_the_regions_own(region: LocalRegion, invoke: Invoke) -> None:
    """It is not the next run of the schedule, which would be ended by the one after."""
    read = "select token from xpoints.relays where region = %s and worker = 0"
    with psycopg.connect(region.conninfo(), autocommit=True) as connection:
        parameters = [region.region_name]

        def running() -> Any:
            return connection.execute(read, parameters).fetchone()

        until(running, "the Region's own relay")
        status, answer = invoke("RelayFunction", "--set", "RELAY_RUN_S=1")

        assert (status, answer["superseded"]) == (0, 0)
        until(running, "the relay of the schedule")


def test_a_function_that_fails_says_so_by_its_exit_status(invoke: Invoke, tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_text('{"Records": 1}')

    status, answer = invoke("NotifyFunction", "--event", str(event))

    assert (status, answer["errorType"]) == (1, "FunctionFailedError")
