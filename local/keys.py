"""What keeps a local run away from the AWS account of whoever runs it."""

import os
from collections.abc import MutableMapping


def forget_account(environment: MutableMapping[str, str] = os.environ) -> None:
    """Take from this process, and so from what it starts, all that leads to an account.

    Keys, tokens and profiles in variables, endpoints of single services, a container's or a machine's role,
    and the files under ~/.aws. What runs locally is given its keys and addresses by name.
    """
    for name in [name for name in environment if name.startswith("AWS_")]:
        del environment[name]
    environment.update(
        AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull, AWS_EC2_METADATA_DISABLED="true"
    )
