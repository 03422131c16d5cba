"""Hold rows of a small region out by place: whole S2 cells go to one file or to the other.

:mod:`gaea.finetune.splits` holds out blocks of 313 km, in one of which all of a small country may lie. Here the cells
are as small as the facts that are asked about (level 14: 560 m), so that no point of the one file is asked about in the
other. What stands on a cell's edge may still be named in both: such a file measures what was learned of a region, not
what a model makes of a region that it never saw.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from gaea import cells
from gaea.errors import InputError
from gaea.finetune.dataset import example_of
from gaea.finetune.rowfiles import read_rows
from gaea.finetune.rowlayout import write_rows

LEVEL = 14


def held_out(lat: float, lon: float, *, share: float, level: int = LEVEL) -> bool:
    """Whether the S2 cell of a place is held out; it follows from the cell alone.

    Args:
        lat: Degrees.
        lon: Degrees.
        share: Of the cells, 0 to 1.
        level: Of the cells.
    """
    cell = int(cells.from_latlon(lat, lon, level))
    draw = int.from_bytes(hashlib.sha256(str(cell).encode()).digest()[:4]) / 2**32
    return draw < share


def separate(source: Path, train: Path, test: Path, *, share: float = 0.2, level: int = LEVEL) -> tuple[int, int]:
    """Write the rows of a file into two, by the cells of their places.

    Args:
        source: Rows that tell their place.
        train: File for the rows that are learned from.
        test: File for the others.
        share: Of the cells, held out.
        level: Of the cells.

    Returns:
        How many rows went to ``train`` and to ``test``.

    Raises:
        InputError: The share or level is out of range, or a row tells no place.
    """
    if not 0 < share < 1 or not 0 <= level <= cells.MAX_LEVEL:
        raise InputError(f"share {share}, level {level}: expected a share between 0 and 1 and a level of 0 to 30")
    written = [
        write_rows(target, _those(source, out=out, share=share, level=level))
        for target, out in ((train, False), (test, True))
    ]
    return written[0], written[1]


def _those(source: Path, *, out: bool, share: float, level: int) -> Iterator[dict[str, object]]:
    rows: Iterable[dict[str, object]] = read_rows(source)
    for number, row in enumerate(rows, 1):
        place = example_of(row).place
        if place is None:
            raise InputError(f"{source} row {number} tells no place: expected rows with latitude and longitude")
        if held_out(*place, share=share, level=level) == out:
            yield row
