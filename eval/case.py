"""A picture and where it was taken: what every benchmark of pictures is made of."""

from __future__ import annotations

import dataclasses

from PIL import Image

from gaea.finetune.blocks import PROBE

__all__ = ["PROBE", "Case"]


@dataclasses.dataclass(frozen=True)
class Case:
    """A picture and its place; ``name`` is a file's, or the address of the block that the view was cut from."""

    image: Image.Image
    lat: float
    lon: float
    name: str = ""
