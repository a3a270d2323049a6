"""Every function with its sample event in Lambda's real runtime, on the local Region; the samples' shapes.

A sample is proven twice: against what the local Region delivers to a function with the same kinds of event
sources (recorder.yaml), and against what the SAM CLI generates as AWS's. Where these two differ from each
other or a sample holds more, it stands in a table here, and docs/sam-local-invoke.md explains it.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from uuid import uuid4

import httpx
import psycopg
import pytest

from local.invoke_env import environments
from local.region import LocalRegion
from local.sample_data import DEMO_USERNAME, STAFF_USERNAMES, generate
from local.sample_data.rows import TABLES
from sql.connection import Connection
from tests.integration.shop import Shop
from tools.bundle import ROOT
from tools.runtime import Artifacts, Runtime, as_json
from tools.template import functions, resources, started_by

SAMPLES = ROOT / "events" / "samples"
RECORDER = Path(__file__).with_name("recorder.yaml")
RECORDER_STACK = "recorder"
TIMEOUT_S = 60.0

#: The customer and the item of the samples for erasure and retirement: consumers check that they were marked.
GONE = "a1111111-2222-4333-8444-555555555555"

T = TypeVar("T")

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


def sample(name: str) -> Any:
    """Give a function's own sample, or what it shares: of an event that it consumes, of a schedule's tick."""
    rules = [rule["Properties"] for rule in resources("AWS::Events::Rule").values()]
    consumed = [
        kind
        for rule in rules
        if rule["Targets"][0]["Id"] == f"{name.removesuffix('Function')}Queue"
        for kind in rule["EventPattern"]["detail-type"]
    ]
    shared = ["Scheduled"] if name in SCHEDULED else []
    paths = [SAMPLES / f"{each}.json" for each in (name, *consumed, *shared)]
    return as_json(next(path for path in paths if path.exists()))


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
    with Connection.connect(region.database.conninfo(), autocommit=True) as connection:
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
    outputs = wait_for(lambda: _outputs(client), "the recorder's stack")
    url = f"{region.endpoint_url}/_aws/execute-api/{outputs['ApiId']}/v1"
    headers = {"Authorization": region.sign_in(username), "Idempotency-Key": "recorded-0001"}
    with httpx.Client(headers=headers, timeout=30, trust_env=False) as http:
        assert http.post(f"{url}/orders", json={"expected_total_points": 1}).status_code == 200
        assert http.get(f"{url}/nothing/here", params={"limit": "2"}).status_code == 200
    entry = {"Source": "rewards.orders", "DetailType": "Recorded.v1", "Detail": '{"id": "1"}'}
    region.client("events").put_events(Entries=[{**entry, "EventBusName": region.outputs["EventBusName"]}])
    events = wait_for(lambda: _recorded(region), "six recorded events")
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


def wait_for(ask: Callable[[], T | None], what: str) -> T:
    deadline = time.monotonic() + TIMEOUT_S
    while (found := ask()) is None:
        assert time.monotonic() < deadline, f"no sign of {what}"
        time.sleep(0.2)
    return found


def pick(events: list[dict[str, Any]], **expected: Any) -> dict[str, Any]:
    (event,) = [one for one in events if all(one.get(name) == value for name, value in expected.items())]
    return event


@pytest.mark.parametrize("function", ROUTED)
def test_a_request_has_the_shape_that_the_api_delivers(function: str, recorded: list[dict[str, Any]]) -> None:
    event = sample(function)
    delivered = pick(recorded, httpMethod="POST" if event["body"] else "GET")

    assert_same_shape(event, delivered, AWS_ONLY, LOCAL_ONLY)


@pytest.mark.parametrize("function", QUEUED)
def test_a_message_has_the_shape_that_a_queue_delivers(function: str, recorded: list[dict[str, Any]]) -> None:
    (delivered,) = [event for event in recorded if "Records" in event]

    assert_same_shape(sample(function), delivered, set(), set())


@pytest.mark.parametrize("function", OF_THE_BUS)
def test_a_messages_body_has_the_shape_that_the_bus_delivers(
    function: str, recorded: list[dict[str, Any]]
) -> None:
    (delivered,) = [event for event in recorded if "Records" in event]
    theirs = json.loads(delivered["Records"][0]["body"])
    ours = json.loads(sample(function)["Records"][0]["body"])

    assert_same_shape({**ours, "detail": {}}, {**theirs, "detail": {}}, set(), set())


@pytest.mark.parametrize("function", SCHEDULED)
def test_a_tick_has_the_shape_that_a_schedule_without_input_delivers(
    function: str, recorded: list[dict[str, Any]]
) -> None:
    assert_same_shape(sample(function), pick(recorded, source="aws.scheduler"), set(), set())


def test_a_schedules_input_is_all_that_is_delivered(recorded: list[dict[str, Any]]) -> None:
    assert sample("AuditLedgerFunction") == pick(recorded, audit="sample")


def test_a_migrations_event_has_the_shape_that_a_deployment_delivers(recorded: list[dict[str, Any]]) -> None:
    delivered = pick(recorded, RequestType="Create")

    assert_same_shape(sample("MigrateFunction"), delivered, set(), set())
    assert sample("MigrateFunction")["ResourceProperties"].keys() == delivered["ResourceProperties"].keys()


@cache
def generated(service: str, event: str) -> Any:
    """Give an event of `sam local generate-event`, AWS's own account of what is delivered."""
    folder = f"*/site-packages/samcli/lib/generated_sample_events/events/{service}/{event}.json"
    (path,) = (ROOT / ".local" / "sam" / "lib").glob(folder)
    return json.loads(path.read_text().replace('"{{{querystringparameters}}}"', "{}"))


