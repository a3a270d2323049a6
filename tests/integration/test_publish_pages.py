"""The deployment's publishing of the pages, called as CloudFormation calls it, into an S3 that is moto's."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from handlers import publish_pages
from tests.integration.cloudformation import CloudFormation, Context, listening

BUCKET = "pages"
REGION = {
    "Name": "us-east-1",
    "Api": "https://a.example.com/v1",
    "SignIn": "https://cognito.example.com/",
    "UserPoolId": "us-east-1_pool",
    "ClientId": "client",
}


@pytest.fixture
def cloudformation() -> Iterator[CloudFormation]:
    with listening() as server:
        yield server


@pytest.fixture
def s3() -> Iterator[Any]:
    publish_pages._s3.cache_clear()
    with mock_aws():
        client = boto3.client("s3", "us-east-1")
        client.create_bucket(Bucket=BUCKET)
        yield client
    publish_pages._s3.cache_clear()


def keys(s3: Any) -> set[str]:
    return {entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET).get("Contents", ())}


def test_a_deployment_writes_every_file_with_its_type_and_says_how_many(
    cloudformation: CloudFormation, s3: Any
) -> None:
    publish_pages.handler(cloudformation.request("Create", Bucket=BUCKET, Regions=[REGION]), Context())
    files = {path.relative_to(publish_pages.FILES).as_posix() for path in publish_pages.FILES.rglob("*.*")}
    (answer,) = cloudformation.answers
    assert (answer["Status"], answer["PhysicalResourceId"]) == ("SUCCESS", BUCKET)
    assert keys(s3) == {*files, "config.json", "vendor/lit-html/LICENSE"}
    assert answer["Data"] == {"Files": str(len(keys(s3)))}
    page = s3.get_object(Bucket=BUCKET, Key="index.html")
    assert (page["ContentType"], page["CacheControl"]) == ("text/html; charset=utf-8", "no-cache")
    assert s3.get_object(Bucket=BUCKET, Key="shop.js")["ContentType"].startswith("text/javascript")


def test_config_json_says_where_the_regions_answer_and_offers_sample_users_where_there_are_any(
    cloudformation: CloudFormation, s3: Any
) -> None:
    users = {"Usernames": ["ana", "ben"], "Password": "Shop-Points-2026"}
    other = {**REGION, "Name": "us-east-2"}
    publish_pages.handler(
        cloudformation.request("Create", Bucket=BUCKET, Regions=[REGION, other], DemoUsers=users), Context()
    )
    config = json.loads(s3.get_object(Bucket=BUCKET, Key="config.json")["Body"].read())
    assert [one["name"] for one in config["regions"]] == ["us-east-1", "us-east-2"]
    assert config["regions"][0] == {
        "name": "us-east-1",
        "api": "https://a.example.com/v1",
        "sign_in": "https://cognito.example.com/",
        "user_pool_id": "us-east-1_pool",
        "client_id": "client",
    }
    assert config["demo"] == {"usernames": ["ana", "ben"], "password": "Shop-Points-2026"}
    publish_pages.handler(cloudformation.request("Update", Bucket=BUCKET, Regions=[REGION]), Context())
    assert json.loads(s3.get_object(Bucket=BUCKET, Key="config.json")["Body"].read())["demo"] is None


def test_an_update_takes_away_what_is_no_longer_there_and_a_deletion_everything(
    cloudformation: CloudFormation, s3: Any
) -> None:
    s3.put_object(Bucket=BUCKET, Key="former.js", Body=b"")
    publish_pages.handler(cloudformation.request("Update", Bucket=BUCKET, Regions=[REGION]), Context())
    assert "former.js" not in keys(s3)
    assert "shop.js" in keys(s3)
    publish_pages.handler(cloudformation.request("Delete", Bucket=BUCKET, Regions=[REGION]), Context())
    assert keys(s3) == set()
    assert [answer["Status"] for answer in cloudformation.answers] == ["SUCCESS", "SUCCESS"]


def test_another_bucket_is_another_resource_so_that_the_former_is_emptied(
    cloudformation: CloudFormation, s3: Any
) -> None:
    publish_pages.handler(cloudformation.request("Update", Bucket=BUCKET, Regions=[REGION]), Context())
    assert cloudformation.answers[0]["PhysicalResourceId"] == BUCKET != "an-earlier-id"


def test_a_file_of_a_kind_without_a_type_fails_the_deployment_and_is_named(
    cloudformation: CloudFormation, s3: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "film.webm").write_bytes(b"")
    monkeypatch.setattr(publish_pages, "FILES", tmp_path)
    publish_pages.handler(cloudformation.request("Create", Bucket=BUCKET, Regions=[REGION]), Context())
    (answer,) = cloudformation.answers
    assert answer["Status"] == "FAILED"
    assert ".webm" in answer["Reason"]
    assert keys(s3) == set()


def test_a_bucket_that_is_not_there_fails_the_deployment(cloudformation: CloudFormation, s3: Any) -> None:
    publish_pages.handler(cloudformation.request("Create", Bucket="none", Regions=[REGION]), Context())
    assert cloudformation.answers[0]["Status"] == "FAILED"
    assert "NoSuchBucket" in cloudformation.answers[0]["Reason"]


def test_properties_that_the_pages_could_not_use_fail_the_deployment_and_are_named(
    cloudformation: CloudFormation, s3: Any
) -> None:
    wrong = {**REGION, "Api": 1, "Web": "x"}
    del wrong["ClientId"]
    publish_pages.handler(cloudformation.request("Create", Bucket=BUCKET, Regions=[wrong]), Context())
    (answer,) = cloudformation.answers
    assert answer["Status"] == "FAILED"
    assert all(f"Regions.0.{name}" in answer["Reason"] for name in ("Api", "Web", "ClientId"))
    assert keys(s3) == set()
    publish_pages.handler(cloudformation.request("Delete", Bucket=BUCKET, Regions=[wrong]), Context())
    assert cloudformation.answers[1]["Status"] == "SUCCESS"
