"""Loading a catalogue into a shop's database and bucket: the sample's, or a shop's own from a CSV file."""

import csv
import mimetypes
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

from domain.contract import PLAIN, composed
from domain.items import MAX_POINTS_PRICE
from domain.search import item_words
from domain.stock import MAX_STOCK
from operations.site import Site, SiteError

if TYPE_CHECKING:
    from local.sample_data import SampleData

#: Is told what is being done, how much of it, and out of how much.
Progress = Callable[[str, int, int], None]

#: The ids of a shop's own items: by what it calls them, so that the same file is the same items.
_ITEMS = uuid5(NAMESPACE_URL, "urn:rewards:items")

#: What a column of a shop's own file may hold, and how that is said.
_COLUMNS: Mapping[str, tuple[str, str]] = {
    "name": (r".{1,50}", "1 to 50 characters"),
    "points_price": (r"[0-9]{1,10}", f"a whole number up to {MAX_POINTS_PRICE}"),
    "description": (r".{0,200}", "up to 200 characters"),
    "category": (r".{0,20}", "up to 20 characters"),
    "usd_price": (r"|[0-9]{1,6}\.[0-9]{2}", "an amount such as 34.90"),
    "sku": (r".{0,20}", "up to 20 characters"),
    "stock": (r"|[0-9]{1,7}", f"units up to {MAX_STOCK}, or nothing for no limit"),
    "picture": (r".*", "a file's path from this file on"),
}
_REQUIRED = ("name", "points_price")
_PICTURES = {".svg", ".png", ".jpg", ".jpeg", ".webp"}

_UPLOADS_AT_ONCE = 8


class Content(NamedTuple):
    """What is to be loaded: rows by table, files of pictures by their keys, or a sample with customers."""

    tables: Mapping[str, Sequence[tuple[Any, ...]]]
    files: Mapping[str, Path]
    sample: "SampleData | None"
    with_customers: bool

    def summary(self) -> dict[str, Any]:
        """Say how much it is."""
        rows = {"customers": self.sample.customers} if self.sample and self.with_customers else {}
        return {
            "items": len(self.tables["catalog_items"]),
            "pictures": len(self.sample.pictures if self.sample else self.files),
            **{table: len(of_it) for table, of_it in rows.items()},
        }


def bounds_of_sample() -> dict[str, tuple[int, int]]:
    """Give the least and the greatest number of a sample's items and customers."""
    from local.sample_data.catalogue import MAX_ITEMS, MIN_ITEMS
    from local.sample_data.customers import MAX_CUSTOMERS, MIN_CUSTOMERS

    return {"items": (MIN_ITEMS, MAX_ITEMS), "customers": (MIN_CUSTOMERS, MAX_CUSTOMERS)}


def what_to_load(catalogue: Path | None, items: int, customers: int | None) -> Content:
    """Read what is to be loaded. Raises SiteError for a file that is no catalogue or too small a sample."""
    if catalogue is not None:
        if customers is not None:
            raise SiteError(
                "Sample customers have ordered sample items: leave --catalogue or --customers out."
            )
        return read_catalogue(catalogue)
    from local.sample_data import CATALOGUE_TABLES, generate

    try:
        sample = generate(customers or 5, items)
    except ValueError as error:
        raise SiteError(str(error)) from None
    tables = {name: sample.rows(name) for name in CATALOGUE_TABLES}
    return Content(tables, {}, sample, customers is not None)


def load(site: Site, content: Content, progress: Progress) -> dict[str, Any]:
    """Load it; give what was not there before. Run again, it goes on where it stopped. Raises SiteError."""
    from local.sample_data import OtherDataError, load_catalogue, pictures_in_use, upload_pictures
    from local.sample_data import load as load_sample

    connection = site.database.connection()
    if content.sample is not None and content.with_customers:
        try:
            loaded = load_sample(connection, content.sample, progress)
        except OtherDataError as error:
            raise SiteError(str(error)) from None
    else:
        loaded = load_catalogue(connection, content.tables, progress)
    bucket, client = site.outputs["PicturesBucketName"], site.client("s3")
    if content.sample is not None:
        wanted = pictures_in_use(connection, content.sample)
        uploaded = upload_pictures(client, bucket, wanted, progress)
    else:
        uploaded = _upload(client, bucket, content.files, progress)
    return {"rows": loaded.rows, "pictures": uploaded}


