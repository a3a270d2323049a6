"""What keeps a run on this machine away from whatever else its user has set up: accounts and servers."""

import os
from collections.abc import MutableMapping


def forget_account(environment: MutableMapping[str, str] = os.environ) -> None:
    """Take from this process, and so from what it starts, all that leads to an AWS account.

    Keys, tokens and profiles in variables, endpoints, a container's or a machine's role, and the files in the
    home folder. What runs locally is given its keys and addresses by name.
    """
    for name in [name for name in environment if name.startswith("AWS_")]:
        del environment[name]
    environment.update(
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_EC2_METADATA_DISABLED="true",
        # What the SDK before this one read: ~/.boto.
        BOTO_CONFIG=os.devnull,
    )


def forget_libpq_environment(*but: str, environment: MutableMapping[str, str] = os.environ) -> None:
    """Take libpq's variables (PGSSLMODE, PGSERVICE, ...) out of this process, `but` some.

    They speak of another server, and cannot be overruled one by one: a service of PGSERVICE that nobody
    defines fails each connection.
    """
    for name in [name for name in environment if name.startswith("PG") and name not in but]:
        del environment[name]
