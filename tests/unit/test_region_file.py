"""`.local/region.env` leads shells and `./rewards` to the Region of this machine, and nowhere else."""

import os
import subprocess
from pathlib import Path

import pytest

from local import region_file
from local_dsql.guard import StartError

VARIABLES = {"API": "http://127.0.0.1:1/v1", "DEMO_PASSWORD": "it's a $HOME"}


def test_what_a_shell_reads_is_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "region.env"
    region_file.write(VARIABLES, path)

    shell = subprocess.run(
        ["sh", "-c", f'. {path}; printf "%s|%s|%s" "$API" "$DEMO_PASSWORD" "$(env | grep AWS_)"'],
        env={"PATH": os.defpath, "AWS_PROFILE": "mine", "AWS_ENDPOINT_URL_SQS": "a b", "AWS_ROLE_ARN": "c"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert shell.stdout == "http://127.0.0.1:1/v1|it's a $HOME|"
    assert region_file.read(path) == {**VARIABLES, "REGION_PROCESS_ID": str(os.getpid())}


def test_nobody_else_may_read_the_tokens(tmp_path: Path) -> None:
    path = tmp_path / "region.env"
    region_file.write(VARIABLES, path)

    assert path.stat().st_mode & 0o777 == 0o600


def test_a_region_that_has_ended_is_none(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    path = tmp_path / "region.env"
    path.write_text(f"export REGION_PROCESS_ID={ended.pid}\n")

    with pytest.raises(StartError, match="make up"):
        region_file.read(path)
    with pytest.raises(StartError, match="make up"):
        region_file.read(tmp_path / "nothing.env")


def test_an_earlier_region_has_the_file_again_when_a_later_one_stops(tmp_path: Path) -> None:
    path = tmp_path / "region.env"
    earlier = tmp_path / f"region.{os.getppid()}.env"
    earlier.write_text(f"export REGION_PROCESS_ID={os.getppid()}\n")
    killed = tmp_path / "region.0.env"
    killed.write_text("export REGION_PROCESS_ID=none\n")

    region_file.write(VARIABLES, path)
    assert region_file.read(path)["API"] == VARIABLES["API"]

    region_file.remove(path)
    assert region_file.read(path) == {"REGION_PROCESS_ID": str(os.getppid())}
    assert not killed.exists()

    earlier.unlink()
    region_file.write(VARIABLES, path)
    region_file.remove(path)
    region_file.remove(path)
    assert not list(tmp_path.iterdir())
