"""`rewards region ...` on the command line; operations/regions.py does it."""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from typing import Any

import boto3

from local_dsql.arguments import region_name, whole_number
from operations.invite import EMAIL
from operations.regions import (
    CloudFormation,
    ClusterStack,
    ControlPlane,
    RegionSetupError,
    set_up_one,
    set_up_pair,
)

#: Parameters of cluster.yaml that a person may choose; the others follow from the Regions.
_OPTIONS = {
    "alarm_email": "AlarmEmail",
    "daily_backups_days": "DailyBackupsDays",
    "weekly_backups_days": "WeeklyBackupsDays",
    "monthly_backups_days": "MonthlyBackupsDays",
    "api_logs_setting": "ApiLogsSetting",
    "deletion_protection": "DeletionProtection",
}

#: As cluster.yaml has it.
_LONGEST_BACKUPS_DAYS = 3650

_KEY_HELP = "a KMS key of your own, of that Region (default: AWS's)"


def add_region_commands(groups: Any) -> None:
    """Add `region single` and `region pair` to the parser's groups."""
    text = "Set up the database of one Region, or of two that write to each other's."
    kinds = groups.add_parser("region", help=text, description=text).add_subparsers(
        dest="what", required=True, metavar="COMMAND"
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--cluster-stack", default="rewards-cluster", help="the stacks' name (default: %(default)s)"
    )
    common.add_argument("--profile", help="your AWS profile (default: the environment's)")
    common.add_argument(
        "--alarm-email", type=_email, help="who hears that backups stay away (default: nobody)"
    )
    for tier, days in (("daily", 7), ("weekly", 35), ("monthly", 365)):
        common.add_argument(
            f"--{tier}-backups-days",
            type=whole_number(1, _LONGEST_BACKUPS_DAYS),
            metavar="DAYS",
            help=f"how long {tier} backups are kept (default: {days})",
        )
    common.add_argument(
        "--api-logs-setting",
        choices=["true", "false"],
        help="false where something else sets the role by which API Gateway writes logs in that Region",
    )
    common.add_argument(
        "--deletion-protection", choices=["true", "false"], help="false for clusters to throw away"
    )
    common.add_argument("--json", action="store_true", help="write JSON")
    text = "Set up a cluster for one Region. Run again, it brings the stack up to date."
    single = kinds.add_parser("single", help=text, description=text, parents=[common])
    single.add_argument("--region", type=region_name, required=True, help="where")
    single.add_argument("--kms-key-arn", type=_key_arn, action="append", dest="keys", help=_KEY_HELP)
    single.set_defaults(set_up=_single)
    text = "Set up two peered clusters and their witness, or go on where an earlier run stopped."
    pair = kinds.add_parser("pair", help=text, description=text, parents=[common])
    pair.add_argument(
        "--region",
        type=region_name,
        action="append",
        required=True,
        dest="regions",
        help="one of the two (give it twice)",
    )
    pair.add_argument(
        "--witness", type=region_name, required=True, help="the third Region, which stores no data"
    )
    pair.add_argument(
        "--kms-key-arn", type=_key_arn, action="append", dest="keys", help=f"{_KEY_HELP}; once a Region"
    )
    pair.set_defaults(set_up=_pair)


def run(options: argparse.Namespace, control: ControlPlane | None = None) -> int:
    """Run a parsed `region` command; give the exit status. Raises RegionSetupError and botocore's errors."""
    if control is None:
        session = boto3.Session(profile_name=options.profile)

        def client(service: str, region: str) -> Any:
            return session.client(service, region_name=region)  # type: ignore[call-overload]  # by its name

        control = CloudFormation(options.cluster_stack, client)
    given = vars(options)
    chosen = {name: str(given[option]) for option, name in _OPTIONS.items() if given.get(option)}
    clusters = options.set_up(control, options, chosen)
    found = [
        {"region": one.region, "identifier": one.identifier, "arn": one.arn, "endpoint": one.endpoint}
        for one in clusters
    ]
    if options.json:
        print(json.dumps({"clusters": found}, indent=2))
    else:
        for one in clusters:
            print(f"{one.region}: {one.arn}")
        print("Next: docs/deploy.md, the application stack in each Region.")
    return 0


def _email(text: str) -> str:
    if EMAIL.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no e-mail address of up to 50 plain characters")
    return text


def _key_arn(text: str) -> str:
    if re.fullmatch(r"arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]{1,64}", text) is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not the ARN of a KMS key: one ends with key/ and its id"
        )
    return text


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _single(control: ControlPlane, options: argparse.Namespace, chosen: dict[str, str]) -> list[ClusterStack]:
    keys = _keys(options.keys, [options.region])
    return [set_up_one(control, options.region, _say, options={**chosen, **keys.get(options.region, {})})]


def _pair(control: CloudFormation, options: argparse.Namespace, chosen: dict[str, str]) -> list[ClusterStack]:
    if len(options.regions) != 2:
        raise RegionSetupError("Give --region twice: the two Regions that get a cluster.")
    first, second = options.regions
    keys = _keys(options.keys, options.regions)
    return list(set_up_pair(control, (first, second), options.witness, _say, options=chosen, options_of=keys))


def _keys(arns: Sequence[str] | None, regions: Sequence[str]) -> dict[str, dict[str, str]]:
    """Give the parameters of the Regions that the keys' ARNs name. Raises RegionSetupError."""
    found = {}
    for arn in arns or ():
        region = (arn.split(":") + [""] * 4)[3]
        if region not in regions or region in found:
            raise RegionSetupError(f"{arn} is no key of its own for one of {', '.join(regions)}.")
        found[region] = {"KmsKeyArn": arn}
    return found
