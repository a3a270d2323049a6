"""Counting what has bounds: how often a customer, or an address, had it (`domain/limits.py`)."""

from collections.abc import Sequence

from domain.limits import Bound, Uses
from sql.queries import Statement, load

_LIMITS = load("limits")
_READ_USES = _LIMITS["read_uses"].of(Uses)
_COUNT_USE = _LIMITS["count_use"]


def read_uses(bound: Bound, subjects: Sequence[str]) -> Statement[Uses]:
    """Give the statement that reads how often subjects had it: ids of customers, hashes of addresses."""
    return _READ_USES(operation=bound.operation, subjects=list(subjects))


def count_use(bound: Bound, subjects: Sequence[str]) -> Statement[object]:
    """Give the statement that counts one use more for each subject."""
    return _COUNT_USE(operation=bound.operation, subjects=list(subjects))
