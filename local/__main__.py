"""Start a Region on this machine and keep it until Ctrl-C: `python -m local`, or `make up`."""

import argparse
import os
import signal

from local.region import LocalRegion, stop_on_signals, stopwatch


def main() -> None:
    """Start, say how to use it, wait, stop."""
    options = _options()
    stop_on_signals()
    say = stopwatch()
    region = LocalRegion(options.region, port=options.port, database_port=options.database_port, say=say)
    try:
        with region:
            say("ready")
            print(_how_to_use(region), flush=True)
            while True:
                signal.pause()
    except KeyboardInterrupt:
        say("stopped; nothing is left running")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument("--region", default="us-east-1", help="the AWS Region to be (default: %(default)s)")
    parser.add_argument(
        "--port",
        type=int,
        default=os.environ.get("LOCAL_PORT"),
        help="where the API and the AWS APIs answer (default: $LOCAL_PORT, or a free port)",
    )
    parser.add_argument(
        "--database-port",
        type=int,
        default=os.environ.get("LOCAL_DATABASE_PORT"),
        help="where PostgreSQL answers (default: $LOCAL_DATABASE_PORT, or a free port)",
    )
    return parser.parse_args()


def _how_to_use(region: LocalRegion) -> str:
    return f"""
  API          {region.api_url}
  AWS APIs     AWS_ENDPOINT_URL={region.endpoint_url} AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test
  database     postgresql://admin@{region.postgres.host}:{region.postgres.port}/postgres
  logs         {region.log}

Ctrl-C stops it and removes its data.
"""


if __name__ == "__main__":
    main()
