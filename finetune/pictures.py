"""Cut the pictures that a dataset of questions names from world-wide imagery; a name says what to cut."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from gaea.errors import GaeaError, InputError, first_line
from gaea.finetune.imagery import Imagery, View
from gaea.finetune.rowfiles import read_examples

_NAME = re.compile(r"pictures/(-?\d+\.\d{4})_(-?\d+\.\d{4})_(\d+\.\d)km\.jpg")


def picture_name(lat: float, lon: float, width_km: float) -> str:
    """Name of the picture of a place seen straight from above, north up; coordinates to 11 m."""
    return f"pictures/{lat:.4f}_{lon:.4f}_{width_km:.1f}km.jpg"


def view_of(name: str) -> View:
    """What a picture's name says to cut.

    Raises:
        InputError: It is not of that form.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise InputError(f"'{name}' does not say what to cut: expected pictures/LAT_LON_WIDTHkm.jpg")
    lat, lon, width_km = (float(value) for value in match.groups())
    return View(lat, lon, width_km)


def cut(
    files: Sequence[Path],
    imagery: Imagery,
    out: Path,
    *,
    size: int = 224,
    progress: Callable[[Iterable[Any]], Iterable[Any]] | None = None,
) -> dict[str, int]:
    """Write each picture that rows name below ``out``; those that are there already are left.

    Args:
        files: Made by :func:`gaea.finetune.generate.generate`.
        imagery: See :func:`gaea.finetune.imagery.open_imagery`.
        out: Folder that the names start from, usually the dataset's.
        size: Side, pixels.
        progress: A wrapper of iterables such as tqdm's.

    Returns:
        How many were ``cut``, were ``there`` already, or lie where the imagery does not reach (``beyond``).

    Raises:
        InputError: A name does not say what to cut.
        GaeaError: The folder cannot be written to.
    """
    names = dict.fromkeys(name for path in files for example in read_examples(path) for name in example.images)
    counted = {"cut": 0, "there": 0, "beyond": 0}
    for name in progress(names) if progress else names:
        place = out / name
        if place.is_file():
            counted["there"] += 1
            continue
        pixels = imagery.render(view_of(name), size)
        if pixels is None:
            counted["beyond"] += 1
            continue
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            part = place.with_suffix(".part")
            Image.fromarray(pixels).save(part, "JPEG", quality=90)
            part.replace(place)
        except OSError as error:
            raise GaeaError(f"'{place}' cannot be written: {first_line(error)}") from error
        counted["cut"] += 1
    return counted
