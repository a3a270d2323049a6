"""The policies of the stack at work: what a role may not do is refused, and what is taken from it is missed.

The emulator enforces them (local/emulator_process.py) and writes down each kind of call that it authorized.
"""

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from local.region import STACK_NAME, LocalRegion
from sql.connection import Connection
from tests.authorization import Call, decide_all, fits, forms
from tests.integration.shop import Shop
from tests.system.waiting import until
from tests.unit.test_template_pipeline import policies_of
from tools.template import started_by

_INTRUDER = """
import json, os
import boto3
from botocore.exceptions import ClientError

def handler(event, context):
    answers = {}
    for service, call, arguments in event["calls"]:
        try:
            getattr(boto3.client(service), call)(**arguments)
            answers[call] = "done"
        except ClientError as error:
            answers[call] = error.response["Error"]["Code"] + ": " + error.response["Error"]["Message"]
    return answers
"""


def authorizations(region: LocalRegion) -> list[dict[str, str]]:
    """Give what was authorized so far, or refused."""
    return [json.loads(line) for line in region.authorizations.read_text().splitlines()]


def role_of(region: LocalRegion, function: str) -> str:
    configuration = region.client("lambda").get_function_configuration(
        FunctionName=region.resources[function]
    )
    return str(configuration["Role"])


@pytest.fixture
def as_the_checkout(region: LocalRegion) -> Iterator[Callable[..., Any]]:
    """Somebody's code in a function that has the checkout's role: makes calls, gives what came of them."""
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("intruder.py", _INTRUDER)
    name, client = f"intruder-{uuid4().hex[:8]}", region.client("lambda")
    client.create_function(
        FunctionName=name,
        Runtime="python3.13",
        Handler="intruder.handler",
        Role=role_of(region, "CheckoutFunction"),
        Code={"ZipFile": code.getvalue()},
        Timeout=30,
    )

    def call(*calls: tuple[str, str, dict[str, Any]]) -> Any:
        answer = client.invoke(FunctionName=name, Payload=json.dumps({"calls": calls}))
        return json.loads(answer["Payload"].read())

    yield call
    client.delete_function(FunctionName=name)


def test_a_function_is_refused_what_its_role_does_not_have(
    region: LocalRegion, as_the_checkout: Callable[..., Any]
) -> None:
    entry = {
        "EventBusName": region.outputs["EventBusName"],
        "Source": "rewards.orders",
        "DetailType": "OrderPlaced.v1",
        "Detail": "{}",
    }
    pool, pictures = region.outputs["UserPoolId"], region.outputs["PicturesBucketName"]
    answers = as_the_checkout(
        ("events", "put_events", {"Entries": [entry]}),
        ("sqs", "send_message", {"QueueUrl": region.resources["EnrolUsersQueue"], "MessageBody": "{}"}),
        ("cognito-idp", "admin_delete_user", {"UserPoolId": pool, "Username": "anybody"}),
        ("s3", "list_objects_v2", {"Bucket": pictures}),
        ("sts", "get_caller_identity", {}),
    )
    assert answers.pop("get_caller_identity") == "done"
    assert set(answers) == {"put_events", "send_message", "admin_delete_user", "list_objects_v2"}
    for call, answer in answers.items():
        assert answer.startswith(("AccessDenied: ", "AccessDeniedException: ")), (call, answer)
    # Whose role it is is said, as IAM says it.
    assert "CheckoutFunctionRole" in answers["put_events"]


