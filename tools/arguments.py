"""Types for argparse that refuse a wrong value before anything is started, with what to give in its place."""

import argparse
import os
import re
from collections.abc import Callable
from pathlib import Path

#: A Region's name as AWS writes them; cn-north-1, us-gov-west-1 and eusc-de-east-1 are some too.
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}")


def whole_number(
    least: int, most: int | None = None, *, what: str = "a whole number"
) -> Callable[[str], int]:
    """Give a type for whole numbers from `least` to `most`."""
    bounds = f"of {least} or more" if most is None else f"from {least} to {most}"

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least or (most is not None and number > most):
            raise argparse.ArgumentTypeError(f"{text!r} is not {what} {bounds}")
        return number

    return read


def seconds(text: str) -> float:
    """Read a number of seconds above 0; fractions are welcome, infinities are not."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return number


def region_name(text: str) -> str:
    """Read the name of an AWS Region."""
    if _REGION.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of an AWS Region, such as us-east-1")
    return text


def port(text: str) -> int:
    """Read a port's number; 0 is a free one's."""
    return whole_number(0, 65535, what="a port")(text)


def output_file(text: str) -> Path:
    """Read the path of a file to be written: its folder must be there."""
    path = Path(text)
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written: give a file in a folder that is there")
    return path
