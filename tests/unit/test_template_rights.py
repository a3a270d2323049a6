"""Who may do what: every function its own role, every right named, every wildcard with its reason."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import yaml

from sql.connection import DatabaseSettings
from tests.sam import deployed
from tools.template import ROOT, events, functions, referred, resources, started_by, template, the, variables

FILES = ["template.yaml", "cluster.yaml", "pipeline.yaml"]
RIGHTS = {"Action", "NotAction", "Resource", "NotResource", "Principal", "NotPrincipal"}
REASON = "# wildcard: "


def _scalars(node: yaml.Node) -> Iterator[yaml.ScalarNode]:
    if isinstance(node, yaml.ScalarNode):
        yield node
    elif isinstance(node, yaml.MappingNode):
        for _, value in node.value:
            yield from _scalars(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _scalars(value)


def _rights(node: yaml.Node) -> Iterator[yaml.ScalarNode]:
    """Give every text that stands in a right, wherever a policy is."""
    if isinstance(node, yaml.MappingNode):
        keys = {key.value for key, _ in node.value}
        for key, value in node.value:
            if key.value in RIGHTS and "Effect" in keys:
                yield from _scalars(value)
            else:
                yield from _rights(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _rights(value)


def unreasoned(text: str) -> list[str]:
    """Give the wildcards in rights that have no reason on their own line or the one above."""
    lines = ["", *text.splitlines()]
    found = []
    root = yaml.compose(text, yaml.SafeLoader)
    assert root is not None
    for scalar in _rights(root):
        line = scalar.start_mark.line + 1
        if "*" in scalar.value and not (REASON in lines[line] or lines[line - 1].lstrip().startswith(REASON)):
            found.append(f"{line}: {scalar.value}")
    return found


@pytest.mark.parametrize("file", FILES)
def test_every_wildcard_in_a_right_has_its_reason(file: str) -> None:
    assert unreasoned((ROOT / file).read_text()) == []


def test_a_wildcard_without_a_reason_is_found() -> None:
    text = (ROOT / "template.yaml").read_text()
    action = "            Action: [logs:CreateLogStream, logs:PutLogEvents]\n"
    assert len(unreasoned(text.replace(action, "            Action: logs:*\n"))) == 1
    assert unreasoned(text.replace(REASON, "# ")) != []


# --- The roles of both stacks, whole

LAMBDA = "lambda.amazonaws.com"
PEOPLE = "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"
AWS_ROLES = "arn:${AWS::Partition}:iam::aws:policy/service-role"

LOGS, CONNECT, RUN = "WriteLogsAndTracesPolicy", "ConnectToDatabasePolicy", "RunScheduledWorkPolicy"
SEE_STAFF = "SeeStaffSettingsPolicy"
SMOKE = "PlaceSmokeOrdersPolicy"

TAKE = "sqs:ReceiveMessage sqs:DeleteMessage sqs:GetQueueAttributes"
SEND_BACK = "sqs:GetQueueUrl sqs:SendMessage"
LOOK_INTO = "sqs:GetQueueAttributes sqs:ReceiveMessage sqs:DeleteMessage sqs:ChangeMessageVisibility"
#: The functions that have a tag with the stack's name: the condition on it is tested below.
SCHEDULED = "lambda:function:${AWS::StackName}-*"

#: The policies that several roles may have attached: resources to the actions that are allowed on them.
ATTACHED = {
    LOGS: {
        "FunctionLogs": "logs:CreateLogStream logs:PutLogEvents",
        "*": "xray:PutTraceSegments xray:PutTelemetryRecords",
    },
    CONNECT: {"dsql:cluster/${Cluster}": "dsql:DbConnect"},
    RUN: {SCHEDULED: "lambda:InvokeFunction"},
    SEE_STAFF: {"UserPool": "cognito-idp:AdminGetUser"},
    SMOKE: {
        "StorefrontFunction CheckoutFunction OrdersFunction": "lambda:ListAliases",
        "StorefrontFunction:* CheckoutFunction:* OrdersFunction:*": "lambda:InvokeFunction",
    },
}

#: What functions may beside what all of their kind may: a function with a database role connects, one that
#: a queue starts takes from it.
BEYOND: dict[str, dict[str, str]] = {
    "StorefrontFunction": {"PicturesBucket/*": "s3:GetObject"},
    "RelayFunction": {"EventBus": "events:DescribeEventBus events:PutEvents"},
    "NotifyFunction": {
        "NotifyQueue": f"{TAKE} sqs:SendMessage",
        "ses:identity/* ses:configuration-set/${MailConfiguration}": "ses:SendEmail",
    },
    "RetireItemFunction": {
        "RetireItemQueue": f"{TAKE} sqs:SendMessage",
        "ses:identity/* ses:configuration-set/${MailConfiguration}": "ses:SendEmail",
    },
    "EnrolUsersFunction": {
        "UserPool": "cognito-idp:AdminCreateUser cognito-idp:AdminGetUser cognito-idp:AdminAddUserToGroup "
        "cognito-idp:AdminSetUserPassword cognito-idp:AdminUpdateUserAttributes"
    },
    "CleanRegionFunction": {
        "UserPool": "cognito-idp:AdminGetUser cognito-idp:ListUsers cognito-idp:AdminDeleteUser",
        "PicturesBucket/*": "s3:DeleteObject",
    },
    "OperationsFunction": {
        "sqs:${AWS::StackName}-*": "sqs:GetQueueAttributes",
        "FunctionLogs logs:log-group:${FunctionLogs}": "logs:FilterLogEvents",
        "*": "sqs:ListQueues events:ListRules cloudwatch:GetMetricData cloudwatch:DescribeAlarms",
    },
    "MigrateFunction": {"dsql:cluster/${Cluster}": "dsql:DbConnectAdmin"},
    "PublishPagesFunction": {
        "PagesBucket": "s3:ListBucket",
        "PagesBucket/*": "s3:PutObject s3:DeleteObject",
    },
}


def of_function(name: str) -> tuple[str, str, dict[str, str]]:
    """Give the rights that a function's role should have, as in ROLES."""
    connects = variables(name).get("DATABASE_ROLE") not in (None, "admin")
    taken = {the(event.properties["Queue"]): TAKE for event in events("SQS") if event.function == name}
    return LAMBDA, f"{LOGS} {CONNECT}" if connects else LOGS, {**taken, **BEYOND.get(name, {})}


