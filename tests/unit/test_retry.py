"""What is run again after a fault, how often, and with which pauses."""

import psycopg
import pytest
from psycopg import errors

from sql.errors import Barrier, Fault, LoginRefusedError, RetriesExhaustedError, classify, why_refused
from sql.transaction import RetryPolicy


@pytest.mark.parametrize(
    ("raised", "commit_sent", "fault"),
    [
        (errors.SerializationFailure("change conflicts with another transaction (OC000)"), True, "conflict"),
        (
            errors.SerializationFailure("could not serialize access due to concurrent update"),
            False,
            "conflict",
        ),
        (errors.SerializationFailure("schema has been updated (OC001)"), False, "schema_changed"),
        (errors.DeadlockDetected("deadlock detected"), False, "conflict"),
        (errors.InternalError_("server unavailable"), False, "unavailable"),
        (errors.InternalError_("server unavailable"), True, "unknown_commit"),
        (psycopg.OperationalError("server closed the connection unexpectedly"), False, "connection_lost"),
        (psycopg.OperationalError("server closed the connection unexpectedly"), True, "unknown_commit"),
        (errors.AdminShutdown("terminating connection"), False, "connection_lost"),
        (errors.FeatureNotSupported("cached plan must not change result type"), False, "schema_changed"),
    ],
)
def test_passing_faults_are_told_apart(raised: psycopg.Error, commit_sent: bool, fault: str) -> None:
    assert classify(raised, commit_sent) == Fault(fault)


@pytest.mark.parametrize(
    "raised",
    [
        errors.CheckViolation("violates check constraint"),
        errors.UniqueViolation("duplicate key value"),
        errors.InsufficientPrivilege("permission denied"),
        errors.UndefinedTable("relation does not exist"),
        errors.FeatureNotSupported("not supported"),
        errors.ProgramLimitExceeded("transaction row limit exceeded"),
        LoginRefusedError(Barrier.LOGIN),
    ],
)
@pytest.mark.parametrize("commit_sent", [True, False])
def test_errors_that_another_attempt_cannot_fix_are_not_retried(
    raised: psycopg.Error, commit_sent: bool
) -> None:
    assert classify(raised, commit_sent) is None


@pytest.mark.parametrize(
    ("said", "barrier"),
    [
        ('FATAL:  password authentication failed for user "checkout"', "login"),
        ('FATAL:  no pg_hba.conf entry for host "::1", user "checkout"', "login"),
        ('FATAL:  role "checkout" does not exist', "login"),
        ('FATAL:  role "checkout" is not permitted to log in', "login"),
        ('FATAL:  permission denied for database "postgres"', "login"),
        ("FATAL:  unable to accept connection, access denied", "login"),
        ("SSL error: certificate verify failed", "certificate"),
        ('server certificate for "a" does not match host name "b"', "certificate"),
        ("FATAL:  sorry, too many clients already", None),
        ("FATAL:  the database system is starting up", None),
        ("server closed the connection unexpectedly", None),
        ("Connection refused", None),
        ("SSL SYSCALL error: EOF detected", None),
    ],
)
def test_a_refused_login_is_told_from_a_server_that_is_not_ready(said: str, barrier: str | None) -> None:
    assert why_refused(f"connection to server at (...) failed: {said}") == (barrier and Barrier(barrier))


def test_the_error_of_a_caller_who_waited_in_vain_says_how_often_and_why() -> None:
    raised = RetriesExhaustedError(6, Fault.CONFLICT)
    assert "6 attempts" in str(raised)
    assert "conflict" in str(raised)


def test_the_default_policy_is_bounded_in_attempts_and_pause() -> None:
    policy = RetryPolicy()
    assert 5 <= policy.attempts <= 10
    assert policy.cap_s <= 5
