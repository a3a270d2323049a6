"""Setting up one Region or two, against an emulated control plane.

The emulated part stands in for CloudFormation's handler of `AWS::DSQL::Cluster`: it reads the real
cluster.yaml, resolves its conditions, and calls the real boto3 DSQL client, behind which moto keeps clusters.
What moto leaves out is added here: a cluster of a pair is PENDING_SETUP until both name each other.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from moto import mock_aws

from operations import region_command
from operations.command import main, parser
from operations.regions import (
    TEMPLATE,
    CloudFormation,
    ClusterStack,
    RegionSetupError,
    set_up_one,
    set_up_pair,
    wait_until_active,
)
from tools.template import read

A, B, WITNESS = "us-east-1", "us-east-2", "us-west-1"


_NOTHING = object()


class Emulated:
    """An account whose CloudFormation knows one resource type, in as many Regions as are asked for."""

    def __init__(self) -> None:
        self.template = read(TEMPLATE.read_text())
        self.stacks: dict[str, ClusterStack] = {}
        self.deployments: list[tuple[str, str]] = []
        self.fail_after: int | None = None

    def find(self, region: str) -> ClusterStack | None:
        return self.stacks.get(region)

    def deploy(self, region: str, parameters: Mapping[str, str]) -> ClusterStack:
        if self.fail_after == len(self.deployments):
            raise ConnectionError("the network went away")
        defaults = {name: str(p.get("Default", "")) for name, p in self.template["Parameters"].items()}
        before = self.stacks.get(region)
        values = {**defaults, **(before.parameters if before else {}), **parameters}
        if before is not None and values == before.parameters:
            return before  # no updates are to be performed
        wanted = self._resolve(self.template["Resources"]["Cluster"]["Properties"], values)
        properties = wanted.get("MultiRegionProperties")
        arguments: dict[str, Any] = {
            "deletionProtectionEnabled": wanted["DeletionProtectionEnabled"] == "true"
        }
        if properties is not None:
            arguments["multiRegionProperties"] = {
                "witnessRegion": properties["WitnessRegion"],
                "clusters": properties.get("Clusters", []),
            }
        client = boto3.client("dsql", region_name=region)
        made: Any
        if before is None:
            made = client.create_cluster(**arguments)
        else:
            made = client.update_cluster(identifier=before.identifier, **arguments)
        stack = ClusterStack(
            region,
            made["identifier"],
            made["arn"],
            f"{made['identifier']}.dsql.{region}.on.aws",
            f"arn:aws:backup:{region}:123456789012:backup-vault:{made['identifier']}",
            values,
        )
        self.stacks[region] = stack
        self.deployments.append((region, values["PairedClusterArns"]))
        return stack

    def status(self, cluster: ClusterStack) -> str:
        described = boto3.client("dsql", region_name=cluster.region).get_cluster(
            identifier=cluster.identifier
        )
        properties = described.get("multiRegionProperties")
        if not properties or not properties.get("witnessRegion"):
            return "ACTIVE"
        for region, stack in self.stacks.items():
            if region != cluster.region and stack.arn in properties.get("clusters", []):
                other = boto3.client("dsql", region_name=region).get_cluster(identifier=stack.identifier)
                if cluster.arn in other["multiRegionProperties"].get("clusters", []):
                    return "ACTIVE"
        return "PENDING_SETUP"

    def _resolve(self, value: Any, values: Mapping[str, str]) -> Any:
        if isinstance(value, list):
            return [self._resolve(item, values) for item in value]
        if not isinstance(value, dict):
            return value
        if "Fn::Split" in value:
            by, text = value["Fn::Split"]
            return str(self._resolve(text, values)).split(by)
        if "Ref" in value:
            name = value["Ref"]
            if name == "AWS::NoValue":
                return _NOTHING
            return "rewards-cluster" if name == "AWS::StackName" else values.get(name, name)
        if "Fn::If" in value:
            condition, yes, no = value["Fn::If"]
            return self._resolve(yes if self._holds(condition, values) else no, values)
        resolved = {key: self._resolve(item, values) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item is not _NOTHING}

    def _holds(self, name: str, values: Mapping[str, str]) -> bool:
        condition = self.template["Conditions"][name]
        is_negated = "Fn::Not" in condition
        left, right = (condition["Fn::Not"][0] if is_negated else condition)["Fn::Equals"]
        return bool((self._resolve(left, values) == right) != is_negated)


@pytest.fixture
def account() -> Iterator[Emulated]:
    with mock_aws():
        yield Emulated()


@pytest.fixture
def said() -> list[str]:
    return []


def no_wait(control: Any, cluster: ClusterStack, say: Callable[[str], None]) -> None:
    wait_until_active(control, cluster, say, timeout_s=0, sleep=lambda _: None)


def test_a_single_region_takes_one_deployment(account: Emulated, said: list[str]) -> None:
    cluster = set_up_one(account, A, said.append, wait=no_wait)
    assert account.status(cluster) == "ACTIVE"
    assert account.deployments == [(A, "")]


def test_a_pair_takes_four_deployments_and_waits_for_its_peer_in_between(
    account: Emulated, said: list[str]
) -> None:
    statuses = []
    deploy = account.deploy

    def watched(region: str, parameters: Mapping[str, str]) -> ClusterStack:
        stack = deploy(region, parameters)
        statuses.append(account.status(stack))
        return stack

    account.deploy = watched  # type: ignore[method-assign]
    a, b = set_up_pair(account, (A, B), WITNESS, said.append, wait=no_wait)
    both = ",".join(sorted((a.arn, b.arn)))
    assert account.deployments == [(A, ""), (B, ""), (A, both), (B, both)]
    assert statuses == ["PENDING_SETUP", "PENDING_SETUP", "PENDING_SETUP", "ACTIVE"]
    assert account.status(b) == "ACTIVE"
    # Each was waited for, and not before both named each other: until then it has no end.
    assert said[-2:] == [f"{one.region}: ACTIVE at {one.endpoint}" for one in (a, b)]


@pytest.mark.parametrize("broken_at", [0, 1, 2, 3])
def test_a_run_that_broke_off_is_gone_on_with(account: Emulated, said: list[str], broken_at: int) -> None:
    account.fail_after = broken_at
    with pytest.raises(ConnectionError):
        set_up_pair(account, (A, B), WITNESS, said.append, wait=no_wait)
    identifiers = {region: stack.identifier for region, stack in account.stacks.items()}
    account.fail_after = None
    a, b = set_up_pair(account, (A, B), WITNESS, said.append, wait=no_wait)
    assert len(account.deployments) == 4, "nothing was done twice"
    assert {A: a.identifier, B: b.identifier}.items() >= identifiers.items(), "what was there stayed"
    assert account.status(a) == account.status(b) == "ACTIVE"


def test_a_finished_pair_is_left_alone_where_nothing_else_is_asked_for(
    account: Emulated, said: list[str]
) -> None:
    pair = set_up_pair(account, (A, B), WITNESS, said.append, wait=no_wait)
    assert set_up_pair(account, (A, B), WITNESS, said.append, wait=no_wait) == pair
    assert len(account.deployments) == 4


def test_a_finished_pair_gets_what_is_asked_for_now_and_keeps_its_peers(
    account: Emulated, said: list[str]
) -> None:
    set_up_pair(account, (A, B), WITNESS, said.append, wait=no_wait)
    options = {"DailyBackupsDays": "9"}
    a, b = set_up_pair(account, (A, B), WITNESS, said.append, options=options, wait=no_wait)
    assert [one.parameters["DailyBackupsDays"] for one in (a, b)] == ["9", "9"]
    assert a.paired_arns == b.paired_arns == {a.arn, b.arn}
    assert account.status(a) == account.status(b) == "ACTIVE"


def test_the_first_region_of_a_pair_copies_its_backups_to_the_second_and_the_second_none(
    account: Emulated, said: list[str]
) -> None:
    def copies() -> list[tuple[str, str]]:
        return [
            (account.stacks[r].parameters["CopyToVaultArn"], account.stacks[r].parameters["Backups"])
            for r in (A, B)
        ]

    a, b = set_up_pair(account, (A, B), WITNESS, said.append, wait=no_wait)
    assert copies() == [(b.vault_arn, "all"), ("", "daily")]
    set_up_pair(account, (B, A), WITNESS, said.append, wait=no_wait)
    assert copies() == [("", "daily"), (a.vault_arn, "all")], "given the other way round, they change places"


def test_a_pair_of_which_a_cluster_went_is_refused_before_anything_is_touched(
    account: Emulated, said: list[str]
) -> None:
    set_up_pair(account, (A, B), WITNESS, said.append, wait=no_wait)
    del account.stacks[B]
    with pytest.raises(RegionSetupError, match="its peer"):
        set_up_pair(account, (A, B), WITNESS, said.append, wait=no_wait)
    assert len(account.deployments) == 4


@pytest.mark.parametrize("regions", [(A, A, WITNESS), (A, B, A), (A, B, B)])
def test_three_different_regions_are_asked_for(
    account: Emulated, said: list[str], regions: tuple[str, str, str]
) -> None:
    with pytest.raises(RegionSetupError, match="three different"):
        set_up_pair(account, regions[:2], regions[2], said.append, wait=no_wait)
    assert account.deployments == []


def test_a_single_cluster_cannot_join_a_pair(account: Emulated, said: list[str]) -> None:
    set_up_one(account, A, said.append, wait=no_wait)
    with pytest.raises(RegionSetupError, match="no witness"):
        set_up_pair(account, (A, B), WITNESS, said.append, wait=no_wait)
    assert len(account.deployments) == 1, "nothing was done before the refusal"


def test_a_pair_keeps_its_witness_and_its_peers(account: Emulated, said: list[str]) -> None:
    set_up_pair(account, (A, B), WITNESS, said.append, wait=no_wait)
    with pytest.raises(RegionSetupError, match="belongs to a pair"):
        set_up_one(account, A, said.append, wait=no_wait)
    with pytest.raises(RegionSetupError, match="its peer"):
        set_up_pair(account, (A, "eu-west-1"), WITNESS, said.append, wait=no_wait)
    with pytest.raises(RegionSetupError, match="witness us-west-1"):
        set_up_pair(account, (A, B), "us-west-2", said.append, wait=no_wait)
    assert len(account.deployments) == 4, "nothing was done before the refusals"


def test_a_cluster_that_fails_or_never_becomes_active_is_said_with_a_remedy(
    account: Emulated, said: list[str]
) -> None:
    cluster = account.deploy(A, {"WitnessRegion": WITNESS})
    with pytest.raises(RegionSetupError, match="AddPeerCluster"):
        no_wait(account, cluster, said.append)
    account.status = lambda cluster: "FAILED"  # type: ignore[method-assign]
    with pytest.raises(RegionSetupError, match="FAILED"):
        no_wait(account, cluster, said.append)


@pytest.mark.parametrize("status", ["IDLE", "INACTIVE"])
def test_a_cluster_that_only_a_connection_wakes_is_not_waited_for(
    account: Emulated, said: list[str], status: str
) -> None:
    cluster = account.deploy(A, {})
    account.status = lambda cluster: status  # type: ignore[method-assign]
    no_wait(account, cluster, said.append)
    assert said == [f"{A}: {status} at {cluster.endpoint}"]


# --- The command


def test_the_command_sets_up_a_pair_and_says_what_it_made(
    account: Emulated, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["region", "pair", "--region", A, "--region", B, "--witness", WITNESS, "--json"]
    assert region_command.run(parser().parse_args(line), account) == 0
    clusters = json.loads(capsys.readouterr().out)["clusters"]
    assert [one["region"] for one in clusters] == [A, B]
    assert {one["arn"] for one in clusters} == {stack.arn for stack in account.stacks.values()}
    assert region_command.run(parser().parse_args(line), account) == 0, "it may be run again"
    assert len(account.deployments) == 4


def test_the_command_hands_a_persons_choices_on_and_leaves_out_what_was_not_said(account: Emulated) -> None:
    line = [
        "region",
        "single",
        "--region",
        A,
        "--deletion-protection",
        "false",
        "--alarm-email",
        "a@example.com",
    ]
    assert region_command.run(parser().parse_args(line), account) == 0
    assert account.stacks[A].parameters["DeletionProtection"] == "false"
    assert account.stacks[A].parameters["AlarmEmail"] == "a@example.com"
    assert account.stacks[A].parameters["DailyBackupsDays"] == "7"


KEY_A, KEY_B = (
    f"arn:aws:kms:{region}:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab" for region in (A, B)
)


def test_each_region_of_a_pair_gets_its_own_key(account: Emulated) -> None:
    line = ["region", "pair", "--region", A, "--region", B, "--witness", WITNESS]
    keys = ["--kms-key-arn", KEY_B, "--kms-key-arn", KEY_A]
    assert region_command.run(parser().parse_args([*line, *keys]), account) == 0
    assert {region: stack.parameters["KmsKeyArn"] for region, stack in account.stacks.items()} == {
        A: KEY_A,
        B: KEY_B,
    }


@pytest.mark.parametrize("keys", [[KEY_A, KEY_A], [KEY_A.replace(A, WITNESS)]])
def test_a_key_that_is_no_regions_own_is_refused(account: Emulated, keys: list[str]) -> None:
    line = ["region", "pair", "--region", A, "--region", B, "--witness", WITNESS]
    line += [part for key in keys for part in ("--kms-key-arn", key)]
    with pytest.raises(RegionSetupError, match="no key of its own"):
        region_command.run(parser().parse_args(line), account)
    assert account.stacks == {}


# --- The stacks


class Stacks:
    """CloudFormation of one Region as a script: each call has to be the next that is expected."""

    def __init__(self) -> None:
        self._client = boto3.client(
            "cloudformation", region_name=A, aws_access_key_id="k", aws_secret_access_key="s"
        )
        self.script = Stubber(self._client)
        self.script.activate()
        self.paused = 0
        self.control = CloudFormation(
            "rewards-cluster", lambda service, region: self._client, sleep=self._pause
        )

    def _pause(self, _seconds: float) -> None:
        self.paused += 1

    def is_(self, *statuses: str, **parameters: str) -> None:
        for status in statuses:
            made = status.endswith("_COMPLETE")
            outputs = {
                "ClusterIdentifier": "id",
                "ClusterArn": "arn:aws:dsql:us-east-1:123456789012:cluster/id",
                "ClusterEndpoint": "id.dsql.us-east-1.on.aws",
            }
            stack = {
                "StackName": "rewards-cluster",
                "CreationTime": datetime(2026, 11, 1, tzinfo=UTC),
                "StackStatus": status,
                "Outputs": [{"OutputKey": k, "OutputValue": v} for k, v in outputs.items() if made],
                "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
            }
            self.script.add_response("describe_stacks", {"Stacks": [stack]}, {"StackName": "rewards-cluster"})

    def is_not_there(self) -> None:
        self.script.add_client_error(
            "describe_stacks", "ValidationError", "Stack with id rewards-cluster does not exist"
        )

    def is_sent(self, call: str, parameters: list[dict[str, Any]], **more: Any) -> None:
        expected = {
            "StackName": "rewards-cluster",
            "TemplateBody": TEMPLATE.read_text(),
            "Capabilities": ["CAPABILITY_IAM"],
            "Tags": [{"Key": "application", "Value": "rewards"}],
            "Parameters": parameters,
            **more,
        }
        self.script.add_response(call, {"StackId": "id"}, expected)

    def is_protected(self) -> None:
        """Expect that the stack is protected from deletion, which is done once it is there."""
        expected = {"StackName": "rewards-cluster", "EnableTerminationProtection": True}
        self.script.add_response("update_termination_protection", {"StackId": "id"}, expected)


@pytest.fixture
def stacks() -> Iterator[Stacks]:
    stacks = Stacks()
    yield stacks
    stacks.script.assert_no_pending_responses()


DAYS_7 = {"ParameterKey": "DailyBackupsDays", "ParameterValue": "7"}


def test_a_stack_that_is_not_there_is_created_and_waited_for(stacks: Stacks) -> None:
    stacks.is_not_there()
    stacks.is_sent("create_stack", [DAYS_7], OnFailure="DELETE")
    stacks.is_("CREATE_IN_PROGRESS", "CREATE_IN_PROGRESS", "CREATE_COMPLETE")
    stacks.is_protected()
    stacks.is_("CREATE_COMPLETE")
    assert stacks.control.deploy(A, {"DailyBackupsDays": "7"}).identifier == "id"
    assert stacks.paused == 2


def test_a_stack_that_is_there_is_updated_and_keeps_what_is_not_said(stacks: Stacks) -> None:
    # What an earlier template knew and this one does not is no longer sent.
    stacks.is_("CREATE_COMPLETE", WitnessRegion=WITNESS, DailyBackupsDays="5", OfAnEarlierTemplate="1")
    kept = {"ParameterKey": "WitnessRegion", "UsePreviousValue": True}
    stacks.is_sent("update_stack", [DAYS_7, kept])
    stacks.is_("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_COMPLETE")
    stacks.is_protected()
    stacks.is_("UPDATE_COMPLETE", WitnessRegion=WITNESS, DailyBackupsDays="7")
    assert stacks.control.deploy(A, {"DailyBackupsDays": "7"}).parameters["DailyBackupsDays"] == "7"


def test_a_stack_that_is_up_to_date_is_left_alone(stacks: Stacks) -> None:
    stacks.is_("CREATE_COMPLETE", DailyBackupsDays="7")
    stacks.script.add_client_error("update_stack", "ValidationError", "No updates are to be performed.")
    stacks.is_protected()
    assert stacks.control.deploy(A, {"DailyBackupsDays": "7"}).parameters["DailyBackupsDays"] == "7"


def test_a_stack_that_somebody_else_is_at_work_on_is_waited_for(stacks: Stacks) -> None:
    stacks.is_("CREATE_IN_PROGRESS", "CREATE_COMPLETE", WitnessRegion=WITNESS)
    found = stacks.control.find(A)
    assert found is not None
    assert found.witness == WITNESS
    stacks.is_("DELETE_IN_PROGRESS")
    stacks.is_not_there()
    assert stacks.control.find(A) is None


def test_a_stack_that_never_ends_is_said(stacks: Stacks) -> None:
    stacks.is_(*["UPDATE_IN_PROGRESS"] * 360)
    with pytest.raises(RegionSetupError, match="still UPDATE_IN_PROGRESS"):
        stacks.control.find(A)


@pytest.mark.parametrize(
    "status", ["ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "REVIEW_IN_PROGRESS"]
)
def test_a_stack_that_failed_to_be_created_has_to_be_deleted(stacks: Stacks, status: str) -> None:
    stacks.is_(status)
    with pytest.raises(RegionSetupError, match=f"is {status}. Delete it"):
        stacks.control.find(A)


def test_a_deployment_that_was_taken_back_is_no_success(stacks: Stacks) -> None:
    stacks.is_("CREATE_COMPLETE")
    stacks.is_sent("update_stack", [DAYS_7])
    stacks.is_("UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE")
    with pytest.raises(RegionSetupError, match="UPDATE_ROLLBACK_COMPLETE: CloudFormation took"):
        stacks.control.deploy(A, {"DailyBackupsDays": "7"})
    stacks.is_not_there()
    stacks.is_sent("create_stack", [DAYS_7], OnFailure="DELETE")
    stacks.is_("DELETE_IN_PROGRESS")
    stacks.is_not_there()
    with pytest.raises(RegionSetupError, match="deleted again"):
        stacks.control.deploy(A, {"DailyBackupsDays": "7"})


def test_what_aws_refuses_is_not_swallowed(stacks: Stacks) -> None:
    stacks.script.add_client_error("describe_stacks", "AccessDenied", "not authorized")
    with pytest.raises(ClientError, match="not authorized"):
        stacks.control.find(A)
    stacks.is_("CREATE_COMPLETE")
    stacks.script.add_client_error("update_stack", "ValidationError", "Stack is in UPDATE_ROLLBACK_FAILED")
    with pytest.raises(ClientError, match="UPDATE_ROLLBACK_FAILED"):
        stacks.control.deploy(A, {})


def test_a_pair_of_one_region_is_refused_by_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["region", "pair", "--region", A, "--witness", WITNESS]) == 1
    assert "Give --region twice" in capsys.readouterr().err
