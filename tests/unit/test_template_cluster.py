"""What holds the data: the cluster's own stack, its backups, and what outlives either stack."""

import re
from typing import Any

import pytest

from tools.template import referred, template

STACKS = ("template.yaml", "cluster.yaml")

#: What is left when its resource goes from a stack, and when another takes its place.
OUTLIVES = {
    "template.yaml": {
        "UserPool": ("Retain", "Retain"),
        "PicturesBucket": ("Retain", "Retain"),
        "FunctionLogs": ("Delete", "Delete"),
        "ApiLogs": ("Delete", "Delete"),
        # What it holds is published anew by each deployment.
        "PagesBucket": ("Delete", "Delete"),
    },
    "cluster.yaml": {
        "Cluster": ("Retain", "Retain"),
        "BackupVault": ("RetainExceptOnCreate", "Retain"),
        "ApiLogsRole": ("Retain", "Retain"),
        "ApiLogs": ("Retain", "Retain"),
    },
}


def made() -> dict[str, Any]:
    """Give the resources of the cluster's stack."""
    resources: dict[str, Any] = template("cluster.yaml")["Resources"]
    return resources


@pytest.mark.parametrize("file", STACKS)
def test_what_holds_data_outlives_its_stack(file: str) -> None:
    said = {
        name: (each.get("DeletionPolicy"), each.get("UpdateReplacePolicy"))
        for name, each in template(file)["Resources"].items()
        if {"DeletionPolicy", "UpdateReplacePolicy"} & set(each)
    }
    assert said == OUTLIVES[file]


def test_the_cluster_is_protected_from_deletion_unless_somebody_says_otherwise() -> None:
    assert template("cluster.yaml")["Parameters"]["DeletionProtection"]["Default"] == "true"
    assert made()["Cluster"]["Properties"]["DeletionProtectionEnabled"] == {"Ref": "DeletionProtection"}


def test_a_key_that_is_given_encrypts_the_cluster_and_its_backups() -> None:
    given = {"Fn::If": ["HasKey", {"Ref": "KmsKeyArn"}, {"Ref": "AWS::NoValue"}]}
    assert made()["Cluster"]["Properties"]["KmsEncryptionKey"] == given
    assert made()["BackupVault"]["Properties"]["EncryptionKeyArn"] == given


def rules() -> dict[str, dict[str, Any]]:
    """Give the rules of the backup plan by their names; those that are not in each plan have a condition."""
    said = made()["BackupPlan"]["Properties"]["BackupPlan"]["BackupPlanRule"]
    given = [each["Fn::If"][1] if "Fn::If" in each else each for each in said]
    conditions = [each["Fn::If"][0] if "Fn::If" in each else None for each in said]
    assert conditions == [None, "KeepsLong", "KeepsLong"]
    return {rule["RuleName"]: rule for rule in given}


@pytest.mark.parametrize(
    ("tier", "when", "kept_days"),
    [
        ("daily", r"cron\(\d+ \d+ \* \* \? \*\)", 7),
        ("weekly", r"cron\(\d+ \d+ \? \* SUN \*\)", 5 * 7),
        ("monthly", r"cron\(\d+ \d+ 1 \* \? \*\)", 365),
    ],
)
def test_the_cluster_is_backed_up_into_the_vault_and_kept_as_long_as_was_said(
    tier: str, when: str, kept_days: int
) -> None:
    rule, parameter = rules()[tier], f"{tier.title()}BackupsDays"
    assert re.fullmatch(when, rule["ScheduleExpression"])
    assert rule["TargetBackupVault"] == {"Ref": "BackupVault"}
    assert rule["Lifecycle"] == {"DeleteAfterDays": {"Ref": parameter}}
    assert template("cluster.yaml")["Parameters"][parameter]["Default"] == kept_days
    # A pair is restored from a backup in both Regions: each is copied, and kept as long there.
    copied = {"DestinationBackupVaultArn": {"Ref": "CopyToVaultArn"}, "Lifecycle": rule["Lifecycle"]}
    assert rule["CopyActions"] == {"Fn::If": ["CopiesBackups", [copied], {"Ref": "AWS::NoValue"}]}


