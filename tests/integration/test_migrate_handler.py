"""The deployment's custom resource, invoked as CloudFormation invokes it, its answers received over HTTP."""

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from handlers.edge.custom_resource import ANSWER_RESERVE_S
from handlers.migrate import PHYSICAL_ID, handler
from local_dsql.cluster import LocalDsql
from local_dsql.postgres import EmbeddedPostgres
from sql.migrate import read_migrations
from tests.integration.cloudformation import CloudFormation, Context, listening


@pytest.fixture
def cloudformation() -> Iterator[CloudFormation]:
    with listening() as server:
        yield server


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, dsql: LocalDsql, empty_database_name: str) -> None:
    for name, value in {
        "DATABASE_HOST": dsql.host,
        "DATABASE_PORT": str(dsql.port),
        "DATABASE_NAME": empty_database_name,
        "DATABASE_ROLE": "admin",
        "DATABASE_TLS": "disable",
        "AWS_LAMBDA_FUNCTION_NAME": "MigrateFunction",
    }.items():
        monkeypatch.setenv(name, value)


def test_creating_the_stack_migrates_the_schema_and_says_how_much_was_done(
    cloudformation: CloudFormation,
) -> None:
    handler(cloudformation.request("Create", RoleArns={"checkout": ["arn:aws:iam::1:role/a"]}), Context())
    assert cloudformation.answers == [
        {
            "Status": "SUCCESS",
            "PhysicalResourceId": PHYSICAL_ID,
            "StackId": "arn:aws:cloudformation:us-east-1:111122223333:stack/s/1",
            "RequestId": "request-1",
            "LogicalResourceId": "Migration",
            "Data": {"AppliedStatements": str(len(read_migrations()))},
        }
    ]
    assert cloudformation.content_types == [""]


def test_updating_the_stack_keeps_the_resource(
    cloudformation: CloudFormation, monkeypatch: pytest.MonkeyPatch, database_name: str
) -> None:
    monkeypatch.setenv("DATABASE_NAME", database_name)  # one that is up to date
    handler(cloudformation.request("Create"), Context())
    handler(cloudformation.request("Update"), Context())
    assert cloudformation.answers[1]["PhysicalResourceId"] == "an-earlier-id"
    assert cloudformation.answers[1]["Data"] == {"AppliedStatements": "0"}


def test_an_update_tells_which_links_the_functions_before_it_have(
    cloudformation: CloudFormation, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []

    def migrate(_database: Any, role_arns: Any, *, former_role_arns: Any, report: Any) -> int:
        told.append((role_arns, former_role_arns))
        return 0

    monkeypatch.setattr("handlers.migrate.migrate", migrate)
    links = {"checkout": ["arn:a"]}, {"orders": ["arn:a"]}
    update = cloudformation.request("Update", RoleArns=links[0])
    handler({**update, "OldResourceProperties": {"ServiceToken": "arn", "RoleArns": links[1]}}, Context())
    handler(cloudformation.request("Create", RoleArns=links[0]), Context())
    assert told == [links, (links[0], {})]


def test_deleting_the_stack_leaves_the_data_and_needs_no_database(
    cloudformation: CloudFormation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_HOST", "")
    handler(cloudformation.request("Delete"), Context())
    assert cloudformation.answers[0]["Status"] == "SUCCESS"


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("DATABASE_PORT", "none", "ValidationError: .*DATABASE_PORT"),
        ("DATABASE_ROLE", "nobody", "LoginRefusedError: .*see that the role exists"),
    ],
    ids=["wrong settings", "no login"],
)
def test_a_failure_is_answered_with_its_reason(
    cloudformation: CloudFormation, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(variable, value)
    monkeypatch.setattr("sql.migrate._PAUSE_CAP_S", 0.0)
    handler(cloudformation.request("Create"), Context())
    (answer,) = cloudformation.answers
    assert answer["Status"] == "FAILED"
    with pytest.raises(AssertionError, match=f"(?s){reason}"):
        raise AssertionError(answer["Reason"])


def test_wrong_properties_are_a_failure_with_a_reason(cloudformation: CloudFormation) -> None:
    handler(cloudformation.request("Create", RoleArns="checkout"), Context())
    assert "RoleArns" in cloudformation.answers[0]["Reason"]


def test_when_the_time_is_nearly_up_the_answer_is_a_failure_and_there_is_no_second_one(
    cloudformation: CloudFormation,
    postgres: EmbeddedPostgres,
    empty_database_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sql.migrate.read_migrations", list)  # nothing follows what it waits for
    with psycopg.connect(postgres.conninfo(empty_database_name), application_name="fixture") as blocker:
        # The migration waits behind this, for as long as it is not committed.
        blocker.execute("create schema xpoints")
        run = threading.Thread(
            target=handler, args=(cloudformation.request("Create"), Context(ANSWER_RESERVE_S + 0.2))
        )
        run.start()
        assert cloudformation.answered.wait(60)
        assert run.is_alive()
        blocker.commit()
    run.join()
    (answer,) = cloudformation.answers
    assert answer["Status"] == "FAILED"
    assert "deploy again and it goes on from there" in answer["Reason"]


def test_an_answer_that_was_not_taken_is_sent_again(cloudformation: CloudFormation) -> None:
    cloudformation.failures = 2
    handler(cloudformation.request("Delete"), Context())
    assert [answer["Status"] for answer in cloudformation.answers] == ["SUCCESS"]


def test_an_answer_that_is_never_taken_fails_the_invocation(cloudformation: CloudFormation) -> None:
    cloudformation.failures = 99
    with pytest.raises(OSError, match="503"):
        handler(cloudformation.request("Delete"), Context())
