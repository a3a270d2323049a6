"""Scheduled: finds rows whose parent is missing; deletes some kinds of them and reports the others.

What is missing of the search's words, which follow from the items, is written.
"""

from functools import partial
from typing import Any
from uuid import UUID

from aws_lambda_powertools.metrics import MetricUnit

from handlers.edge.jobs import Findings, Parts, clock
from handlers.edge.observability import guarded, logger, metrics
from handlers.edge.settings import DatabaseEnvironment
from sql.references import REFERENCES
from sql.transactions.index_items import index_items
from sql.transactions.sweep_orphans import sweep

_DATABASE = DatabaseEnvironment.read().database()

#: Missing parents of a batch that its log line names.
_MOST_NAMED = 20


@guarded
def handler(_event: dict[str, Any], context: Any) -> dict[str, int]:
    """Sweep each reference until the time is nearly up; the next run goes on from there."""
    time_is_up = clock(context)
    parts = Parts()
    orphans: dict[str, int] = {}
    findings = Findings[tuple[str, UUID]]("OrphansReported")
    for reference in REFERENCES:
        name = str(reference)
        with parts.part(name):
            swept = sweep(_DATABASE, reference, time_is_up, found=partial(_tell, findings, name))
            orphans[name] = swept.deleted + len(swept.missing)
            metrics().add_metric("OrphansDeleted", MetricUnit.Count, swept.deleted)
            missing = len(swept.missing)
            extra = {"reference": name, "deleted": swept.deleted, "missing": missing, "done": swept.done}
            logger.info("swept", extra=extra)
    with parts.part("search words"):
        indexed = index_items(_DATABASE, time_is_up)
        logger.info("search words put right", extra={"rows": indexed.rows, "done": indexed.done})
    parts.end()
    findings.end()
    return orphans


def _tell(findings: Findings[tuple[str, UUID]], reference: str, missing: set[UUID]) -> None:
    new = findings.add([(reference, parent_id) for parent_id in sorted(missing)])
    if new:
        named = [str(parent_id) for _, parent_id in new[:_MOST_NAMED]]
        extra = {"reference": reference, "missing": len(new), "missing_ids": named}
        logger.warning("orphans found", extra=extra)
