"""Scheduled: deletes the users and pictures of this Region that erasures and retirements left to it.

What proves that somebody has no user? Not that the pool has none of that name, nor that the one of that name
is a namesake's: the user may be called otherwise. So whoever is not found by name is looked for by id, in one
pass over the pool for all of them. Whatever cannot be told stays and comes again.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from aws_lambda_powertools.metrics import MetricUnit

from domain.usernames import one_form
from handlers.edge.jobs import PartsFailedError, clock
from handlers.edge.observability import guarded, logger, metrics
from handlers.edge.settings import DatabaseEnvironment, NonEmpty
from handlers.edge.user_pool import OWNER, attributes_of, owner_of, users
from sql.transactions.clean_region import Cleanup, CleanupKind, clean, enter, waiting_cleanups

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class _Environment(DatabaseEnvironment):
    user_pool_id: NonEmpty
    pictures_bucket: NonEmpty


_ENVIRONMENT = _Environment.read()
_DATABASE = _ENVIRONMENT.database()


class UnclearOwnerError(Exception):
    """A user of an erased customer's name names no customer: whose it is has to be told by a person."""


class NotUnderThatNameError(Exception):
    """The customer has no user of that name, which does not say that they have none."""


class _Run(NamedTuple):
    """What a run did: deletions, those that failed, and users that were not found by their name."""

    deleted: int
    failed: int
    not_found: list[Cleanup]


@cache
def _objects() -> "S3Client":
    import boto3  # not before there is something to delete
    from botocore.config import Config

    return boto3.client("s3", config=Config(connect_timeout=2, read_timeout=5))


def _delete_picture(cleanup: Cleanup) -> None:
    """Delete a picture's object. S3 answers alike where there is none, and nothing keeps older versions."""
    _objects().delete_object(Bucket=_ENVIRONMENT.pictures_bucket, Key=cleanup.name)


def _delete_by_name(cleanup: Cleanup) -> None:
    """Delete the customer's user. Raises NotUnderThatNameError and UnclearOwnerError."""
    pool, deleted = _ENVIRONMENT.user_pool_id, False
    # As it is stored, too: the pool may hold users that others made.
    for username in {one_form(cleanup.name): None, cleanup.name: None}:
        try:
            user = users().admin_get_user(UserPoolId=pool, Username=username)
        except users().exceptions.UserNotFoundException:
            continue
        attributes = attributes_of(user["UserAttributes"])
        owner = owner_of(attributes)
        # guard: a user of the name who names nobody is not taken for somebody else's
        if owner is None:
            raise UnclearOwnerError(OWNER)
        # Usernames are unique in the pool and not in the table.
        # guard: a namesake keeps their sign-in
        if owner == cleanup.subject_id:
            users().admin_delete_user(UserPoolId=pool, Username=user["Username"])
            deleted = True
    # guard: not found by name is not deleted
    if not deleted:
        raise NotUnderThatNameError


def _users_of_pool() -> Iterator[tuple[str, UUID | None]]:
    """Give every user of the pool with the customer whose it is."""
    for page in users().get_paginator("list_users").paginate(UserPoolId=_ENVIRONMENT.user_pool_id):
        for user in page["Users"]:
            yield user["Username"], owner_of(attributes_of(user.get("Attributes", ())))


def _usernames(wanted: set[UUID], time_is_up: Callable[[], bool]) -> dict[UUID, list[str]] | None:
    """Look the whole pool through for customers' users; None where the time did not suffice for it."""
    found: dict[UUID, list[str]] = {customer_id: [] for customer_id in wanted}
    for username, owner in _users_of_pool():
        # guard: a pool that was looked through in part proves nothing
        if time_is_up():
            return None
        if owner in found:
            found[owner].append(username)
    return found


@guarded
def handler(_event: dict[str, Any], context: Any) -> dict[str, int]:
    """Delete what waits until the time is nearly up, each whatever becomes of the others."""
    time_is_up = clock(context)
    enter(_DATABASE, _ENVIRONMENT.region)
    named = _work_off(waiting_cleanups(_DATABASE, _ENVIRONMENT.region), _delete, time_is_up)
    others = _delete_by_id(named.not_found, time_is_up)
    deleted, failed = named.deleted + others.deleted, named.failed + others.failed
    metrics().add_metric("RegionCleanups", MetricUnit.Count, deleted)
    metrics().flush_metrics()
    if failed:
        raise PartsFailedError(f"{failed} of {deleted + failed} could not be deleted")
    return {"deleted": deleted}


def _delete(cleanup: Cleanup) -> None:
    if cleanup.kind is CleanupKind.PICTURE:
        _delete_picture(cleanup)
    else:
        _delete_by_name(cleanup)


def _delete_by_id(cleanups: list[Cleanup], time_is_up: Callable[[], bool]) -> _Run:
    """Delete the users of customers who have none under their name; who has none at all is done, too."""
    usernames = _usernames({one.subject_id for one in cleanups}, time_is_up) if cleanups else {}
    if usernames is None:
        logger.error("the pool was not looked through in time: whether users are left is not known")
        return _Run(0, len(cleanups), [])

    def delete(cleanup: Cleanup) -> None:
        for username in usernames[cleanup.subject_id]:
            users().admin_delete_user(UserPoolId=_ENVIRONMENT.user_pool_id, Username=username)

    return _work_off(cleanups, delete, time_is_up)


def _work_off(
    cleanups: Iterable[Cleanup], delete: Callable[[Cleanup], None], time_is_up: Callable[[], bool]
) -> _Run:
    deleted = failed = 0
    not_found: list[Cleanup] = []
    for cleanup in cleanups:
        if time_is_up():
            break
        try:
            clean(_DATABASE, _ENVIRONMENT.region, cleanup, delete)
            deleted += 1
        except NotUnderThatNameError:
            not_found.append(cleanup)
        except Exception:
            logger.exception(
                "not deleted", extra={"kind": cleanup.kind, "subject_id": str(cleanup.subject_id)}
            )
            failed += 1
    return _Run(deleted, failed, not_found)
