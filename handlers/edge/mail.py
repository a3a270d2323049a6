"""E-mail by SES, with what no repetition can fix told apart."""

from collections.abc import Mapping
from functools import cache
from time import sleep
from typing import TYPE_CHECKING, Any
from uuid import UUID

from aws_lambda_powertools.metrics import MetricUnit

from domain.email import address_hash, sending_of
from domain.messages import MessageText
from handlers.edge.consume import NotNowError, PutBack
from handlers.edge.observability import metrics
from sql.transactions.notify import DueMessage, UndeliverableError

if TYPE_CHECKING:
    from mypy_boto3_sesv2 import SESV2Client
    from mypy_boto3_sesv2.type_defs import MessageTagTypeDef
    from mypy_boto3_sqs import SQSClient

#: SES's error for an address that is none: the recipient's or the sender's, it does not say whose.
#: MessageRejected is not here: an unverified sender is rejected like that, and messages have to wait until
#: somebody has verified it.
_REFUSED = "BadRequestException"

#: SES's errors for what exceeds the account's rate or quota: surely not taken, so asking again sends no
#: second copy. Which of the two it is says the message alone ("Daily message quota exceeded").
_TOO_FAST = frozenset({"TooManyRequestsException", "ThrottlingException", "Throttling"})
_TOO_MANY = _TOO_FAST | {"LimitExceededException"}

#: The pause before that, in seconds, and how often it is made. It slows a run down to SES's rate, for a new
#: account one message a second. What is still too much then waits in the queue, see `put_back`.
_PAUSE_S = 1.0
_PAUSES = 5

#: How long a message waits there: the longest that SQS delays one.
WAIT_S = 900


#: SES's own mailbox that takes everything: whoever may send at all may send there.
_ALWAYS_GOOD = "success@simulator.amazonses.com"


class SenderRefusedError(Exception):
    """SES takes nothing from the shop's own address. Correct SenderAddress, deploy, then redrive."""


@cache
def _client() -> "SESV2Client":
    import boto3  # not before there is something to send
    from botocore.config import Config

    # One attempt: SES may have taken a message whose answer was lost, and what was not sent comes again with
    # its event. With its pauses it ends within what functions that send keep back (`slices.MARGIN_MS`).
    config = Config(
        connect_timeout=1,
        read_timeout=3,
        # guard: a message is handed over once in a call
        retries={"mode": "standard", "total_max_attempts": 1},
    )
    return boto3.client("sesv2", config=config)


def count_skipped(word: str) -> str:
    """Count a message that was skipped by its reason (a word of `send_due`'s); give the word."""
    what, _, reason = word.partition(" ")
    if what == "skipped":
        # guard: what is skipped is counted by its reason
        metrics().add_metric(f"MailSkipped_{reason}", MetricUnit.Count, 1)
    return word


@cache
def _queues() -> "SQSClient":
    import boto3
    from botocore.config import Config

    config = Config(connect_timeout=1, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 1})
    return boto3.client("sqs", config=config)


def put_back(queue_url: str) -> PutBack:
    """Give what puts a record into its queue again, to wait there.

    It is a new message: waiting makes it no dead letter, and it does not end with the queue's retention. What
    was done of its event is known by the event's id.
    """

    def put(record: Mapping[str, Any]) -> None:
        _queues().send_message(QueueUrl=queue_url, MessageBody=record["body"], DelaySeconds=WAIT_S)
        metrics().add_metric("MailsPostponed", MetricUnit.Count, 1)

    return put


class Mail:
    """Sends messages from one address, with the configuration set whose bounces and complaints are events."""

    def __init__(self, sender_address: str, configuration: str) -> None:
        self._sender_address = sender_address
        self._configuration = configuration
        self._sender_works = False

    def send(self, message: DueMessage) -> None:
        """Hand a message to SES.

        Raises UndeliverableError where SES will never take it, SenderRefusedError where it takes nothing of
        ours, NotNowError where the rate or the day's quota is used up, and botocore's errors for the rest.
        """
        from botocore.exceptions import ClientError

        for pauses_left in reversed(range(_PAUSES + 1)):
            try:
                self._hand_over(message.email, message.text, message.id)
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code == _REFUSED:
                    self._try_the_sender()
                    metrics().add_metric("MailsRefused", MetricUnit.Count, 1)
                    raise UndeliverableError from error
                if code not in _TOO_MANY:
                    raise
                lasts = code not in _TOO_FAST or "quota" in error.response["Error"].get("Message", "").lower()
                # guard: a mail that was too fast is sent again
                if lasts or not pauses_left:
                    # guard: a mail beyond the quota waits and is no failure
                    raise NotNowError from error
                metrics().add_metric("MailsThrottled", MetricUnit.Count, 1)
                sleep(_PAUSE_S)
            else:
                self._sender_works = True
                return

    def _try_the_sender(self) -> None:
        """Tell whose fault a refusal is: the recipient's only if SES takes something of ours for others."""
        from botocore.exceptions import ClientError

        # guard: a refused sender is not the recipient's fault
        if self._sender_works:
            return
        try:
            self._hand_over(_ALWAYS_GOOD, MessageText("Test", "Is the sender in order?"))
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _TOO_MANY:
                raise NotNowError from error
            if code != _REFUSED:
                raise
            raise SenderRefusedError from error
        self._sender_works = True

    def _hand_over(self, email: str, text: MessageText, notification: UUID | None = None) -> None:
        of_message = str(notification or "sender-test")
        _client().send_email(
            FromEmailAddress=self._sender_address,
            ConfigurationSetName=self._configuration,
            # guard: what returns is known by the message that it was
            EmailTags=_tags(notification, email) if notification else [],
            Destination={"ToAddresses": [email]},
            Content={
                "Simple": {
                    "Subject": {"Data": text.subject, "Charset": "UTF-8"},
                    "Body": {"Text": {"Data": text.body, "Charset": "UTF-8"}},
                    # Lets a mailbox or a support person recognise the rare second copy.
                    "Headers": [{"Name": "X-Rewards-Notification", "Value": of_message}],
                }
            },
        )


def _tags(notification: UUID, email: str) -> list["MessageTagTypeDef"]:
    sending = sending_of(notification, address_hash(email))
    return [
        {"Name": "notification", "Value": str(notification)},
        {"Name": "sending", "Value": str(sending)},
    ]
