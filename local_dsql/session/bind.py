"""Parse, Describe and Bind: what a statement is, whether DSQL takes it now, what it takes to repeat it."""

import base64
import json
import os
import random
import time
from collections.abc import Callable

from pglast import ast

from local_dsql import refusals, statements, wire
from local_dsql.backend import BOUND, DESCRIBED, PARSED, Failure, Portal, Prepared, Run, Step
from local_dsql.effects import Effect, weigh
from local_dsql.refusals import Refusal
from local_dsql.session import answers
from local_dsql.session.commit import Committing
from local_dsql.state import Transaction
from local_dsql.statements import EFFECTS, Kind, Query, Rows, Table
from local_dsql.table_refusals import LIMITED, Counts, find_with_counts, find_with_table

_BEGINS_AND_ENDS = frozenset({Kind.BEGIN, Kind.COMMIT, Kind.ROLLBACK})


class Binding(Committing):
    """Plans what goes before an execution."""

    def _parse(self, raw: bytes, index: int) -> None:
        end = raw.index(0, 5)
        second = raw.index(0, end + 1)
        name, oids = raw[5:end], raw[second + 1 :]
        query = statements.read(raw[end + 1 : second].decode(errors="surrogateescape"))
        if query.refusal is not None:
            self._refuse(query.refusal, index)
            return
        if self.version != self.database.version and self._meets_change(query, index):
            return
        self._name(self.statements, name, Prepared(query, oids), index)
        sent = query.sent
        if query.role_link is not None:
            action, role, arn = query.role_link
            sent = f"call pg_dsql.iam_{action.lower()}({_literal(role)}, {_literal(arn)})"
        if sent is not query.text:
            raw = wire.parse(name, sent.encode(errors="surrogateescape"), oids)
        self._steps.append(Step(raw, PARSED, shown=not self._plan.is_simple, index=index))

    def _describe(self, raw: bytes, index: int) -> None:
        query = None
        if raw[5:6] == b"P":
            portal = self.portals.get(raw[6:-1])
            query = portal.prepared.query if portal is not None else None
        else:
            prepared = self.statements.get(raw[6:-1])
            query = prepared.query if prepared is not None else None
        alter: Callable[[int, bytes], bytes] | None = None
        if query is not None and query.job_type:
            alter = answers.describe_job
        elif self._plan.is_simple:
            alter = answers.without_no_data
        self._steps.append(Step(raw, DESCRIBED, shown=True, index=index, alter=alter))

    def _meets_change(self, query: Query, index: int) -> bool:
        """Refuse a statement against a table that was changed since this session looked; it may try again."""
        if not self.database.has_changed(query, self.version):
            return False
        self.version = self.database.version
        self._refuse(refusals.SCHEMA_CHANGED, index)
        return True

    async def _bind(self, raw: bytes, index: int) -> Failure | None:
        end = raw.index(0, 5)
        second = raw.index(0, end + 1)
        prepared = self.statements.get(raw[end + 1 : second])
        if prepared is None:
            self._steps.append(Step(raw, BOUND, shown=True, index=index))
            return None
        name = raw[5:end]
        portal = Portal(prepared, raw[second + 1 :], raw)
        self._name(self.portals, name, portal, index)
        return await self._bind_portal(name, portal, index, shown=not self._plan.is_simple)

    async def _bind_portal(self, name: bytes, portal: Portal, index: int, *, shown: bool) -> Failure | None:
        """Bind a portal, after whatever the transaction's state asks for."""
        query = portal.prepared.query
        kind = query.kind
        transaction = self.transaction
        if kind in _BEGINS_AND_ENDS or (transaction is not None and transaction.has_failed):
            self._steps.append(Step(portal.raw, BOUND, shown=shown, index=index))
            return None
        if transaction is None:
            transaction = self.transaction = self._begun(is_block=False)
        if (refusal := self._refused_now(query, transaction)) is not None:
            self._refuse(refusal, index)
            return None
        if self.version != self.database.version and self._meets_change(query, index):
            return None
        chance = self.server.chance
        if chance.is_on and (by_chance := chance.at_statement(query, in_block=transaction.is_block)):
            self._refuse(by_chance, index)
            return None
        if transaction.is_parked:
            self._add_replay(transaction, index)
        portal.epoch = transaction.epoch
        portal.run = None
        if transaction.is_doomed and kind in (Kind.READ, Kind.LOCK, Kind.WRITE, Kind.COPY_IN):
            return await self._bind_on_copies(name, portal, index, shown=shown)
        if kind in EFFECTS:
            failure = await self._prepare_run(portal, transaction, index)
            if failure is not None:
                return failure
        self._steps.append(Step(portal.raw, BOUND, shown=shown, index=index))
        return None

    def _refused_now(self, query: Query, transaction: Transaction) -> Refusal | None:
        """Give what DSQL refuses of a statement in this transaction."""
        if transaction.is_lost:
            return refusals.SCHEMA_CHANGED
        if transaction.is_block:
            age_s = time.monotonic() - transaction.began_at
            if age_s > self.limits.transaction_age_s:
                return refusals.transaction_age(int(age_s))
        if query.kind is Kind.SCHEMA:
            if transaction.schema_statements:
                return refusals.TWO_DDL
            if transaction.data_statements:
                return refusals.DDL_AND_DML
        elif query.touches_data and transaction.schema_statements:
            return refusals.DDL_AND_DML
        return None

    async def _prepare_run(self, portal: Portal, transaction: Transaction, index: int) -> Failure | None:
        """See what an effect takes to be repeated, and how many rows it may touch."""
        query = portal.prepared.query
        run = portal.run = Run(portal.prepared, portal.values, index, self._plan)
        if query.kind is Kind.SCHEMA:
            return await self._prepare_schema_run(run, index)
        if query.kind is not Kind.WRITE:
            self._plan.rows_unknown = self._plan.rows_unknown or query.kind is Kind.COPY_IN
            return None
        effect = self.database.effects.get(query.text)
        if effect is None:
            failure, effect = await self._weigh(query)
            if effect is None:
                return failure
        self._bound_rows(effect, query, portal.values)
        run.is_counted, run.tables = effect.is_counted, effect.tables
        self._plan.enlarges = self._plan.enlarges or query.enlarges
        transaction.removes |= effect.removes
        transaction.relates |= effect.relates
        if transaction.is_block:
            transaction.is_pinned = transaction.is_pinned or effect.takes_sequence
            if effect.is_random:
                run.seed = repr(random.uniform(-1, 1)).encode()
                run.moment = _moment() if effect.reads_clock else b""
                self._add_fix(run, index)
        return None

    async def _weigh(self, query: Query) -> tuple[Failure | None, Effect | None]:
        """Find out what a write means, given the tables that it writes."""
        tables = self.database.tables
        if tables is None or any(tables.find(write.table) is None for write in query.writes):
            failure, tables = await self._ask_for_tables()
            if failure is not None or tables is None:
                return failure, None
        effect = weigh(query, tables)
        # What an older snapshot showed is not to be kept.
        if tables is self.database.tables:
            self.database.keep(query, effect)
        return None, effect

    async def _prepare_schema_run(self, run: Run, index: int) -> Failure | None:
        query = run.query
        if query.job_type:
            run.job = base64.b32encode(os.urandom(16)).decode().rstrip("=").lower()
            tree = query.tree
            table = Table(tree.relation.schemaname or "", tree.relation.relname)
            index_name = getattr(tree, "idxname", None) or ""
            values = (run.job, query.job_type, table.sql, index_name, self._plan.failed_job)
            run.own = ("job", tuple(value.encode() for value in values))
        return await self._refuse_for_what_is_there(query, index)

    async def _refuse_for_what_is_there(self, query: Query, index: int) -> Failure | None:
        """Refuse a change of a table for what the table is, and a CREATE for how many there are."""
        refusal = None
        if isinstance(query.tree, ast.IndexStmt | ast.AlterTableStmt):
            failure, tables = await self._ask_for_tables()
            if failure is not None:
                return failure
            facts = tables.find(next(iter(query.changes))) if tables is not None and query.changes else None
            if facts is not None:
                refusal = find_with_table(query.tree, facts.state)
        elif isinstance(query.tree, LIMITED):
            if (failure := await self._send(sync=False)) is not None:
                return failure
            failure, answers = await self._ask_own(["select pg_dsql.counts()"])
            if failure is not None:
                return failure
            counted = Counts(*json.loads(wire.row_values(answers[0])[0] or b"[]"))
            refusal = find_with_counts(query.tree, counted)
        if refusal is not None:
            self._refuse(refusal, index)
        return None

    def _bound_rows(self, effect: Effect, query: Query, values: bytes) -> None:
        plan = self._plan
        if effect.rows is Rows.FIXED:
            plan.rows_at_most += effect.row_count
        elif effect.rows is Rows.BY_VALUES:
            # Two bytes a value at least, whatever its type and format.
            plan.rows_at_most += (len(values) + len(query.text)) // 2
        else:
            plan.rows_unknown = True


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _moment() -> bytes:
    now = time.time()
    whole = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now))
    return f"{whole}.{int(now % 1 * 1_000_000):06d}+00".encode()
