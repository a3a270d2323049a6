"""Types for argparse that refuse a wrong value before anything is started, with what to give in its place."""

import argparse
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

#: A Region's name as AWS writes them; cn-north-1, us-gov-west-1 and eusc-de-east-1 are some too.
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}")

#: Numbers as people write them, of up to nine digits: nothing here counts further.
_WHOLE = r"-?[0-9]{1,9}"
_DECIMAL = r"[0-9]{1,9}(\.[0-9]{1,9})?"

#: Characters of a wrong value that are shown again.
_SHOWN = 60


def whole_number(
    least: int, most: int | None = None, *, what: str = "a whole number"
) -> Callable[[str], int]:
    """Give a type for whole numbers from `least` to `most`."""
    bounds = f"of {least} or more" if most is None else f"from {least} to {most}"

    def read(text: str) -> int:
        value = int(text) if re.fullmatch(_WHOLE, text) else least - 1
        if value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"{_short(text)} is not {what} {bounds}")
        return value

    return read


def seconds(text: str) -> float:
    """Read a number of seconds above 0; fractions are welcome."""
    if re.fullmatch(_DECIMAL, text) is None or float(text) == 0:
        raise argparse.ArgumentTypeError(f"{_short(text)} is not a number of seconds above 0")
    return float(text)


def number(least: float, most: float, *, what: str = "a number") -> Callable[[str], float]:
    """Give a type for numbers from `least` to `most`; fractions are welcome."""

    def read(text: str) -> float:
        if re.fullmatch(_DECIMAL, text) is None or not least <= float(text) <= most:
            raise argparse.ArgumentTypeError(f"{_short(text)} is not {what} from {least:g} to {most:g}")
        return float(text)

    return read


def region_name(text: str) -> str:
    """Read the name of an AWS Region."""
    if _REGION.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(
            f"{_short(text)} is not the name of an AWS Region, such as us-east-1"
        )
    return text


def port(text: str) -> int:
    """Read a port's number; 0 is a free one's."""
    return whole_number(0, 65535, what="a port")(text)


def output_folder(text: str) -> Path:
    """Read the path of a folder to be written into, which may be made then."""
    path = Path(text)
    with suppress(OSError):
        there = next(one for one in (path, *path.absolute().parents) if one.exists())
        if text.strip() and there.is_dir() and os.access(there, os.W_OK):
            return path
    raise argparse.ArgumentTypeError(
        f"{_short(text)} cannot be written: give a folder, or where one may be made"
    )


def input_file(text: str) -> Path:
    """Read the path of a file to be read."""
    path = Path(text)
    with suppress(OSError):
        if path.is_file() and os.access(path, os.R_OK):
            return path
    raise argparse.ArgumentTypeError(f"{_short(text)} cannot be read: give a file that is there")


def output_file(text: str) -> Path:
    """Read the path of a file to be written: its folder must be there."""
    path = Path(text)
    with suppress(OSError):
        written = path if path.exists() else path.parent
        if text.strip() and not path.is_dir() and path.parent.is_dir() and os.access(written, os.W_OK):
            return path
    raise argparse.ArgumentTypeError(
        f"{_short(text)} cannot be written: give a file in a folder that is there"
    )


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
