"""What Aurora DSQL refuses, and in which words: one table, for the server and for a check before deploying.

`find` tells from a statement's parse tree alone; `find_in_key` wants the types of a key's columns; the rest
of the module is what only a run shows, as words for the server to say.

Where a rule is from stands with it, the strongest last:
(guide) the user guide says so; the words are DSQL's for a like case.
(lint) AWS's `dsql-lint` finds it; likewise.
(measured) somebody who ran it against a cluster in 2026 published the words, AWS's own SQL guidance included.
(recorded) a cluster's answer to that very statement is among tests/dsql_answers.json.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from pglast import ast
from pglast.enums import parsenodes as p
from pglast.enums.lockoptions import LockClauseStrength
from pglast.enums.nodes import JoinType
from pglast.enums.primnodes import OnCommitAction

from local_dsql.dialect import Node, Statement, columns, is_a, type_name, walk, words
from local_dsql.limits import (
    CHAR_LENGTH,
    COLUMN_BYTES,
    DECLARED_KEY_BYTES,
    KEY_COLUMNS,
    NUMERIC_PRECISION,
    QUERY_MEMORY_KIB,
    SEQUENCE_CACHE,
    STATISTICS_TARGET,
    TABLE_COLUMNS,
    TABLE_INDEXES,
    TABLE_STATISTICS,
    TRANSACTION_AGE_S,
    VARCHAR_LENGTH,
)


class Refusal(NamedTuple):
    """An error as DSQL reports it: the fields of PostgreSQL's ErrorResponse, empty ones left out there."""

    sqlstate: str
    message: str
    detail: str = ""
    hint: str = ""


def _unsupported(message: str) -> Refusal:
    return Refusal("0A000", message)


# --- Statements -----------------------------------------------------------------------------------------

#: Nodes that no statement may be: `unsupported statement: <name without Stmt>`. (recorded or measured for
#: Truncate, CreateTableAs, CreateTableSpace, CreateForeignTable, Listen, Notify, CreateExtension, Createdb,
#: CreatePolicy, CompositeType, DeclareCursor, Define and AlterTSConfiguration; lint for most others)
UNSUPPORTED = words("""
    AlterCollation AlterDatabase AlterDatabaseRefreshColl AlterDatabaseSet AlterEventTrig AlterExtension
    AlterExtensionContents AlterFdw AlterForeignServer AlterFunction AlterOpFamily AlterOperator AlterPolicy
    AlterPublication AlterRole AlterRoleSet AlterSubscription AlterSystem AlterTSConfiguration
    AlterTSDictionary AlterTableMoveAll AlterTableSpaceOptions AlterType AlterUserMapping CheckPoint
    ClosePortal Cluster CompositeType CreateAm CreateCast CreateConversion CreateEventTrig CreateExtension
    CreateFdw
    CreateForeignServer CreateForeignTable CreateOpClass CreateOpFamily CreatePLang CreatePolicy
    CreatePublication CreateRange CreateSubscription CreateTableAs CreateTableSpace CreateTransform
    CreateUserMapping Createdb DeclareCursor Define Discard Do DropSubscription DropTableSpace DropUserMapping
    Dropdb Execute Fetch ImportForeignSchema Listen Load Lock Notify Prepare RefreshMatView Reindex Rule
    SecLabel Truncate Unlisten
    """)

_DROPPABLE = words("TABLE VIEW INDEX SEQUENCE SCHEMA FUNCTION ROUTINE DOMAIN STATISTIC_EXT")
_RENAMABLE = _DROPPABLE | {"COLUMN", "TABCONSTRAINT", "DOMCONSTRAINT", "ROLE"}

_TRANSACTION_WORDS = {
    p.TransactionStmtKind.TRANS_STMT_SAVEPOINT: "SAVEPOINT",
    p.TransactionStmtKind.TRANS_STMT_RELEASE: "RELEASE",
    p.TransactionStmtKind.TRANS_STMT_ROLLBACK_TO: "ROLLBACK TO",
    p.TransactionStmtKind.TRANS_STMT_PREPARE: "PREPARE TRANSACTION",
    p.TransactionStmtKind.TRANS_STMT_COMMIT_PREPARED: "COMMIT PREPARED",
    p.TransactionStmtKind.TRANS_STMT_ROLLBACK_PREPARED: "ROLLBACK PREPARED",
}

#: What SET, RESET and set_config take; also as start-up parameters. (guide, "Supported session parameters";
#: it lists SET LOCAL role too, which a cluster of August 2026 refused: measured)
SESSION_PARAMETERS = words("""
    application_name client_encoding datestyle extra_float_digits intervalstyle timezone search_path
    enable_bitmapscan enable_hashjoin enable_indexonlyscan enable_indexscan enable_material enable_mergejoin
    enable_nestloop enable_seqscan dsql.enable_batched_nestloop disable_sync_create_index
    """)


