"""What a write means to others and to its own repetition, given the tables that it writes."""

from collections.abc import Sequence
from typing import NamedTuple

from local_dsql.statements import Query, Rows
from local_dsql.tables import Facts, Tables


class Effect(NamedTuple):
    """One INSERT, UPDATE or DELETE, as far as text and tables tell."""

    tables: frozenset[int]
    rows: Rows
    """FIXED, BY_VALUES or UNKNOWN: how many rows it may touch."""
    row_count: int
    is_counted: bool
    """Whether the command's tag does not tell the rows: cascades, several writes in one statement."""
    removes: frozenset[int]
    """Tables in which keys may go, or become others."""
    relates: frozenset[int]
    """Tables with foreign keys, or referenced by some, that it writes."""
    is_random: bool
    """Whether it has to be given what random() starts from, to be run again with the same result."""
    reads_clock: bool
    takes_sequence: bool
    """Whether it cannot be run again with the same result."""


def weigh(query: Query, tables: Tables) -> Effect:
    """Weigh a write. A table that is unknown may have any default and any key."""
    facts = [tables.find(write.table) for write in query.writes]
    known = [each for each in facts if each is not None]
    inserted = [f for f, write in zip(facts, query.writes, strict=True) if write.action == "insert"]
    cascades = any(each.cascades for each in known)
    reads_clock = query.reads_clock or any(f is None or f.has_clock_default for f in inserted)
    removes: set[int] = set()
    for each, write in zip(facts, query.writes, strict=True):
        if each is not None and (
            write.action == "delete" or (write.action == "update" and sets_key(query, each.keys))
        ):
            removes |= {each.oid, *(each.children if each.cascades else ())}
    rows, count = _row_bound(query, facts)
    return Effect(
        tables=frozenset(each.oid for each in known),
        rows=Rows.UNKNOWN if cascades else rows,
        row_count=count,
        is_counted=len(query.writes) > 1 or cascades,
        removes=frozenset(removes),
        relates=frozenset(each.oid for each in known if each.parents or each.children),
        is_random=query.is_random or reads_clock or any(f is None or f.has_random_default for f in inserted),
        reads_clock=reads_clock,
        takes_sequence=bool(inserted)
        and (query.takes_sequence or any(f is not None and f.takes_sequence for f in inserted)),
    )


def _row_bound(query: Query, facts: Sequence[Facts | None]) -> tuple[Rows, int]:
    if query.row_bound is not Rows.BY_KEY:
        return query.row_bound, query.row_count
    keys = facts[0].keys if facts[0] is not None else ()
    if any(query.equated.issuperset(key) for key in keys):
        return Rows.FIXED, 1
    if any((query.equated | query.listed).issuperset(key) for key in keys):
        return Rows.BY_VALUES, 0
    return Rows.UNKNOWN, 0


def sets_key(query: Query, keys: Sequence[Sequence[str]]) -> bool:
    """Tell whether an UPDATE sets a column of a unique key."""
    changed = {str(target.name) for target in getattr(query.tree, "targetList", None) or ()}
    return any(changed & set(key) for key in keys)
