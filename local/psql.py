"""Open psql on the database of the Region on this machine: `make psql`, or with ARGS="-c 'select ...'".

psql comes with the embedded server; options after the module's name are its own. Its password is a token
signed now, as on AWS: that of `.local/region.env` is good for a week.
"""

import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit

from local import region_file
from local_dsql.console import run_command
from local_dsql.guard import StartError
from local_dsql.limits import TOKEN_AGE_S
from local_dsql.postgres import binaries
from sql.token import Credentials, presign


def main() -> None:
    """Become psql."""
    try:
        region = region_file.read()
        program = binaries() / "psql"
    except StartError as error:
        sys.exit(str(error))
    url, os.environ["PGPASSWORD"] = _url_and_token(region)
    os.execv(program, ["psql", url, *sys.argv[1:]])  # noqa: S606  # its arguments are this user's own


def _url_and_token(region: Mapping[str, str]) -> tuple[str, str]:
    """Give the database's URL without a password, which a list of processes would show, and a token."""
    url = urlsplit(region["DATABASE_URL"])
    credentials = Credentials(region["AWS_ACCESS_KEY_ID"], region["AWS_SECRET_ACCESS_KEY"])
    host, now = url.hostname or "", datetime.now(UTC)
    token = presign(credentials, host, region["AWS_REGION"], "DbConnectAdmin", TOKEN_AGE_S, now)
    return url._replace(netloc=f"{url.username}@{host}:{url.port}").geturl(), token


if __name__ == "__main__":
    run_command(main)
