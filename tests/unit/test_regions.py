"""Setting up one Region or two, against an emulated control plane.

The emulated part stands in for CloudFormation's handler of `AWS::DSQL::Cluster`: it reads the real
cluster.yaml, resolves its conditions, and calls the real boto3 DSQL client, behind which moto keeps clusters.
What moto leaves out is added here: a cluster of a pair is PENDING_SETUP until both name each other.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import boto3
import pytest
import yaml
from moto import mock_aws

from operations import region_command
from operations.command import main, parser
from operations.regions import (
    TEMPLATE,
    ClusterStack,
    RegionSetupError,
    set_up_one,
    set_up_pair,
    wait_until_active,
)

A, B, WITNESS = "us-east-1", "us-east-2", "us-west-1"


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms as {"Ref": x} and {"Fn::Name": x}."""


def _short_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix == "Ref" else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)

_NOTHING = object()


class Emulated:
    """An account whose CloudFormation knows one resource type, in as many Regions as are asked for."""

    def __init__(self) -> None:
        self.template = yaml.load(TEMPLATE.read_text(), _Loader)
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
            region, made["identifier"], made["arn"], f"{made['identifier']}.dsql.{region}.on.aws", values
        )
        self.stacks[region] = stack
        self.deployments.append((region, values["PeerClusterArn"]))
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
        if "Ref" in value:
            name = value["Ref"]
            if name == "AWS::NoValue":
                return _NOTHING
            return "rewards-cluster" if name == "AWS::StackName" else values[name]
        if "Fn::If" in value:
            condition, yes, no = value["Fn::If"]
            return self._resolve(yes if self._holds(condition, values) else no, values)
        resolved = {key: self._resolve(item, values) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item is not _NOTHING}

    def _holds(self, name: str, values: Mapping[str, str]) -> bool:
        ((left, right),) = [inner["Fn::Equals"] for inner in self.template["Conditions"][name]["Fn::Not"]]
        return bool(self._resolve(left, values) != right)


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


def test_a_pair_takes_three_deployments_and_waits_for_its_peer_in_between(
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
    assert account.deployments == [(A, ""), (B, a.arn), (A, b.arn)]
    assert statuses == ["PENDING_SETUP", "PENDING_SETUP", "ACTIVE"]
    assert account.status(b) == "ACTIVE"


@pytest.mark.parametrize("broken_at", [0, 1, 2])
def test_a_run_that_broke_off_is_gone_on_with(account: Emulated, said: list[str], broken_at: int) -> None:
    account.fail_after = broken_at
    with pytest.raises(ConnectionError):
        set_up_pair(account, (A, B), WITNESS, said.append, wait=no_wait)
    identifiers = {region: stack.identifier for region, stack in account.stacks.items()}
    account.fail_after = None
    a, b = set_up_pair(account, (A, B), WITNESS, said.append, wait=no_wait)
    assert len(account.deployments) == 3, "nothing was done twice"
    assert {A: a.identifier, B: b.identifier}.items() >= identifiers.items(), "what was there stayed"
    assert account.status(a) == account.status(b) == "ACTIVE"


def test_a_finished_pair_is_left_alone(account: Emulated, said: list[str]) -> None:
    pair = set_up_pair(account, (A, B), WITNESS, said.append, wait=no_wait)
    assert set_up_pair(account, (A, B), WITNESS, said.append, wait=no_wait) == pair
    assert len(account.deployments) == 3


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
    assert len(account.deployments) == 3, "nothing was done before the refusals"


def test_a_cluster_that_fails_or_never_becomes_active_is_said_with_a_remedy(
    account: Emulated, said: list[str]
) -> None:
    cluster = account.deploy(A, {"WitnessRegion": WITNESS})
    with pytest.raises(RegionSetupError, match="AddPeerCluster"):
        no_wait(account, cluster, said.append)
    account.status = lambda cluster: "FAILED"  # type: ignore[method-assign]
    with pytest.raises(RegionSetupError, match="FAILED"):
        no_wait(account, cluster, said.append)


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
    assert len(account.deployments) == 3


def test_the_command_hands_a_persons_choices_on_and_leaves_out_what_was_not_said(account: Emulated) -> None:
    line = ["region", "single", "--region", A, "--deletion-protection", "false"]
    assert region_command.run(parser().parse_args(line), account) == 0
    assert account.stacks[A].parameters["DeletionProtection"] == "false"
    assert account.stacks[A].parameters["BackupRetentionDays"] == "35"


def test_a_pair_of_one_region_is_refused_by_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["region", "pair", "--region", A, "--witness", WITNESS]) == 1
    assert "Give --region twice" in capsys.readouterr().err
