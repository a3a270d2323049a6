"""Rights as IAM reads them: actions that AWS has, on resources and under keys that they know."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import pytest

from tests.authorization import conditions, decide, fits, forms, required
from tests.sam import deployed
from tools.template import referred, template

ACCOUNT, REGION = "000000000000", "us-east-1"

#: Where an ARN or a name is another resource's, what it looks like: by the types of the templates.
_ARNS = {
    "AWS::SQS::Queue": "arn:aws:sqs:us-east-1:000000000000:{}",
    "AWS::Events::EventBus": "arn:aws:events:us-east-1:000000000000:event-bus/{}",
    "AWS::Logs::LogGroup": "arn:aws:logs:us-east-1:000000000000:log-group:{}:*",
    "AWS::Cognito::UserPool": "arn:aws:cognito-idp:us-east-1:000000000000:userpool/{}",
    "AWS::S3::Bucket": "arn:aws:s3:::{}",
    "AWS::SNS::Topic": "arn:aws:sns:us-east-1:000000000000:{}",
    "AWS::Lambda::Function": "arn:aws:lambda:us-east-1:000000000000:function:{}",
    "AWS::IAM::Role": "arn:aws:iam::000000000000:role/{}",
    "AWS::SES::ConfigurationSet": "arn:aws:ses:us-east-1:000000000000:configuration-set/{}",
    "AWS::Events::Rule": "arn:aws:events:us-east-1:000000000000:rule/{}",
}


class Statement(NamedTuple):
    """A statement and the resource whose policy it is in."""

    where: str
    body: dict[str, Any]


def _made() -> dict[str, Any]:
    return {**deployed(), **template("cluster.yaml")["Resources"]}


def _statements() -> list[Statement]:
    return [
        Statement(name, body)
        for name, each in _made().items()
        for body in _policy_statements(each.get("Properties", {}))
    ]


def _policy_statements(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "Effect" in value and "Action" in value:
            yield value
        else:
            for inner in value.values():
                yield from _policy_statements(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _policy_statements(inner)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def arn(value: Any) -> str:
    """Give a resource of a statement as an ARN: of names that a deployment chooses, the logical ones."""
    if isinstance(value, str):
        return value
    ((form, of),) = value.items()
    if form == "Fn::Sub":
        text = of if isinstance(of, str) else of[0]
        text = re.sub(r"\$\{(\w+)\.Arn\}", lambda found: arn({"Fn::GetAtt": f"{found[1]}.Arn"}), text)
        known = {"AWS::Partition": "aws", "AWS::Region": REGION, "AWS::AccountId": ACCOUNT}
        return re.sub(r"\$\{([\w:]+)\}", lambda found: known.get(found[1], found[1].replace("::", "-")), text)
    name = next(iter(referred(value)))
    if name.startswith("AWS::"):
        return arn({"Fn::Sub": f"${{{name}}}"})
    kind = _made()[name]["Type"]
    if kind in _ARNS:
        return _ARNS[kind].format(name)
    raise AssertionError(f"what is the ARN of a {kind}? {value}")


def _name(statement: Statement) -> str:
    return f"{statement.where}-{_listed(statement.body['Action'])[0]}"


def faults(check: Callable[[Statement], None], statements: Iterable[Statement]) -> dict[str, str]:
    """Give what a check says of the statements that it does not let pass."""
    found = {}
    for each in statements:
        try:
            check(each)
        except AssertionError as error:
            found[_name(each)] = str(error)
    return found


def is_asked_for(statement: Statement) -> None:
    """Assert that IAM will be asked for what is allowed.

    An action without resources is allowed on "*" alone, others on each kind that they want.
    """
    resources = [arn(each) for each in _listed(statement.body["Resource"])]
    for action in _listed(statement.body["Action"]):
        kinds = forms(action)
        if not kinds:
            assert resources == ["*"], f"{action} knows no resources"
            continue
        covered = {kind for kind, form in kinds.items() if any(fits(each, form) for each in resources)}
        assert covered, f"{action} is never asked for on {resources}"
        assert required(action) <= covered, f"{action} wants {required(action) - covered} as well"
    for resource in resources:
        forms_of_all = [
            form for action in _listed(statement.body["Action"]) for form in forms(action).values()
        ]
        if forms_of_all:
            assert any(fits(resource, form) for form in forms_of_all), f"nothing is asked for on {resource}"


def has_the_keys_of_its_action(statement: Statement) -> None:
    """Assert that conditions are on keys that the action has."""
    for operator, keys in statement.body.get("Condition", {}).items():
        for key in keys:
            if not key.startswith("aws:"):
                for action in _listed(statement.body["Action"]):
                    assert key.lower() in conditions(action), f"{operator} {key} of {action}"


def test_what_is_allowed_is_what_iam_will_be_asked_for() -> None:
    allowing = [
        each
        for each in _statements()
        if each.body["Effect"] == "Allow" and "sts:AssumeRole" not in each.body["Action"]
    ]
    assert len(allowing) > 20
    assert faults(is_asked_for, allowing) == {}


def test_conditions_are_on_keys_that_the_action_has() -> None:
    statements = _statements()
    assert any("Condition" in each.body for each in statements)
    assert faults(has_the_keys_of_its_action, statements) == {}


def test_a_wrong_right_is_found() -> None:
    def allows(action: str, resource: Any) -> None:
        is_asked_for(Statement("", {"Effect": "Allow", "Action": action, "Resource": resource}))

    with pytest.raises(AssertionError, match="knows no resources"):
        allows("events:ListRules", "arn:aws:events:us-east-1:000000000000:rule/bus/*")
    with pytest.raises(AssertionError, match="never asked for"):
        allows("s3:GetObject", "arn:aws:s3:::bucket")
    with pytest.raises(AssertionError, match="as well"):
        allows("events:StartReplay", "arn:aws:events:us-east-1:000000000000:archive/*")
    with pytest.raises(KeyError):
        allows("sqs:SendMessageBatch", {"Fn::GetAtt": "CleanCartQueue.Arn"})


BUS = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/EventBus"
RELAY = f"arn:aws:iam::{ACCOUNT}:role/RelayFunctionRole"


def _resolved(value: Any) -> Any:
    if isinstance(value, dict):
        if len(value) == 1 and next(iter(value)) in ("Ref", "Fn::GetAtt", "Fn::Sub"):
            return arn(value)
        return {key: _resolved(inner) for key, inner in value.items()}
    return [_resolved(each) for each in value] if isinstance(value, list) else value


def role_policies(role: str) -> list[dict[str, Any]]:
    """Give a role's own policies with what the tests take for ARNs and parameters."""
    own = _made()[role]["Properties"].get("Policies", [])
    return [_resolved(each["PolicyDocument"]) for each in own]


