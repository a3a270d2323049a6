"""Scheduled: deletes the users and pictures of this Region that erasures and retirements left to it."""

from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.metrics import MetricUnit

from handlers.edge.jobs import PartsFailedError, clock
from handlers.edge.observability import guarded, logger, metrics
from handlers.edge.settings import DatabaseEnvironment, NonEmpty
from sql.transactions.clean_region import Cleanup, CleanupKind, clean, enter, waiting_cleanups

if TYPE_CHECKING:
    from mypy_boto3_cognito_idp import CognitoIdentityProviderClient
    from mypy_boto3_s3 import S3Client


class _Environment(DatabaseEnvironment):
    user_pool_id: NonEmpty
    pictures_bucket: NonEmpty


_ENVIRONMENT = _Environment.read()
_DATABASE = _ENVIRONMENT.database()


@cache
def _users() -> "CognitoIdentityProviderClient":
    import boto3  # not before there is somebody to delete
    from botocore.config import Config

    return boto3.client("cognito-idp", config=Config(connect_timeout=2, read_timeout=5))


@cache
def _objects() -> "S3Client":
    import boto3  # not before there is something to delete
    from botocore.config import Config

    return boto3.client("s3", config=Config(connect_timeout=2, read_timeout=5))


def _delete(cleanup: Cleanup) -> None:
    """Delete the picture's object, or the pool's user of that name if it is this customer's."""
    if cleanup.kind is CleanupKind.PICTURE:
        _objects().delete_object(Bucket=_ENVIRONMENT.pictures_bucket, Key=cleanup.name)
        return
    users, pool = _users(), _ENVIRONMENT.user_pool_id
    with suppress(users.exceptions.UserNotFoundException):
        user = users.admin_get_user(UserPoolId=pool, Username=cleanup.name)
        attributes = {one["Name"]: one.get("Value") for one in user["UserAttributes"]}
        # Usernames are unique in the pool and not in the table: a namesake keeps their sign-in.
        if attributes.get("custom:customer_id") == str(cleanup.subject_id):
            users.admin_delete_user(UserPoolId=pool, Username=cleanup.name)


@guarded
def handler(_event: dict[str, Any], context: Any) -> dict[str, int]:
    """Delete what waits until the time is nearly up, each whatever becomes of the others."""
    time_is_up = clock(context)
    region = _ENVIRONMENT.region
    enter(_DATABASE, region)
    deleted = failed = 0
    for cleanup in waiting_cleanups(_DATABASE, region):
        if time_is_up():
            break
        try:
            clean(_DATABASE, region, cleanup, _delete)
            deleted += 1
        except Exception:
            logger.exception(
                "not deleted", extra={"kind": cleanup.kind, "subject_id": str(cleanup.subject_id)}
            )
            failed += 1
    metrics().add_metric("RegionCleanups", MetricUnit.Count, deleted)
    metrics().flush_metrics()
    if failed:
        raise PartsFailedError(f"{failed} of {deleted + failed} could not be deleted")
    return {"deleted": deleted}