def test_no_backup_is_due_before_another_must_have_ended() -> None:
    hours = sorted(int(rule["ScheduleExpression"].split()[1]) for rule in rules().values())
    apart = [later - earlier for earlier, later in zip(hours, [*hours[1:], hours[0] + 24], strict=True)]
    may_take_minutes = {
        rule["StartWindowMinutes"] + rule["CompletionWindowMinutes"] for rule in rules().values()
    }
    assert min(apart) * 60 > max(may_take_minutes)


def test_what_is_backed_up_is_the_cluster() -> None:
    selection = made()["BackupSelection"]["Properties"]
    assert selection["BackupPlanId"] == {"Ref": "BackupPlan"}
    assert selection["BackupSelection"]["Resources"] == [{"Fn::GetAtt": "Cluster.ResourceArn"}]


def test_backups_that_stay_away_raise_an_alarm_and_one_that_is_slow_does_not() -> None:
    rule = rules()["daily"]
    alarm = made()["BackupsStoppedAlarm"]["Properties"]
    assert (alarm["MetricName"], alarm["Statistic"]) == ("NumberOfBackupJobsCompleted", "Sum")
    assert alarm["Dimensions"] == [{"Name": "BackupVaultName", "Value": {"Ref": "BackupVault"}}]
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (1, "LessThanThreshold")
    assert "DatapointsToAlarm" not in alarm, "each of the hours has to be one without a backup"
    silent_minutes = alarm["EvaluationPeriods"] * alarm["Period"] // 60
    day_minutes = 24 * 60
    slowest_minutes = rule["StartWindowMinutes"] + rule["CompletionWindowMinutes"]
    assert day_minutes + slowest_minutes < silent_minutes < 2 * day_minutes


def test_whoever_is_named_hears_of_alarms() -> None:
    named = {"Protocol": "email", "Endpoint": {"Ref": "AlarmEmail"}}
    subscription = template()["Resources"]["AlarmSubscription"]
    assert subscription["Condition"] == "HasAlarmEmail"
    assert subscription["Properties"] == {"TopicArn": {"Ref": "AlarmTopic"}, **named}
    assert made()["AlarmTopic"]["Properties"]["Subscription"] == {
        "Fn::If": ["HasAlarmEmail", [named], {"Ref": "AWS::NoValue"}]
    }
    for file in STACKS:
        assert template(file)["Conditions"]["HasAlarmEmail"] == {
            "Fn::Not": [{"Fn::Equals": [{"Ref": "AlarmEmail"}, ""]}]
        }


@pytest.mark.parametrize("file", STACKS)
def test_the_topic_takes_alarms_of_this_account_and_nothing_without_tls(file: str) -> None:
    policy = template(file)["Resources"]["AlarmTopicPolicy"]["Properties"]
    assert policy["Topics"] == [{"Ref": "AlarmTopic"}]
    alarms, tls = policy["PolicyDocument"]["Statement"]
    assert (alarms["Effect"], alarms["Principal"]) == ("Allow", {"Service": "cloudwatch.amazonaws.com"})
    assert alarms["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    assert (tls["Effect"], tls["Principal"]) == ("Deny", "*")
    assert tls["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert [each["Action"] for each in (alarms, tls)] == ["sns:Publish"] * 2


def test_a_cluster_stack_that_failed_to_be_created_can_be_created_again() -> None:
    # Kept in general, so its name must not be one that the next stack wants, nor that of the vault before.
    name = made()["BackupVault"]["Properties"]["BackupVaultName"]
    assert {"AWS::StackId", "KmsKeyArn"} <= set(referred(name))
    # The cluster is protected from a rollback: what can fail is made before it.
    assert set(made()) - waited_for("Cluster") == {"Cluster", "BackupSelection"}
    # That the setting for access logs is not always made, the cluster has to bear: DependsOn cannot say it.
    assert made()["ApiLogs"]["Condition"] == made()["ApiLogsRole"]["Condition"] == "SetsApiLogs"
    assert "ApiLogs" not in made()["Cluster"]["DependsOn"]


def waited_for(name: str) -> set[str]:
    """Give the resources that are made before one."""
    depends = made()[name].get("DependsOn", [])
    named = {*referred(made()[name]["Properties"]), *([depends] if isinstance(depends, str) else depends)}
    first = named & set(made())
    return first.union(*map(waited_for, first))
