"""Consumer of the enrolment queue: gives the shop's customers a user in the pool, a few at a time."""

from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, SecretStr

from domain.contract import Contract
from handlers.edge.observability import logger
from handlers.edge.settings import Environment, NonEmpty

if TYPE_CHECKING:
    from mypy_boto3_cognito_idp import CognitoIdentityProviderClient

_STAFF_GROUP = "staff"


class _Environment(Environment):
    user_pool_id: NonEmpty
    demo_password: Annotated[SecretStr, Field(min_length=8)]


class Enrolment(Contract):
    """One customer to enrol."""

    username: str
    email: str
    customer_id: str
    staff: bool = False


_ENVIRONMENT = _Environment.read()


@cache
def _users() -> "CognitoIdentityProviderClient":
    import boto3

    return boto3.client("cognito-idp")


def _enrol(customer: Enrolment) -> None:
    """Create the user with the demo password; a user that exists is brought to the same state."""
    users, pool = _users(), _ENVIRONMENT.user_pool_id
    # A user that exists was made by an earlier delivery that got this far.
    with suppress(users.exceptions.UsernameExistsException):
        users.admin_create_user(
            UserPoolId=pool,
            Username=customer.username,
            MessageAction="SUPPRESS",
            UserAttributes=[
                {"Name": "email", "Value": customer.email},
                {"Name": "email_verified", "Value": "true"},
                {"Name": "custom:customer_id", "Value": customer.customer_id},
            ],
        )
    users.admin_set_user_password(
        UserPoolId=pool,
        Username=customer.username,
        Password=_ENVIRONMENT.demo_password.get_secret_value(),
        Permanent=True,
    )
    if customer.staff:
        users.admin_add_user_to_group(UserPoolId=pool, Username=customer.username, GroupName=_STAFF_GROUP)


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Enrol the customers of a batch of messages; give the records that failed."""
    failures = []
    for record in event["Records"]:
        try:
            _enrol(Enrolment.model_validate_json(record["body"]))
        except Exception as error:
            logger.warning(
                "enrolment failed", extra={"message_id": record["messageId"], "error": type(error).__name__}
            )
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}
