"""Write the OpenAPI document and docs/problems.md: `python -m api`.

With `--promise`, what is written is a release: later versions must not break it.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from api.compare import breaking_changes
from api.document import make
from api.problems import page
from local_dsql.console import run_command

DIRECTORY = Path(__file__).parent
DOCUMENT = DIRECTORY / "openapi.json"

PROBLEMS = DIRECTORY.parent / "docs" / "problems.md"

#: The document of the last release. Clients are written against it.
PROMISE = DIRECTORY / "promised.json"


def text() -> str:
    """Give the document as it is committed."""
    document = json.dumps(make(), indent=1, ensure_ascii=False) + "\n"
    # Patterns name characters that an editor would not show.
    return re.sub("[\U00010000-\U0010ffff]", lambda found: json.dumps(found[0])[1:-1], document)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write both, and say what it would break. What breaks the last release does not become one."""
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    parser.add_argument(
        "--promise", action="store_true", help="this is a release: later versions must not break it"
    )
    options = parser.parse_args(arguments)
    document = text()
    DOCUMENT.write_text(document, encoding="utf-8")
    PROBLEMS.write_text(page(), encoding="utf-8")
    # Without a promise there was no release, and nothing can be broken.
    promised = json.loads(PROMISE.read_text(encoding="utf-8")) if PROMISE.exists() else {"paths": {}}
    broken = breaking_changes(promised, json.loads(document))
    for change in broken:
        print(change, file=sys.stderr)  # noqa: T201
    if broken:
        sys.exit("The released API would break. Keep it as it is and add beside it, or release a /v2.")
    if options.promise:
        PROMISE.write_text(document, encoding="utf-8")


if __name__ == "__main__":
    run_command(main)
