"""The project's pages as tests read them: all of them, their sentences, and their blocks of code."""

import os
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]

#: Every page of the project, .github's templates too.
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob(".github/*.md")])

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.M | re.S)
_INDENTED = re.compile(r"(?<=\n\n)(?:    .*\n(?:\n+(?=    ))?)+")


class Block(NamedTuple):
    """A block of code of a page: "" for `language` where it names none."""

    page: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        """Where it stands, for a message."""
        return f"{self.page}:{self.line}"


def prose(page: Path) -> str:
    """Give a page's text without its blocks of code."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def blocks(page: Path) -> list[Block]:
    """Give a page's blocks of code; there are fenced ones alone."""
    text = page.read_text(encoding="utf-8")
    name = os.path.relpath(page, ROOT)
    return [
        Block(
            name,
            text.count("\n", 0, found.start()) + 1,
            found["language"],
            re.sub(f"^{found['indent']}", "", found["text"], flags=re.M),
        )
        for found in _FENCE.finditer(text)
    ]


def indented(page: Path) -> list[str]:
    """Give what a page sets as code by four spaces outside of lists, where no language can be named."""
    return [found[0] for found in _INDENTED.finditer(prose(page)) if not found[0].lstrip().startswith("- ")]


def commands(block: Block) -> list[str]:
    """Give the command lines of a block for the shell: without comments; what goes on over lines as one."""
    joined = re.sub(r"\\\n\s*", "", block.text)
    stripped = (re.sub(r"(^|\s+)# .*$", "", line).strip() for line in joined.splitlines())
    return [line for line in stripped if line]


def spans(page: Path) -> list[str]:
    """Give what a page sets as code inside its sentences and tables."""
    return [" ".join(found.split()) for found in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose(page))]
