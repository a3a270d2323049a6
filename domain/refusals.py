"""Refusals: the ways in which the shop says no, as typed outcomes rather than exceptions.

A refusal is the caller's to mend, is never retried and leaves nothing written. The HTTP status and the
problem type of each are a table at the edge (`handlers/edge/problems.py`).
"""

from typing import Any, ClassVar, NoReturn, dataclass_transform
from uuid import UUID


@dataclass_transform(frozen_default=True)
class Refusal:
    """A decision against the request. `code` is stable; `explain()` is a sentence with the remedy.

    Refusals are frozen records, to the type checker frozen dataclasses. They are no real ones: generating the
    methods of so many classes, of which a function uses a few, took longer than all its other own imports.
    """

    code: ClassVar[str] = "refused"
    __match_args__: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        names = tuple(name for name in cls.__annotations__ if name != "code")
        cls.__match_args__ = names  # type: ignore[misc]  # to mypy what a dataclass has made itself

    def __init__(self, *values: Any, **named: Any) -> None:
        given = dict(zip(self.__match_args__, values, strict=False)) | named
        if given.keys() != set(self.__match_args__) or len(values) + len(named) != len(given):
            raise TypeError(
                f"{type(self).__name__} takes each of these once: {', '.join(self.__match_args__)}"
            )
        self.__dict__.update(given)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is frozen; make another one")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), *(self.__dict__[name] for name in self.__match_args__)))

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={self.__dict__[name]!r}" for name in self.__match_args__)
        return f"{type(self).__name__}({values})"

    def explain(self) -> str:
        """Say what was refused, why, and what to do."""
        return "The request was refused."


class UnknownCustomer(Refusal):
    """The token is valid, but the shop has no account for this customer, or the account was erased."""

    code: ClassVar[str] = "unknown-customer"

    def explain(self) -> str:
        """Say what was refused, why, and what to do."""
        return "There is no account for this customer, or it was closed. Sign in as a member of the shop."


class UnknownItem(Refusal):
    """The catalogue has no such item, or it was retired."""

    code: ClassVar[str] = "unknown-item"
    item_id: UUID

    def explain(self) -> str:
        """Say what was refused, why, and what to do."""
        return f"There is no item {self.item_id} for sale. Choose one from the catalogue."


class CartFull(Refusal):
    """The cart has as many lines as an order may have."""

    code: ClassVar[str] = "cart-full"
    most: int

    def explain(self) -> str:
        """Say what was refused, why, and what to do."""
        return f"A cart holds {self.most} different items. Order them, or remove one first."


class UnknownOrder(Refusal):
    """The customer has no such order."""

    code: ClassVar[str] = "unknown-order"
    order_id: UUID

    def explain(self) -> str:
        """Say what was refused, why, and what to do."""
        return f"There is no order {self.order_id} of this customer. List the orders to find its id."


class EmptyCart(Refusal):
    """There is nothing left to order: the cart is empty, or what it holds was ordered a moment ago."""

    code: ClassVar[str] = "empty-cart"

    def explain(self) -> str:
        """Say what was refused, why, and what to do."""
        return "The cart holds nothing to order. Put an item into it and check out again."


class TooManyLines(Refusal):
    """The cart holds more lines than one order may have."""

    code: ClassVar[str] = "too-many-lines"
    lines: int
    most: int

    def explain(self) -> str:
        """Say what was refused, why, and what to do."""
        return f"The cart holds {self.lines} lines; an order may have {self.most}. Remove some."


class OrderTooLarge(Refusal):
    """The cart's limited items lie in more slots of stock than one order may take from."""

    code: ClassVar[str] = "order-too-large"
    slots: int
    most: int

    def explain(self) -> str:
        """Say what was refused, why, and what to do."""
        return (
            f"The limited items of the cart lie in {self.slots} places in stock and one order takes from at "
            f"most {self.most}. Order fewer units of them, and the others after that."
        )


class ItemUnavailable(Refusal):
    """Items of the cart were retired or are not in the catalogue."""

    code: ClassVar[str] = "item-unavailable"
    item_ids: tuple[UUID, ...]

    def explain(self) -> str:
        """Say what was refused, why, and what to do."""
        return (
            f"{len(self.item_ids)} item(s) of the cart are no longer for sale: "
            f"{', '.join(str(item_id) for item_id in self.item_ids)}. Remove them and check out again."
        )


class PriceChanged(Refusal):
    """The cart's total is not the one that the shopper saw and agreed to."""

    code: ClassVar[str] = "price-changed"
    expected_points: int
    actual_points: int

    def explain(self) -> str:
        """Say what was refused, why, and what to do."""
        return (
            f"The cart now costs {self.actual_points} points, not {self.expected_points}. "
            "Show the new total and check out again with it."
        )


class InsufficientPoints(Refusal):
    """The balance does not cover the amount."""

    code: ClassVar[str] = "insufficient-points"
    required_points: int
    available_points: int

    def explain(self) -> str:
        """Say what was refused, why, and what to do."""
        return (
            f"{self.required_points} points are needed and the balance is {self.available_points}. "
            "Order less, or earn points first."
        )


class OutOfStock(Refusal):
    """A limited item has fewer units left than the cart asks for."""

    code: ClassVar[str] = "out-of-stock"
    item_id: UUID
    requested: int
    available: int

    def explain(self) -> str:
        """Say what was refused, why, and what to do."""
        return (
            f"Of item {self.item_id} {self.requested} were asked for and {self.available} are left. "
            "Lower the quantity or remove the item."
        )


