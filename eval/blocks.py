"""Pictures drawn evenly over the blocks of a split, so that no block speaks louder than another.

Drawn evenly over the ground, unseen crops crowd into the few blocks that are wide and full of detail: 250 of them lie
in 90 blocks. Crops of one block look alike and depend on each other; what counts is how many blocks there are.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from gaea.errors import InputError
from gaea.eval.case import Case
from gaea.finetune.crops import CropConfig
from gaea.finetune.imagery import Imagery, View
from gaea.finetune.splits import BLOCKS, Part, footprint_parts, parts

TRIES = 40  # views of a block before it is taken for one that holds none


def even_crops(imagery: Imagery, part: Part, count: int, config: CropConfig, rng: np.random.Generator) -> list[Case]:
    """Crops of one split as cases; arguments and errors as of :func:`even_views`."""
    return [case for case, _ in even_views(imagery, part, count, config, rng)]


def even_views(
    imagery: Imagery, part: Part, count: int, config: CropConfig, rng: np.random.Generator
) -> list[tuple[Case, View]]:
    """Crops of one split and how each was cut, one of each block before any block gives a second.

    Args:
        imagery: What is cut.
        part: Its blocks are drawn in random order; in those that hold no usable view (open sea, missing tiles, too
            narrow near the poles) nothing is cut.
        count: How many.
        config: Of the views. Where a block is narrow, the narrower views are the ones that fit.
        rng: Decides the order and the views.

    Returns:
        Cases whose ``name`` is the block's address, ``row/column``.

    Raises:
        InputError: No block of that part holds a usable view.
    """
    addresses = np.argwhere(parts() == part)
    open_blocks = [(int(row), int(column)) for row, column in rng.permutation(addresses)]
    cases: list[tuple[Case, View]] = []
    while len(cases) < count:
        given: list[tuple[int, int]] = []
        for block in open_blocks:
            case = _crop(imagery, part, block, config, rng)
            if case is not None:
                cases.append(case)
                given.append(block)
            if len(cases) == count:
                return cases
        if not given:
            raise InputError(f"{imagery.name} holds no view of {config.width_km} km in blocks for {part.name.lower()}")
        # A block that gave nothing in the first round is not asked again; later failures are bad luck.
        open_blocks = given if len(given) == len(cases) else open_blocks
    return cases


def _crop(
    imagery: Imagery, part: Part, block: tuple[int, int], config: CropConfig, rng: np.random.Generator
) -> tuple[Case, View] | None:
    """One usable view of a block, places drawn evenly over its ground."""
    row, column = block
    south, north = (np.tanh(np.pi * (1 - 2 * edge / BLOCKS)) for edge in (row + 1, row))  # sines of its latitudes
    for _ in range(TRIES):
        lat = float(np.degrees(np.arcsin(rng.uniform(south, north))))
        lon = float((column + rng.random()) / BLOCKS * 360 - 180)
        width_km = float(np.exp(rng.uniform(*np.log(config.width_km))))
        view = View(lat, lon, width_km)
        if not imagery.has_detail(lat, lon) or footprint_parts(lat, lon, view.reach_km) != {part}:
            continue
        picture = imagery.render(view, config.size)
        if picture is not None:
            return Case(Image.fromarray(picture), lat, lon, f"{row}/{column}"), view
    return None
