"""Print the environment of a running local Region's functions, for `sam local invoke --env-vars`.

python -m local.invoke_env [--port PORT] > .local/env.local.json
"""

import argparse
import json
import os
from typing import Any

import boto3
from botocore.config import Config

from local.emulator import CREDENTIALS
from local.region import STACK_NAME
from local_dsql.console import run_command
from local_dsql.ports import HOST

#: The `aud` of the tokens in events/samples/.
SAMPLE_CLIENT = "sampleclient"


def environments(stacks: Any, functions: Any, endpoint_url: str) -> dict[str, dict[str, str]]:
    """Give each deployed function's variables by its logical id, with the way to the Region's AWS APIs.

    `stacks` and `functions` are boto3's clients of CloudFormation and Lambda.
    """
    found = {}
    for page in stacks.get_paginator("list_stack_resources").paginate(StackName=STACK_NAME):
        for resource in page["StackResourceSummaries"]:
            if resource["ResourceType"] != "AWS::Lambda::Function":
                continue
            answer = functions.get_function_configuration(FunctionName=resource["PhysicalResourceId"])
            variables: dict[str, str] = answer.get("Environment", {}).get("Variables", {})
            found[resource["LogicalResourceId"]] = {
                **variables,
                "AWS_ENDPOINT_URL": endpoint_url,
                **CREDENTIALS,
                # The samples' tokens are made for this app client, whose name a real pool chooses.
                "USER_POOL_CLIENT_ID": SAMPLE_CLIENT,
            }
    return found


def main() -> None:
    """Print them as JSON."""
    parser = argparse.ArgumentParser(prog="python -m local.invoke_env", description=__doc__)
    parser.add_argument(
        "--port",
        type=int,
        required="LOCAL_PORT" not in os.environ,
        default=os.environ.get("LOCAL_PORT"),
        help="where the Region's AWS APIs answer, as `make up` printed it (default: $LOCAL_PORT)",
    )
    parser.add_argument("--region", default="us-east-1")
    options = parser.parse_args()
    endpoint_url = f"http://{HOST}:{options.port}"
    session = boto3.Session(
        CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"], region_name=options.region
    )
    config = Config(proxies={})
    stacks = session.client("cloudformation", endpoint_url=endpoint_url, config=config)
    functions = session.client("lambda", endpoint_url=endpoint_url, config=config)
    print(json.dumps(environments(stacks, functions, endpoint_url), indent=2))


if __name__ == "__main__":
    run_command(main)