#: Who may assume each role, the policies that are attached to it, and what else it may, as above.
ROLES: dict[str, tuple[str, str, dict[str, str]]] = {
    **{f"{name}Role": of_function(name) for name in functions()},
    # The user pool waits for it, so its right to ask the pool is attached afterwards.
    "StaffSignInFunctionRole": (LAMBDA, f"{LOGS} {SEE_STAFF}", {}),
    # Not there without a test customer: test_template_change.py.
    "SmokeOrderFunctionRole": (LAMBDA, f"{LOGS} {SMOKE}", {}),
    "ScheduleRole": ("scheduler.amazonaws.com", RUN, {}),
    "OperationsRole": (
        PEOPLE,
        f"{CONNECT} {RUN}",
        {
            # By its name, as `rewards` asks for it: IAM is then asked for this, and not for the stack's id.
            "cloudformation:stack/${AWS::StackName}/*": "cloudformation:DescribeStacks "
            "cloudformation:ListStackResources",
            "FunctionLogs logs:log-group:${FunctionLogs}": "logs:FilterLogEvents",
            "EventBus": "events:DescribeEventBus",
            "events:rule/${EventBus}/*": "events:ListTargetsByRule",
            "UserPool": "cognito-idp:AdminGetUser cognito-idp:AdminCreateUser "
            "cognito-idp:AdminAddUserToGroup cognito-idp:AdminRemoveUserFromGroup",
            "EventBus events:archive/* events:replay/*": "events:DescribeArchive events:StartReplay "
            "events:DescribeReplay",
            "*": "events:ListArchives events:ListRules scheduler:ListSchedules "
            "lambda:ListEventSourceMappings",
        },
    ),
    "ReportsRole": (PEOPLE, CONNECT, {}),
    # SAM's own, for the gradual deployments.
    "CodeDeployServiceRole": (
        "codedeploy.amazonaws.com",
        "arn:aws:iam::aws:policy/service-role/AWSCodeDeployRoleForLambda",
        {},
    ),
    # cluster.yaml
    "BackupRole": ("backup.amazonaws.com", f"{AWS_ROLES}/AWSBackupServiceRolePolicyForBackup", {}),
    "RestoreRole": ("backup.amazonaws.com", f"{AWS_ROLES}/AWSBackupServiceRolePolicyForRestores", {}),
    "ApiLogsRole": ("apigateway.amazonaws.com", f"{AWS_ROLES}/AmazonAPIGatewayPushToCloudWatchLogs", {}),
}


