"""Take the snapshot."""

import argparse
import sys

from tests.former_release import CODE, SENDERS, take_snapshot

argparse.ArgumentParser(prog="python -m tests.former_release", description=take_snapshot.__doc__).parse_args()
kept = take_snapshot()
sys.stdout.write(f"{kept} files are kept in {CODE.name}; commit it and {SENDERS.name} with the release.\n")