def test_the_bus_takes_events_of_the_relay_and_of_a_replay_and_of_nobody_else() -> None:
    statement = _resolved(template()["Resources"]["OnlyTheRelayPublishes"]["Properties"]["Statement"])
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    may_publish = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
    }
    ours = {"events:source": "rewards.orders"}

    def put(principal: str, policies: list[dict[str, Any]], keys: dict[str, str]) -> str:
        return decide(
            "events:PutEvents", BUS, principal=principal, policies=policies, resource_policy=policy, keys=keys
        )

    assert put(RELAY, role_policies("RelayFunctionRole"), ours) == "Allow"
    assert put(RELAY, role_policies("RelayFunctionRole"), {"events:source": "else"}) == "ImplicitDeny"
    assert put(RELAY.replace("Relay", "Checkout"), [may_publish], ours) == "Deny"
    # EventBridge itself puts a replay's events: it is no principal of IAM and has no such ARN.
    assert (
        decide("events:PutEvents", BUS, service="events.amazonaws.com", resource_policy=policy)
        == "ImplicitDeny"
    )
    without = {**statement, "Condition": {"ArnNotEquals": statement["Condition"]["ArnNotEquals"]}}
    assert (
        decide(
            "events:PutEvents",
            BUS,
            service="events.amazonaws.com",
            resource_policy={"Statement": [without]},
        )
        == "Deny"
    ), "a key that is not there is unequal to everything"


@pytest.mark.parametrize("asked", ["rewards-orders/*", "AWS-StackName/*"])
def test_the_operations_role_finds_the_stack_by_its_name_and_no_other(asked: str) -> None:
    stack = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{asked}"
    expected = "Allow" if asked.startswith("AWS-StackName/") else "ImplicitDeny"
    for action in ("cloudformation:DescribeStacks", "cloudformation:ListStackResources"):
        assert decide(action, stack, principal="r", policies=role_policies("OperationsRole")) == expected


@pytest.mark.parametrize(
    ("stack", "tags", "expected"),
    [
        ("AWS-StackName", {"ScheduledBy": "AWS-StackName"}, "Allow"),
        ("AWS-StackName", {}, "ImplicitDeny"),  # the checkout, say: it believes who its caller says he is
        ("AWS-StackName-2", {"ScheduledBy": "AWS-StackName-2"}, "ImplicitDeny"),
        ("another", {"ScheduledBy": "AWS-StackName"}, "ImplicitDeny"),
    ],
)
def test_schedules_and_operators_start_what_has_the_tag_of_their_stack(
    stack: str, tags: dict[str, str], expected: str
) -> None:
    policy = _resolved(_made()["RunScheduledWorkPolicy"]["Properties"]["PolicyDocument"])
    keys = {f"aws:ResourceTag/{name}": value for name, value in tags.items()}
    function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{stack}-ExpireFunction-1a2b"
    assert decide("lambda:InvokeFunction", function, principal="r", policies=[policy], keys=keys) == expected
