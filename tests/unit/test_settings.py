"""What a function's environment says, and what the database is asked for then."""

from importlib import import_module

import pytest

from handlers.edge.settings import DatabaseEnvironment

VARIABLES = {
    "AWS_REGION": "us-east-1",
    "DATABASE_HOST": "a.dsql.us-east-1.on.aws",
    "DATABASE_ROLE": "checkout",
    "AWS_LAMBDA_FUNCTION_NAME": "CheckoutFunction",
}


@pytest.mark.parametrize(("given", "pipelined"), [(None, True), ("on", True), ("off", False)])
def test_pipelining_is_switched_by_the_environment(given: str | None, pipelined: bool) -> None:
    variables = VARIABLES | ({} if given is None else {"DATABASE_PIPELINE": given})
    assert DatabaseEnvironment.read(variables).database().settings.pipelined is pipelined


def test_how_long_an_attempt_waits_is_the_functions_own() -> None:
    asked = DatabaseEnvironment.read(VARIABLES | {"DATABASE_ATTEMPT_S": "60"})
    assert asked.database().settings.attempt_s == 60


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_PIPELINE", "maybe"),
        ("DATABASE_TLS", "require"),
        ("DATABASE_PORT", "0"),
        ("DATABASE_ROLE", "Robert'; drop table orders"),
        ("DATABASE_ROLE", "checkout\n"),
        ("DATABASE_HOST", ""),
        ("DATABASE_ATTEMPT_S", "0"),
    ],
)
def test_a_wrong_variable_fails_the_start_and_is_named(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name):
        DatabaseEnvironment.read(VARIABLES | {name: value})


def test_a_session_names_its_function_within_what_postgresql_keeps() -> None:
    named = DatabaseEnvironment.read(VARIABLES | {"AWS_LAMBDA_FUNCTION_NAME": "x" * 64})
    assert named.database().settings.application_name == "rewards-" + "x" * 55


def test_the_demo_password_is_not_in_what_the_settings_say_of_themselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {
        "AWS_REGION": "us-east-1",
        "USER_POOL_ID": "pool",
        "DEMO_PASSWORD": "hunter2-22222",
        "DATABASE_HOST": "localhost",
        "DATABASE_ROLE": "enrolment",
    }.items():
        monkeypatch.setenv(name, value)
    settings = import_module("handlers.enrol_users")._Environment.read()
    assert "hunter2" not in repr(settings) + str(settings)
