"""Scheduled: finds rows whose parent is missing; deletes some kinds of them and reports the others."""

from functools import partial
from typing import Any
from uuid import UUID

from aws_lambda_powertools.metrics import MetricUnit

from handlers.edge.jobs import Findings, clock, do_each
from handlers.edge.observability import guarded, logger, metrics
from handlers.edge.settings import DatabaseEnvironment
from sql.references import REFERENCES, Reference
from sql.transactions.sweep_orphans import sweep

_DATABASE = DatabaseEnvironment.read().database()

#: Missing parents of a batch that its log line names.
_MOST_NAMED = 20


@guarded
def handler(_event: dict[str, Any], context: Any) -> dict[str, int]:
    """Sweep each reference until the time is nearly up; the next run goes on from there."""
    time_is_up = clock(context)
    orphans: dict[str, int] = {}
    findings = Findings[tuple[str, UUID]]("OrphansReported")

    def sweep_one(reference: Reference) -> None:
        name = str(reference)

        def found(missing: set[UUID]) -> None:
            new = findings.add([(name, parent_id) for parent_id in sorted(missing)])
            if new:
                named = [str(parent_id) for _, parent_id in new[:_MOST_NAMED]]
                extra = {"reference": name, "missing": len(new), "missing_ids": named}
                logger.warning("orphans found", extra=extra)

        swept = sweep(_DATABASE, reference, time_is_up, found=found)
        orphans[name] = swept.deleted + len(swept.missing)
        metrics().add_metric("OrphansDeleted", MetricUnit.Count, swept.deleted)
        logger.info(
            "swept",
            extra={
                "reference": name,
                "deleted": swept.deleted,
                "missing": len(swept.missing),
                "done": swept.done,
            },
        )

    do_each({str(reference): partial(sweep_one, reference) for reference in REFERENCES})
    findings.end()
    return orphans
