"""Every event that this project publishes. Functions import their own alone."""

from domain.events import Payload
from domain.events.customers import CustomerErased, CustomerErasureResumed, NotificationWritten
from domain.events.items import CatalogItemRetired, ItemRetirementResumed
from domain.events.orders import OrderCancelled, OrderPlaced, OrderRefunded, StockExhausted
from domain.events.points import PointsCredited, PointsTransferred

#: Every event that this project publishes, by detail-type.
CONTRACTS: dict[str, type[Payload]] = {
    contract.type_name: contract
    for contract in (
        OrderPlaced,
        OrderCancelled,
        OrderRefunded,
        PointsTransferred,
        PointsCredited,
        CustomerErased,
        CatalogItemRetired,
        CustomerErasureResumed,
        ItemRetirementResumed,
        StockExhausted,
        NotificationWritten,
    )
}
