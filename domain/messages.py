"""E-mails to customers: what they say, without addresses or names, which are added when they are sent."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID, uuid5

from domain.checkout import AcceptedLine


class MessageText(NamedTuple):
    """Subject and body of a message, in plain text."""

    subject: str
    body: str


def order_confirmation(order_id: UUID, lines: Sequence[AcceptedLine], total_points: int) -> MessageText:
    """Confirm an order: its lines, one a row, and the total."""
    rows = [f"  {line.quantity} x {line.name}: {line.quantity * line.unit_points:,} points" for line in lines]
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
    return MessageText(
        subject=f"No longer available: {name}",
        body=f"{name} is no longer for sale and has left your cart.\nThe rest of it is as you left it.",
    )


def address_message(text: MessageText, first_name: str) -> MessageText:
    """Add the greeting and the signature around a message's body."""
    return MessageText(text.subject, f"Dear {first_name},\n\n{text.body}\n\nYour rewards shop\n")


def confirmation_of(order_id: UUID) -> UUID:
    """Give the id of an order's confirmation: by the order, so that its cancellation knows it as well."""
    return uuid5(order_id, "order-confirmation")