class IdempotencyKeyReused(Refusal):
    """The key already stands for a request with another content."""

    code: ClassVar[str] = "idempotency-key-reused"

    def explain(self) -> str:
        """Say what was refused, why, and what to do."""
        return (
            "This Idempotency-Key was used for a different request. "
            "Send a new key for a new request, or the same body to have the first answer again."
        )


class BalanceLimit(Refusal):
    """The account would hold more points than an account may."""

    code: ClassVar[str] = "balance-limit"
    most: int

    def explain(self) -> str:
        """Say what was refused, why, and what to do."""
        return f"An account holds at most {self.most} points. Send fewer."


class UnknownPayee(Refusal):
    """No member, or more than one, has the username that points should go to."""

    code: ClassVar[str] = "unknown-payee"

    def explain(self) -> str:
        """Say what was refused, why, and what to do."""
        return "No member can be paid under this username. Ask them for it, and mind capital letters."


class SelfTransfer(Refusal):
    """The payer is the payee."""

    code: ClassVar[str] = "self-transfer"

    def explain(self) -> str:
        """Say what was refused, why, and what to do."""
        return "The payee is the payer. Name another member."


class SelfCredit(Refusal):
    """One of the staff would credit themselves, or their own household."""

    code: ClassVar[str] = "self-credit"

    def explain(self) -> str:
        """Say what was refused, why, and what to do."""
        return "Nobody credits themselves or their own household. Ask a colleague to do it."


class NotAHousehold(Refusal):
    """The two members of the household are one and the same."""

    code: ClassVar[str] = "not-a-household"

    def explain(self) -> str:
        """Say what was refused, why, and what to do."""
        return "A household has two members. Name another one as the partner."


class HouseholdAboveLimit(Refusal):
    """The household has too many points together for a boost."""

    code: ClassVar[str] = "household-above-limit"
    together_points: int
    below_points: int

    def explain(self) -> str:
        """Say what was refused, why, and what to do."""
        return (
            f"The household has {self.together_points} points together; a boost is for households below "
            f"{self.below_points}. Nothing needs to be done."
        )


class NotCancellable(Refusal):
    """Something of the order was given back already, or all of it."""

    code: ClassVar[str] = "not-cancellable"
    status: str

    def explain(self) -> str:
        """Say what was refused, why, and what to do."""
        return (
            f"The order is {self.status} and can no longer be cancelled as a whole. "
            "Refund the units that are left."
        )


class AlreadyRefunded(Refusal):
    """Nothing of the order is left to give back."""

    code: ClassVar[str] = "already-refunded"
    status: str

    def explain(self) -> str:
        """Say what was refused, why, and what to do."""
        return f"The order is {self.status}: every unit was given back. There is nothing left to refund."


class NotInOrder(Refusal):
    """The refund names an item that the order does not hold."""

    code: ClassVar[str] = "not-in-order"
    item_id: UUID

    def explain(self) -> str:
        """Say what was refused, why, and what to do."""
        return f"The order holds no item {self.item_id}. Name items of its lines."


class RefundTooLarge(Refusal):
    """The refund names more units than are left of the line."""

    code: ClassVar[str] = "refund-too-large"
    item_id: UUID
    requested: int
    left: int

    def explain(self) -> str:
        """Say what was refused, why, and what to do."""
        return (
            f"Of item {self.item_id} {self.requested} were to be given back and {self.left} are left. "
            "Lower the quantity."
        )


class StockLimit(Refusal):
    """The item would have more units in stock than an item may."""

    code: ClassVar[str] = "stock-limit"
    available: int
    most: int

    def explain(self) -> str:
        """Say what was refused, why, and what to do."""
        return f"There are {self.available} units, and an item has at most {self.most} in stock. Add fewer."


class StockUnlimited(Refusal):
    """The item's stock is not limited, so that there is nothing to adjust."""

    code: ClassVar[str] = "stock-unlimited"

    def explain(self) -> str:
        """Say what was refused, why, and what to do."""
        return "The item's stock is unlimited. Set a stock first, then adjust it."


class OutOfStockToAdjust(Refusal):
    """More units are to be taken out of stock than there are."""

    code: ClassVar[str] = "stock-too-low"
    available: int
    delta: int

    def explain(self) -> str:
        """Say what was refused, why, and what to do."""
        return f"There are {self.available} units and the change is {self.delta}. Take out fewer."


class VersionConflict(Refusal):
    """The resource was changed by somebody else since the caller read it."""

    code: ClassVar[str] = "precondition-failed"
    actual: int

    def explain(self) -> str:
        """Say what was refused, why, and what to do."""
        return (
            f"The resource is at version {self.actual} now. Read it again, apply the change to what it "
            "holds, and send the new ETag as If-Match."
        )


class ItemRetired(Refusal):
    """The item was taken off the shelf for good."""

    code: ClassVar[str] = "item-retired"
    item_id: UUID

    def explain(self) -> str:
        """Say what was refused, why, and what to do."""
        return f"Item {self.item_id} was retired. Add a new item instead."


class UnknownImage(Refusal):
    """The thumbnail is not among the shop's pictures."""

    code: ClassVar[str] = "unknown-image"

    def explain(self) -> str:
        """Say what was refused, why, and what to do."""
        return "There is no picture with this thumbnail_id. Load the picture first, or leave it out."
