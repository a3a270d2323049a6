"""Setting up the database of one Region, or of two that write to each other's: `rewards region ...`.

Neither cluster of a pair can name the other before both exist, so a pair takes four deployments of
cluster.yaml: each cluster with the witness, then each again with the ARNs of both, as the user guide of
Aurora DSQL has it for CloudFormation. Each step looks at what is there first: run again after a failure, the
command goes on.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

TEMPLATE = Path(__file__).resolve().parent.parent / "cluster.yaml"

#: Cluster states in which the next connection is served; it is what ends the last two, and waiting does not.
_READY = frozenset({"ACTIVE", "IDLE", "INACTIVE"})

#: Cluster states that waiting can fix; PENDING_SETUP ends when both clusters name each other.
_PASSING = frozenset({"CREATING", "PENDING_SETUP", "UPDATING"})

#: Stack states that only somebody's deleting ends.
_REMAINS = frozenset(
    {"CREATE_FAILED", "DELETE_FAILED", "REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED"}
)
_DONE = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE"})
_STACK_PAUSE_S = 10.0
_STACK_POLLS = 360


class RegionSetupError(Exception):
    """The set-up cannot go on; the message says what stands in the way and what to do."""


@dataclass(frozen=True, slots=True)
class ClusterStack:
    """A Region's cluster stack as it is: the cluster, and the parameters it was deployed with."""

    region: str
    identifier: str
    arn: str
    endpoint: str
    vault_arn: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def witness(self) -> str:
        """The witness Region, empty for a single-Region cluster."""
        return self.parameters.get("WitnessRegion", "")

    @property
    def paired_arns(self) -> frozenset[str]:
        """The ARNs of the pair's clusters, this one's among them; empty before they are a pair."""
        return frozenset(filter(None, self.parameters.get("PairedClusterArns", "").split(",")))


class ControlPlane(Protocol):
    """What the set-up needs of AWS, a Region at a time."""

    def find(self, region: str) -> ClusterStack | None:
        """Give the Region's cluster stack, or None where there is none."""
        ...

    def deploy(self, region: str, parameters: Mapping[str, str]) -> ClusterStack:
        """Create or update the Region's cluster stack and wait; unnamed parameters stay as they are."""
        ...

    def status(self, cluster: ClusterStack) -> str:
        """Give the cluster's status."""
        ...


def set_up_one(
    control: ControlPlane,
    region: str,
    say: Callable[[str], None],
    *,
    options: Mapping[str, str] | None = None,
    wait: Callable[["ControlPlane", ClusterStack, Callable[[str], None]], None] | None = None,
) -> ClusterStack:
    """Set up a cluster for one Region. Raises RegionSetupError where there is one of a pair."""
    found = control.find(region)
    if found is not None and found.witness:
        raise RegionSetupError(
            f"The cluster in {region} belongs to a pair with witness {found.witness}, and a pair cannot "
            "become single. Name both Regions."
        )
    say(f"{region}: {'bringing the cluster stack up to date' if found else 'creating the cluster stack'}")
    cluster = control.deploy(region, dict(options or {}))
    (wait or wait_until_active)(control, cluster, say)
    return cluster


def set_up_pair(
    control: ControlPlane,
    regions: tuple[str, str],
    witness: str,
    say: Callable[[str], None],
    *,
    options: Mapping[str, str] | None = None,
    options_of: Mapping[str, Mapping[str, str]] | None = None,
    wait: Callable[["ControlPlane", ClusterStack, Callable[[str], None]], None] | None = None,
) -> tuple[ClusterStack, ClusterStack]:
    """Set up two peered clusters, go on where an earlier run stopped, or bring both stacks up to date.

    `options_of` has, by Region, what is not the same in both. Raises RegionSetupError where the Regions are
    not three different ones, or a cluster that is there has another witness or another peer: neither can be
    changed. The first Region's backups are copied to the second, which is what a pair is restored from; the
    other way round when the Regions are given the other way round.
    """
    first, second = regions
    if len({first, second, witness}) != 3:
        raise RegionSetupError("Give three different Regions: two for clusters and one as the witness.")
    found = {region: control.find(region) for region in regions}
    for region, cluster in found.items():
        if cluster is not None and cluster.witness != witness:
            had = f"witness {cluster.witness}" if cluster.witness else "no witness"
            raise RegionSetupError(
                f"The cluster in {region} was created with {had}, which cannot be changed. "
                "Use that witness, or remove the stack and its cluster first."
            )
    _refuse_strangers(found[first], found[second])
    common = {**(options or {}), "WitnessRegion": witness}
    ours, theirs = ({**common, **(options_of or {}).get(region, {})} for region in regions)

    made = []
    for step, (region, own) in enumerate(((first, ours), (second, theirs)), start=1):
        cluster = found[region]
        if cluster is None:
            say(f"{step}/4 {region}: creating the cluster; it waits for its peer (PENDING_SETUP)")
            cluster = control.deploy(region, own)
        else:
            say(f"{step}/4 {region}: the cluster is there")
        made.append(cluster)
    a, b = made
    pair = {"PairedClusterArns": ",".join(sorted((a.arn, b.arn)))}
    # Deployed even where the pair is one, as the options may be others; else it changes nothing.
    say(f"3/4 {first}: deploying the stack with both clusters, and with backups that are copied to {second}")
    a = control.deploy(first, {**ours, **pair, "CopyToVaultArn": b.vault_arn, "Backups": "all"})
    say(f"4/4 {second}: deploying the stack with both clusters")
    b = control.deploy(second, {**theirs, **pair, "CopyToVaultArn": "", "Backups": "daily"})
    for cluster in (a, b):
        (wait or wait_until_active)(control, cluster, say)
    return a, b