def parameter(name: str) -> Refusal | None:
    """Tell whether a session parameter may be set, at the start of a session or by a statement."""
    if name.lower() in SESSION_PARAMETERS:
        return None
    return _unsupported(f'setting configuration parameter "{name}" not supported')


def _isolation(options: Iterable[Node] | None) -> Refusal | None:
    for option in options or ():
        if option.defname == "transaction_isolation" and option.arg.val.sval != "repeatable read":
            return _unsupported(f"Unsupported isolation level: {option.arg.val.sval.upper()}")
    return None


def _transaction(node: Node) -> Refusal | None:
    if (word := _TRANSACTION_WORDS.get(node.kind)) is not None:
        return _unsupported(f"unsupported transaction statement: {word}")
    return _isolation(node.options)


def _set(node: Node) -> Refusal | None:
    if node.kind == p.VariableSetKind.VAR_RESET_ALL:
        return None
    # lint names this as the way to say repeatable read; the guide names BEGIN alone.
    if node.name == "SESSION CHARACTERISTICS" and node.args[0].defname == "transaction_isolation":
        return _isolation(node.args)
    return parameter(node.name)


def _show(node: Node) -> Refusal | None:
    # PostgreSQL 16 has lost these two, with its own words.
    if node.name in ("lc_collate", "lc_ctype"):
        return Refusal("42704", f'unrecognized configuration parameter "{node.name}"')
    return None


def _select(node: Node) -> Refusal | None:
    return _unsupported("unsupported statement: CreateTableAs") if node.intoClause else None


def _vacuum(node: Node) -> Refusal | None:
    return _unsupported("unsupported VACUUM statement") if node.is_vacuumcmd else None


def _deallocate(node: Node) -> Refusal | None:
    # lint: DEALLOCATE ALL is taken.
    return _unsupported("unsupported statement: Deallocate") if node.name else None


def _copy(node: Node) -> Refusal | None:
    # lint: from STDIN and to STDOUT alone. Words by analogy.
    return _unsupported("COPY with a file or program not supported") if node.filename else None


def _object(node_kind: str, allowed: frozenset[str], kind: p.ObjectType) -> Refusal | None:
    if kind.name.removeprefix("OBJECT_") in allowed:
        return None
    return _unsupported(f"unsupported object in {node_kind} statement")


def _drop(node: Node) -> Refusal | None:
    if node.removeType == p.ObjectType.OBJECT_DOMAIN and node.behavior == p.DropBehavior.DROP_CASCADE:
        return _unsupported("DROP DOMAIN with CASCADE unsupported")  # measured
    return _object("DROP", _DROPPABLE, node.removeType)


def _rename(node: Node) -> Refusal | None:
    return _object("RENAME", _RENAMABLE, node.renameType)


def _set_schema(node: Node) -> Refusal | None:
    return _object("SET SCHEMA", _DROPPABLE, node.objectType)


def _owner(node: Node) -> Refusal | None:
    return _object("OWNER", _DROPPABLE, node.objectType)


def _grant(node: Node) -> Refusal | None:
    # measured of GRANT USAGE ON SCHEMA public
    is_schema = node.objtype == p.ObjectType.OBJECT_SCHEMA
    return SYSTEM_ENTITY if is_schema and any(each.sval == "public" for each in node.objects) else None


def _domain(node: Node) -> Refusal | None:
    # measured that both are refused; words by analogy with ALTER TABLE.
    action = {"O": "SET NOT NULL", "C": "ADD CONSTRAINT"}.get(node.subtype)
    return _unsupported(f"unsupported ALTER DOMAIN {action} statement") if action else None


def _view(node: Node) -> Refusal | None:
    return _persistence(node.view, "view", "CREATE VIEW")


def _persistence(relation: Node, what: str, statement: str) -> Refusal | None:
    kind = {"t": "TEMPORARY or TEMP", "u": "UNLOGGED"}.get(relation.relpersistence)
    return _unsupported(f"{kind} {what} not supported for {statement}") if kind else None


def _function(node: Node) -> Refusal | None:
    if node.is_procedure:
        return _unsupported("PROCEDURE is not supported")  # measured
    language = next((o.arg.sval for o in node.options or () if o.defname == "language"), "sql")
    if language.lower() != "sql":
        return _unsupported(f"CREATE FUNCTION with language {language} not supported")
    # measured: ranges may be arguments and not results. Words by analogy.
    if node.returnType is not None and type_name(node.returnType) in _RANGES:
        return _unsupported(f"datatype {shown_type(node.returnType)} not supported")
    return None


