"""Serves the API's reference in a local Region: as objects of the emulator's S3, which asks for no token."""

import json

from api.__main__ import DOCUMENT
from api.page import page
from local.region import LocalRegion

_BUCKET = "reference"


def publish(region: LocalRegion) -> str:
    """Put the OpenAPI document and its page into the Region; give the page's URL."""
    client = region.client("s3")
    client.create_bucket(Bucket=_BUCKET)
    text = DOCUMENT.read_text(encoding="utf-8")
    client.put_object(Bucket=_BUCKET, Key="openapi.json", Body=text.encode(), ContentType="application/json")
    html = page(json.loads(text)).encode()
    client.put_object(Bucket=_BUCKET, Key="index.html", Body=html, ContentType="text/html; charset=utf-8")
    return f"{region.endpoint_url}/{_BUCKET}/index.html"
