"""What SES says of a message that returned, as it comes on EventBridge's default bus."""

from typing import Any
from uuid import UUID

from domain.email import address_hash, sending_of

#: The configuration set, named as the template's resource is.
CONFIGURATION = "MailConfiguration"

NOTIFICATION = "22222222-2222-4222-8222-222222222222"


def sending(notification: str | None, address: str) -> str:
    """Give the tag of a message's being sent to an address."""
    return str(sending_of(UUID(notification), address_hash(address))) if notification else ""


def ses_event(
    kind: str = "Permanent",
    notification: str | None = NOTIFICATION,
    configuration: str = CONFIGURATION,
    address: str = "ana@example.com",
) -> dict[str, Any]:
    """Give an event: of a bounce of a type, of a `complaint`, or of a report that it is `not-spam`.

    The members and their values are those of SES's developer guide.
    """
    tags = {"ses:configuration-set": [configuration], "ses:from-domain": ["shop.example.com"]}
    of_message = {"notification": [notification], "sending": [sending(notification, address)]}
    mail = {
        "timestamp": "2026-01-01T11:59:58.000Z",
        "source": "orders@shop.example.com",
        "messageId": "0100018c-example",
        "destination": [address],
        "commonHeaders": {"to": [address], "subject": "Your order"},
        "tags": {**tags, **(of_message if notification else {})},
    }
    if kind in ("complaint", "not-spam"):
        what, detail_type = "Complaint", "Email Complaint Received"
        said: dict[str, Any] = {"complainedRecipients": [{"emailAddress": address}]}
        if kind == "not-spam":
            said["complaintFeedbackType"] = kind
    else:
        what, detail_type = "Bounce", "Email Bounced"
        recipients = [{"emailAddress": address, "action": "failed", "status": "5.1.1"}]
        said = {"bounceType": kind, "bounceSubType": "General", "bouncedRecipients": recipients}
    return {
        "version": "0",
        "id": "11111111-1111-4111-8111-111111111111",
        "detail-type": detail_type,
        "source": "aws.ses",
        "account": "123456789012",
        "time": "2026-01-01T12:00:00Z",
        "region": "us-east-1",
        "resources": [f"arn:aws:ses:us-east-1:123456789012:configuration-set/{configuration}"],
        "detail": {"eventType": what, what.lower(): said, "mail": mail},
    }
