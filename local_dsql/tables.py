"""What the server knows of the tables of one database: keys, defaults, references."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from local_dsql.statements import Table
from local_dsql.table_refusals import TableState, key_column

_RANDOM_WORDS = ("random", "uuid")
_CLOCK_WORDS = ("clock_timestamp", "timeofday", "statement_timestamp")


class Facts(NamedTuple):
    """One table or view."""

    oid: int
    schema: str
    name: str
    is_view: bool
    columns: Mapping[str, str]
    """Types by name, in order, without generated columns."""
    keys: tuple[tuple[str, ...], ...]
    """The columns of each unique index over plain columns, the primary key first if there is one."""
    has_primary: bool
    primary_key_name: str
    """Of the constraint; empty without one."""
    has_odd_key: bool
    """Whether a unique index is partial, over expressions, or takes nulls as equal."""
    index_count: int
    has_random_default: bool
    has_clock_default: bool
    takes_sequence: bool
    """Whether a default or an identity column takes from a sequence: that cannot be repeated."""
    cascades: bool
    """Whether a foreign key changes other tables when this one's rows go or get another key."""
    parents: frozenset[int]
    children: frozenset[int]
    base_names: frozenset[str]
    """What a view is made of."""

    @property
    def primary_key(self) -> tuple[str, ...]:
        """The primary key's columns; empty without one."""
        return self.keys[0] if self.has_primary and self.keys else ()

    @property
    def state(self) -> TableState:
        """What may make DSQL refuse a change of the table."""
        columns = {name: key_column(shown) for name, shown in self.columns.items()}
        return TableState(columns, self.primary_key, self.primary_key_name, self.index_count)


class Tables:
    """The tables of a database, as of one version of its catalogue."""

    def __init__(self, described: Iterable[Mapping[str, Any]]) -> None:
        self._by_name: dict[str, list[Facts]] = {}
        self.by_oid: dict[int, Facts] = {}
        for each in described:
            facts = _facts(each)
            self._by_name.setdefault(facts.name, []).append(facts)
            self.by_oid[facts.oid] = facts

    @classmethod
    def parse(cls, text: bytes) -> "Tables":
        """Read what `pg_dsql.tables()` gives."""
        return cls(json.loads(text))

    def find(self, table: Table) -> Facts | None:
        """Give a table's facts; None for one that is unknown, or that the search path alone tells apart."""
        found = self._by_name.get(table.name, ())
        if table.schema:
            found = [each for each in found if each.schema == table.schema]
        return found[0] if len(found) == 1 else None


def _facts(given: Mapping[str, Any]) -> Facts:
    defaults = [str(each) for each in given["defaults"]]
    return Facts(
        oid=given["oid"],
        schema=given["schema"],
        name=given["name"],
        is_view=given["is_view"],
        columns=dict(given["columns"]),
        keys=tuple(tuple(columns) for columns in given["keys"] if columns),
        has_primary=given["has_primary"],
        primary_key_name=given["primary_key_name"],
        has_odd_key=given["has_odd_key"],
        index_count=given["index_count"],
        has_random_default=_mentions(defaults, _RANDOM_WORDS),
        has_clock_default=_mentions(defaults, _CLOCK_WORDS),
        takes_sequence=given["has_identity"] or _mentions(defaults, ("nextval",)),
        cascades=given["cascades"],
        parents=frozenset(given["parents"]),
        children=frozenset(given["children"]),
        base_names=frozenset(given["base_names"]),
    )


def _mentions(defaults: Iterable[str], words: Iterable[str]) -> bool:
    return any(word in default for default in defaults for word in words)
