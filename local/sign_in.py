"""Print a token of the Region on this machine, for the header `Authorization`: `make token`.

    curl -H "Authorization: $(make token)" "$API/cart"

It is good for an hour.
"""

import argparse
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from domain.usernames import one_form
from local import region_file
from local.sample_data import DEMO_USERNAME
from local_dsql.console import run_command
from local_dsql.guard import StartError


def main() -> int:
    """Sign in with the password that all users of a local Region have; give the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m local.sign_in", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("username", nargs="?", default=DEMO_USERNAME, help="who (default: %(default)s)")
    options = parser.parse_args()
    try:
        region = region_file.read()
        client = boto3.Session(
            region["AWS_ACCESS_KEY_ID"], region["AWS_SECRET_ACCESS_KEY"], region_name=region["AWS_REGION"]
        ).client("cognito-idp", endpoint_url=region["AWS_ENDPOINT_URL"], config=Config(proxies={}))
        answer = client.initiate_auth(
            ClientId=region["USER_POOL_CLIENT_ID"],
            AuthFlow="USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": one_form(options.username), "PASSWORD": region["DEMO_PASSWORD"]},
        )
    except StartError as error:
        print(error, file=sys.stderr)
        return 1
    except (client.exceptions.UserNotFoundException, client.exceptions.NotAuthorizedException):
        print(
            f"Nobody can sign in as {options.username}: `make up ARGS='--users 200'` enrols more.",
            file=sys.stderr,
        )
        return 1
    except (BotoCoreError, ClientError) as error:
        print(f"The sign-in was refused: {error}", file=sys.stderr)
        return 1
    print(answer["AuthenticationResult"]["IdToken"])
    return 0


if __name__ == "__main__":
    run_command(main)
