"""What the emulator's import of an API leaves out: the gateway's own answers and CORS preflight answers.

Both stand in template.yaml and are put in by API calls after the deployment, as they stand there.
"""

from collections.abc import Mapping
from typing import Any


def complete_gateway(
    client: Any, api_id: str, document: Mapping[str, Any], parameters: dict[str, str]
) -> None:
    """Give a deployed API what a template says of its resource "Api". `client` is boto3's for apigateway."""
    defaults = {name: str(one.get("Default", "")) for name, one in document["Parameters"].items()}
    values = {**defaults, **parameters}
    api = document["Resources"]["Api"]["Properties"]
    for kind, answer in api.get("GatewayResponses", {}).items():
        client.put_gateway_response(
            restApiId=api_id,
            responseType=kind,
            # Without one it keeps its own.
            **({"statusCode": str(answer["StatusCode"])} if "StatusCode" in answer else {}),
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


def _fill(said: str | dict[str, str], values: dict[str, str]) -> str:
    text = said["Fn::Sub"] if isinstance(said, dict) else said
    for name, value in values.items():
        text = text.replace("${" + name + "}", value)
    return text
