import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PLANTED = """
import shutil

import psycopg
from local_dsql.postgres import EmbeddedPostgres

def test_that_passes(tmp_path):
    with EmbeddedPostgres(tmp_path / "data", log_statements=True, fsync=False) as server:
        for application_name, statement in [
            ("fixture", "create temporary table fixtures_may (a int)"),
            ("rewards-CheckoutFunction", "{statement}"),
        ]:
            with psycopg.connect(server.conninfo(), application_name=application_name) as connection:
                connection.execute(statement, prepare={prepare})
    shutil.rmtree(server.data_directory)
"""


def run_session(directory: Path, statement: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a pytest session of one passing test, with this project's hooks, and give what came of it."""
    test = directory / "test_planted.py"
    test.write_text(PLANTED.format(statement=statement, prepare=len(options) == 0), encoding="utf-8")
    config = directory / "pytest.ini"
    config.write_text("[pytest]\n", encoding="utf-8")
    # Without the plugins that are merely installed: importing them takes longer than all the rest.
    plugins = ["-p", "tests.conftest", "-p", "xdist"]
    command = [sys.executable, "-m", "pytest", *plugins, "-c", str(config), *options, str(test)]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["one process", "xdist workers"])
def test_a_session_fails_when_a_passing_test_ran_a_statement_that_dsql_refuses(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    session = run_session(tmp_path, "select 1 as planted for share", *options)
    assert "1 passed" in session.stdout
    assert "dsql 0A000: locking clauses other than FOR UPDATE/FOR KEY SHARE are not" in session.stdout
    assert "select 1 as planted for share" in session.stdout
    assert "fixtures_may" not in session.stdout
    assert session.returncode == pytest.ExitCode.TESTS_FAILED


def test_the_statements_that_ran_are_shown_to_dsql_lint_too(tmp_path: Path) -> None:
    planted = "create index planted on information_schema.sql_features using btree (feature_id)"
    session = run_session(tmp_path, planted)
    assert "dsql-lint index_using" in session.stdout
    assert session.returncode == pytest.ExitCode.TESTS_FAILED


def test_a_session_passes_when_every_statement_of_the_project_is_legal(tmp_path: Path) -> None:
    session = run_session(tmp_path, "select 1 as planted")
    assert "refuse" not in session.stdout
    assert session.returncode == pytest.ExitCode.OK, session.stdout
