"""Refunds: an order's units go back, whole or in part, never more than were bought and never twice."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple
from uuid import UUID

from domain import refusals
from domain.refusals import Refusal


class BoughtLine(NamedTuple):
    """A line of an order: units bought, units given back so far, price in points of one."""

    item_id: UUID
    quantity: int
    refunded: int
    unit_points: int

    @property
    def left(self) -> int:
        """Units that can still be given back."""
        return self.quantity - self.refunded


class BoughtOrder(NamedTuple):
    """An order as it stands; lines in item order."""

    status: str
    version: int
    lines: tuple[BoughtLine, ...]


class RefundLine(NamedTuple):
    """Units of one line that are given back now."""

    item_id: UUID
    quantity: int
    unit_points: int


class AcceptedRefund(NamedTuple):
    """The decision to give points back: which units, how many points, the order's next status and version."""

    lines: tuple[RefundLine, ...]
    points: int
    status: Literal["CANCELLED", "PART_REFUNDED", "REFUNDED"]
    version: int


def decide_cancellation(order: BoughtOrder) -> AcceptedRefund | Refusal:
    """Decide whether an order is undone as a whole: only while nothing of it was given back."""
    if order.status != "PLACED":
        return refusals.not_cancellable(status=order.status)
    return _accept(order, {line.item_id: line.left for line in order.lines}, cancelled=True)


def decide_refund(order: BoughtOrder, requested: Mapping[UUID, int] | None) -> AcceptedRefund | Refusal:
    """Decide which units go back: `requested` (item id to units, each at least 1), or None for all left."""
    left = {line.item_id: line.left for line in order.lines}
    if not any(left.values()):
        return refusals.already_refunded(status=order.status)
    if requested is None:
        return _accept(order, left)
    for item_id, quantity in requested.items():
        if quantity < 1:
            raise ValueError(
                "a refund takes at least one unit a line; check the request before deciding on it"
            )
        if item_id not in left:
            return refusals.not_in_order(item_id)
        # guard: no more is given back than is left
        if quantity > left[item_id]:
            return refusals.refund_too_large(item_id=item_id, requested=quantity, left=left[item_id])
    return _accept(order, requested)


def _accept(order: BoughtOrder, units: Mapping[UUID, int], cancelled: bool = False) -> AcceptedRefund:
    lines = tuple(
        RefundLine(line.item_id, units[line.item_id], line.unit_points)
        for line in order.lines
        if units.get(line.item_id, 0) > 0
    )
    complete = all(line.left == units.get(line.item_id, 0) for line in order.lines)
    return AcceptedRefund(
        lines=lines,
        points=sum(line.quantity * line.unit_points for line in lines),
        status="CANCELLED" if cancelled else "REFUNDED" if complete else "PART_REFUNDED",
        version=order.version + 1,
    )


def requested_units(lines: Sequence[tuple[UUID, int]]) -> dict[UUID, int]:
    """Gather a request's lines by item; an item that is named twice is asked for in sum."""
    units: dict[UUID, int] = {}
    for item_id, quantity in lines:
        units[item_id] = units.get(item_id, 0) + quantity
    return units
