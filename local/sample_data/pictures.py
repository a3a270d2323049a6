"""The shop's pictures: our own flat drawings, each dressed in an item's colours, pattern and backdrop.

A drawing (`drawings/<kind>.svg`) paints with one-letter classes, not colours; this module says what they mean
for one item. Everything is text, so all pictures of the shop are drawn in a fraction of a second and there is
nothing to cache.
"""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from local.sample_data.progress import Progress, silent
from local.sample_data.rows import Picture, SampleData

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONTENT_TYPE = "image/svg+xml"

_DRAWINGS = Path(__file__).parent / "drawings"
_UPLOADS_AT_ONCE = 8

_INK = "#2c2f48"
_WHITE = "#fffdf8"


class Colourway(NamedTuple):
    """An item's two colours: what it is made of, and what sets it off."""

    base: str
    accent: str


COLOURWAYS = {
    "Charcoal": Colourway("#4b5062", "#ff8a5b"),
    "Cherry": Colourway("#cf3a50", "#ffc9a3"),
    "Cobalt": Colourway("#3561d6", "#ffb35c"),
    "Coral": Colourway("#f4715f", "#ffd56b"),
    "Forest": Colourway("#2f7f60", "#f6c667"),
    "Ivory": Colourway("#eadfc8", "#d9714e"),
    "Lagoon": Colourway("#2399a6", "#ffc95c"),
    "Lilac": Colourway("#a695dc", "#ffcf8f"),
    "Midnight": Colourway("#33407a", "#f7b267"),
    "Mint": Colourway("#66c6a5", "#ff9472"),
    "Mustard": Colourway("#e5a732", "#3f6c8f"),
    "Olive": Colourway("#86914b", "#f3b95f"),
    "Plum": Colourway("#84509c", "#f6b3c8"),
    "Rose": Colourway("#e98ba6", "#7a5aa8"),
    "Sand": Colourway("#d8b486", "#4f8c94"),
    "Sky": Colourway("#52a7e0", "#ffd86b"),
    "Terracotta": Colourway("#cb6742", "#f4d3a1"),
}

#: What class `p` lays over a surface; items of one kind take turns.
_PATTERNS = (
    "",
    '<path d="M-8 8L8-8M-8 40L40-8M24 40L40 24" stroke="{ink}" stroke-width="9"/>',
    '<circle cx="8" cy="8" r="5" fill="{ink}"/><circle cx="24" cy="24" r="5" fill="{ink}"/>',
    '<path d="M0 8q8-12 16 0t16 0M0 24q8-12 16 0t16 0" fill="none" stroke="{ink}" stroke-width="5"/>',
    '<path d="M0 0h16v16H0zM16 16h16v16H16z" fill="{ink}" opacity=".6"/>',
)

#: What stands behind an item; another one for another kind, so that a page of first variants is mixed.
_BACKDROPS = (
    '<circle cx="320" cy="312" r="252" fill="{halo}"/>',
    '<path d="M96 640V320a224 224 0 0 1 448 0v320z" fill="{halo}"/>',
    '<path d="M92 250C120 96 300 40 430 92s172 196 118 330-196 172-328 120S64 404 92 250z" fill="{halo}"/>',
    '<rect x="84" y="72" width="472" height="472" rx="120" fill="{halo}" transform="rotate(12 320 308)"/>',
    '<circle cx="438" cy="206" r="168" fill="{halo}"/><circle cx="170" cy="420" r="120" fill="{halo}"/>',
)


def _mix(colour: str, other: str, share: float) -> str:
    """Blend `share` (0 to 1) of another colour into a colour; both as #rrggbb."""
    pairs = ((int(colour[at : at + 2], 16), int(other[at : at + 2], 16)) for at in (1, 3, 5))
    return "#" + "".join(f"{round(mine + (theirs - mine) * share):02x}" for mine, theirs in pairs)


@cache
def _style(colourway: str) -> str:
    """Give the style sheet that a drawing's classes refer to."""
    base, accent = COLOURWAYS[colourway]
    paints = {
        "b": base,
        "l": _mix(base, _WHITE, 0.42),
        "d": _mix(base, _INK, 0.24),
        "e": _mix(base, _INK, 0.48),
        "a": accent,
        "c": _mix(accent, _INK, 0.2),
        "w": _WHITE,
        "s": "#e6dfd3",
        "g": "#c3c9d4",
        "h": "#858da0",
        "k": _INK,
        "m": "#7a4a35",
        "y": "#c98a4b",
        "f": "#f6dcae",
        "v": "#4c9a68",
        "n": "#40529b",
        "q": "#f7b733",
        "r": "#3b7d58",
        "j": "#f4873f",
    }
    fills = "".join(f".{name}{{fill:{colour}}}" for name, colour in paints.items())
    strokes = "".join(f".s{name}{{stroke:{colour}}}" for name, colour in paints.items())
    drawn = ",".join(f".s{name}" for name in (*paints, "o"))
    return (
        f"{fills}{drawn}{{fill:none;stroke-linecap:round;stroke-linejoin:round}}{strokes}"
        ".o{fill:#fff;opacity:.32}.so{stroke:#fff;opacity:.5}.z{fill:#1c1e3a;opacity:.13}.p{fill:url(#p);opacity:.6}"
    )


