"""Pictures drawn evenly over the blocks of a split, as cases: see :mod:`gaea.finetune.blocks`."""

from __future__ import annotations

import numpy as np
from PIL import Image

from gaea.eval.case import Case
from gaea.finetune import blocks
from gaea.finetune.crops import CropConfig
from gaea.finetune.imagery import Imagery, View
from gaea.finetune.splits import Part


def even_crops(imagery: Imagery, part: Part, count: int, config: CropConfig, rng: np.random.Generator) -> list[Case]:
    """Crops of one split as cases; arguments and errors as of :func:`gaea.finetune.blocks.even_views`."""
    return [case for case, _ in even_views(imagery, part, count, config, rng)]


def even_views(
    imagery: Imagery, part: Part, count: int, config: CropConfig, rng: np.random.Generator
) -> list[tuple[Case, View]]:
    """The same crops and how each was cut; a case's ``name`` is its block's address, ``row/column``."""
    return [
        (Case(Image.fromarray(picture), view.lat, view.lon, f"{row}/{column}"), view)
        for picture, view, (row, column) in blocks.even_views(imagery, part, count, config, rng)
    ]
