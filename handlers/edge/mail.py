"""E-mail by SES, with what no repetition can fix told apart."""

from functools import cache
from time import sleep
from typing import TYPE_CHECKING

from sql.transactions.notify import DueMessage, UndeliverableError

if TYPE_CHECKING:
    from mypy_boto3_sesv2 import SESV2Client

#: SES's error for an address that is none. MessageRejected is not here: an unverified sender is rejected like
#: that, and messages have to wait until somebody has verified it.
_REFUSED = "BadRequestException"

#: SES's error for what exceeds the account's rate: surely not taken, so asking again sends no second copy.
_TOO_FAST = "TooManyRequestsException"

#: The pause before that, in seconds. It slows a run down to SES's rate; without it a long queue would
#: use up the deliveries of its messages.
_PAUSE_S = 0.2


@cache
def _client() -> "SESV2Client":
    import boto3  # not before there is something to send
    from botocore.config import Config

    # One attempt: SES may have taken a message whose answer was lost, and what was not sent comes again with
    # its event. It ends within the time that `events.consume.MARGIN_MS` keeps back.
    config = Config(
        connect_timeout=1,
        read_timeout=3,
        # guard: a message is handed over once in a call
        retries={"mode": "standard", "total_max_attempts": 1},
    )
    return boto3.client("sesv2", config=config)


class Mail:
    """Sends messages from one address."""

    def __init__(self, sender_address: str) -> None:
        self._sender_address = sender_address

    def send(self, message: DueMessage) -> None:
        """Hand a message to SES. Raises UndeliverableError, or botocore's errors where it may work later."""
        from botocore.exceptions import ClientError

        for may_ask_again in (True, False):
            try:
                self._hand_over(message)
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code == _REFUSED:
                    raise UndeliverableError from error
                # guard: a mail that was too fast is sent once more
                if code != _TOO_FAST or not may_ask_again:
                    raise
                sleep(_PAUSE_S)
            else:
                return

    def _hand_over(self, message: DueMessage) -> None:
        _client().send_email(
            FromEmailAddress=self._sender_address,
            Destination={"ToAddresses": [message.email]},
            Content={
                "Simple": {
                    "Subject": {"Data": message.text.subject, "Charset": "UTF-8"},
                    "Body": {"Text": {"Data": message.text.body, "Charset": "UTF-8"}},
                    # Lets a mailbox or a support person recognise the rare second copy.
                    "Headers": [{"Name": "X-Rewards-Notification", "Value": str(message.id)}],
                }
            },
        )