def in_short(value: Any) -> str:
    """Give a resource by its logical name, an ARN of this account and Region from its service on."""
    if isinstance(value, dict):
        ((form, of),) = value.items()
        if form == "Fn::Sub":
            text = of if isinstance(of, str) else of[0]
            text = re.sub(r"^\$\{(\w+)\.Arn\}", r"\1", text)
            return re.sub(
                r"^arn:\$\{AWS::Partition\}:(\w+):\$\{AWS::Region\}:\$\{AWS::AccountId\}:", r"\1:", text
            )
        value = of
    return str(value).removesuffix(".Arn")


def listed(value: Any) -> list[Any]:
    """Give a list as it is, and anything else as a list of it alone."""
    return value if isinstance(value, list) else [value]


def allowed(statements: Iterable[dict[str, Any]]) -> dict[frozenset[str], set[str]]:
    """Give the actions that statements allow, by the resources on which they do."""
    found: dict[frozenset[str], set[str]] = {}
    for statement in statements:
        assert set(statement) <= {"Effect", "Action", "Resource", "Condition"}, statement
        assert statement["Effect"] == "Allow", statement
        on = frozenset(map(in_short, listed(statement["Resource"])))
        found.setdefault(on, set()).update(listed(statement["Action"]))
    return found


def tabled(rights: dict[str, str]) -> dict[frozenset[str], set[str]]:
    """Give a table's rights in the same form."""
    return {frozenset(on.split()): set(actions.split()) for on, actions in rights.items()}


def deployed_by(kind: str) -> dict[str, dict[str, Any]]:
    """Give the properties of both stacks' resources of a type, with those that SAM adds."""
    made = {**deployed(), **template("cluster.yaml")["Resources"]}
    return {name: each["Properties"] for name, each in made.items() if each["Type"] == kind}


def policies(role: str) -> list[dict[str, Any]]:
    """Give the statements that a role has of its own."""
    own = deployed_by("AWS::IAM::Role")[role].get("Policies", [])
    return [statement for policy in own for statement in policy["PolicyDocument"]["Statement"]]


def test_the_roles_are_those_of_the_table_and_nothing_else_gives_rights() -> None:
    assert set(deployed_by("AWS::IAM::Role")) == set(ROLES)
    kinds = {
        each["Type"]
        for each in (*deployed().values(), *template("cluster.yaml")["Resources"].values())
        if each["Type"].startswith("AWS::IAM::")
    }
    assert kinds == {"AWS::IAM::Role", "AWS::IAM::ManagedPolicy"}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_what_the_table_says_and_no_more(role: str) -> None:
    assumed_by, attached, own = ROLES[role]
    properties = deployed_by("AWS::IAM::Role")[role]
    (trust,) = properties["AssumeRolePolicyDocument"]["Statement"]
    (principals,) = trust["Principal"].values()
    assert (trust["Effect"], listed(trust["Action"])) == ("Allow", ["sts:AssumeRole"])
    assert set(trust) <= {"Effect", "Principal", "Action", "Condition"}
    assert list(map(in_short, listed(principals))) == [assumed_by]
    arns = list(map(in_short, properties.get("ManagedPolicyArns", [])))
    arns += [
        name
        for name, policy in deployed_by("AWS::IAM::ManagedPolicy").items()
        if role in map(in_short, policy.get("Roles", []))
    ]
    assert sorted(arns) == sorted(attached.split())
    assert allowed(policies(role)) == tabled(own)


