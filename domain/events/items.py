"""Events of the catalogue's items."""

from typing import ClassVar

from domain.contract import Id
from domain.events import Payload


class CatalogItemRetired(Payload):
    """An item is no longer for sale, and will not be again."""

    type_name: ClassVar[str] = "CatalogItemRetired.v1"
    aggregate_type: ClassVar[str] = "catalog_item"

    item_id: Id


class ItemRetirementResumed(Payload):
    """Clearing up after a retired item takes more than one slice; the next slice begins at `step`.

    `after` is the key behind which it begins, None for the step's beginning. `retirement_id` is the id of the
    CatalogItemRetired event, by which the messages to shoppers are found.
    """

    type_name: ClassVar[str] = "ItemRetirementResumed.v1"
    aggregate_type: ClassVar[str] = "catalog_item"

    item_id: Id
    retirement_id: Id
    step: str
    after: Id | None = None
