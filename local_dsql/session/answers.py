"""PostgreSQL's answers turned into DSQL's, where they differ."""

from collections.abc import Callable

from local_dsql import wire
from local_dsql.backend import Run
from local_dsql.statements import Kind, Query

_SHOWN_VERSIONS = {"server_version": "16.15", "server_version_num": "160015"}


def alteration(query: Query, run: Run | None) -> Callable[[int, bytes], bytes] | None:
    """Give what turns PostgreSQL's answers to an execution into DSQL's, where they differ."""
    if query.touches_data or not query.may_be_altered:
        return None
    if query.role_link is not None:
        tag = f"AWS IAM {query.role_link.action}"
        return lambda letter, answer: wire.message(b"C", wire.text(tag)) if letter == b"C"[0] else answer
    if query.kind is Kind.FORGET:
        return lambda *_: wire.message(b"C", b"DEALLOCATE ALL\0")
    if run is not None and run.job:
        job = run.job
        tag = "CREATE INDEX" if query.job_type == "INDEX_BUILD" else "ALTER TABLE"

        existed = False

        def with_job(letter: int, answer: bytes) -> bytes:
            nonlocal existed
            if letter == b"N"[0] and b"C42P07\0" in answer:
                existed = True  # IF NOT EXISTS has nothing to build
                return answer
            if letter != b"C"[0]:
                return b""
            return (b"" if existed else wire.text_row(job)) + wire.message(b"C", wire.text(tag))

        return with_job
    version = _SHOWN_VERSIONS.get(getattr(query.tree, "name", None) or "")
    if version is not None:
        return lambda letter, answer: wire.text_row(version) if letter == b"D"[0] else answer
    return None


def describe_job(letter: int, answer: bytes) -> bytes:
    """Describe the row that a statement with a job gives."""
    return wire.text_columns("job_id") if letter in b"nT" else answer


def without_no_data(letter: int, answer: bytes) -> bytes:
    """Leave out what a simple query is not told."""
    return b"" if letter == b"n"[0] else answer


def copied(letter: int, answer: bytes) -> bytes:
    """Leave out that a COPY awaits data: the client has sent them already."""
    return b"" if letter == b"G"[0] else answer