def test_a_policy_that_is_attached_allows_what_the_table_says_and_no_more() -> None:
    documents = deployed_by("AWS::IAM::ManagedPolicy")
    assert {name: allowed(each["PolicyDocument"]["Statement"]) for name, each in documents.items()} == {
        name: tabled(rights) for name, rights in ATTACHED.items()
    }


def test_each_function_has_a_role_that_no_other_has() -> None:
    roles = {name: properties["Role"]["Fn::GetAtt"] for name, properties in functions().items()}
    assert roles == {name: f"{name}Role.Arn" for name in functions()}


def test_only_the_migration_connects_as_admin() -> None:
    assert {name for name in functions() if variables(name).get("DATABASE_ROLE") == "admin"} == {
        "MigrateFunction"
    }


def test_a_function_may_connect_just_when_it_has_a_database_role() -> None:
    for name in functions():
        attached = resources("AWS::IAM::Role")[f"{name}Role"]["Properties"]["ManagedPolicyArns"]
        wanted = variables(name).get("DATABASE_ROLE") not in (None, "admin")
        assert ({"Ref": "ConnectToDatabasePolicy"} in attached) == wanted, name


def test_each_functions_database_role_is_granted_to_its_role_and_to_nobody_elses() -> None:
    links = template()["Resources"]["Migration"]["Properties"]["RoleArns"]
    wanted: dict[str, set[str]] = {"operations": {"OperationsRole.Arn"}, "reports": {"ReportsRole.Arn"}}
    for name in functions():
        role = variables(name).get("DATABASE_ROLE")
        if role not in (None, "admin"):
            wanted.setdefault(role, set()).add(f"{name}Role.Arn")
    # A function that is there in a demo alone is linked with a condition.
    plain = {role: [arn.get("Fn::If", [None, arn])[1] for arn in arns] for role, arns in links.items()}
    assert {role: {arn["Fn::GetAtt"] for arn in arns} for role, arns in plain.items()} == wanted


def test_no_function_takes_a_role_that_is_for_people() -> None:
    taken = {variables(name).get("DATABASE_ROLE") for name in functions()}
    assert not taken & {"operations", "reports", "rewards_ro", "rewards_rw"}


def test_events_are_put_by_the_relay_alone_on_our_bus_with_our_source() -> None:
    (statement,) = [one for one in policies("RelayFunctionRole") if one["Action"] == "events:PutEvents"]
    assert statement["Condition"] == {"StringEquals": {"events:source": "rewards.orders"}}
    denied = template()["Resources"]["OnlyTheRelayPublishes"]["Properties"]["Statement"]
    assert denied["Effect"] == "Deny"
    # What that does for the relay, for others and for a replay: tests/unit/test_template_authorization.py.
    assert denied["Condition"] == {
        "ArnNotEquals": {"aws:PrincipalArn": {"Fn::GetAtt": "RelayFunctionRole.Arn"}},
        "Null": {"aws:PrincipalArn": "false"},
    }


def test_schedules_of_this_account_alone_invoke_what_has_one_and_nothing_else() -> None:
    role = resources("AWS::IAM::Role")["ScheduleRole"]["Properties"]
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    assert {the(event.properties["RoleArn"]) for event in events("ScheduleV2")} == {"ScheduleRole"}
    tag = {"ScheduledBy": {"Ref": "AWS::StackName"}}
    assert {name for name, each in functions().items() if "Tags" in each} == set(started_by("ScheduleV2"))
    assert all(functions()[name]["Tags"] == tag for name in started_by("ScheduleV2"))
    (statement,) = deployed_by("AWS::IAM::ManagedPolicy")[RUN]["PolicyDocument"]["Statement"]
    assert statement["Condition"] == {"StringEquals": {f"aws:ResourceTag/{name}": tag[name] for name in tag}}


def test_a_consumer_reads_its_own_queue_and_no_other() -> None:
    for name, properties in functions().items():
        read = {
            queue
            for statement in policies(f"{name}Role")
            if "sqs:ReceiveMessage" in listed(statement["Action"])
            for queue in referred(statement["Resource"])
        }
        sources = {
            queue
            for event in properties.get("Events", {}).values()
            if event["Type"] == "SQS"
            for queue in referred(event["Properties"]["Queue"])
        }
        assert read == sources, name


