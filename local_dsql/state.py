"""What sessions share of a database, and what a session keeps of its transaction."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from local_dsql.backend import Run
from local_dsql.effects import Effect
from local_dsql.statements import Query, Table
from local_dsql.tables import Tables

_MOST_EFFECTS = 4096


class Lock(NamedTuple):
    """A row that a transaction has locked with FOR UPDATE (`U`) or FOR KEY SHARE (`K`), in one version."""

    oid: int
    place: str
    """Empty for a version that the transaction itself wrote: nobody else can have seen it."""
    key: str
    """Its primary key; its place in a table without one."""
    writer: str
    """The PostgreSQL transaction that wrote this version."""
    mode: str


class Trace(NamedTuple):
    """A lock of a transaction that has committed: PostgreSQL forgets it, DSQL does not."""

    moment: int
    lock: Lock


@dataclass(slots=True, eq=False)
class Transaction:
    """A transaction of a session: a block between BEGIN and COMMIT, or what one Sync ends."""

    is_block: bool
    started: int
    """The database's moment when it began."""
    version: int
    """The version of the schema when it began."""
    began_at: float = field(default_factory=time.monotonic)
    runs: list[Run] = field(default_factory=list)
    """What it did, to be done again once it has been parked."""
    queries: list[Query] = field(default_factory=list)
    """Every statement that it ran."""
    rows: int = 0
    bytes: int = 0
    """Bytes written, at most, where no statement enlarges what it was given."""
    enlarges: bool = False
    schema_statements: int = 0
    data_statements: int = 0
    is_parked: bool = False
    """Whether the frame has been rolled back, so that `runs` are to be run again before anything else."""
    is_pinned: bool = False
    """Whether it cannot be run again."""
    is_lost: bool = False
    """Whether DDL has taken its snapshot from it."""
    has_failed: bool = False
    copies: dict[Table, int] | None = None
    """The tables that have an own copy; None unless the transaction is doomed."""
    cause: int = -1
    """The client's message whose statement met another transaction's change."""
    retries: int = 0
    epoch: int = 0
    """How often the frame was rolled back: what was bound before is gone."""
    locks: dict[tuple[int, str], Lock] = field(default_factory=dict)
    may_hold_locks: bool = False
    """Whether it has run a locking statement, whose answer may not be known yet."""
    changes: set[Table] = field(default_factory=set)
    """Tables whose definition or rights it changes."""
    removes: set[int] = field(default_factory=set)
    """Tables in which it deletes rows, or changes keys."""
    relates: set[int] = field(default_factory=set)
    """Tables with foreign keys, or referenced by some, that it writes."""
    jobs: list[str] = field(default_factory=list)

    @property
    def is_doomed(self) -> bool:
        """Whether another transaction has committed a change to one of its rows."""
        return self.copies is not None

    @property
    def may_be_parked(self) -> bool:
        """Whether its locks can be given up while its client thinks."""
        return self.is_block and not (
            self.is_parked or self.is_pinned or self.is_doomed or self.has_failed or self.is_lost
        )

    @property
    def is_untouched(self) -> bool:
        """Whether nothing has happened to it that asks for more than passing its statements on."""
        return self.may_be_parked and not self.may_hold_locks and not self.schema_statements

    def hold(self, lock: Lock) -> None:
        """Note a locked row; FOR UPDATE is the stronger one."""
        known = self.locks.get((lock.oid, lock.key))
        if known is None or known.mode == "K":
            self.locks[lock.oid, lock.key] = lock


class Database:
    """One database: its schema's version, what committed transactions left, and what is known of tables."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sessions = 0
        self.version = 0
        self.moment = 0
        self.commit_lock = asyncio.Lock()
        self.lock_holders = 0
        """Open transactions that have locked rows."""
        self.traces: list[Trace] = []
        self.removed: dict[int, int] = {}
        self.related: dict[int, int] = {}
        """When rows of a table were last deleted, or written where foreign keys play: by oid."""
        self.types: dict[int, str] = {}
        self.effects: dict[str, Effect] = {}
        """What writes mean, by their texts, in this version of the schema; another dict in another one."""
        self._tables: tuple[int, Tables] | None = None
        self._changed: dict[str, list[tuple[int, str]]] = {}
        self._changed_schemas: dict[str, int] = {}

    # --- The schema --------------------------------------------------------------------------------------

    @property
    def tables(self) -> Tables | None:
        """What is known of the tables in the schema's version of now; None when that has to be asked."""
        known = self._tables
        return known[1] if known is not None and known[0] == self.version else None

    def learn(self, tables: Tables) -> None:
        """Keep what is known of the tables in this version."""
        self._tables = (self.version, tables)
        self.effects = {}

    def keep(self, query: Query, effect: Effect) -> None:
        """Keep what a write means, for when it comes again."""
        if len(self.effects) >= _MOST_EFFECTS:
            self.effects = {}
        self.effects[query.text] = effect

    def forget_tables(self) -> None:
        """Have the tables asked for again."""
        self._tables = None

    def change(self, changes: Iterable[Table]) -> None:
        """Note that DDL was committed."""
        self.version += 1
        self.effects = {}
        for table in changes:
            if table.name:
                self._changed.setdefault(table.name, []).append((self.version, table.schema))
            else:
                self._changed_schemas[table.schema] = self.version

    def has_changed(self, query: Query, since: int) -> bool:
        """Tell whether a table of a statement has been changed since a version."""
        if self._changed_schemas and max(self._changed_schemas.values()) > since:
            if self._changed_schemas.get("", 0) > since:
                return bool(query.names)
            schemas = {schema for schema, version in self._changed_schemas.items() if version > since}
            if any(self._is_in(reference.table, schemas) for reference in query.references):
                return True
        names = query.names
        if self._tables is not None:
            views = [self._tables[1].find(reference.table) for reference in query.references]
            names = names.union(*(view.base_names for view in views if view is not None and view.is_view))
        return any(
            version > since and self._may_mean(query, name, schema)
            for name in names
            for version, schema in self._changed.get(name, ())
        )

    @staticmethod
    def _may_mean(query: Query, name: str, schema: str) -> bool:
        named = {reference.table.schema for reference in query.references if reference.table.name == name}
        return not schema or not named or "" in named or schema in named

    def _is_in(self, table: Table, schemas: set[str]) -> bool:
        if table.schema:
            return table.schema in schemas
        facts = self._tables[1].find(table) if self._tables is not None else None
        return facts is None or facts.schema in schemas

    # --- Commits -----------------------------------------------------------------------------------------

    def mark(self, transaction: Transaction) -> None:
        """Note what a transaction leaves for others to look at: once before its COMMIT and once after it.

        Whoever takes a snapshot in between may or may not see it, and is to look.
        """
        self.moment += 1
        for oid in transaction.removes:
            self.removed[oid] = self.moment
        for oid in transaction.relates:
            self.related[oid] = self.moment

    def leave_traces(self, transaction: Transaction, oldest: int) -> None:
        """Keep a committed transaction's locks, for as long as one that began before it is open."""
        self.moment += 1
        self.traces = [trace for trace in self.traces if trace.moment > oldest]
        self.traces += [Trace(self.moment, lock) for lock in transaction.locks.values()]

    def traces_since(self, moment: int) -> list[Trace]:
        """Give the locks of transactions that have committed after a moment."""
        return [trace for trace in self.traces if trace.moment > moment]
