"""What the emulator's import of an API leaves out: the gateway's own answers and CORS preflight answers.

Both stand in template.yaml and are put in by API calls after the deployment, as they stand there.
"""

from pathlib import Path
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """Reads a template; of CloudFormation's short functions, Sub keeps its text."""


def _short_function(loader: _Loader, suffix: str, node: yaml.Node) -> Any:
    return loader.construct_scalar(node) if suffix == "Sub" and isinstance(node, yaml.ScalarNode) else None


_Loader.add_multi_constructor("!", _short_function)


def complete_gateway(client: Any, api_id: str, template: Path, parameters: dict[str, str]) -> None:
    """Give a deployed API what `template` says of its resource "Api". `client` is boto3's for apigateway."""
    document = yaml.load(template.read_text(), _Loader)  # noqa: S506  # a SafeLoader
    defaults = {name: str(one.get("Default", "")) for name, one in document["Parameters"].items()}
    values = {**defaults, **parameters}
    api = document["Resources"]["Api"]["Properties"]
    for kind, answer in api.get("GatewayResponses", {}).items():
        client.put_gateway_response(
            restApiId=api_id,
            responseType=kind,
            statusCode=str(answer["StatusCode"]),
            responseParameters={
                f"gatewayresponse.header.{name}": _fill(text, values)
                for name, text in answer["ResponseParameters"]["Headers"].items()
            },
            responseTemplates=answer["ResponseTemplates"],
        )
    preflight = {
        f"method.response.header.Access-Control-{header}": _fill(api["Cors"][name], values)
        for name, header in (
            ("AllowOrigin", "Allow-Origin"),
            ("AllowMethods", "Allow-Methods"),
            ("AllowHeaders", "Allow-Headers"),
            ("MaxAge", "Max-Age"),
        )
    }
    for resource in client.get_resources(restApiId=api_id, limit=500)["items"]:
        if "OPTIONS" in resource.get("resourceMethods", {}):
            place = {"restApiId": api_id, "resourceId": resource["id"], "httpMethod": "OPTIONS"}
            place["statusCode"] = "200"
            client.put_method_response(**place, responseParameters=dict.fromkeys(preflight, False))
            client.put_integration_response(**place, responseParameters=preflight)
    client.create_deployment(restApiId=api_id, stageName=api["StageName"])


def _fill(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace("${" + name + "}", value)
    return text
