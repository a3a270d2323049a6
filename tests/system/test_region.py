import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import psutil
import pytest

from local.emulator import NO_CERTIFICATES
from local.log_lines import lines_of
from local.region import MEMORY, ROOT, LocalRegion
from local_dsql.guard import Guarded, StartError
from sql.connection import Connection
from tests.integration.shop import Shop


def _get_catalog(region: LocalRegion, token: str | None) -> httpx.Response:
    headers = {} if token is None else {"Authorization": token}
    return httpx.get(
        f"{region.api_url}/catalog", headers=headers, timeout=30, trust_env=False, verify=NO_CERTIFICATES
    )


@pytest.fixture(scope="module")
def username(region: LocalRegion) -> str:
    name = f"region_{uuid4().hex[:8]}"
    with Connection.connect(region.conninfo(), autocommit=True) as connection:
        customer_id = Shop(connection).customer(username=name)
    region.enrol([{"username": name, "email": f"{name}@example.com", "customer_id": str(customer_id)}])
    return name


def test_the_api_lets_nobody_in_without_a_token(region: LocalRegion) -> None:
    assert _get_catalog(region, None).status_code == 401


def test_the_api_lets_nobody_in_with_a_tampered_token(region: LocalRegion, username: str) -> None:
    header, claims, signature = region.sign_in(username).split(".")
    swapped = signature[::-1]

    assert _get_catalog(region, f"{header}.{claims}.{swapped}").status_code == 401


def test_an_enrolled_user_signs_in_and_is_let_in(region: LocalRegion, username: str) -> None:
    assert _get_catalog(region, region.sign_in(username)).status_code == 200


def test_messages_about_a_taken_name_or_a_user_who_is_there_change_nothing_of_the_user(
    region: LocalRegion,
) -> None:
    name, own = f"owner_{uuid4().hex[:8]}", "My-Own-Password-1"
    with Connection.connect(region.conninfo(), autocommit=True) as connection:
        owner = Shop(connection).customer(username=name)
        thief = Shop(connection).customer(username=f"{name}_2")
    region.enrol([{"username": name, "email": f"{name}@example.com", "customer_id": str(owner)}])
    who = {"UserPoolId": region.outputs["UserPoolId"], "Username": name}
    users = region.client("cognito-idp")
    users.admin_set_user_password(**who, Password=own, Permanent=True)
    before = users.admin_get_user(**who)["UserAttributes"]

    def deliver(customer_id: UUID, typed: str, staff: bool) -> str:
        body = {"username": typed, "email": "x@example.com", "customer_id": str(customer_id), "staff": staff}
        sent = region.client("sqs").send_message(
            QueueUrl=region.outputs["EnrolUsersQueueUrl"], MessageBody=json.dumps(body)
        )
        give_up_at = time.monotonic() + 60
        while time.monotonic() < give_up_at:
            for line in region.logs():
                if sent["MessageId"] in line:
                    told = json.loads(line)
                    return str(told.get("exception_name") or told["effect"])
            time.sleep(0.2)
        raise AssertionError("nothing became of the message")

    assert deliver(thief, name.upper(), staff=True) == "WrongUsernameError"
    assert deliver(owner, name, staff=True) == "NotStaffError"
    assert deliver(owner, name.upper(), staff=False) == "duplicate"
    assert users.admin_get_user(**who)["UserAttributes"] == before
    assert users.admin_list_groups_for_user(**who)["Groups"] == []
    assert region.sign_in(name, own)


def test_a_long_log_is_read_to_its_end(region: LocalRegion) -> None:
    logs, place = region.client("logs"), {"logGroupName": "/long", "logStreamName": "one"}
    logs.create_log_group(logGroupName="/long")
    logs.create_log_stream(**place)
    numbers = range(21_000)
    for first in range(0, len(numbers), 7_000):
        at_ms = 1_000_000 + first // 2  # what follows begins in the millisecond in which this ends
        lines = [{"timestamp": at_ms + n // 2, "message": str(first + n)} for n in range(7_000)]
        logs.put_log_events(**place, logEvents=lines)
    assert lines_of(logs, "/long") == [str(number) for number in numbers]
    logs.delete_log_group(logGroupName="/long")


def test_the_web_page_may_not_write_which_customer_a_user_is(region: LocalRegion) -> None:
    client = region.client("cognito-idp").describe_user_pool_client(
        UserPoolId=region.outputs["UserPoolId"], ClientId=region.outputs["UserPoolClientId"]
    )["UserPoolClient"]

    # Without a list, or with it there, any user could become any customer.
    assert client["WriteAttributes"] == ["email"]


def test_a_migration_that_fails_fails_the_deployment(region: LocalRegion) -> None:
    # Port 1 answers nobody, so the migration cannot connect.
    broken = LocalRegion(database=region.database, parameters={"DatabasePort": "1"})

    with pytest.raises(StartError, match=r"Migration: .*(OperationalError|connection)"):
        broken.__enter__()


def test_ctrl_c_in_the_middle_of_a_start_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    with (tmp_path / "output").open("wb") as output:
        make = subprocess.Popen(
            ["make", "demo"],
            cwd=ROOT,
            stdout=output,
            stderr=output,
            start_new_session=True,
            # Where the tests run in the background of a shell, Ctrl-C is ignored, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    while "deploying" not in (tmp_path / "output").read_text():
        assert make.poll() is None, (tmp_path / "output").read_text()
        time.sleep(0.1)
    family = psutil.Process(make.pid).children(recursive=True)
    assert any("emulator_process" in " ".join(member.cmdline()) for member in family)
    (demo,) = [member.pid for member in family if member.cmdline()[1:3] == ["-m", "demos.demo"]]

    # A terminal sends it to everything in the foreground.
    os.killpg(make.pid, signal.SIGINT)

    assert make.wait() != 0
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive
    assert "nothing is left running" in (tmp_path / "output").read_text()
    assert not list((ROOT / ".local" / "run").glob(f"{demo}-*"))
    assert not list(MEMORY.glob(f"rewards-{demo}-*"))


def test_a_port_that_is_taken_is_named_and_what_to_do_about_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"port {port} is taken: choose another, or none"):
            LocalRegion(port=port).__enter__()


_PARENT = """
import os, sys, time
from pathlib import Path
from local_dsql.guard import Guarded, StartError
Guarded([sys.executable, "-c", sys.argv[1]], os.environ, Path(sys.argv[2]))
time.sleep(600)
"""
_FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""


def test_a_guarded_command_and_its_children_end_when_the_parent_is_killed(tmp_path: Path) -> None:
    output = tmp_path / "output"
    parent = subprocess.Popen([sys.executable, "-c", _PARENT, _FAMILY, str(output)], cwd=ROOT)
    while not output.exists() or not output.read_text().endswith("\n"):
        assert parent.poll() is None
        time.sleep(0.02)
    family = [psutil.Process(int(number)) for number in output.read_text().split()]

    parent.send_signal(signal.SIGKILL)
    parent.wait()

    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive


def test_a_guarded_command_gives_its_exit_code_and_its_last_words(tmp_path: Path) -> None:
    command = Guarded(
        [sys.executable, "-c", "print('it broke'); raise SystemExit(3)"], os.environ, tmp_path / "output"
    )

    assert command.wait(30) == 3
    assert command.last_lines() == "it broke"
