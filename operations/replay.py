"""Replay: events of a time range from the bus's archive, once more to one consumer."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from operations.site import Site, SiteError

_POLL_S = 2.0
_ENDED = ("COMPLETED", "CANCELLED", "FAILED")


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """A replay that could be started."""

    consumer: str
    archive: str
    archive_arn: str
    bus_arn: str
    rule_arn: str
    since: datetime
    until: datetime

    def summary(self) -> dict[str, Any]:
        """Give what a person wants to see of it."""
        return {
            "consumer": self.consumer,
            "rule": self.rule_arn.rpartition("/")[2],
            "archive": self.archive,
            "since": self.since,
            "until": self.until,
        }


def plan(site: Site, consumer: str, since: datetime, until: datetime) -> ReplayPlan:
    """Find the archive of the bus and the rule that feeds the consumer's queue. Raises SiteError."""
    if since >= until:
        raise SiteError("--since is not before --until; give an earlier moment.")
    if until > datetime.now(UTC):
        raise SiteError("--until lies in the future; leave it out to replay up to now.")
    source_url = site.dead_letter_queue(consumer).source_url
    if source_url is None:
        raise SiteError(f"{consumer} is no consumer; its queue holds what could not be delivered to one.")
    events = site.client("events")
    bus = site.outputs["EventBusName"]
    bus_arn = events.describe_event_bus(Name=bus)["Arn"]
    archives = [
        archive
        for archive in _all(events.list_archives, "Archives", EventSourceArn=bus_arn)
        if archive["EventSourceArn"] == bus_arn
    ]
    if not archives:
        raise SiteError(f"The bus {bus} has no archive. Deploy with EventArchiveDays above 0.")
    name = archives[0]["ArchiveName"]
    queue = source_url.rpartition("/")[2]
    for rule in _all(events.list_rules, "Rules", EventBusName=bus):
        targets = _all(events.list_targets_by_rule, "Targets", Rule=rule["Name"], EventBusName=bus)
        if any(target["Arn"].rpartition(":")[2] == queue for target in targets):
            arn = events.describe_archive(ArchiveName=name)["ArchiveArn"]
            return ReplayPlan(consumer, name, arn, bus_arn, rule["Arn"], since, until)
    raise SiteError(f"No rule of the bus {bus} feeds {consumer}; nothing could be replayed to it.")


def _all(ask: Callable[..., Any], name: str, **parameters: str) -> Iterator[dict[str, Any]]:
    """Give everything of a list that EventBridge gives page by page; boto3 pages not all of them itself."""
    page = ask(**parameters)
    yield from page[name]
    while token := page.get("NextToken"):
        page = ask(**parameters, NextToken=token)
        yield from page[name]


def start(site: Site, planned: ReplayPlan) -> str:
    """Start the replay; give its name."""
    name = f"{planned.consumer}-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    site.client("events").start_replay(
        ReplayName=name,
        EventSourceArn=planned.archive_arn,
        EventStartTime=planned.since,
        EventEndTime=planned.until,
        Destination={"Arn": planned.bus_arn, "FilterArns": [planned.rule_arn]},
    )
    return name


def wait(
    site: Site,
    name: str,
    progress: Callable[[dict[str, Any]], None],
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Wait for a replay's end; give its last state. Interrupted, the replay goes on by itself."""
    events = site.client("events")
    while True:
        replay = events.describe_replay(ReplayName=name)
        progress(replay)
        if replay["State"] in _ENDED:
            return str(replay["State"])
        sleep(_POLL_S)
