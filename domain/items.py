"""The staff's side of the catalogue: adding, changing and retiring items."""

import struct
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from domain import refusals
from domain.refusals import Refusal
from domain.versions import Expected

#: Larger prices would not fit an order's sums into what every JSON reader holds exactly.
MAX_POINTS_PRICE = 2_000_000_000


class ItemData(NamedTuple):
    """What staff decide of an item."""

    name: str
    description: str | None
    category: str | None
    usd_price: Decimal | None
    points_price: int
    rating: float | None
    sku: str | None
    weight: float | None
    width: float | None
    height: float | None
    depth: float | None
    thumbnail_id: UUID | None


class StoredItem(NamedTuple):
    """An item as stored."""

    version: int
    retired: bool
    data: ItemData


#: The largest number of a column in single precision.
LARGEST_REAL = (2 - 2**-23) * 2.0**127


def _packed(value: float) -> bytes:
    """Give a measure or a rating as it is stored: in single precision."""
    return struct.pack("f", value)


def as_stored(value: float) -> float:
    """Give a measure or a rating in the precision in which it is stored: what is too small for that is 0."""
    (stored,) = struct.unpack("f", _packed(value))
    return float(stored)


def _in_bytes(data: ItemData) -> list[object]:
    return [_packed(value) if isinstance(value, float) else value for value in data]


def decide_item_change(
    item_id: UUID, item: StoredItem | None, expected: Expected, requested: ItemData, image_known: bool
) -> int | Refusal:
    """Decide the version to store what was sent under, or that it is stored already under the present one.

    A change that is sent again after its answer was lost finds itself stored, which is no conflict.
    `image_known` is false where the request names a picture that is not.
    """
    if item is None:
        return refusals.unknown_item(item_id)
    if item.retired:
        return refusals.item_retired(item_id)
    # guard: an item change finds itself done
    if _in_bytes(requested) == _in_bytes(item.data) and expected.includes_recent(item.version):
        return item.version
    if not expected.includes(item.version):
        return refusals.precondition_failed(actual=item.version)
    return item.version + 1 if image_known else refusals.unknown_image()


def decide_retirement(item_id: UUID, item: StoredItem | None) -> int | Refusal | None:
    """Decide the version that retiring makes; None where the item was retired before."""
    if item is None:
        return refusals.unknown_item(item_id)
    return None if item.retired else item.version + 1
