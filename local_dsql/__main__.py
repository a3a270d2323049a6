"""A local Aurora DSQL for as long as this runs: python -m local_dsql [--port 5432]."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from local_dsql.arguments import input_file, number, output_folder, port, region_name
from local_dsql.cluster import LocalDsql
from local_dsql.console import run_command
from local_dsql.guard import StartError
from local_dsql.key_files import read_keys
from local_dsql.places import own_directory
from local_dsql.ports import require_port
from local_dsql.tokens import Key

PORT = 5432

#: Credentials that open this server alone, when tokens are asked for.
LOCAL_KEY_ID = "LOCALDSQL"
LOCAL_SECRET = "local-dsql-secret"  # noqa: S105  # of this machine only
LOCAL_ARN = "arn:aws:iam::000000000000:user/local"

_MINT = (
    "import boto3; print(boto3.client('dsql', region_name='{region}')"
    ".generate_db_connect_admin_auth_token('{host}', '{region}'))"
)


def _read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m local_dsql", description="Run an Aurora DSQL on this machine until Ctrl-C."
    )
    parser.add_argument("--port", type=port, default=PORT, help=f"to listen on, at 127.0.0.1 ({PORT})")
    parser.add_argument(
        "--directory", type=output_folder, help="keep the data here; without it they go when the server stops"
    )
    encryption = parser.add_mutually_exclusive_group()
    encryption.add_argument("--plain", action="store_true", help="without TLS")
    encryption.add_argument(
        "--require-tls", action="store_true", help="take nobody without TLS, as DSQL does"
    )
    parser.add_argument(
        "--tokens", action="store_true", help="ask for an authentication token, signed with the keys printed"
    )
    parser.add_argument(
        "--region", type=region_name, default="us-east-1", help="the Region that tokens are signed for"
    )
    parser.add_argument(
        "--keys",
        type=input_file,
        help="JSON: access key id to secret_access_key and arn, for tokens; read at each login",
    )
    parser.add_argument(
        "--index-build-s", type=number(0, 3600), default=2.0, help="how long CREATE INDEX ASYNC takes (2)"
    )
    parser.add_argument(
        "--no-fsync", action="store_true", help="faster; what it acknowledged may be lost in a power cut"
    )
    for name, what in (
        ("conflicts", "writing transactions that meet OC000 at COMMIT"),
        ("schema-changes", "statements that meet OC001"),
        ("failures", "COMMITs that end in XX000, half of them done nevertheless"),
    ):
        parser.add_argument(
            f"--{name}",
            type=number(0, 1, what="a share"),
            default=0.0,
            metavar="SHARE",
            help=f"by chance: share of {what} (0)",
        )
    return parser.parse_args(arguments)


def _check_keys(path: Path) -> None:
    try:
        read_keys(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StartError(
            f"{path} is not read: it is to be JSON such as "
            '{"AKIA...": {"secret_access_key": "...", "arn": "arn:aws:iam::...:user/..."}}'
        ) from error


def _how_to_connect(server: LocalDsql, given: argparse.Namespace) -> str:
    psql = server.postgres.bin_directory / "psql"
    lines = [
        f"A local Aurora DSQL is ready at {server.host}:{server.port}. Ctrl-C stops it.",
        "",
        "psql (this one knows no TLS):",
        f"  {psql} postgresql://admin@{server.host}:{server.port}/postgres",
        "Any driver:",
        f"  {_url(server)}",
    ]
    if given.tokens:
        code = _MINT.format(host=server.host, region=server.region)
        lines += [
            "The password is a token, signed with",
            f"  AWS_ACCESS_KEY_ID={LOCAL_KEY_ID} AWS_SECRET_ACCESS_KEY={LOCAL_SECRET}",
            "for example",
            f'  export PGPASSWORD=$(python -c "{code}")',
        ]
    elif given.keys is not None:
        lines += [f"The password is a token, signed with a key of {given.keys}."]
    else:
        lines += ["Any password is taken, a token too (--tokens verifies them)."]
    return "\n".join(lines)


def _url(server: LocalDsql) -> str:
    url = f"postgresql://admin@{server.host}:{server.port}/postgres"
    return url if server.ca_file is None else f"{url}?sslmode=verify-full&sslrootcert={server.ca_file}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until Ctrl-C or SIGTERM. Gives the exit status."""
    given = _read_arguments(arguments)
    # As after Ctrl-C, which a shell's `&` has processes ignore: raising SIGINT would do nothing there.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), own_directory("local-dsql-data", passable=True) as temporary:
        keys = {LOCAL_KEY_ID: Key(LOCAL_SECRET, LOCAL_ARN)} if given.tokens else None
        try:
            require_port(given.port)
            if given.keys is not None:
                _check_keys(given.keys)
                keys = keys or {}
            server = LocalDsql(
                given.directory or temporary,
                port=given.port,
                tls=not given.plain,
                requires_tls=given.require_tls,
                region=given.region,
                keys=keys,
                key_files=[given.keys] if given.keys is not None else [],
                limits={"index_build_s": given.index_build_s},
                faults={
                    "conflicts": given.conflicts,
                    "schema_changes": given.schema_changes,
                    "failures": given.failures,
                },
                fsync=not given.no_fsync and given.directory is not None,
                connections=1000,
            )
            print("starting PostgreSQL and the server before it ...", file=sys.stderr, flush=True)
            with server:
                print(_how_to_connect(server, given), flush=True)
                while True:
                    signal.pause()
        except StartError as error:
            print(error, file=sys.stderr)
            return 1
    print("\nstopped", file=sys.stderr)
    return 0


if __name__ == "__main__":
    # A default action would leave PostgreSQL's directory behind.
    os.umask(0o022)
    run_command(main)
