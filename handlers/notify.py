"""Consumer of OrderPlaced: sends the confirmation e-mail."""

from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import Field

from domain.events import OrderPlaced
from events.consume import consume
from handlers.edge.settings import DatabaseEnvironment
from sql.transactions.notify import DueMessage, confirm_order

if TYPE_CHECKING:
    from mypy_boto3_sesv2 import SESV2Client


class _Environment(DatabaseEnvironment):
    sender_address: str = Field(alias="SENDER_ADDRESS", min_length=3)


_ENVIRONMENT = _Environment.read()
_DATABASE = _ENVIRONMENT.database()


@cache
def _mail() -> "SESV2Client":
    import boto3  # not before there is something to send

    return boto3.client("sesv2")


def _send(message: DueMessage) -> None:
    _mail().send_email(
        FromEmailAddress=_ENVIRONMENT.sender_address,
        Destination={"ToAddresses": [message.email]},
        Content={
            "Simple": {
                "Subject": {"Data": message.text.subject, "Charset": "UTF-8"},
                "Body": {"Text": {"Data": message.text.body, "Charset": "UTF-8"}},
                # Lets a mailbox or a support person recognise the rare second copy after a crash.
                "Headers": [{"Name": "X-Rewards-Notification", "Value": str(message.id)}],
            }
        },
    )


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Confirm a batch of orders; give the records that failed."""
    return consume(event, {OrderPlaced: lambda envelope: confirm_order(_DATABASE, envelope, _send)})
