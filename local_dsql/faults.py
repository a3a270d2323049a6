"""What a cluster shows now and then, by chance: for those who want to see whether their program stands it."""

import random
from collections.abc import Sequence
from typing import NamedTuple

from local_dsql import refusals
from local_dsql.refusals import Refusal
from local_dsql.statements import Kind, Query

DONE_NEVERTHELESS = "By chance, and the transaction was committed nevertheless."
"""The HINT of an XX000 after a COMMIT that was done. DSQL gives none: no program should go by it."""


class Faults(NamedTuple):
    """Shares from 0 to 1 of what goes wrong without a cause. Nothing does unless it is asked for."""

    conflicts: float = 0.0
    """Of transactions that write: OC000 at COMMIT, or at the statement outside of a block. The first
    transaction of each kind, told by its statements, is one of them as soon as the share is above 0."""
    schema_changes: float = 0.0
    """Of statements on tables: OC001."""
    failures: float = 0.0
    """Of COMMITs: XX000. Half of them were done nevertheless."""


class Chance:
    """Decides what goes wrong."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.is_on = any(faults)
        self._random = random.Random()
        self._seen: set[frozenset[str]] = set()

    def at_commit(self, queries: Sequence[Query]) -> tuple[Refusal, bool] | None:
        """Give what a COMMIT after these statements is answered with, and whether it is done all the same."""
        if not any(query.kind is Kind.WRITE for query in queries):
            return None
        if self._conflicts(queries):
            return refusals.CONFLICT, False
        if self._random.random() < self.faults.failures:
            if self._random.random() < 0.5:
                return refusals.UNAVAILABLE._replace(hint=DONE_NEVERTHELESS), True
            return refusals.UNAVAILABLE, False
        return None

    def at_statement(self, query: Query, *, in_block: bool) -> Refusal | None:
        """Give what a statement is refused with."""
        if query.kind not in (Kind.READ, Kind.LOCK, Kind.WRITE) or not query.names:
            return None
        if self._random.random() < self.faults.schema_changes:
            return refusals.SCHEMA_CHANGED
        if not in_block and query.kind is Kind.WRITE and self._conflicts([query]):
            return refusals.CONFLICT
        return None

    def _conflicts(self, queries: Sequence[Query]) -> bool:
        kind = frozenset(query.text for query in queries)
        is_first = kind not in self._seen
        share = self.faults.conflicts
        if share > 0:
            self._seen.add(kind)
        return share > 0 and (is_first or self._random.random() < share)
