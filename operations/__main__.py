"""Run the command: `./rewards`."""

from local_dsql.console import run_command
from operations.command import main

if __name__ == "__main__":
    run_command(main, keeps=("AWS_",))
