"""Start a Region on this machine, fill it, and keep it until Ctrl-C: `python -m local`, or `make up`."""

import argparse
import os
import sys
import time
from pathlib import Path

import psycopg

from local import region_file
from local.metrics import metrics_reader
from local.reference import publish
from local.region import LocalRegion, stop_on_signals, stopwatch
from local.reload import Reloader
from local.sample_data import DEMO_USERNAME, STAFF_USERNAMES, enrolment_messages, generate, load
from local.sample_data.customers import MIN_CUSTOMERS
from local.sample_data.pictures import upload_pictures
from local_dsql.arguments import port, region_name, whole_number
from local_dsql.console import run_command
from local_dsql.guard import StartError

_LOOK_EVERY_S = 0.3


def main() -> None:
    """Start, fill, say how to use it, wait, stop."""
    options = _options()
    stop_on_signals()
    say = stopwatch()
    offered = f"{DEMO_USERNAME},{STAFF_USERNAMES[0]}"
    region = LocalRegion(
        options.region,
        port=options.port,
        database_port=options.database_port,
        plain=options.plain_postgres,
        parameters={"DemoUsernames": offered},
        say=say,
    )
    try:
        with region:
            say(f"loading {options.customers} customers")
            data = generate(options.customers)
            with psycopg.connect(region.conninfo(), autocommit=True) as connection:
                load(connection, data)
            # The sample event of PublishPagesFunction names it; the shop's own pages stay as they are.
            region.client("s3").create_bucket(Bucket="sample-pages")
            say("drawing their pictures")
            upload_pictures(region.client("s3"), region.outputs["PicturesBucketName"], data)
            say(f"enrolling {options.users} of them as users")
            region.enrol(list(enrolment_messages(data, options.users)))
            region_file.write(_variables(region), functions=region.functions().values())
            say("ready")
            print(_how_to_use(region, publish(region)), flush=True)
            reloader = None if options.no_reload else Reloader(region, say)
            with metrics_reader(region):
                while True:
                    time.sleep(_LOOK_EVERY_S)
                    region.check()
                    if reloader is not None:
                        reloader.look()
    except StartError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        say("stopped; nothing is left running")
    finally:
        region_file.remove()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument(
        "--region",
        type=region_name,
        default="us-east-1",
        help="the AWS Region to be (default: %(default)s)",
    )
    parser.add_argument(
        "--port",
        type=port,
        default=os.environ.get("LOCAL_PORT"),
        help="where the API and the AWS APIs answer (default: $LOCAL_PORT, or a free port)",
    )
    parser.add_argument(
        "--database-port",
        type=port,
        default=os.environ.get("LOCAL_DATABASE_PORT"),
        help="where the database answers (default: $LOCAL_DATABASE_PORT, or a free port)",
    )
    parser.add_argument(
        "--customers",
        type=whole_number(MIN_CUSTOMERS, 100_000),
        default=1000,
        help="customers of the sample (default: %(default)s)",
    )
    parser.add_argument(
        "--users",
        type=whole_number(1, 10_000),
        default=20,
        help="how many of them can sign in (default: %(default)s)",
    )
    parser.add_argument(
        "--no-reload", action="store_true", help="keep the code and pages as they are now, whatever is edited"
    )
    parser.add_argument(
        "--plain-postgres", action="store_true", help="PostgreSQL itself in place of a local Aurora DSQL"
    )
    return parser.parse_args()


def _variables(region: LocalRegion) -> dict[str, str]:
    return {
        **region.environment,
        "API": region.api_url,
        "TOKEN": region.sign_in(DEMO_USERNAME),
        "STAFF_TOKEN": region.sign_in(STAFF_USERNAMES[0]),
        "USER_POOL_CLIENT_ID": region.outputs["UserPoolClientId"],
        "DEMO_PASSWORD": region.outputs["DemoPassword"],
        "DATABASE_URL": region.database_url,
    }


def _how_to_use(region: LocalRegion, reference_url: str) -> str:
    password = region.outputs["DemoPassword"]
    return f"""
  shop       {region.pages_url}   <- open this first
  operations {region.pages_url}#/staff/operations   (as {STAFF_USERNAMES[0]})
  API        {region.api_url}
  reference  {reference_url}
  sign in    {DEMO_USERNAME} (customer) or {STAFF_USERNAMES[0]} (staff), password {password}
  try        . {_short(region_file.PATH)}
             curl -H "Authorization: $TOKEN" $API/cart
             (signed in as {DEMO_USERNAME}, for an hour; then: make token)
  command    ./rewards outbox status
  one event  make invoke FUNCTION=CheckoutFunction
  database   make psql
  e-mails    curl {region.endpoint_url}/_ministack/ses/messages
  log        {_short(region.log)}

What you edit in domain/, sql/, events/, handlers/ and web/ is used by the next request.
Ctrl-C stops it and removes its data.
"""


def _short(path: Path) -> str:
    return os.path.relpath(path)


if __name__ == "__main__":
    run_command(main)