# --- Sequences and identity -----------------------------------------------------------------------------

_CACHE = (
    "is not supported without an explicit cache size. please define CACHE greater than or equal to "
    f"{SEQUENCE_CACHE[1]} or equal to {SEQUENCE_CACHE[0]}"
)


def _option(options: Iterable[Node] | None, name: str) -> Node:
    return next((option.arg for option in options or () if option.defname == name), None)


def _number(node: Node) -> int:
    """Give what a DefElem's number is: those over 2^31 are read as Float, of text."""
    return int(node.ival if is_a(node, ast.Integer) else float(node.fval))


def _is_cached(options: Iterable[Node] | None) -> bool:
    size = _option(options, "cache")
    return size is not None and (_number(size) == SEQUENCE_CACHE[0] or _number(size) >= SEQUENCE_CACHE[1])


def _sequence_type(options: Iterable[Node] | None) -> Refusal | None:
    kind = _option(options, "as")
    if kind is None or type_name(kind) == "int8":
        return None
    # lint: bigint alone; words by analogy with an identity column.
    return _unsupported(f"datatype {shown_type(kind)} not supported, sequence type must be bigint")


def _create_sequence(node: Node) -> Refusal | None:
    if (temporary := _persistence(node.sequence, "sequence", "CREATE SEQUENCE")) is not None:
        return temporary
    if not _is_cached(node.options):
        return _unsupported(f"CREATE SEQUENCE {_CACHE}")
    return _sequence_type(node.options)


def _alter_sequence(node: Node) -> Refusal | None:
    if _option(node.options, "cache") is not None and not _is_cached(node.options):
        return _unsupported(f"ALTER SEQUENCE {_CACHE}")  # lint; words by analogy
    return _sequence_type(node.options)


# --- Types ----------------------------------------------------------------------------------------------

_SERIAL = words("serial bigserial smallserial serial2 serial4 serial8")
_RANGES = frozenset(
    f"{base}{kind}"
    for base in ("int4", "int8", "num", "ts", "tstz", "date")
    for kind in ("range", "multirange")
)
#: PostgreSQL's own types that a column cannot have (recorded for most; the guide lists those that it can).
_NO_COLUMN = _RANGES | words("""
    money xml inet cidr macaddr macaddr8 point line lseg box path polygon circle tsvector tsquery bit varbit
    pg_lsn name char oid xid xid8 cid tid jsonpath pg_snapshot txid_snapshot int2vector oidvector aclitem
    refcursor regclass regcollation regconfig regdictionary regnamespace regoper regoperator regproc
    regprocedure regrole regtype
    """)
_NO_KEY = words("bytea json jsonb timetz interval")

_SHOWN = {
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "float4": "real",
    "float8": "double precision",
    "bool": "boolean",
    "varbit": "bit varying",
    "varchar": "character varying",
    "bpchar": "character",
    "char": '"char"',
    "time": "time without time zone",
    "timetz": "time with time zone",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
}
#: Bytes that a declared type takes in a key; those with a length take it, numeric by its digits, text none.
_KEY_BYTES = {
    "int2": 2,
    "int4": 4,
    "int8": 8,
    "float4": 4,
    "float8": 8,
    "bool": 1,
    "uuid": 16,
    "date": 4,
    "time": 8,
    "timestamp": 8,
    "timestamptz": 8,
}


class KeyColumn(NamedTuple):
    """A column's type as a key sees it: PostgreSQL's name (int4, varchar...) and its numbers, if declared."""

    type: str
    modifiers: tuple[int, ...] = ()


def shown_type(node: Node) -> str:
    """Give a type as DSQL names it in messages: without its length, `integer[]` for int[]."""
    name = type_name(node)
    return _SHOWN.get(name, name) + ("[]" if node.arrayBounds else "")


def modifiers(node: Node) -> tuple[int, ...]:
    """Give a TypeName's numbers: (18, 6) of numeric(18,6)."""
    return tuple(
        each.val.ival
        for each in node.typmods or ()
        if is_a(each, ast.A_Const) and is_a(each.val, ast.Integer)
    )


def _column_type(node: Node) -> Refusal | None:
    name, numbers = type_name(node), modifiers(node)
    if name in _SERIAL:
        return Refusal("42704", f'type "{name}" does not exist')
    if node.arrayBounds or name in _NO_COLUMN:
        return _unsupported(f"datatype {shown_type(node)} not supported")
    for kind, limit, shown in (("bpchar", CHAR_LENGTH, "char"), ("varchar", VARCHAR_LENGTH, "varchar")):
        if name == kind and numbers and numbers[0] > limit:
            return Refusal("54000", f"Datatype limit greater than {limit} bytes not supported for {shown}")
    if name == "numeric" and numbers and not 1 <= numbers[0] <= NUMERIC_PRECISION:
        return Refusal("22023", f"NUMERIC precision {numbers[0]} must be between 1 and {NUMERIC_PRECISION}")
    return None


