"""Refusals: the ways in which the shop says no, as typed outcomes rather than exceptions.

A refusal is the caller's to fix, is never retried and leaves nothing written (but that a code was tried).
Each kind is declared once, here: its name is its stable code (`out_of_stock` is `out-of-stock`), its
docstring says when it happens, its text holds this time's values (`retry_after_s` is the refusal's, too), and
its remedy is the same every time. The HTTP status of each is the edge's
(`handlers/edge/problems.py`).

A kind is a function and no class: a start would make some thirty classes, of which it uses a few.
"""

from collections.abc import Callable
from typing import Generic, NamedTuple, ParamSpec
from uuid import UUID

P = ParamSpec("P")


class Refusal(NamedTuple):
    """A decision against the request: the stable code of its kind, what was refused, and what to do."""

    code: str
    text: str
    remedy: str
    #: After how many seconds the same request may be granted, where that is only a matter of time.
    retry_after_s: int | None = None

    def explain(self) -> str:
        """Say what was refused, why, and what to do."""
        return f"{self.text} {self.remedy}"


class RefusalKind(Generic[P]):
    """A kind of refusal; called with what its text needs, it gives one."""

    __slots__ = ("_write", "code", "remedy")

    def __init__(self, write: Callable[P, str], remedy: str) -> None:
        self.code = write.__name__.replace("_", "-")
        self.remedy = remedy
        self._write = write

    def __call__(self, *values: P.args, **named: P.kwargs) -> Refusal:
        """Refuse something. Raises TypeError unless each value of the text is given once."""
        retry_after_s = named.get("retry_after_s")
        return Refusal(
            self.code,
            self._write(*values, **named),
            self.remedy,
            retry_after_s if isinstance(retry_after_s, int) else None,
        )

    def fits(self, outcome: object) -> bool:
        """Tell whether an outcome is a refusal of this kind."""
        return isinstance(outcome, Refusal) and outcome.code == self.code

    @property
    def when(self) -> str:
        """When it happens: a sentence."""
        return " ".join((self._write.__doc__ or "").split())


#: Every kind, by code.
KINDS: dict[str, "RefusalKind[...]"] = {}


def _kind(remedy: str) -> Callable[[Callable[P, str]], RefusalKind[P]]:
    def declare(write: Callable[P, str]) -> RefusalKind[P]:
        kind = RefusalKind(write, remedy)
        KINDS[kind.code] = kind
        return kind

    return declare


# --- Customers ----------------------------------------------------------------------------------------------


@_kind("Sign in as a member of the shop.")
def account_closed() -> str:
    """The token is valid, but the shop has no account of the caller, or the account was erased."""
    return "There is no account for you, or it was closed."


@_kind("Sign in as one of them.")
def forbidden() -> str:
    """The operation is for the shop's staff, and the caller is none of them now, whatever the token says."""
    return "This operation is for the shop's staff."


@_kind("Name a member of the shop.")
def unknown_customer() -> str:
    """The shop has no such customer, the account was erased, or it has none for points."""
    return "There is no account for this customer, or it was closed."


@_kind("Read the resource again, apply the change to what it holds, and send the new ETag as If-Match.")
def precondition_failed(actual: int) -> str:
    """The resource was changed by somebody else since the caller read it."""
    return f"The resource is at version {actual} now."


@_kind("Send a new key for a new request, or the first body to have its answer again.")
def idempotency_key_reused() -> str:
    """The key already stands for a request with another content."""
    return "This Idempotency-Key was used for a different request."


@_kind("Wait as long as Retry-After says, then send it again.")
def too_many_requests(what: str, an_hour: int, a_day: int, retry_after_s: int) -> str:
    """There were so many in this hour, or on this day, that no more are taken."""
    return f"There are at most {an_hour} {what} an hour and {a_day} a day; the next in {retry_after_s} s."


@_kind("Change the account's e-mail address first.")
def no_email_change() -> str:
    """No new address of the customer waits for a code."""
    return "No new e-mail address of this account waits to be confirmed."


@_kind("Type the code of the latest e-mail again, or ask for another one.")
def wrong_code(attempts_left: int) -> str:
    """The code is not the one that was sent to the new address."""
    return f"This is not the code that was sent; {attempts_left} attempts are left."


@_kind("Ask for another code.")
def code_expired() -> str:
    """The code is too old, or too many were tried."""
    return "The code no longer holds: it is too old, or too many others were tried."


# --- The cart and its order ---------------------------------------------------------------------------------


@_kind("Choose an item from the catalogue.")
def unknown_item(item_id: UUID) -> str:
    """The catalogue has no such item, or it was retired."""
    return f"There is no item {item_id} for sale."


@_kind("Order what is in it, or remove an item first.")
def cart_full(most: int) -> str:
    """The cart has as many lines as an order may have."""
    return f"A cart holds {most} different items."