def _upload(client: Any, bucket: str, files: Mapping[str, Path], progress: Progress) -> int:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    there = {entry["Key"] for page in pages for entry in page.get("Contents", ())}
    missing = [(key, path) for key, path in files.items() if key not in there]

    def put(one: tuple[str, Path]) -> None:
        key, path = one
        client.put_object(
            Bucket=bucket,
            Key=key,
            Body=path.read_bytes(),
            ContentType=mimetypes.guess_type(path.name)[0] or "application/octet-stream",
            CacheControl="public, max-age=86400",
        )

    with ThreadPoolExecutor(_UPLOADS_AT_ONCE) as pool:
        for done, _ in enumerate(pool.map(put, missing), 1):
            progress("Uploading pictures", done, len(missing))
    return len(missing)


def read_catalogue(path: Path) -> Content:
    """Read a shop's own catalogue, all of it before anything is loaded. Raises SiteError with the line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, strict=True)
            _check_columns(path, reader.fieldnames or ())
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SiteError(f"{path} cannot be read as CSV in UTF-8: {error}") from None
    tables: dict[str, list[tuple[Any, ...]]] = {
        name: [] for name in ("images", "item_words", "catalog_images", "stock", "catalog_items")
    }
    files: dict[str, Path] = {}
    lines_of: dict[UUID, int] = {}
    for line, row in rows:
        values = _checked(path, line, row)
        item_id = uuid5(_ITEMS, (values["sku"] or values["name"]).casefold())
        if item_id in lines_of:
            raise SiteError(f"{path}, line {line}: the same item as in line {lines_of[item_id]}.")
        lines_of[item_id] = line
        _add(tables, files, path.parent, item_id, values)
    if not lines_of:
        raise SiteError(f"{path} has no items.")
    return Content(tables, files, None, False)


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    unknown = [name for name in columns if name not in _COLUMNS]
    missing = [name for name in _REQUIRED if name not in columns]
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if unknown or missing or twice:
        raise SiteError(
            f"{path}: the first line names the columns. "
            + " ".join(
                [
                    *(f"{one!r} is not known." for one in unknown),
                    *(f"{one!r} is missing." for one in missing),
                    *(f"{one!r} stands there twice." for one in twice),
                ]
            )
            + f" There are: {', '.join(_COLUMNS)}."
        )


def _checked(path: Path, line: int, row: Mapping[str | None, Any]) -> dict[str, str]:
    if None in row or None in row.values():
        raise SiteError(f"{path}, line {line}: it has not as many values as the first line has columns.")
    values = {name: composed(str(row.get(name) or "").strip()) for name in _COLUMNS}
    for name, (pattern, text) in _COLUMNS.items():
        if re.fullmatch(pattern, values[name], re.DOTALL) is None:
            raise SiteError(f"{path}, line {line}: {name} must be {text}.")
        # guard: a catalogue's texts are those that the API takes
        if re.fullmatch(PLAIN, values[name]) is None or "\ufffd" in values[name]:
            raise SiteError(
                f"{path}, line {line}: {name} shows nothing, or holds a character that may not stand there "
                "(controls, line breaks, what turns the direction of text)."
            )
    for name, most in (("points_price", MAX_POINTS_PRICE), ("stock", MAX_STOCK)):
        if int(values[name] or 0) > most:
            raise SiteError(f"{path}, line {line}: {name} must be {_COLUMNS[name][1]}.")
    if picture := values["picture"]:
        file = path.parent / picture
        if file.suffix.lower() not in _PICTURES or not file.is_file() or not os.access(file, os.R_OK):
            raise SiteError(
                f"{path}, line {line}: there is no picture {picture}. Give a file that may be read "
                f"and ends with one of {', '.join(sorted(_PICTURES))}."
            )
    return values


def _add(
    tables: Mapping[str, list[tuple[Any, ...]]],
    files: dict[str, Path],
    folder: Path,
    item_id: UUID,
    values: Mapping[str, str],
) -> None:
    thumbnail_id = None
    if picture := values["picture"]:
        thumbnail_id = uuid5(item_id, "picture")
        key = f"{item_id}{Path(picture).suffix.lower()}"
        files[key] = folder / picture
        tables["images"].append((thumbnail_id, key))
        tables["catalog_images"].append((item_id, thumbnail_id))
    name, description, category = values["name"], values["description"] or None, values["category"] or None
    usd_price = Decimal(values["usd_price"]) if values["usd_price"] else None
    measures = (None,) * 4
    tables["catalog_items"].append(
        (
            *(item_id, name, description, category, usd_price, int(values["points_price"]), None),
            *(values["sku"] or None, *measures, thumbnail_id),
        )
    )
    tables["item_words"] += [(item_id, word) for word in sorted(item_words(name, description))]
    if values["stock"]:
        tables["stock"].append((item_id, 0, int(values["stock"])))
