"""Every event that this project reads or publishes. Functions import their own alone."""

from domain.events import Payload
from domain.events.customers import CustomerErased, CustomerErasureResumed, NotificationWritten
from domain.events.items import CatalogItemRetired, ItemRetirementResumed
from domain.events.mail import MailReturned
from domain.events.orders import OrderPlaced, StockExhausted
from domain.events.points import PointsCredited, PointsTransferred
from domain.events.refunds import OrderCancelled, OrderRefunded

#: What comes from another service, as a rule of the template puts it into our form; the bus never has it.
RECEIVED: dict[str, type[Payload]] = {MailReturned.type_name: MailReturned}

#: Every event that this project publishes, by detail-type.
PUBLISHED: dict[str, type[Payload]] = {
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

#: Every event that a consumer of ours may get.
CONTRACTS: dict[str, type[Payload]] = {**PUBLISHED, **RECEIVED}
