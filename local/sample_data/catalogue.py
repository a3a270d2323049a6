"""The catalogue: the items of `tables/catalogue.csv`, with measures, codes, stock and pictures."""

import csv
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from pathlib import Path
from random import Random
from typing import NamedTuple
from uuid import UUID

from local.sample_data.pictures import COLOURWAYS
from local.sample_data.rows import CatalogImage, CatalogItem, Image, Picture, Stock

TABLES_DIRECTORY = Path(__file__).parent / "tables"

#: One item of each category, the hot drop and the single seat.
MIN_ITEMS = 10
#: More would not fit into the memory of the process that makes them.
MAX_ITEMS = 100_000

_POINTS_PER_DOLLAR = 100
_POINTS_STEP = 50

#: Letters that do not come apart into a plain one and an accent.
_FOLDS = str.maketrans({"ø": "o", "ł": "l", "ß": "ss", "æ": "ae", "'": None})


class _Kind(NamedTuple):
    category: str
    weight_kg: float
    width_cm: float
    height_cm: float
    depth_cm: float


class _Model(NamedTuple):
    kind: str
    name: str
    colourway: str
    usd_price: Decimal
    units: int | None
    slots: int
    description: str
    variant: int


@dataclass(slots=True)
class Catalogue:
    """Rows about items, in the making."""

    items: list[CatalogItem] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)
    catalog_images: list[CatalogImage] = field(default_factory=list)
    stock: list[Stock] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)

    @property
    def hot_drop_item_id(self) -> UUID:
        """The item whose stock is spread over slots."""
        return self.items[0].id

    @property
    def single_seat_item_id(self) -> UUID:
        """The item of which there is one unit."""
        return self.items[1].id


def random_id(random: Random) -> UUID:
    """Give a version 4 uuid from a seeded source."""
    return UUID(int=random.getrandbits(128), version=4)


def ascii_words(text: str) -> list[str]:
    """Give the words of a text in lower-case ASCII: `Søren d'Ávila` becomes soren, davila."""
    folded = text.lower().translate(_FOLDS)
    plain = unicodedata.normalize("NFKD", folded).encode("ascii", "ignore").decode()
    return re.findall("[a-z0-9]+", plain)


@cache
def _kinds() -> dict[str, _Kind]:
    with (TABLES_DIRECTORY / "kinds.csv").open(encoding="utf-8", newline="") as lines:
        return {
            row["kind"]: _Kind(
                row["category"],
                float(row["weight_kg"]),
                float(row["width_cm"]),
                float(row["height_cm"]),
                float(row["depth_cm"]),
            )
            for row in csv.DictReader(lines)
        }


@cache
def _models() -> tuple[_Model, ...]:
    """Read the models: the hot drop, the single seat, then turn by turn one of each category."""
    variants: Counter[str] = Counter()
    models = []
    with (TABLES_DIRECTORY / "catalogue.csv").open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            kind = row["kind"]
            units = int(row["units"]) if row["units"] else None
            slots = int(row["slots"] or 0)
            models.append(
                _Model(
                    kind,
                    row["name"],
                    row["colourway"],
                    Decimal(row["usd_price"]),
                    units,
                    slots,
                    row["description"],
                    variants[kind],
                )
            )
            variants[kind] += 1
    hot_drop = next(model for model in models if model.slots > 1)
    single_seat = next(model for model in models if model.units == 1)
    rest = [model for model in models if model not in (hot_drop, single_seat)]
    # The first of every kind before the second of any; so a small catalogue has something of everything.
    rest.sort(key=lambda model: model.variant)
    place_in_category: Counter[str] = Counter()
    turns = []
    for model in rest:
        category = _kinds()[model.kind].category
        turns.append((place_in_category[category], model))
        place_in_category[category] += 1
    turns.sort(key=lambda turn: turn[0])
    return (hot_drop, single_seat, *(model for _, model in turns))


def build_catalogue(items: int, seed: int) -> Catalogue:
    """Build the first `items` items; beyond the written ones come further editions in other colours.

    An item depends on the seed and its own place alone, not on how many others there are. Raises ValueError
    for fewer than MIN_ITEMS.
    """
    if items < MIN_ITEMS:
        raise ValueError(f"A catalogue has at least {MIN_ITEMS} items, not {items}: ask for more items.")
    catalogue = Catalogue()
    models = _models()
    for number in range(items):
        edition, place = divmod(number, len(models))
        _add(catalogue, models[place], number, edition, Random(f"item/{seed}/{number}"))
    return catalogue


def _add(catalogue: Catalogue, model: _Model, number: int, edition: int, random: Random) -> None:
    kind = _kinds()[model.kind]
    item_id = random_id(random)
    name = f"{model.name} No. {edition + 1}" if edition else model.name
    colours = list(COLOURWAYS)
    colourway = colours[(colours.index(model.colourway) + 5 * edition) % len(colours)]
    stem = f"{model.kind}/{'-'.join(ascii_words(name))}"
    picture_ids = []
    for view in ("front", "detail", "thumbnail"):
        picture = Picture(f"{stem}-{view}.svg", model.kind, colourway, model.variant + edition, view)
        image = Image(random_id(random), picture.filename)
        catalogue.pictures.append(picture)
        catalogue.images.append(image)
        picture_ids.append(image.id)
    *shown_ids, thumbnail_id = picture_ids
    catalogue.catalog_images.extend(CatalogImage(item_id, image_id) for image_id in shown_ids)

    def measured(typical: float) -> float:
        return round(typical * random.uniform(0.92, 1.08), 2)

    points = round(model.usd_price * _POINTS_PER_DOLLAR / _POINTS_STEP) * _POINTS_STEP
    catalogue.items.append(
        CatalogItem(
            item_id,
            name,
            model.description,
            kind.category,
            model.usd_price,
            points,
            round(random.triangular(3.3, 5.0, 4.6), 1),
            f"{kind.category[:2].upper()}-{model.kind[:4].upper()}-{number + 1:04d}",
            measured(kind.weight_kg),
            measured(kind.width_cm),
            measured(kind.height_cm),
            measured(kind.depth_cm),
            thumbnail_id,
        )
    )
    if model.units is not None and edition == 0:
        # Every slot gets its share; the first ones take what does not divide.
        share, left = divmod(model.units, model.slots)
        for slot in range(model.slots):
            catalogue.stock.append(Stock(item_id, slot, share + (slot < left)))
