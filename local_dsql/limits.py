"""The limits of Aurora DSQL, each in its unit and with where the figure is from.

Three sources, the later the better where they differ: the user guide's page of quotas and its page of data
types (guide), what AWS's own SQL guidance for DSQL has measured on a cluster (measured), and what a recorded
cluster answered (recorded). What a statement or a COMMIT is told when it is over one stands in refusals.py.
"""

MIB = 1024 * 1024

# --- A transaction -------------------------------------------------------------------------------------

TRANSACTION_ROWS = 3_000
"""Rows inserted, updated or deleted; told at the statement (recorded: 3,000 pass, 3,001 do not)."""

TRANSACTION_BYTES = 10 * MIB
"""Everything written, index entries included; told at COMMIT (guide)."""

TRANSACTION_AGE_S = 300
"""From BEGIN; told at the statement or COMMIT that comes after it (guide)."""

QUERY_MEMORY_KIB = 128 * 1024
"""Memory and temporary space of one query (guide; measured in the message): here the temporary files."""

# --- Connections ---------------------------------------------------------------------------------------

CONNECTION_AGE_S = 60 * 60
"""Then the connection is closed; a transaction begun before may still end within its 300 s (guide)."""

CONNECTIONS = 10_000
"""Open at once (guide)."""

CONNECTIONS_PER_SECOND = 100
"""The rate at which a bucket of CONNECTION_BURST new connections is filled again (guide)."""

CONNECTION_BURST = 1_000
"""New connections at once out of a full bucket (guide)."""

MESSAGE_BYTES = 10 * MIB
"""A protocol message; a larger one closes the connection without an error (measured)."""

TOKEN_AGE_S = 7 * 24 * 60 * 60
"""The longest that a token may be valid (guide)."""

# --- Rows and keys -------------------------------------------------------------------------------------

ROW_BYTES = 2 * MIB
"""A row (guide)."""

COLUMN_BYTES = 1 * MIB
"""A value outside of keys, as it is stored: DSQL compresses long text and jsonb (guide)."""

KEY_BYTES = 1_981
"""A primary key's or index entry's columns, a secondary one's with the primary key's; the guide says 1 KiB,
a cluster took 1,981 (measured)."""

KEY_BYTES_PER_FURTHER_COLUMN = 7
"""What each key column after the first takes of KEY_BYTES (measured)."""

DECLARED_KEY_BYTES = 2_000
"""The sum of a key's declared sizes; told when the table or index is made (measured)."""

CHAR_LENGTH = 4_096
"""Of char(n) and bpchar(n), when declared (guide, measured)."""

VARCHAR_LENGTH = 65_535
"""Of varchar(n), when declared (guide, measured)."""

NUMERIC_PRECISION = 1_000
"""Digits of a declared numeric (guide of August 2026, measured)."""

NUMERIC_DEFAULT = (18, 6)
"""Precision and scale of a column declared as bare `numeric`: it rounds without a word (guide, measured)."""

# --- Objects -------------------------------------------------------------------------------------------

KEY_COLUMNS = 8
"""Columns of a primary key or an index (guide)."""

TABLE_COLUMNS = 255
"""Columns of a table (guide; a cluster took 256)."""

TABLE_INDEXES = 24
"""Indexes of a table: its primary key's, each UNIQUE's and each one that is being built count (measured)."""

TABLE_STATISTICS = 5
"""CREATE STATISTICS of a table (guide)."""

STATISTICS_TARGET = 100
"""Of ALTER STATISTICS ... SET STATISTICS (measured)."""

SCHEMAS = 10
"""Besides `public` and `sys` (measured)."""

TABLES = 1_000
"""Of the database, over all schemas (guide)."""

VIEWS = 5_000
"""Of the database (guide)."""

SEQUENCES = 5_000
"""Of the database (guide)."""

SEQUENCE_CACHE = (1, 65_536)
"""The cache of a sequence is the first, or at least the second (recorded)."""
