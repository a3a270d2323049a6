"""Open psql on the database of the Region on this machine: `make psql`, or with ARGS="-c 'select ...'".

psql comes with the embedded server; options after the module's name are its own.
"""

import os
import sys

from local import region_file
from local_dsql.console import run_command
from local_dsql.guard import StartError
from local_dsql.postgres import binaries


def main() -> None:
    """Become psql."""
    try:
        region = region_file.read()
        program = binaries() / "psql"
    except StartError as error:
        sys.exit(str(error))
    os.execv(program, ["psql", region["DATABASE_URL"], *sys.argv[1:]])  # noqa: S606  # its arguments are this user's own


if __name__ == "__main__":
    run_command(main)
