"""Scheduled: audits a sample of the ledger often, and all of it once a day."""

from typing import Any, Literal
from uuid import uuid4

from aws_lambda_powertools.metrics import MetricUnit
from pydantic import BaseModel

from domain.audit import count_by_kind
from handlers.edge.observability import guarded, logger, metrics
from handlers.edge.settings import DatabaseEnvironment
from sql.transactions.audit_ledger import audit_sample, audit_whole

_DATABASE = DatabaseEnvironment.read().database()

#: Enough for the transaction under way to end and for the metrics to be written.
_MARGIN_MS = 10_000

#: Differences that are logged one by one.
_MOST_LOGGED = 100


class Order(BaseModel):
    """What the schedule asks for."""

    audit: Literal["sample", "whole"] = "sample"


@guarded
def handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    """Audit until done or until the time is nearly up; give the differences by kind."""

    def time_is_up() -> bool:
        return bool(context.get_remaining_time_in_millis() < _MARGIN_MS)

    order = Order.model_validate(event)
    if order.audit == "whole":
        audited = audit_whole(_DATABASE, time_is_up)
    else:
        audited = audit_sample(_DATABASE, uuid4(), time_is_up)
    differences = sorted(audited.differences, key=lambda one: (one.kind, str(one.subject_id)))
    for difference in differences[:_MOST_LOGGED]:
        logger.error(
            "ledger difference",
            extra={
                "kind": difference.kind,
                "subject_id": str(difference.subject_id),
                "customer_id": str(difference.customer_id) if difference.customer_id else None,
            },
        )
    # Emitted when it is 0, too: an alarm on it tells "no difference" from "no audit".
    metrics().add_metric("LedgerDifferences", MetricUnit.Count, len(differences))
    metrics().flush_metrics()
    by_kind = count_by_kind(differences)
    logger.info(
        "audited",
        extra={"audit": order.audit, "windows": audited.windows, "done": audited.done, "kinds": by_kind},
    )
    return by_kind
