"""Consumer of CustomerErased: removes what the customer left, turn by turn, and their sign-in."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import Field

from domain.events import CustomerErased, CustomerErasureContinued, Envelope
from handlers.edge.observability import guarded
from handlers.edge.settings import DatabaseEnvironment
from handlers.edge.turns import Turns
from sql.cascade import Turn
from sql.transactions.erase_customer_data import erase_customer_data

if TYPE_CHECKING:
    from mypy_boto3_cognito_idp import CognitoIdentityProviderClient


class _Environment(DatabaseEnvironment):
    user_pool_id: str = Field(alias="USER_POOL_ID", min_length=1)


_ENVIRONMENT = _Environment.read()
_DATABASE = _ENVIRONMENT.database()


@cache
def _users() -> "CognitoIdentityProviderClient":
    import boto3  # not before there is somebody to delete
    from botocore.config import Config

    return boto3.client("cognito-idp", config=Config(connect_timeout=2, read_timeout=5))


def _delete_user(username: str, customer_id: UUID) -> None:
    """Delete the pool's user of that name, if there is one and it is this customer's."""
    users, pool = _users(), _ENVIRONMENT.user_pool_id
    with suppress(users.exceptions.UserNotFoundException):
        user = users.admin_get_user(UserPoolId=pool, Username=username)
        attributes = {one["Name"]: one.get("Value") for one in user["UserAttributes"]}
        # Usernames are unique in the pool and not in the table: a namesake keeps their sign-in.
        if attributes.get("custom:customer_id") == str(customer_id):
            users.admin_delete_user(UserPoolId=pool, Username=username)


def _erase(envelope: Envelope[Any], is_over: Callable[[], bool]) -> Turn:
    return erase_customer_data(
        _DATABASE, envelope, _delete_user, is_over, _ENVIRONMENT.region, datetime.now(UTC)
    )


handler = guarded(Turns((CustomerErased, CustomerErasureContinued), _erase))
