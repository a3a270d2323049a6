"""Scheduled: audits a sample of the ledger often, and all of it every day."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal
from uuid import uuid4

from domain.audit import Difference
from domain.contract import Contract
from handlers.edge.jobs import Findings, Parts, clock
from handlers.edge.observability import guarded, logger
from handlers.edge.settings import DatabaseEnvironment
from sql.transactions.audit_ledger import PARTS, audit_pass, audit_sample, audit_stock

_DATABASE = DatabaseEnvironment.read().database()

#: Differences that a run logs one by one.
_MOST_LOGGED = 100


class AuditInput(Contract):
    """What the schedule asks for."""

    audit: Literal["sample", "whole"] = "sample"


@guarded
def handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    """Audit until done or until the time is nearly up; give the differences by kind."""
    asked = AuditInput.model_validate(event)
    time_is_up = clock(context)
    findings = Findings[Difference]("LedgerDifferences")
    kinds: Counter[str] = Counter()

    def found(differences: Sequence[Difference]) -> None:
        for difference in findings.add(differences):
            if kinds.total() < _MOST_LOGGED:
                _log(difference)
            kinds[difference.kind] += 1

    parts = Parts()
    for part in PARTS:
        with parts.part(part.table.name):
            if asked.audit == "whole":
                scanned = audit_pass(_DATABASE, part, found, time_is_up)
                batches, done = scanned.batches, scanned.done
            else:
                batches, done = audit_sample(_DATABASE, part, found, uuid4(), time_is_up), True
            extra = {"audit": asked.audit, "part": part.table.name, "batches": batches, "done": done}
            logger.info("audited", extra=extra)
    with parts.part("stock"):
        audit_stock(_DATABASE, found)
    parts.end()
    # Emitted when it is 0, too: "no difference" is not "no audit".
    findings.end()
    return dict(kinds)


def _log(difference: Difference) -> None:
    logger.error(
        "ledger difference",
        extra={
            "kind": difference.kind,
            "subject_id": str(difference.subject_id),
            "customer_id": str(difference.customer_id) if difference.customer_id else None,
        },
    )