def test_a_consumer_whose_role_may_not_read_its_queue_gets_nothing_until_it_may(region: LocalRegion) -> None:
    role = role_of(region, "EnrolUsersFunction")
    name = role.rpartition("/")[2]
    iam = region.client("iam")
    policy = {"RoleName": name, "PolicyName": "ReadQueueAndCreateUsers"}
    document = iam.get_role_policy(**policy)["PolicyDocument"]
    # What else it does is left: creating users, and of the queue all but taking messages.
    without = json.loads(
        json.dumps(document).replace('"sqs:ReceiveMessage"', '"sqs:ChangeMessageVisibility"')
    )
    assert without != document
    username = f"late_{uuid4().hex[:8]}"
    with Connection.connect(region.conninfo(), autocommit=True) as connection:
        customer_id = Shop(connection).customer(username=username)
    user = {"username": username, "email": f"{username}@example.com", "customer_id": str(customer_id)}
    cognito = region.client("cognito-idp")
    find = {"UserPoolId": region.outputs["UserPoolId"], "Username": username}

    def refused() -> bool:
        return any(
            (one["principal"], one["action"], one["decision"]) == (role, "sqs:ReceiveMessage", "ImplicitDeny")
            for one in authorizations(region)
        )

    iam.put_role_policy(**policy, PolicyDocument=json.dumps(without))
    try:
        until(refused)
        region.client("sqs").send_message(
            QueueUrl=region.resources["EnrolUsersQueue"], MessageBody=json.dumps(user)
        )
        with pytest.raises(ClientError, match="UserNotFound"):
            cognito.admin_get_user(**find)
    finally:
        iam.put_role_policy(**policy, PolicyDocument=json.dumps(document))

    def enrolled() -> Any:
        try:
            return cognito.admin_get_user(**find)
        except ClientError:
            return None

    until(enrolled)


def test_a_schedule_starts_what_has_the_stacks_tag_and_nothing_else(region: LocalRegion) -> None:
    scheduler, functions = region.client("scheduler"), region.client("lambda")
    role = region.client("iam").get_role(RoleName=region.resources["ScheduleRole"])["Role"]["Arn"]
    wanted = {"MeasureBacklogFunction": "Allow", "CheckoutFunction": "ImplicitDeny"}
    names = {function: f"once-{uuid4().hex[:8]}" for function in wanted}
    arns = {
        function: functions.get_function(FunctionName=region.resources[function])["Configuration"][
            "FunctionArn"
        ]
        for function in wanted
    }
    for function, name in names.items():
        scheduler.create_schedule(
            Name=name,
            ScheduleExpression=f"at({datetime.now(UTC):%Y-%m-%dT%H:%M:%S})",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": arns[function], "RoleArn": role},
        )

    def decided() -> dict[str, str]:
        return {
            one["resource"]: one["decision"]
            for one in authorizations(region)
            if (one["principal"], one["action"]) == (role, "lambda:InvokeFunction")
        }

    until(lambda: set(arns.values()) <= decided().keys())
    for name in names.values():
        scheduler.delete_schedule(Name=name)
    assert {function: decided()[arn] for function, arn in arns.items()} == wanted


def test_what_sam_calls_to_deploy_is_within_the_deploy_roles_rights(region: LocalRegion) -> None:
    called = {
        Call(one["action"], one["resource"].replace(f":stack/{STACK_NAME}/", ":stack/rewards-orders/"))
        for one in authorizations(region)
        if one["principal"] == "sam"
    }
    assert {"cloudformation:CreateChangeSet", "cloudformation:ExecuteChangeSet", "s3:PutObject"} <= {
        call.action for call in called
    }
    # On AWS SAM has a bucket of its own for what it uploads.
    there = [
        call._replace(resource=call.resource.replace("sam-artifacts", "aws-sam-cli-managed-default-1a2b"))
        for call in sorted(called)
    ]
    decided = decide_all(there, policies=policies_of("DeployRole"))
    assert dict(zip(there, decided, strict=True)) == dict.fromkeys(there, "Allow")


def test_every_call_that_was_authorized_is_on_a_resource_that_iam_knows_for_it(region: LocalRegion) -> None:
    """The emulator's idea of what IAM is asked for, against AWS's reference."""
    seen = authorizations(region)
    for one in seen:
        kinds = forms(one["action"])
        assert one["resource"] == "*" or any(fits(one["resource"], form) for form in kinds.values()), one
        assert (one["resource"] == "*") <= (not kinds), one
    # Each consumer's role was asked for what Lambda does in its name.
    polling = {one["principal"] for one in seen if one["action"] == "sqs:ReceiveMessage"}
    assert {role_of(region, name) for name in started_by("SQS")} <= polling