@pytest.mark.parametrize("function", ROUTED)
def test_a_request_has_the_shape_that_aws_gives_as_an_example(function: str) -> None:
    assert_same_shape(sample(function), generated("apigateway", "AwsProxy"), NOT_GENERATED, set())


@pytest.mark.parametrize("function", QUEUED)
def test_a_message_has_the_shape_that_aws_gives_as_an_example(function: str) -> None:
    assert_same_shape(sample(function), generated("sqs", "Sqs"), set(), set())


def test_a_migrations_event_has_the_shape_that_aws_gives_as_an_example() -> None:
    theirs = generated("cloudformation", "CfnCreateRequest")

    assert_same_shape(sample("MigrateFunction"), theirs, set(), set())
    assert_same_shape(sample("PublishPagesFunction"), theirs, set(), set())


# --- Each function answers its sample in Lambda's runtime -------------------------------------------------


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    if sys.platform != "linux":
        pytest.skip("Lambda's interface emulator is a program for Linux")
    return Artifacts(tmp_path_factory.mktemp("runtime") / "artifacts")


@pytest.fixture(scope="module")
def cast(region: LocalRegion) -> None:
    """Put what the samples name into the Region: rows of `make up`'s data, and what is erased or retired."""
    data = generate(1000)
    people = {
        customer.id for customer in data.customers if customer.username in (DEMO_USERNAME, STAFF_USERNAMES[0])
    }
    orders = {order.id for order in data.orders if order.customer_id in people}
    with psycopg.connect(region.database.conninfo(), autocommit=True) as connection:
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


class _Answers(BaseHTTPRequestHandler):
    """Stands where CloudFormation waits for a custom resource's answer."""

    received: ClassVar[list[dict[str, Any]]]

    def do_PUT(self) -> None:
        self.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def cloudformation() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    class Answers(_Answers):
        received: ClassVar[list[dict[str, Any]]] = []

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/answer", Answers.received
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def variables(region: LocalRegion) -> dict[str, dict[str, str]]:
    clients = (region.client("cloudformation"), region.client("lambda"))
    return environments(*clients, region.endpoint_url)


def invoke(artifacts: Artifacts, function: str, variables: dict[str, str], event: Any, log: Path) -> Any:
    with Runtime.of(function, artifacts, {**variables, "RELAY_RUN_S": "1"}, log) as runtime:
        answer = runtime.invoke(event)
        assert "errorType" not in (answer or {}), runtime.log()
        return answer


STATUS = {
    "CheckoutFunction": 201,
    "StorefrontFunction": 200,
    "OrdersFunction": 201,
    "AccountFunction": 200,
    "StaffFunction": 200,
    "FallbackFunction": 404,
}


def test_every_function_has_a_sample_and_a_test() -> None:
    tested = {*STATUS, *QUEUED, *SCHEDULED, "AuditLedgerFunction", "MigrateFunction", "PublishPagesFunction"}

    assert tested == set(functions())
    assert all(sample(function) for function in tested)


@pytest.mark.parametrize("function", STATUS)
def test_a_function_of_the_api_answers_its_sample(
    function: str, variables: dict[str, dict[str, str]], artifacts: Artifacts, cast: None, tmp_path: Path
) -> None:
    answer = invoke(artifacts, function, variables[function], sample(function), tmp_path / "log")

    assert answer["statusCode"] == STATUS[function], answer
    assert json.loads(answer["body"])


@pytest.mark.parametrize("function", QUEUED)
def test_a_consumer_takes_its_sample(
    function: str, variables: dict[str, dict[str, str]], artifacts: Artifacts, cast: None, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    answer = invoke(artifacts, function, variables[function], sample(function), log)

    assert answer == {"batchItemFailures": []}, log.read_text()


@pytest.mark.parametrize("function", [*SCHEDULED, "AuditLedgerFunction"])
def test_a_scheduled_function_does_its_work_at_its_sample(
    function: str, variables: dict[str, dict[str, str]], artifacts: Artifacts, tmp_path: Path
) -> None:
    answer = invoke(artifacts, function, variables[function], sample(function), tmp_path / "log")

    assert isinstance(answer, dict)
    assert all(isinstance(figure, int) for figure in answer.values())


def test_the_migration_answers_cloudformation(
    variables: dict[str, dict[str, str]],
    artifacts: Artifacts,
    cloudformation: tuple[str, list[dict[str, Any]]],
    tmp_path: Path,
) -> None:
    url, received = cloudformation
    event = {**sample("MigrateFunction"), "ResponseURL": url}

    invoke(artifacts, "MigrateFunction", variables["MigrateFunction"], event, tmp_path / "log")

    (answer,) = received
    assert (answer["Status"], answer["Data"]) == ("SUCCESS", {"AppliedStatements": "0"})
    assert answer["RequestId"] == event["RequestId"]


def test_the_pages_are_published_and_cloudformation_is_answered(
    region: LocalRegion,
    variables: dict[str, dict[str, str]],
    artifacts: Artifacts,
    cloudformation: tuple[str, list[dict[str, Any]]],
    tmp_path: Path,
) -> None:
    url, received = cloudformation
    event = {**sample("PublishPagesFunction"), "ResponseURL": url}
    region.client("s3").create_bucket(Bucket="sample-pages")

    invoke(artifacts, "PublishPagesFunction", variables["PublishPagesFunction"], event, tmp_path / "log")

    (answer,) = received
    assert (answer["Status"], answer["PhysicalResourceId"]) == ("SUCCESS", "sample-pages")
    assert region.client("s3").head_object(Bucket="sample-pages", Key="index.html")["ContentLength"]
