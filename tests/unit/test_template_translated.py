"""What CloudFormation gets once SAM has translated the template: names, and when `live` moves on."""

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.sam import deployed, translated
from tools.template import functions, referred, started_by, template

#: What a Region has once for all of its stacks: a fixed name of one of them keeps a second stack out.
NAMED = {
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::CloudWatch::Dashboard": "DashboardName",
    "AWS::CodeDeploy::Application": "ApplicationName",
    "AWS::CodeDeploy::DeploymentGroup": "DeploymentGroupName",
    "AWS::Events::Archive": "ArchiveName",
    "AWS::Events::EventBus": "Name",
    "AWS::Events::Rule": "Name",
    "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
    "AWS::IAM::Role": "RoleName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::Scheduler::Schedule": "Name",
    "AWS::WAFv2::WebACL": "Name",
}


def test_two_stacks_of_a_region_want_no_name_twice() -> None:
    taken = {
        name: properties[NAMED[each["Type"]]]
        for name, each in deployed().items()
        if each["Type"] in NAMED
        and NAMED[each["Type"]] in (properties := each.get("Properties", {}))
        and "AWS::StackName" not in str(properties[NAMED[each["Type"]]])
    }
    assert taken == {}


def test_there_are_schedules_that_could_have_had_names() -> None:
    made = [each for each in deployed().values() if each["Type"] == "AWS::Scheduler::Schedule"]
    assert len(made) == sum(
        event["Type"] == "ScheduleV2"
        for properties in functions().values()
        for event in properties.get("Events", {}).values()
    )


# --- `live`


def versions(resources: dict[str, Any]) -> dict[str, str]:
    """Give the logical id of each function's version: another id is a new version."""
    return {
        each["Properties"]["FunctionName"]["Ref"]: name
        for name, each in resources.items()
        if each["Type"] == "AWS::Lambda::Version"
    }


def _layer(changed: dict[str, Any]) -> None:
    changed["Resources"]["DependenciesLayer"]["Properties"]["ContentUri"] = "s3://artifacts/another-layer"


def _timeout(changed: dict[str, Any]) -> None:
    changed["Globals"]["Function"]["Timeout"] = 16


def _tracing(changed: dict[str, Any]) -> None:
    changed["Globals"]["Function"]["Tracing"] = "PassThrough"


def _literal(changed: dict[str, Any]) -> None:
    changed["Globals"]["Function"]["Environment"]["Variables"]["DATABASE_NAME"] = "another"


@pytest.mark.parametrize("change", [_layer, _timeout, _tracing, _literal])
def test_what_changes_a_function_of_the_api_reaches_live(change: Callable[[dict[str, Any]], None]) -> None:
    changed = copy.deepcopy(template())
    change(changed)
    before, after = versions(deployed()), versions(translated(changed))
    moved = {name for name in before if before[name] != after[name]}
    assert {name for name in functions() if name in started_by("Api")} <= moved


def test_what_changes_no_function_makes_no_version() -> None:
    changed = copy.deepcopy(template())
    changed["Resources"]["EventBus"]["Properties"]["Tags"] = [{"Key": "shop", "Value": "one"}]
    assert versions(translated(changed)) == versions(deployed())


def test_a_version_is_replaced_whenever_a_value_in_its_environment_may_have_changed() -> None:
    """Its description changes with them, and with nothing else: such a version would be refused."""
    environment = template()["Globals"]["Function"]["Environment"]["Variables"]
    wanted = _named(environment) - {"EventBus"}  # whose name is the stack's
    for name, properties in functions().items():
        if name in started_by("Api"):
            assert _named(properties["VersionDescription"]) == wanted, name
    version = deployed()[versions(deployed())["CheckoutFunction"]]
    assert version["Properties"]["Description"] == functions()["CheckoutFunction"]["VersionDescription"]


def test_a_fix_can_go_out_although_an_alarm_is_on() -> None:
    """CodeDeploy stops any deployment then, one at once too; so it is left out, and nothing else is."""
    at_once = translated(template(), {"GradualDeployment": "false"})
    of_codedeploy = {"ServerlessDeploymentApplication", "CodeDeployServiceRole"} | {
        f"{name}DeploymentGroup" for name in functions() if name in started_by("Api")
    }
    assert set(deployed()) - set(at_once) == of_codedeploy
    assert not any("UpdatePolicy" in each for each in at_once.values())
    gradually = {name for name, each in deployed().items() if "UpdatePolicy" in each}
    assert gradually == {f"{name}Aliaslive" for name in functions() if name in started_by("Api")}


def _named(value: Any) -> set[str]:
    """Give the parameters and resources that a value is made of, those in texts included."""
    return {*referred(value), *re.findall(r"\$\{(\w+)\}", str(value))} - {"Host"}
