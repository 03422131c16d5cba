"""A picture and where it was taken: what every benchmark of pictures is made of."""

from __future__ import annotations

import dataclasses

from PIL import Image

from gaea.finetune.crops import CropConfig

PROBE = CropConfig(size=256, width_km=(100.0, 150.0))
"""Views by which Orbit asks: plain, north up, 100–150 km wide."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A picture and its place; ``name`` is a file's, or the address of the block that the view was cut from."""

    image: Image.Image
    lat: float
    lon: float
    name: str = ""
