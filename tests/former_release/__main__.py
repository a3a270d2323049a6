"""Take the snapshot."""

import sys

from tests.former_release import HERE, take_snapshot

sys.stdout.write(f"{take_snapshot()} files are kept in {HERE.name}/; commit them with the release.\n")