def find_in_key(key: Sequence[KeyColumn]) -> Refusal | None:
    """Tell what is wrong with a key of such columns: their types, their number, their declared size."""
    if len(key) > KEY_COLUMNS:
        return Refusal("54011", f"more than {KEY_COLUMNS} column keys in an index are not supported")
    for column in key:
        if column.type in _NO_KEY or column.type in _NO_COLUMN:
            shown = _SHOWN.get(column.type, column.type)
            return _unsupported(f"datatype {shown} is not supported in a key")
    if sum(_declared_bytes(column) for column in key) > DECLARED_KEY_BYTES:
        return Refusal("54000", f"key size greater than {DECLARED_KEY_BYTES} bytes not supported")
    return None


def _declared_bytes(column: KeyColumn) -> int:
    if column.type in ("varchar", "bpchar") and column.modifiers:
        return column.modifiers[0]
    if column.type == "numeric" and column.modifiers:
        return 8 + 2 * -(-column.modifiers[0] // 4)
    return _KEY_BYTES.get(column.type, 0)


# --- Tables ---------------------------------------------------------------------------------------------

_KEYS = {p.ConstrType.CONSTR_PRIMARY: "PRIMARY KEY", p.ConstrType.CONSTR_UNIQUE: "UNIQUE"}


def _column(node: Node, statement: str) -> Refusal | None:
    if node.collClause is not None:
        # lint: a column takes none, not even C. Words by analogy with PARTITION BY.
        return _unsupported(f"COLLATE clause not supported for {statement}")
    if node.compression is not None:
        return _unsupported(f"COMPRESSION clause not supported for {statement}")
    return None


def _identity(column: Node) -> Refusal | None:
    for constraint in column.constraints or ():
        if constraint.contype == p.ConstrType.CONSTR_IDENTITY:
            if not _is_cached(constraint.options):
                return _unsupported(f"identity column {_CACHE}")
            if type_name(column.typeName) != "int8":
                shown = shown_type(column.typeName)
                return _unsupported(f"datatype {shown} not supported, identity column type must be bigint")
    return None


def table_keys(node: Node) -> Iterator[tuple[str, ...]]:
    """Give the columns of each key that a CREATE TABLE declares: its primary key and its UNIQUE ones."""
    for part in node.tableElts or ():
        if is_a(part, ast.Constraint) and part.contype in _KEYS and part.keys:
            yield tuple(key.sval for key in part.keys)
        elif is_a(part, ast.ColumnDef):
            yield from ((part.colname,) for each in part.constraints or () if each.contype in _KEYS)


def key_columns(node: Node) -> Mapping[str, KeyColumn]:
    """Give the types of the columns that a CREATE TABLE or ALTER TABLE declares, by their names."""
    return {
        each.colname: KeyColumn(type_name(each.typeName), modifiers(each.typeName))
        for each in columns(node)
        if each.typeName is not None
    }


def _create_table_clauses(node: Node) -> Refusal | None:
    if (temporary := _persistence(node.relation, "table", "CREATE TABLE")) is not None:
        return temporary
    clauses = {
        "PARTITION OF": node.partbound is not None,
        "PARTITION BY": node.partspec is not None,
        "INHERITS": bool(node.inhRelations),
        "OF": node.ofTypename is not None,
        "ON COMMIT": node.oncommit != OnCommitAction.ONCOMMIT_NOOP,
        "TABLESPACE": bool(node.tablespacename),
        "WITH": bool(node.options),
        "USING": bool(node.accessMethod),
    }
    # measured for PARTITION BY and PARTITION OF; lint for the others
    found = next((clause for clause, is_there in clauses.items() if is_there), None)
    return _unsupported(f"{found} clause not supported for CREATE TABLE") if found else None


def _create_table(node: Node) -> Refusal | None:
    if (clause := _create_table_clauses(node)) is not None:
        return clause
    for column in columns(node):
        for refusal in (_identity(column), _column_type(column.typeName), _column(column, "CREATE TABLE")):
            if refusal is not None:
                return refusal
    declared = key_columns(node)
    if len(declared) > TABLE_COLUMNS:
        return TABLE_TOO_WIDE
    keys = list(table_keys(node))
    for key in keys:
        # A column that LIKE brings is known to the server alone.
        if (refusal := find_in_key([declared.get(name, KeyColumn("unknown")) for name in key])) is not None:
            return refusal
    return TOO_MANY_INDEXES if len(keys) > TABLE_INDEXES else None


def _constraint(node: Node) -> Refusal | None:
    if node.contype == p.ConstrType.CONSTR_EXCLUSION:
        return _unsupported("EXCLUDE constraint not supported")  # guide; words by analogy
    return None


#: What ALTER TABLE does (guide, measured). Others are refused under PostgreSQL's names for them.
_ALTERS = words("""
    AddColumn DropColumn ColumnDefault DropNotNull DropExpression SetStorage AddConstraint DropConstraint
    AlterConstraint ValidateConstraint ChangeOwner AddIdentity SetIdentity DropIdentity AddColumnToView
    """)
_ALTER_WORDS = {
    "SetNotNull": "ALTER COLUMN ... SET NOT NULL",
    "SetExpression": "ALTER COLUMN ... SET EXPRESSION",
    "SetStatistics": "ALTER COLUMN ... SET STATISTICS",
    "SetOptions": "ALTER COLUMN ... SET",
    "ResetOptions": "ALTER COLUMN ... RESET",
    "SetCompression": "ALTER COLUMN ... SET COMPRESSION",
    "AlterColumnType": "ALTER COLUMN ... SET DATA TYPE",
    "AlterColumnGenericOptions": "ALTER COLUMN ... OPTIONS",
    "ClusterOn": "CLUSTER ON",
    "DropCluster": "SET WITHOUT CLUSTER",
    "SetAccessMethod": "SET ACCESS METHOD",
    "SetLogged": "SET LOGGED",
    "SetUnLogged": "SET UNLOGGED",
    "DropOids": "SET WITHOUT OIDS",
    "SetTableSpace": "SET TABLESPACE",
    "SetRelOptions": "SET",
    "ResetRelOptions": "RESET",
    "EnableTrig": "ENABLE TRIGGER",
    "EnableAlwaysTrig": "ENABLE ALWAYS TRIGGER",
    "EnableReplicaTrig": "ENABLE REPLICA TRIGGER",
    "DisableTrig": "DISABLE TRIGGER",
    "EnableTrigAll": "ENABLE TRIGGER ALL",
    "DisableTrigAll": "DISABLE TRIGGER ALL",
    "EnableTrigUser": "ENABLE TRIGGER USER",
    "DisableTrigUser": "DISABLE TRIGGER USER",
    "EnableRule": "ENABLE RULE",
    "EnableAlwaysRule": "ENABLE ALWAYS RULE",
    "EnableReplicaRule": "ENABLE REPLICA RULE",
    "DisableRule": "DISABLE RULE",
    "AddInherit": "INHERIT",
    "DropInherit": "NO INHERIT",
    "AddOf": "OF",
    "DropOf": "NOT OF",
    "ReplicaIdentity": "REPLICA IDENTITY",
    "EnableRowSecurity": "ENABLE ROW SECURITY",
    "DisableRowSecurity": "DISABLE ROW SECURITY",
    "ForceRowSecurity": "FORCE ROW SECURITY",
    "NoForceRowSecurity": "NO FORCE ROW SECURITY",
    "GenericOptions": "OPTIONS",
    "AttachPartition": "ATTACH PARTITION",
    "DetachPartition": "DETACH PARTITION",
    "DetachPartitionFinalize": "DETACH PARTITION ... FINALIZE",
}


def _unsupported_alter(action: str) -> Refusal:
    return _unsupported(f"unsupported ALTER TABLE {action} statement")


def _add_column(column: Node) -> Refusal | None:
    if (refusal := _column_type(column.typeName) or _column(column, "ALTER TABLE")) is not None:
        return refusal
    # NULL is what a column is anyhow; DEFERRABLE and its like stand as constraints of their own.
    if any(each.contype != p.ConstrType.CONSTR_NULL for each in column.constraints or ()):
        return _unsupported("ALTER TABLE ADD COLUMN with constraint not supported")
    return None


def _add_constraint(constraint: Node) -> Refusal | None:
    later = (p.ConstrType.CONSTR_CHECK, p.ConstrType.CONSTR_FOREIGN)
    if constraint.contype in later and constraint.skip_validation:
        return None
    if constraint.contype == p.ConstrType.CONSTR_UNIQUE and constraint.indexname:
        return None
    return _unsupported_alter("ADD CONSTRAINT")


def _alter_command(command: Node, asynchronous: bool) -> Refusal | None:
    action = command.subtype.name.removeprefix("AT_")
    if action not in _ALTERS:
        return _unsupported_alter(_ALTER_WORDS.get(action, action))
    if action == "AddColumn":
        return _add_column(command.def_)
    if action == "AddConstraint":
        return _add_constraint(command.def_)
    if action == "AddIdentity" and not _is_cached(command.def_.options):
        return _unsupported(f"identity column {_CACHE}")  # lint; words of CREATE TABLE
    if (action == "ValidateConstraint") != asynchronous:
        return _unsupported_alter("VALIDATE CONSTRAINT" if not asynchronous else "ASYNC")
    return None


def _alter_table(node: Node, asynchronous: bool) -> Refusal | None:
    found = (_alter_command(command, asynchronous) for command in node.cmds)
    return next((refusal for refusal in found if refusal is not None), None)


# --- Indexes and statistics -----------------------------------------------------------------------------

_USING = _unsupported("USING not supported for CREATE INDEX")


def _create_index(node: Node, asynchronous: bool) -> Refusal | None:
    keys = node.indexParams
    offences = (
        (node.concurrent, "CONCURRENTLY not supported for CREATE INDEX"),
        (node.accessMethod != "btree", _USING.message),
        (not asynchronous, "unsupported mode. please use CREATE INDEX ASYNC."),
        (bool(node.options), "WITH not supported for CREATE INDEX"),  # by analogy
        (bool(node.tableSpace), "TABLESPACE not supported for CREATE INDEX"),  # by analogy
        (
            any(key.ordering != p.SortByDir.SORTBY_DEFAULT for key in keys),
            "specifying sort order not supported for index keys",
        ),
        (any(key.opclass for key in keys), "opclass not supported for index keys"),
    )
    found = next((message for is_there, message in offences if is_there), None)
    if found is not None:
        return _unsupported(found)
    return find_in_key([KeyColumn("unknown")] * len(keys))


def _alter_statistics(node: Node) -> Refusal | None:
    target = node.stxstattarget.ival if is_a(node.stxstattarget, ast.Integer) else node.stxstattarget
    if target is not None and target > STATISTICS_TARGET:
        message = f"statistics target {target} exceeds maximum allowed value of {STATISTICS_TARGET}"
        return Refusal("22023", message)
    return None


# --- Inside of queries ----------------------------------------------------------------------------------


def _locking(node: Node) -> Refusal | None:
    if node.strength in (LockClauseStrength.LCS_FORSHARE, LockClauseStrength.LCS_FORNOKEYUPDATE):
        return _unsupported("locking clauses other than FOR UPDATE/FOR KEY SHARE are not supported")
    return None


_TEXT_SEARCH = words("""
    to_tsvector to_tsquery plainto_tsquery phraseto_tsquery websearch_to_tsquery ts_headline json_to_tsvector
    jsonb_to_tsvector
    """)
_GEOMETRIC = words("line circle polygon box path lseg")


def _constant(node: Node) -> str | None:
    """Give the text of a literal, below a cast too."""
    if is_a(node, ast.TypeCast):
        return _constant(node.arg)
    if is_a(node, ast.A_Const) and is_a(node.val, ast.String):
        return str(node.val.sval)
    return None


#: Of PostgreSQL's superusers: DSQL's `admin` is none (recorded: is_superuser is off), the one behind is.
_SUPERUSERS = words("""
    pg_read_file pg_read_binary_file pg_ls_dir pg_stat_file pg_ls_logdir pg_ls_waldir pg_ls_tmpdir
    pg_current_logfile pg_reload_conf pg_rotate_logfile pg_switch_wal pg_create_restore_point pg_promote
    pg_log_backend_memory_contexts pg_backup_start pg_backup_stop pg_replication_origin_create
    lo_import lo_export
    """)


def _call(node: Node) -> Refusal | None:
    name, arguments = str(node.funcname[-1].sval), list(node.args or ())
    if node.funcname[0].sval == "pg_dsql":
        return Refusal("42501", "permission denied for schema pg_dsql")  # the local server's own
    if name in _SUPERUSERS:
        return Refusal("42501", f"permission denied for function {name}")
    if name in _TEXT_SEARCH and len(arguments) > 1:
        # measured: `simple` is the only configuration there is.
        configuration = _constant(arguments[0])
        if configuration is not None and configuration.removeprefix("pg_catalog.") != "simple":
            return Refusal("42704", f'text search configuration "{configuration}" does not exist')
    elif name in _GEOMETRIC:
        return _unsupported(f"datatype {name} not supported")
    elif name.startswith(("pg_advisory_", "pg_try_advisory_")):
        return _unsupported(f"function {name} not supported")
    elif name == "set_config" and arguments and (setting := _constant(arguments[0])) is not None:
        return parameter(setting)
    elif name == "wait_for_job" and len(node.funcname) > 1 and node.funcname[-2].sval == "sys":
        return Refusal(
            "42809", "sys.wait_for_job(text) is a procedure", hint="To call a procedure, use CALL."
        )
    return None


def _procedure_call(node: Node) -> Refusal | None:
    if any(is_a(each, ast.SubLink) for each in walk(node.funccall.args)):
        return _unsupported("cannot use subquery in CALL argument")  # PostgreSQL's own
    return None


def _sample(_node: Node) -> Refusal:
    return _unsupported("TABLESAMPLE clause not supported")


def _left_join_lateral(node: Node) -> Refusal | None:
    """Find a LEFT JOIN LATERAL that selects a column of the outer row (recorded)."""
    inner = node.rarg
    if node.jointype != JoinType.JOIN_LEFT or not is_a(inner, ast.RangeSubselect) or not inner.lateral:
        return None
    outer = {_alias(each) for each in walk(node.larg) if is_a(each, ast.RangeVar)}
    tables = [each.relname for each in walk(inner.subquery.fromClause) if is_a(each, ast.RangeVar)]
    for number, target in enumerate(inner.subquery.targetList or (), start=1):
        references = (each for each in walk(target) if is_a(each, ast.ColumnRef))
        if tables and any(len(each.fields) > 1 and each.fields[0].sval in outer for each in references):
            return Refusal("42804", f"attribute {number} of type {tables[0]} has wrong type")
    return None


def _alias(node: Node) -> str:
    return str(node.alias.aliasname if node.alias else node.relname)


# --- The table ------------------------------------------------------------------------------------------

_Rule = Callable[[Node], Refusal | None]

RULES: Mapping[type, _Rule] = {
    ast.TransactionStmt: _transaction,
    ast.VariableSetStmt: _set,
    ast.VariableShowStmt: _show,
    ast.SelectStmt: _select,
    ast.MergeStmt: lambda _: _unsupported("unsupported statement type: MERGE"),
    ast.VacuumStmt: _vacuum,
    ast.DeallocateStmt: _deallocate,
    ast.CopyStmt: _copy,
    ast.DropStmt: _drop,
    ast.RenameStmt: _rename,
    ast.AlterObjectSchemaStmt: _set_schema,
    ast.AlterOwnerStmt: _owner,
    ast.AlterDomainStmt: _domain,
    ast.GrantStmt: _grant,
    ast.ViewStmt: _view,
    ast.CreateFunctionStmt: _function,
    ast.CreateTrigStmt: lambda _: _unsupported("CREATE TRIGGER not supported"),
    ast.CreateEnumStmt: lambda _: _unsupported("CREATE TYPE not supported"),
    ast.AlterEnumStmt: lambda _: _unsupported("ALTER TYPE not supported"),
    ast.CreateSeqStmt: _create_sequence,
    ast.AlterSeqStmt: _alter_sequence,
    ast.CreateStmt: _create_table,
    ast.Constraint: _constraint,
    ast.AlterStatsStmt: _alter_statistics,
    ast.LockingClause: _locking,
    ast.FuncCall: _call,
    ast.CallStmt: _procedure_call,
    ast.RangeTableSample: _sample,
    ast.JoinExpr: _left_join_lateral,
    **{
        getattr(ast, f"{name}Stmt"): lambda node: _unsupported(
            f"unsupported statement: {type(node).__name__.removesuffix('Stmt')}"
        )
        for name in UNSUPPORTED
    },
}
"""What is refused of which node, wherever in a statement it stands."""

_WITH_ASYNC: Mapping[type, Callable[[Node, bool], Refusal | None]] = {
    ast.IndexStmt: _create_index,
    ast.AlterTableStmt: _alter_table,
}


_SYSTEM_SCHEMAS = words("sys pg_catalog pg_dsql")


def _changes_system(tree: Node) -> Refusal | None:
    """Find what would change DSQL's own tables, views and functions (measured for GRANT, else by analogy)."""
    target: Node = (
        getattr(tree, "view", None) or getattr(tree, "sequence", None) or getattr(tree, "relation", None)
    )
    schemas = {target.schemaname} if is_a(target, ast.RangeVar) else set()
    if is_a(tree, ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt, ast.CopyStmt):
        is_read = is_a(tree, ast.CopyStmt) and not tree.is_from
        if schemas & _SYSTEM_SCHEMAS and not is_read:
            return Refusal("42501", f"permission denied for table {target.relname}")
        return None
    if is_a(tree, ast.GrantStmt):
        return None
    names = [getattr(tree, "funcname", None), *(getattr(tree, "objects", None) or ())]
    for name in (getattr(each, "objname", each) for each in names):
        if is_a(name, ast.String):
            schemas.add(name.sval)  # a schema
        elif isinstance(name, tuple | list) and len(name) > 1 and is_a(name[0], ast.String):
            schemas.add(name[0].sval)
    schemas |= {getattr(tree, "newschema", None), getattr(tree, "schemaname", None)}
    return SYSTEM_ENTITY if schemas & _SYSTEM_SCHEMAS else None


def find(tree: Node, *, asynchronous: bool) -> Refusal | None:
    """Tell whether DSQL refuses a statement, from its parse tree and whether it had the word ASYNC.

    None for what passes, and for what depends on the catalogue or on the transaction: see below.
    """
    called = tree.funccall if is_a(tree, ast.CallStmt) else None
    if (refusal := _changes_system(tree)) is not None:
        return refusal
    for node in walk(tree):
        kind = type(node)
        if (rule := RULES.get(kind)) is not None and node is not called:
            refusal = rule(node)
        elif (with_async := _WITH_ASYNC.get(kind)) is not None:
            refusal = with_async(node, asynchronous)
        else:
            continue
        if refusal is not None:
            return refusal
    return None


def find_in(statement: Statement) -> Refusal | None:
    """Tell whether DSQL refuses a statement of `dialect.parse`: `find`, and what stands in its text alone."""
    if statement.tree is None:
        return None
    if statement.using and not statement.tree.concurrent:
        return _USING
    return find(statement.tree, asynchronous=statement.asynchronous)


# --- What only a run shows ------------------------------------------------------------------------------

CONFLICT = Refusal("40001", "change conflicts with another transaction (OC000)")
SCHEMA_CHANGED = Refusal("40001", "schema has been updated by another transaction (OC001)")
UNAVAILABLE = Refusal("XX000", "server unavailable")

TWO_DDL = _unsupported("multiple ddl statements not supported in a transaction")
DDL_AND_DML = _unsupported("ddl and dml are not supported in the same transaction")

ROW_LIMIT = Refusal("54000", "transaction row limit exceeded")
KEY_TOO_LARGE = Refusal("54000", "key size too large")
ROW_TOO_LARGE = Refusal("54000", "maximum row size exceeded")
TOO_MANY_INDEXES = Refusal("54000", f"more than {TABLE_INDEXES} indexes per table are not allowed")
TABLE_TOO_WIDE = Refusal("54011", f"tables can have at most {TABLE_COLUMNS} columns")
TOO_MANY_STATISTICS = Refusal(
    "54000", f"more than {TABLE_STATISTICS} extended statistics per table are not allowed"
)
TOO_MANY_SCHEMAS = Refusal("54000", "more than 10 schemas not allowed")
TOO_MANY_TABLES = Refusal("54000", "creating more than 1000 tables not allowed")
TOO_MANY_VIEWS = Refusal("54000", "creating more than 5000 views not allowed")
TOO_MANY_SEQUENCES = Refusal("54000", "creating more than 5000 sequences is not allowed")
QUERY_MEMORY = Refusal(
    "54000", f"query requires more than allowed temp space of {QUERY_MEMORY_KIB} KB to execute"
)

TOO_MANY_CONNECTIONS = Refusal("53300", "Unable to accept connection, too many open connections.")
CONNECTION_RATE = Refusal("53400", "Unable to accept connection, rate exceeded.")

DROP_PRIMARY_KEY = _unsupported_alter("DROP CONSTRAINT")
"""measured: of a primary key; other constraints can be dropped."""

SYSTEM_ENTITY = _unsupported("feature not supported on system entity")


def transaction_size(megabytes: int) -> Refusal:
    """Give what COMMIT says of a transaction that has written too much."""
    detail = f"Current transaction size {megabytes}mb > 10mb"
    return Refusal("54000", "transaction size limit 10mb exceeded", detail)


def transaction_age(seconds: int) -> Refusal:
    """Give what is said to a transaction that is too old."""
    detail = f"Current transaction age {seconds}s exceeds {TRANSACTION_AGE_S}s"
    return Refusal("54000", f"transaction age limit of {TRANSACTION_AGE_S}s exceeded", detail)


def value_too_large(kind: str) -> Refusal:
    """Give what is said of a value over 1 MiB of a type (text, varchar, bytea, json, jsonb)."""
    return Refusal("54000", f"datatype limit greater than {COLUMN_BYTES} bytes not supported for {kind}")


def drop_key_column(column: str) -> Refusal:
    """Give what is said to ALTER TABLE ... DROP COLUMN of a primary key's column."""
    return _unsupported(f"cannot drop primary key column {column}")
