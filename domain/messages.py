"""E-mails to customers: what they say, without addresses or names, which are added when they are sent."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID, uuid5

from domain.checkout import AcceptedLine

#: The kind of a message that holds a code.
EMAIL_CODE = "email-code"


class MessageText(NamedTuple):
    """Subject and body of a message, in plain text."""

    subject: str
    body: str


def order_confirmation(order_id: UUID, lines: Sequence[AcceptedLine], total_points: int) -> MessageText:
    """Confirm an order: its lines, one a row, and the total."""
    rows = [
        f"  {line.quantity} x {_title(line.name)}: {line.quantity * line.unit_points:,} points"
        for line in lines
    ]
    return MessageText(
        subject=f"Your order {str(order_id)[:8]} is confirmed",
        body="\n".join(
            (
                "thank you for your order. This is what we are getting ready for you:",
                "",
                *rows,
                "",
                f"Total: {total_points:,} points, taken from your balance.",
                f"Order number: {order_id}",
            )
        ),
    )


def order_cancelled(order_id: UUID, points: int) -> MessageText:
    """Confirm that an order was cancelled and its points are back."""
    return MessageText(
        subject=f"Your order {str(order_id)[:8]} is cancelled",
        body="\n".join(
            (
                "your order is cancelled, and nothing of it will be sent.",
                "",
                f"{points:,} points are back in your balance.",
                f"Order number: {order_id}",
            )
        ),
    )


def item_retired(name: str) -> MessageText:
    """Tell a shopper that an item left their cart because it is no longer for sale."""
    title = _title(name)
    return MessageText(
        subject=f"No longer available: {title}",
        body=f"no longer for sale, and no longer in your cart: {title}.\nThe rest of it is as you left it.",
    )


def email_code() -> MessageText:
    """Send the code that confirms an address. It is put in when the message is sent, and stored nowhere."""
    return MessageText(
        subject="Your code for the rewards shop",
        body="\n".join(
            (
                "somebody who is signed in to the rewards shop wants its e-mails to come to this address.",
                "If that was you, type this code on the account's page within the hour:",
                "",
                f"  {CODE_PLACE}",
                "",
                "If it was not, there is nothing to do: without the code this address gets nothing more.",
            )
        ),
    )


def email_change_begun() -> MessageText:
    """Tell the present address that another one was asked for."""
    return MessageText(
        subject="Another e-mail address was asked for",
        body="\n".join(
            (
                "somebody who is signed in to your account wants its e-mails to go to another address.",
                "Until that address is confirmed they come here.",
                "",
                "If it was not you, change your password and set the address in your account again.",
            )
        ),
    )


def email_changed() -> MessageText:
    """Tell the former address that it is no longer the account's."""
    return MessageText(
        subject="Your e-mail address was changed",
        body="\n".join(
            (
                "your account has another e-mail address, or none, since a moment ago.",
                "This is the last e-mail that comes here.",
                "",
                "If it was not you, change your password and set the address in your account again.",
            )
        ),
    )


#: Where the code stands in the text of `email_code`, until it is sent.
CODE_PLACE = "(the code)"


def put_code(text: MessageText, code: str) -> MessageText:
    """Put a code where the text has its place."""
    return MessageText(text.subject, text.body.replace(CODE_PLACE, code))


def address_message(text: MessageText, first_name: str | None) -> MessageText:
    """Add the greeting and the signature around a message's body; a name that is not plain is left out."""
    from domain.names import plain_name  # who only knows which message is an order's starts without

    name = plain_name(first_name)
    greeting = "Hello" if name is None else f"Dear {name}"
    return MessageText(text.subject, f"{greeting},\n\n{text.body}\n\nYour rewards shop\n")


def _title(name: str) -> str:
    from domain.names import plain_title  # as above

    return plain_title(name) or "an item"


def confirmation_of(order_id: UUID) -> UUID:
    """Give the id of an order's confirmation: by the order, so that its cancellation knows it as well."""
    return uuid5(order_id, "order-confirmation")