@_kind("Put an item into it and check out again.")
def empty_cart() -> str:
    """There is nothing left to order: the cart is empty, or what it holds was ordered a moment ago."""
    return "The cart holds nothing to order."


@_kind("Remove some.")
def too_many_lines(lines: int, most: int) -> str:
    """The cart holds more lines than one order may have."""
    return f"The cart holds {lines} lines; an order may have {most}."


@_kind("Order fewer units of the limited items, and the others after that.")
def order_too_large(slots: int, most: int) -> str:
    """The cart's limited items lie in more slots of stock than one order may take from."""
    return f"The cart's limited items lie in {slots} places in stock; one order takes from at most {most}."


@_kind("Remove the items that are named, and check out again.")
def item_unavailable(item_ids: tuple[UUID, ...]) -> str:
    """Items of the cart were retired or are not in the catalogue."""
    named = ", ".join(map(str, item_ids))
    return f"{len(item_ids)} item(s) of the cart are no longer for sale: {named}."


@_kind("Read the cart again, show its total, and check out with that.")
def price_changed(expected_points: int, actual_points: int) -> str:
    """The cart's total is not the one that the shopper saw and agreed to."""
    return f"The cart now costs {actual_points} points, not {expected_points}."


@_kind("Read the cart again, show what is in it, and check out with the `cart_version` of that.")
def cart_changed() -> str:
    """The cart holds something else than the shopper saw, if for the same total."""
    return "The cart, or a price in it, has changed since it was read."


@_kind("Ask for less, or earn points first.")
def insufficient_points(required_points: int, available_points: int) -> str:
    """The balance does not cover the amount."""
    return f"{required_points} points are needed and the balance is {available_points}."


@_kind("Lower the quantity or remove the item.")
def out_of_stock(item_id: UUID, requested: int, available: int) -> str:
    """A limited item has fewer units left than the cart asks for."""
    return f"Of item {item_id} {requested} were asked for and {available} are left."


# --- Orders that go back ------------------------------------------------------------------------------------


@_kind("List the orders to find its id.")
def unknown_order(order_id: UUID) -> str:
    """The customer has no such order."""
    return f"There is no order {order_id} of this customer."


@_kind("Refund the units that are left.")
def not_cancellable(status: str) -> str:
    """Something of the order was given back already, or all of it."""
    return f"The order is {status} and can no longer be cancelled as a whole."


@_kind("Nothing needs to be done.")
def already_refunded(status: str) -> str:
    """Nothing of the order is left to give back."""
    return f"The order is {status}: every unit was given back."


@_kind("Name items of the order's lines.")
def not_in_order(item_id: UUID) -> str:
    """The refund names an item that the order does not hold."""
    return f"The order holds no item {item_id}."


@_kind("Lower the quantity.")
def refund_too_large(item_id: UUID, requested: int, left: int) -> str:
    """The refund names more units than are left of the line."""
    return f"Of item {item_id} {requested} were to be given back and {left} are left."


# --- Points that change hands -------------------------------------------------------------------------------


@_kind("Send fewer points, or spend some of the balance first.")
def balance_limit(most: int) -> str:
    """The account would hold more points than an account may."""
    return f"An account holds at most {most} points."


@_kind("Ask the member for their username, and mind capital letters.")
def unknown_payee() -> str:
    """No member, or more than one, has the username that points should go to."""
    return "No member can be paid under this username."


@_kind("Name another member.")
def self_transfer() -> str:
    """The payer is the payee."""
    return "The payee is the payer."


@_kind("Ask a colleague to do it.")
def self_credit() -> str:
    """One of the staff would credit themselves, or their own household."""
    return "Nobody credits themselves or their own household."


@_kind("Name another member as the partner.")
def not_a_household() -> str:
    """The two members of the household are one and the same."""
    return "A household has two members."


@_kind("Nothing needs to be done.")
def household_above_limit(together_points: int, below_points: int) -> str:
    """The household has too many points together for a boost."""
    return f"The household has {together_points} points together; a boost is for those below {below_points}."


# --- The catalogue and its stock ----------------------------------------------------------------------------


@_kind("Add a new item instead.")
def item_retired(item_id: UUID) -> str:
    """The item was taken off the shelf for good."""
    return f"Item {item_id} was retired."


@_kind("Load the picture first, or leave it out.")
def unknown_image() -> str:
    """The thumbnail is not among the shop's pictures."""
    return "There is no picture with this thumbnail_id."


@_kind("Add fewer units.")
def stock_limit(available: int, most: int) -> str:
    """The item would have more units in stock than an item may."""
    return f"There are {available} units, and an item has at most {most} in stock."


@_kind("Set a stock first, then adjust it.")
def stock_unlimited() -> str:
    """The item's stock is not limited, so that there is nothing to adjust."""
    return "The item's stock is unlimited."


@_kind("Take out fewer units.")
def stock_too_low(available: int, delta: int) -> str:
    """More units are to be taken out of stock than there are."""
    return f"There are {available} units and the change is {delta}."
