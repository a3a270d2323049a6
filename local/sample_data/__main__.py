"""Command line of the sample data: load it, or write it as CSV files or pictures."""

import argparse
import sys

import psycopg
from psycopg.conninfo import conninfo_to_dict

from local.sample_data.catalogue import MAX_ITEMS, MIN_ITEMS
from local.sample_data.csv_files import SCRIPT, write_csv
from local.sample_data.customers import MAX_CUSTOMERS, MIN_CUSTOMERS
from local.sample_data.generate import generate
from local.sample_data.load import OtherDataError, load
from local.sample_data.pictures import draw_pictures, upload_pictures
from local.sample_data.progress import Progress, shown
from local.sample_data.rows import SampleData
from local_dsql.arguments import output_folder, whole_number
from local_dsql.console import run_command


def _load(arguments: argparse.Namespace, data: SampleData, progress: Progress) -> str:
    with psycopg.connect(arguments.dsn, autocommit=True) as connection:
        loaded = load(connection, data, progress)
    if not loaded.rows:
        return "The sample is there already; nothing was changed."
    return f"Loaded {loaded.rows:,} rows in {loaded.transactions} transactions."


def _csv(arguments: argparse.Namespace, data: SampleData, progress: Progress) -> str:
    files = write_csv(data, arguments.directory, progress)
    return f"Wrote {len(files)} files. To load them: cd {arguments.directory} && psql -f {SCRIPT}"


def _pictures(arguments: argparse.Namespace, data: SampleData, progress: Progress) -> str:
    if arguments.bucket:
        import boto3

        count = upload_pictures(boto3.client("s3"), arguments.bucket, data, progress)
        return f"Put {count} pictures into {arguments.bucket}; {len(data.pictures) - count} were there."
    return f"Drew {draw_pictures(data, arguments.directory, progress)} pictures in {arguments.directory}."


def _dsn(text: str) -> str:
    try:
        # Without a place it would be where libpq's variables point to
        if not conninfo_to_dict(text):
            raise psycopg.ProgrammingError("it names nothing")
    except psycopg.ProgrammingError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not read ({str(error).strip()}): give a URL, or host=... port=... user=..."
        ) from None
    return text


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--customers",
        type=whole_number(MIN_CUSTOMERS, MAX_CUSTOMERS),
        default=5000,
        metavar="N",
        help="customers (default 5000)",
    )
    common.add_argument(
        "--items",
        type=whole_number(MIN_ITEMS, MAX_ITEMS),
        default=200,
        metavar="N",
        help="catalogue items (default 200)",
    )
    common.add_argument(
        "--seed", type=whole_number(0), default=1, metavar="N", help="another seed, another shop (default 1)"
    )
    parser = argparse.ArgumentParser(prog="python -m local.sample_data", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    command = commands.add_parser("load", parents=[common], help="copy the sample into a migrated database")
    command.add_argument(
        "--dsn", required=True, type=_dsn, help="where to, as libpq reads it: host=... user=admin ..."
    )
    command.set_defaults(run=_load)
    command = commands.add_parser(
        "csv", parents=[common], help="write the workshop's nine tables for psql's \\copy"
    )
    command.add_argument(
        "--directory", required=True, type=output_folder, help="where to; its CSV files are replaced"
    )
    command.set_defaults(run=_csv)
    command = commands.add_parser("pictures", parents=[common], help="draw the items' pictures (SVG)")
    place = command.add_mutually_exclusive_group(required=True)
    place.add_argument("--directory", type=output_folder, help="draw into files")
    place.add_argument("--bucket", help="put into this S3 bucket what it lacks")
    command.set_defaults(run=_pictures)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command; gives the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        data = generate(arguments.customers, arguments.items, arguments.seed)
        with shown() as progress:
            done = arguments.run(arguments, data, progress)
    except (ValueError, OtherDataError) as error:
        print(error, file=sys.stderr)
        return 2
    except psycopg.Error as error:
        print(f"{error}\nRun the command again to go on where it stopped.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted. Run the command again to go on where it stopped.", file=sys.stderr)
        return 130
    print(done)
    return 0


if __name__ == "__main__":
    # A database and a bucket may be anybody's: they are named, and these let in.
    run_command(main, keeps=("AWS_", "PGPASSWORD", "PGPASSFILE"))