def wait_until_active(
    control: ControlPlane,
    cluster: ClusterStack,
    say: Callable[[str], None],
    *,
    timeout_s: float = 900.0,
    pause_s: float = 5.0,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Wait until a cluster takes connections. Raises RegionSetupError when it fails or takes too long."""
    give_up_at = monotonic() + timeout_s
    last = ""
    while (status := control.status(cluster)) not in _READY:
        if status not in _PASSING:
            raise RegionSetupError(
                f"The cluster in {cluster.region} is {status}. Look at its stack's events."
            )
        if monotonic() > give_up_at:
            raise RegionSetupError(
                f"The cluster in {cluster.region} is still {status} after {timeout_s:.0f} s. Run the command "
                "again: it goes on from here. If it stays, see that each caller may dsql:AddPeerCluster the "
                "other's ARN."
            )
        if status != last:
            say(f"{cluster.region}: {status}")
            last = status
        sleep(pause_s)
    say(f"{cluster.region}: {status} at {cluster.endpoint}")


def _refuse_strangers(a: ClusterStack | None, b: ClusterStack | None) -> None:
    there = {one.arn for one in (a, b) if one is not None}
    for one in (a, b):
        if one is not None and (strangers := one.paired_arns - there):
            raise RegionSetupError(
                f"The cluster in {one.region} names {', '.join(strangers)} as its peer, which is not the "
                "other Region's cluster. Peers cannot be changed: give the Regions that belong together."
            )


class CloudFormation:
    """The control plane of an AWS account: cluster.yaml as a stack in each Region."""

    def __init__(
        self,
        stack_name: str,
        client: Callable[[str, str], Any],
        template: Path = TEMPLATE,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._stack_name = stack_name
        self._client = client
        self._template = template
        self._sleep = sleep

    def find(self, region: str) -> ClusterStack | None:
        """Give the stack with its outputs, once what was begun with it has ended.

        Raises RegionSetupError for one that failed to be created, or is at work for an hour.
        """
        stack = self._settled(region)
        if stack is None:
            return None
        if stack["StackStatus"] in _REMAINS:
            raise RegionSetupError(
                f"Stack {self._stack_name} in {region} is {stack['StackStatus']}. "
                "Delete it and run this again."
            )
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", ())}
        return ClusterStack(
            region=region,
            identifier=outputs["ClusterIdentifier"],
            arn=outputs["ClusterArn"],
            endpoint=outputs["ClusterEndpoint"],
            vault_arn=outputs.get("BackupVaultArn", ""),
            parameters={p["ParameterKey"]: p["ParameterValue"] for p in stack.get("Parameters", ())},
        )

    def deploy(self, region: str, parameters: Mapping[str, str]) -> ClusterStack:
        """Create or update the stack and wait for it. Raises RegionSetupError where that was taken back."""
        from botocore.exceptions import ClientError

        client = self._client("cloudformation", region)
        before = self.find(region)
        body = self._template.read_text(encoding="utf-8")
        known = _parameters_of(body)
        # A stack of an earlier template may have one that this template does not know.
        kept = () if before is None else sorted((set(before.parameters) & known) - set(parameters))
        arguments = {
            "StackName": self._stack_name,
            "TemplateBody": body,
            "Capabilities": ["CAPABILITY_IAM"],
            "Tags": [{"Key": "application", "Value": "rewards"}],  # what the budget goes by
            "Parameters": [
                *({"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()),
                *({"ParameterKey": key, "UsePreviousValue": True} for key in kept),
            ],
        }
        if before is None:
            client.create_stack(**arguments, OnFailure="DELETE")
        else:
            try:
                client.update_stack(**arguments)
            except ClientError as error:
                if "No updates are to be performed" not in str(error):
                    raise
                self._protect(client)
                return before
        stack = self._settled(region)
        if stack is None or stack["StackStatus"] not in _DONE:
            became = stack["StackStatus"] if stack else "deleted again"
            raise RegionSetupError(
                f"Stack {self._stack_name} in {region} is {became}: CloudFormation took the deployment back. "
                "Its events say why (of a deleted stack: under its id). Fix that and run this again."
            )
        self._protect(client)
        deployed = self.find(region)
        assert deployed is not None, "a stack that was just there is there"
        return deployed

    def _protect(self, client: Any) -> None:
        """Protect the stack from deletion: once it is made, as before that its rollback deletes it."""
        client.update_termination_protection(StackName=self._stack_name, EnableTerminationProtection=True)

    def _settled(self, region: str) -> Any:
        """Wait until nothing is under way with the stack; give its description, None without one."""
        from botocore.exceptions import ClientError

        client = self._client("cloudformation", region)
        for _ in range(_STACK_POLLS):
            try:
                stack = client.describe_stacks(StackName=self._stack_name)["Stacks"][0]
            except ClientError as error:
                if "does not exist" in str(error):
                    return None
                raise
            status = stack["StackStatus"]
            if status in _REMAINS or not status.endswith("_IN_PROGRESS"):
                return stack
            self._sleep(_STACK_PAUSE_S)
        raise RegionSetupError(f"Stack {self._stack_name} in {region} is still {status}. Run this again.")

    def status(self, cluster: ClusterStack) -> str:
        """Ask DSQL for the cluster's status."""
        status: str = self._client("dsql", cluster.region).get_cluster(identifier=cluster.identifier)[
            "status"
        ]
        return status


def _parameters_of(template: str) -> set[str]:
    """Give the names of a template's parameters, by its text: what runs here brings no reader of YAML."""
    (section,) = re.findall(r"^Parameters:\n((?:[ #].*\n|\n)*)", template, re.MULTILINE)
    return set(re.findall(r"^  (\w+):$", section, re.MULTILINE))
