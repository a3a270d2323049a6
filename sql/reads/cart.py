"""A customer's cart."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from domain.points import PointsAccount
from sql.connection import Database
from sql.queries import load
from sql.reads.catalogue import StoredPicture
from sql.transaction import snapshot


class CartRow(NamedTuple):
    """A cart line with live price and thumbnail; `lines`, `units` and `total_points` are the whole cart's."""

    item_id: UUID
    name: str | None
    quantity: int
    unit_points: int | None
    available: int | None
    lines: int
    units: int
    total_points: int
    image_id: UUID | None
    filename: str | None
    url: str | None
    created: datetime | None

    @property
    def picture(self) -> StoredPicture | None:
        """The item's thumbnail."""
        return StoredPicture.in_columns(self.image_id, self.filename, self.url, self.created)


_SHOW_CART = load("cart")["show_cart"].of(CartRow)
_READ_ACCOUNT = load("ledger")["read_account"].of(PointsAccount)


def show_cart(
    database: Database, region: str, customer_id: UUID, most: int
) -> tuple[list[CartRow], int | None]:
    """Give the first `most` lines of a cart, and the customer's balance, of one snapshot.

    The balance is None for a customer without a points account.
    """
    rows, accounts = snapshot(
        database,
        _SHOW_CART(customer_id=customer_id, region=region, most=most),
        _READ_ACCOUNT(customer_id=customer_id),
    )
    return rows, accounts[0].balance if accounts else None
