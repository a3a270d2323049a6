"""Take the snapshot."""

import argparse
import sys

from tests.former_release import HERE, take_snapshot

argparse.ArgumentParser(prog="python -m tests.former_release", description=take_snapshot.__doc__).parse_args()
sys.stdout.write(f"{take_snapshot()} files are kept in {HERE.name}/; commit them with the release.\n")
