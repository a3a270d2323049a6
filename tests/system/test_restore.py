"""How docs/deploy.md closes the shop before a restore, and opens it again: its lines as they stand there.

The AWS CLI is no part of this project: what it would send is made of its words by AWS's own models.
"""

import json
import re
import shlex
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import jmespath  # type: ignore[import-untyped]  # it has no types
from botocore import xform_name

from local.emulator import NO_CERTIFICATES
from local.region import LocalRegion
from sql.connection import Connection
from tests.documents import ROOT, blocks, commands
from tests.integration.shop import Shop
from tools.template import template

DEPLOY = ROOT / "docs" / "deploy.md"


def aws(region: LocalRegion, command: str, variables: dict[str, str], folder: Path) -> Any:
    """Do what a line of `aws` says; `folder` stands for `.local`."""
    line, _, written = command.partition(" > ")
    for name, value in variables.items():
        line = line.replace(f"${name}", value)
    _, service, operation, *words = shlex.split(line)
    client = region.client(service)
    names = {xform_name(each, "-"): each for each in client.meta.service_model.operation_names}
    shape = client.meta.service_model.operation_model(names[operation]).input_shape
    members = {f"--{xform_name(name, '-')}": (name, member) for name, member in shape.members.items()}
    given: dict[str, Any] = {}
    query = None
    flags = [number for number, word in enumerate(words) if word.startswith("--")]
    for start, end in zip(flags, [*flags[1:], len(words)], strict=True):
        flag, values = words[start], words[start + 1 : end]
        if flag == "--query":
            query = values[0]
        elif flag == "--cli-input-json":
            given = {**json.loads((folder / Path(values[0]).name).read_text()), **given}
        elif flag != "--output":
            name, member = members[flag]
            given[name] = (
                [dict(part.split("=", 1) for part in value.split(",")) for value in values]
                if member.type_name == "list"
                else values[0]
            )
    answer = getattr(client, xform_name(names[operation]))(**given)
    found = answer if query is None else jmespath.search(query, answer)
    if written:
        (folder / Path(written).name).write_text(json.dumps(found))
    return found


def lines(heading: str) -> list[str]:
    """Give the commands below a heading of the page."""
    section = DEPLOY.read_text("utf-8").split(f"\n### {heading}\n", 1)[1].split("\n#", 1)[0]
    return [
        command
        for block in blocks(DEPLOY)
        if block.language == "sh" and block.text in section
        for command in commands(block)
    ]


def test_the_shop_is_closed_and_opened_by_the_pages_lines(region: LocalRegion, tmp_path: Path) -> None:
    variables = {"API_ID": region.outputs["ApiId"]}
    username = f"closing_{uuid4().hex[:8]}"
    with Connection.connect(region.conninfo(), autocommit=True) as connection:
        customer_id = Shop(connection).customer(username=username)
    region.enrol([{"username": username, "email": "closing@example.com", "customer_id": str(customer_id)}])
    headers = {"Authorization": region.sign_in(username)}

    def status(method: str, path: str) -> int:
        filled = re.sub(r"\{\w+\}", "7d3e0b0e-53d7-4a0c-a7c3-0f6a50b8b1d4", path)
        url = f"{region.api_url}{filled}"
        return httpx.request(
            method, url, headers=headers, timeout=30, trust_env=False, verify=NO_CERTIFICATES
        ).status_code

    def limits() -> Any:
        stage = region.client("apigateway").get_stage(restApiId=variables["API_ID"], stageName="v1")
        settings = stage["methodSettings"]
        # A patch names the same method without the escapes that the template has; what was patched counts.
        newest_last = sorted(settings, key=lambda name: "~1" not in name)
        return {
            name.replace("~1", "/").lstrip("/"): (
                settings[name]["throttlingRateLimit"],
                settings[name]["throttlingBurstLimit"],
            )
            for name in newest_last
        }

    def schedule() -> Any:
        return region.client("scheduler").get_schedule(Name=variables["RELAY_SCHEDULE"])

    before = limits()
    assert status("GET", "/health") == 200

    keep, close, listed, keep_schedule, disable = lines("1. Close the shop")
    opened, enable = lines("6. Open")
    aws(region, keep, variables, tmp_path)
    aws(region, close, variables, tmp_path)
    (variables["RELAY_SCHEDULE"],) = aws(region, listed, variables, tmp_path)
    was = schedule()
    aws(region, keep_schedule, variables, tmp_path)
    aws(region, disable, variables, tmp_path)
    try:
        settings = template()["Resources"]["Api"]["Properties"]["MethodSettings"]
        own = [(each["HttpMethod"], each["ResourcePath"].replace("~1", "/")) for each in settings[1:]]
        assert {status(method, path[1:]) for method, path in own} == {429}
        assert status("GET", "/catalog") == 429
        assert set(limits().values()) == {(0, 0)}
        assert schedule()["State"] == "DISABLED"
    finally:
        aws(region, opened, variables, tmp_path)
        aws(region, enable, variables, tmp_path)
    assert limits() == before
    kept = ("Target", "ScheduleExpression", "FlexibleTimeWindow", "State")
    assert {name: schedule()[name] for name in kept} == {name: was[name] for name in kept}
    assert status("GET", "/health") == 200
