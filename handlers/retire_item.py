"""Consumer of CatalogItemRetired: takes the item out of carts, removes its pictures, and tells shoppers."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import Field

from domain.events import CatalogItemRetired, Envelope, ItemRetirementContinued
from handlers.edge.mail import Mail
from handlers.edge.observability import guarded
from handlers.edge.settings import DatabaseEnvironment
from handlers.edge.turns import Turns
from sql.cascade import Turn
from sql.transactions.retire_item_data import retire_item_data

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class _Environment(DatabaseEnvironment):
    """The environment of this function. Without a bucket, pictures are rows without an object."""

    sender_address: str = Field(alias="SENDER_ADDRESS", min_length=3)
    pictures_bucket: str | None = Field(None, alias="PICTURES_BUCKET", min_length=3)


_ENVIRONMENT = _Environment.read()
_DATABASE = _ENVIRONMENT.database()
_MAIL = Mail(_ENVIRONMENT.sender_address)


@cache
def _objects() -> "S3Client":
    import boto3  # not before there is something to delete
    from botocore.config import Config

    return boto3.client("s3", config=Config(connect_timeout=2, read_timeout=5))


def _delete_picture(filename: str) -> None:
    if _ENVIRONMENT.pictures_bucket is not None:
        _objects().delete_object(Bucket=_ENVIRONMENT.pictures_bucket, Key=filename)


def _retire(envelope: Envelope[Any], is_over: Callable[[], bool]) -> Turn:
    return retire_item_data(
        _DATABASE,
        envelope,
        _delete_picture,
        _MAIL.send,
        is_over,
        _ENVIRONMENT.region,
        datetime.now(UTC),
    )


handler = guarded(Turns((CatalogItemRetired, ItemRetirementContinued), _retire))
