"""Events of mail that was sent: the mail service's, in the form of our own."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from domain.contract import Id
from domain.events import Payload


class MailReturned(Payload):
    """A message came back for good (`Bounce`), or its reader complained of it (`Complaint`).

    Made by a rule of EventBridge from what the mail service says; nobody publishes it. Which message it was,
    and which sending of it (`domain.email.sending_of`), are tags that it was sent with; a tag has a list of
    values, and these have one. It names no address.
    """

    type_name: ClassVar[str] = "MailReturned.v1"
    aggregate_type: ClassVar[str] = "mail"

    notification_ids: Annotated[tuple[Id, ...], Field(min_length=1, max_length=1)]
    sending_ids: Annotated[tuple[Id, ...], Field(min_length=1, max_length=1)] | None = None
    kind: Literal["Bounce", "Complaint"]
