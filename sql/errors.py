"""What can go wrong between us and the database, told apart by what to do about it."""

import re
from enum import StrEnum

import psycopg
from psycopg import errors

from domain.refusals import Refusal


class Fault(StrEnum):
    """A failure after which running the whole transaction again is right. Values are metric dimensions."""

    CONFLICT = "conflict"  # OC000, or PostgreSQL's serialization failure
    SCHEMA_CHANGED = "schema_changed"  # OC001: the catalogue moved under an open session
    DUPLICATE_RECORD = "duplicate_record"  # a duplicate request wrote its record first
    UNAVAILABLE = "unavailable"  # XX000 before COMMIT was sent
    CONNECTION_LOST = "connection_lost"  # before COMMIT was sent
    UNKNOWN_COMMIT = "unknown_commit"  # the connection or the server failed while COMMIT was under way


#: Two requests that write the same record at once: DSQL reports OC000 at COMMIT, PostgreSQL 23505 at the
#: statement. In both cases the loser runs again and finds the record. No other 23xxx is ever retried.
_RECORD_CONSTRAINTS = frozenset(
    {
        # guard: a duplicate's idempotency record is a fault
        "idempotency_records_pkey",
        # guard: a duplicate's inbox record is a fault
        "inbox_pkey",
    }
)


class Barrier(StrEnum):
    """Why there is no login although the network is well. Values are safe to log; each has its remedy."""

    LOGIN = "login"
    CERTIFICATE = "certificate"
    NO_CERTIFICATES = "no_certificates"


_REMEDIES = {
    Barrier.LOGIN: (
        "the role, its token or its rights are refused; see that the role exists, is linked to the caller's "
        "IAM role (sys.iam_pg_role_mappings), and that this one may dsql:DbConnect"
    ),
    Barrier.CERTIFICATE: "the server is not who it should be, or speaks no TLS; compare the host's name",
    Barrier.NO_CERTIFICATES: "there is no file of trusted certificates here; set SSL_CERT_FILE to one",
}


#: libpq gives the failure of a login as text alone, without an SQLSTATE. This is what PostgreSQL says of the
#: SQLSTATEs 28xxx, 3D000 and 42501, DSQL of a refused token, and libpq of a certificate; after whatever else
#: is said, another try is right.
_BARRIERS = (
    (
        Barrier.CERTIFICATE,
        "certificate verify failed|does not match host name|does not support SSL|root certificate",
    ),
    (
        Barrier.LOGIN,
        'FATAL: .*(denied|authentication failed|pg_hba.conf|not permitted to log in|" does not exist)',
    ),
)


class LoginRefusedError(psycopg.OperationalError):
    """There is no login, and another try would end the same way. The text names no host, role or token."""

    def __init__(self, barrier: Barrier) -> None:
        super().__init__(f"no login ({barrier.value}): {_REMEDIES[barrier]}")
        self.barrier = barrier


def why_refused(text: str) -> Barrier | None:
    """Tell from libpq's text why a connection could not be opened; None where another try may succeed."""
    return next((barrier for barrier, pattern in _BARRIERS if re.search(pattern, text)), None)


def classify(error: psycopg.Error, commit_sent: bool) -> Fault | None:
    """Tell what kind of fault an error is; None for one that a new attempt would not fix.

    `commit_sent` says whether COMMIT may have reached the server. Codes: SQLSTATE 40001 with OC000 or OC001
    in the message, XX000 "server unavailable" (Aurora DSQL user guide, "Concurrency control").
    """
    state = error.sqlstate
    # guard: OC000 is a fault
    if state == "40001" or isinstance(error, errors.DeadlockDetected):
        # guard: OC001 told from OC000
        return Fault.SCHEMA_CHANGED if "OC001" in str(error) else Fault.CONFLICT
    if state == "23505":
        return Fault.DUPLICATE_RECORD if error.diag.constraint_name in _RECORD_CONSTRAINTS else None
    # guard: XX000 is a fault
    # guard: a violated CHECK is final
    if state == "XX000":
        return Fault.UNKNOWN_COMMIT if commit_sent else Fault.UNAVAILABLE
    # guard: a refused login is final
    if isinstance(error, LoginRefusedError):
        return None
    # guard: a lost connection is a fault
    if isinstance(error, psycopg.OperationalError) and (state is None or state[:2] in ("08", "57")):
        # guard: an unknown commit is named so
        return Fault.UNKNOWN_COMMIT if commit_sent else Fault.CONNECTION_LOST
    if state == "0A000" and "cached plan" in str(error):
        return Fault.SCHEMA_CHANGED
    return None


class RetriesExhaustedError(Exception):
    """The database kept failing in a way that is normally passing: send the request again in a moment.

    Nothing was written, or what was written is found again by the same idempotency key.
    """

    def __init__(self, attempts: int, fault: Fault) -> None:
        super().__init__(f"gave up after {attempts} attempts; the last fault was {fault.value}")
        self.attempts = attempts
        self.fault = fault


class NotAdmittedError(Exception):
    """The caller is not served, or not as one of the staff: nothing was done. See `sql.admission`."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.text)
        self.refusal = refusal


#: What `sql.transaction.run` raises when a transaction did not come about, or may not have.
FAILURES = (RetriesExhaustedError, psycopg.Error)
