"""The deployment's own step: a CloudFormation custom resource that publishes the shop's pages.

The files are in this function's artifact, `web/` as it is in the repository. With them goes `config.json`,
which says where the shop's Regions answer: the template knows that, a file in the repository cannot. What the
bucket holds beyond them is deleted, and everything when the resource is.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, Field

from domain.contract import Contract
from handlers.edge.custom_resource import LambdaContext, ResourceResponse
from handlers.edge.observability import logger

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

FILES = Path(__file__).resolve().parent.parent / "web"
CONFIG = "config.json"

#: By suffix. A file of another kind is not published: the deployment fails and names it.
CONTENT_TYPES = {
    "": "text/plain; charset=utf-8",  # LICENSE
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}

#: Kept by nobody without asking: a deployment's files are seen together, whatever their names.
_CACHE_CONTROL = "no-cache"


@cache
def _s3() -> "S3Client":
    import boto3  # at the first request: a start that fails answers nobody

    return boto3.client("s3")


class PagesRegion(Contract):
    """Where a Region's shop answers, as the template says it and as the pages read it (web/regions.js)."""

    name: str = Field(alias="Name")
    api: str = Field(alias="Api")
    sign_in: str = Field(alias="SignIn")
    user_pool_id: str = Field(alias="UserPoolId")
    client_id: str = Field(alias="ClientId")


class PagesUsers(Contract):
    """The sample users that the pages offer to sign in as, in a shop to try out."""

    usernames: list[str] = Field(alias="Usernames")
    password: str = Field(alias="Password")


class PagesProperties(Contract):
    """The custom resource's properties that matter here, among those of CloudFormation's own."""

    model_config = ConfigDict(extra="ignore")

    bucket: str = Field(alias="Bucket", min_length=1)
    regions: list[PagesRegion] = Field(alias="Regions", min_length=1)
    demo: PagesUsers | None = Field(None, alias="DemoUsers")


def publish(properties: PagesProperties) -> int:
    """Write every file, then delete what is left of former ones; give how many were written."""
    bucket = properties.bucket
    files = {
        path.relative_to(FILES).as_posix(): path.read_bytes() for path in FILES.rglob("*") if path.is_file()
    }
    files[CONFIG] = properties.model_dump_json(exclude={"bucket"}, indent=1).encode()
    types = {name: CONTENT_TYPES[Path(name).suffix] for name in files}
    # Pages last: whoever loads one finds what it names.
    for name in sorted(files, key=lambda name: (name.endswith(".html"), name)):
        write(_s3(), bucket, name, files[name], types[name])
    _delete(bucket, _keys(bucket) - files.keys())
    return len(files)


def write(client: "S3Client", bucket: str, name: str, content: bytes, content_type: str) -> None:
    """Write one file as browsers get it."""
    client.put_object(
        Bucket=bucket, Key=name, Body=content, ContentType=content_type, CacheControl=_CACHE_CONTROL
    )


def _keys(bucket: str) -> set[str]:
    pages = _s3().get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return {entry["Key"] for page in pages for entry in page.get("Contents", ())}


def _delete(bucket: str, keys: set[str]) -> None:
    for key in sorted(keys):
        _s3().delete_object(Bucket=bucket, Key=key)


def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Serve one custom resource request; the outcome goes to its ResponseURL.

    The resource bears its bucket's name: with another bucket it is another one, and the former is deleted.
    """
    properties = event.get("ResourceProperties", {})
    # A deletion has to succeed whatever the other properties were.
    bucket = str(properties.get("Bucket", ""))
    deletion = event["RequestType"] == "Delete"
    answer = ResourceResponse(event if deletion else {**event, "PhysicalResourceId": bucket}, bucket)
    clock = answer.fail_in_time(context, "Writing the pages did not end within the function's time.")
    try:
        if deletion:
            _delete(bucket, _keys(bucket))
            answer.succeed()
        else:
            written = publish(PagesProperties.model_validate(properties))
            logger.info("pages published", extra={"files": written})
            answer.succeed({"Files": str(written)})
    except Exception as error:
        logger.exception("pages not published")
        answer.fail(f"{type(error).__name__}: {error}")
    finally:
        clock.cancel()
