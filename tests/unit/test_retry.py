"""What is run again after a fault, how often, and with which pauses."""

import psycopg
import pytest
from psycopg import errors

from sql.errors import Fault, RetriesExhaustedError, classify
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
    ],
)
@pytest.mark.parametrize("commit_sent", [True, False])
def test_errors_that_another_attempt_cannot_mend_are_not_retried(
    raised: psycopg.Error, commit_sent: bool
) -> None:
    assert classify(raised, commit_sent) is None


def test_the_error_of_a_caller_who_waited_in_vain_says_how_often_and_why() -> None:
    raised = RetriesExhaustedError(6, Fault.CONFLICT)
    assert "6 attempts" in str(raised)
    assert "conflict" in str(raised)


def test_the_default_policy_is_bounded_in_attempts_pause_and_time() -> None:
    policy = RetryPolicy()
    assert 5 <= policy.attempts <= 10
    assert policy.cap_s <= 5
    assert policy.deadline_s < 29, "API Gateway gives up after 29 s"