def test_mail_is_sent_from_the_shops_address_alone() -> None:
    for role in ROLES:
        for statement in policies(role):
            if "ses:SendEmail" in listed(statement["Action"]):
                assert statement["Condition"] == {
                    "StringEquals": {"ses:FromAddress": {"Ref": "SenderAddress"}}
                }, role


def queue_rights(queue: str) -> dict[str, str]:
    """Give who may do what with a queue by its policy: actions by principal, and by the rule's pattern."""
    rules = {
        the(target["Arn"]): name
        for name, rule in resources("AWS::Events::Rule").items()
        for target in rule["Properties"]["Targets"]
    }
    found = {}
    if queue == "UndeliveredEventsQueue":
        found["events:rule/${EventBus}/* SuppressAddressRule"] = "sqs:SendMessage"
    elif queue in rules:
        found[rules[queue]] = "sqs:SendMessage"
    takes = {the(event.properties["Queue"]) for event in events("SQS")}
    return {**found, "OperationsRole": SEND_BACK if queue in takes else LOOK_INTO}


@pytest.mark.parametrize("queue", resources("AWS::SQS::Queue"))
def test_a_queue_is_encrypted_and_admits_over_tls_whom_it_is_for_and_nobody_else(queue: str) -> None:
    assert resources("AWS::SQS::Queue")[queue]["Properties"]["SqsManagedSseEnabled"] is True
    policy = resources("AWS::SQS::QueuePolicy")[f"{queue}Policy"]["Properties"]
    assert list(referred(policy["Queues"])) == [queue]  # SQS takes one resource a policy
    found = {}
    *allowing, denying = policy["PolicyDocument"]["Statement"]
    for statement in allowing:
        assert statement["Effect"] == "Allow"
        assert list(referred(statement["Resource"])) == [queue]
        ((kind, principal),) = statement["Principal"].items()
        if kind == "Service":
            assert principal == "events.amazonaws.com"
            ((test, condition),) = statement["Condition"].items()
            assert test in ("ArnEquals", "ArnLike")
            assert set(condition) == {"aws:SourceArn"}
            admitted = " ".join(map(in_short, listed(condition["aws:SourceArn"])))
        else:
            assert (kind, "Condition" in statement) == ("AWS", False)
            admitted = in_short(principal)
        found[admitted] = " ".join(listed(statement["Action"]))
    assert found == queue_rights(queue)
    assert denying == {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "sqs:*",
        "Resource": {"Fn::GetAtt": f"{queue}.Arn"},
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def test_each_queue_that_a_function_reads_has_its_dead_letter_queue() -> None:
    queues = resources("AWS::SQS::Queue")
    read = {
        queue
        for properties in functions().values()
        for event in properties.get("Events", {}).values()
        if event["Type"] == "SQS"
        for queue in referred(event["Properties"]["Queue"])
    }
    taking = [queues[queue]["Properties"]["RedrivePolicy"]["deadLetterTargetArn"] for queue in read]
    assert read.isdisjoint(referred(taking))
    assert len(set(referred(taking))) == len(read)


def test_the_log_groups_forget() -> None:
    groups = resources("AWS::Logs::LogGroup")
    assert groups
    for name, group in groups.items():
        assert group["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}, name
    assert template()["Globals"]["Function"]["LoggingConfig"]["LogGroup"] == {"Ref": "FunctionLogs"}


def test_the_database_is_reached_over_verified_tls_unless_somebody_says_otherwise() -> None:
    assert (
        template()["Parameters"]["DatabaseTls"]["Default"] == DatabaseSettings("host", "role", "region").tls
    )
    assert DatabaseSettings("host", "role", "region").tls == "verify-full"
    variables_of_all = template()["Globals"]["Function"]["Environment"]["Variables"]
    assert variables_of_all["DATABASE_TLS"] == {"Ref": "DatabaseTls"}
    assert not any("DATABASE_TLS" in variables(name) for name in functions())
