"""The Region's user pool, as those see it who make and delete its users.

A user belongs to the customer whose id stands in its attribute, which nobody can change; a username alone
says nothing: it may be a namesake's.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from mypy_boto3_cognito_idp import CognitoIdentityProviderClient

OWNER = "custom:customer_id"

STAFF_GROUP = "staff"


@cache
def users() -> "CognitoIdentityProviderClient":
    """Give the client. Its calls end before their function does."""
    import boto3  # not before there is something to do
    from botocore.config import Config

    return boto3.client("cognito-idp", config=Config(connect_timeout=2, read_timeout=5))


def attributes_of(given: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Give a user's attributes by name; one without a value is an empty text."""
    return {one["Name"]: one.get("Value", "") for one in given}


def owner_of(attributes: Mapping[str, str]) -> UUID | None:
    """Give the customer whose user this is; None where the attribute is missing or no id.

    Ids are compared as ids: in capitals, in braces or without hyphens it is the same one.
    """
    try:
        return UUID(attributes.get(OWNER, ""))
    except ValueError:
        return None
