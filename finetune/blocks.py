"""Views drawn evenly over the blocks of a split, so that no block speaks louder than another.

Drawn evenly over the ground, crops of held-out blocks crowd into the few that are wide and full of detail: 250 of them
lie in 90 blocks. Crops of one block look alike and depend on each other; what counts is how many blocks there are. What
is calibrated on held-out places and what is examined on others are drawn in this one way: only of places drawn alike
can anything be promised.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gaea.errors import InputError
from gaea.finetune.crops import CropConfig, Crops
from gaea.finetune.imagery import Imagery, View
from gaea.finetune.splits import BLOCKS, Part, footprint_parts, parts

TRIES = 40  # views of a block before it is taken for one that holds none
PROBE = CropConfig(size=256, width_km=(100.0, 150.0))
"""Views by which is asked: plain, north up, 100–150 km wide."""


def even_views(
    imagery: Imagery, part: Part, count: int, config: CropConfig, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, View, tuple[int, int]]]:
    """Cut views of one split, one of each block before any block gives a second.

    Args:
        imagery: What is cut.
        part: Its blocks are drawn in random order; in those that hold no usable view (open sea, missing tiles, too
            narrow near the poles) nothing is cut.
        count: How many.
        config: Of the views. Where a block is narrow, the narrower views are the ones that fit.
        rng: Decides the order and the views.

    Yields:
        The picture, uint8 of (size, size, 3); how it was cut; and the address of its block, (row, column).

    Raises:
        InputError: No block of that part holds a usable view.
    """
    addresses = np.argwhere(parts() == part)
    open_blocks = [(int(row), int(column)) for row, column in rng.permutation(addresses)]
    made, first = 0, True
    while made < count:
        given: list[tuple[int, int]] = []
        for block in open_blocks:
            cut = _cut(imagery, part, block, config, rng)
            if cut is not None:
                given.append(block)
                made += 1
                yield *cut, block
            if made == count:
                return
        if not given:
            raise InputError(f"{imagery.name} holds no view of {config.width_km} km in blocks for {part.name.lower()}")
        # A block that gave nothing in the first round is not asked again; later failures are bad luck.
        open_blocks, first = (given if first else open_blocks), False


def draw_even(imagery: Imagery, part: Part, count: int, config: CropConfig, rng: np.random.Generator) -> Crops:
    """Crops of one split, spread evenly over its blocks; arguments and errors as of :func:`even_views`."""
    images = np.empty((count, config.size, config.size, 3), np.uint8)
    rows = np.empty((count, 4), np.float32)
    for number, (picture, view, _) in enumerate(even_views(imagery, part, count, config, rng)):
        images[number] = picture
        rows[number] = (view.lat, view.lon, view.width_km, view.heading_deg)
    return Crops(images, *rows.T)


def _cut(
    imagery: Imagery, part: Part, block: tuple[int, int], config: CropConfig, rng: np.random.Generator
) -> tuple[np.ndarray, View] | None:
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
            return picture, view
    return None