@cache
def _drawing(kind: str) -> str:
    text = (_DRAWINGS / f"{kind}.svg").read_text(encoding="utf-8")
    return "".join(line.strip() for line in text.splitlines())


def kinds() -> frozenset[str]:
    """Name the things that we have a drawing of."""
    return frozenset(path.stem for path in _DRAWINGS.glob("*.svg"))


def draw(picture: Picture) -> bytes:
    """Draw one picture as SVG.

    A `front` stands on its backdrop, a `detail` is seen from nearby at a slant, a `thumbnail` is the thing
    alone. Raises KeyError for an unknown colourway and FileNotFoundError for a kind without a drawing.
    """
    base, accent = COLOURWAYS[picture.colourway]
    wall, halo = _mix(accent, _WHITE, 0.78), _mix(accent, _WHITE, 0.5)
    floor = _mix(_mix(accent, base, 0.3), _WHITE, 0.62)
    pattern = _PATTERNS[picture.variant % len(_PATTERNS)].format(ink=_mix(base, _WHITE, 0.42))
    backdrop = _BACKDROPS[(picture.variant + len(picture.kind)) % len(_BACKDROPS)].format(halo=halo)
    thing = _drawing(picture.kind)
    size = 320 if picture.view == "thumbnail" else 640
    match picture.view:
        case "front":
            scene = (
                f'<path fill="{wall}" d="M0 0h640v640H0z"/>{backdrop}'
                f'<path fill="{floor}" d="M0 524h640v116H0z"/>'
                f'<ellipse cx="320" cy="528" rx="236" ry="26" fill="{_INK}" opacity=".16"/>{thing}'
            )
        case "detail":
            scene = (
                f'<path fill="{halo}" d="M0 0h640v640H0z"/><path fill="{floor}" d="M0 640L640 0v640z"/>'
                '<g transform="rotate(-9 320 320) translate(320 320) scale(1.5) translate(-300 -290)">'
                f"{thing}</g>"
            )
        case "thumbnail":
            scene = (
                f'<path fill="{wall}" d="M0 0h640v640H0z"/>'
                f'<circle cx="320" cy="320" r="276" fill="{halo}"/>{thing}'
            )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size}" height="{size}" viewBox="0 0 640 640">'
        f"<style>{_style(picture.colourway)}</style>"
        '<defs><pattern id="p" width="32" height="32" patternUnits="userSpaceOnUse">'
        f"{pattern}</pattern></defs>"
        f"{scene}</svg>"
    ).encode()


def draw_pictures(
    data: SampleData, into: Path | Callable[[str, bytes], None], progress: Progress = silent
) -> int:
    """Draw every picture and give their number.

    Each goes to `into(filename, content)`, or into a file of that name in the directory `into`.
    """
    write = _writer(into) if isinstance(into, Path) else into
    for done, picture in enumerate(data.pictures, 1):
        write(picture.filename, draw(picture))
        progress("Drawing pictures", done, len(data.pictures))
    return len(data.pictures)


def _writer(directory: Path) -> Callable[[str, bytes], None]:
    def write(filename: str, content: bytes) -> None:
        path = directory / filename
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return write


def upload_pictures(client: "S3Client", bucket: str, data: SampleData, progress: Progress = silent) -> int:
    """Put the pictures that a bucket lacks, under their filenames; give how many were put.

    Raises botocore's ClientError where the bucket is missing or closed to us.
    """
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    # S3's tag of an object that was put whole is the MD5 of its content. One that is encrypted with a key of
    # KMS has another, and is put again.
    there = {entry["Key"]: entry["ETag"].strip('"') for page in pages for entry in page.get("Contents", ())}
    missing: list[tuple[str, bytes]] = []

    def compare(filename: str, content: bytes) -> None:
        if there.get(filename) != hashlib.md5(content, usedforsecurity=False).hexdigest():
            missing.append((filename, content))

    draw_pictures(data, compare)

    def put(entry: tuple[str, bytes]) -> None:
        client.put_object(
            Bucket=bucket,
            Key=entry[0],
            Body=entry[1],
            ContentType=CONTENT_TYPE,
            CacheControl="public, max-age=86400",
        )

    with ThreadPoolExecutor(_UPLOADS_AT_ONCE) as pool:
        for done, _ in enumerate(pool.map(put, missing), 1):
            progress("Uploading pictures", done, len(missing))
    return len(missing)
