"""The whole sample from three numbers."""

from collections.abc import Iterator
from itertools import islice
from typing import TypedDict

from domain.search import item_words
from local.sample_data.catalogue import build_catalogue
from local.sample_data.customers import STAFF_USERNAMES, build_clientele
from local.sample_data.rows import ItemWord, SampleData, StaffMember


class Enrolment(TypedDict):
    """A message to the enrolment queue, which gives a customer a user in the pool."""

    username: str
    email: str
    customer_id: str
    staff: bool


def generate(customers: int = 5000, items: int = 200, seed: int = 1) -> SampleData:
    """Make a shop full of customers: the same three numbers give the same rows, in every process.

    Raises ValueError for fewer than 5 customers or 10 items.
    """
    catalogue = build_catalogue(items, seed)
    clientele = build_clientele(customers, seed, catalogue)
    return SampleData(
        images=tuple(catalogue.images),
        catalog_items=tuple(catalogue.items),
        item_words=tuple(
            ItemWord(item.id, word)
            for item in catalogue.items
            for word in sorted(item_words(item.name, item.description))
        ),
        catalog_images=tuple(catalogue.catalog_images),
        stock=tuple(catalogue.stock),
        customers=tuple(clientele.customers),
        staff_members=tuple(
            StaffMember(customer.id)
            for customer in clientele.customers
            if customer.username in STAFF_USERNAMES
        ),
        points_balances=tuple(clientele.balances),
        shopping_cart_items=tuple(clientele.carts),
        orders=tuple(clientele.orders),
        order_events=tuple(clientele.order_events),
        order_items=tuple(clientele.order_items),
        transactions=tuple(clientele.ledger),
        pictures=tuple(catalogue.pictures),
        hot_drop_item_id=catalogue.hot_drop_item_id,
        single_seat_item_id=catalogue.single_seat_item_id,
    )


def enrolment_messages(data: SampleData, count: int | None = None) -> Iterator[Enrolment]:
    """Yield the messages that enrol the first `count` customers, or all.

    The demo customer is the first, the two members of staff follow.
    """
    for customer in islice(data.customers, count):
        yield Enrolment(
            username=customer.username,
            email=customer.email,
            customer_id=str(customer.id),
            staff=customer.username in STAFF_USERNAMES,
        )
