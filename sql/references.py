"""Every reference from one table's column to another table, declared once.

Without foreign keys this list is what the orphan sweep goes by. A test compares it with the schema: every
column that holds an id is listed here, or exempt with a reason.
"""

from enum import StrEnum
from typing import NamedTuple

from sql.scan import NO_ID, Table

_PER_ID = {"id": NO_ID}

#: Tables that jobs scan, with about the bytes of a large row and its index entries.
TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table("customers", _PER_ID, 1500),
        Table("catalog_items", _PER_ID, 1000),
        Table("item_words", {"item_id": NO_ID, "word": ""}, 400),
        Table("catalog_images", {"item_id": NO_ID, "image_id": NO_ID}, 400),
        Table("shopping_cart_items", {"customer_id": NO_ID, "item_id": NO_ID}, 500),
        Table("staff_members", {"customer_id": NO_ID}, 200),
        Table("points_balances", {"customer_id": NO_ID}, 200),
        Table("transactions", _PER_ID, 500),
        Table("order_items", {"tx_id": NO_ID, "cat_item_id": NO_ID}, 400),
        Table("image_urls", {"image_id": NO_ID, "region": ""}, 2300),
        Table("orders", _PER_ID, 600),
        Table("order_events", {"order_id": NO_ID, "version": "0"}, 12_000),
        Table("idempotency_records", {"customer_id": NO_ID, "idempotency_key": ""}, 16_000),
        Table("stock", {"item_id": NO_ID, "slot": "-1"}, 200),
        Table("inbox", {"event_id": NO_ID, "consumer": ""}, 300),
        Table("notifications", _PER_ID, 10_000),
        Table("request_log", _PER_ID, 500),
        Table("consumed_versions", {"aggregate_id": NO_ID, "consumer": ""}, 300),
        Table("email_changes", {"customer_id": NO_ID}, 400),
        Table("usage_counts", {"subject": "", "operation": ""}, 300),
    )
}


class OnOrphan(StrEnum):
    """What the sweep does with rows that refer to nothing."""

    DELETE = "delete"
    REPORT = "report"  # money and what explains it: a person decides


class Reference(NamedTuple):
    """`table.column` names a row of `parent` by its id.

    With `gone_column`, a parent in which that column is set counts as gone: it stays for what must outlive it
    (orders, the ledger), and what need not outlive it goes.
    """

    table: str
    column: str
    parent: str
    on_orphan: OnOrphan
    gone_column: str | None = None

    def __str__(self) -> str:
        return f"{self.table}.{self.column}"


_DELETE, _REPORT = OnOrphan.DELETE, OnOrphan.REPORT

REFERENCES = (
    Reference("shopping_cart_items", "customer_id", "customers", _DELETE, "erased_at"),
    Reference("shopping_cart_items", "item_id", "catalog_items", _DELETE, "retired_at"),
    Reference("notifications", "customer_id", "customers", _DELETE, "erased_at"),
    Reference("staff_members", "customer_id", "customers", _DELETE, "erased_at"),
    Reference("email_changes", "customer_id", "customers", _DELETE, "erased_at"),
    Reference("item_words", "item_id", "catalog_items", _DELETE, "retired_at"),
    Reference("catalog_images", "item_id", "catalog_items", _DELETE, "retired_at"),
    Reference("catalog_images", "image_id", "images", _DELETE),
    Reference("image_urls", "image_id", "images", _DELETE),
    Reference("catalog_items", "thumbnail_id", "images", _REPORT),
    Reference("stock", "item_id", "catalog_items", _REPORT),
    Reference("points_balances", "customer_id", "customers", _REPORT),
    Reference("transactions", "customer_id", "customers", _REPORT),
    Reference("orders", "customer_id", "customers", _REPORT),
    Reference("order_items", "tx_id", "transactions", _REPORT),
    Reference("order_items", "cat_item_id", "catalog_items", _REPORT),
    Reference("order_events", "order_id", "orders", _REPORT),
)
