"""A map of the Earth as sorted runs of S2 cells, each run holding one small label.

The Hilbert curve visits all leaf cells in one line, so any partition of the sphere into labelled cells is a sorted
list of starts: a point's label is one binary search away. The file keeps gaps instead of starts, byte plane by byte
plane, because that is what deflate shrinks best. A table does not know what lies between its finest cells: a border is
as sharp as the cells that the recipe (``gaea.finetune.atlas``) cut it into.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaea import cells
from gaea.errors import InputError

UNIT_BITS = 25
"""Starts are kept in units of level-18 cells (2·(30 - 18) + 1 bits), finer than any cell a table holds."""


@dataclass(frozen=True)
class CellTable:
    """Labels on disjoint runs of cells that together cover the whole sphere.

    Attributes:
        starts: (R,) uint64, ascending first leaf position of each run; the first is 0.
        values: (R,) uint16, index into ``labels`` of each run.
        labels: (V,) strings; by custom the first, empty one means "nothing here".
        source: where the labels come from, for citing.
    """

    starts: NDArray[np.uint64]
    values: NDArray[np.uint16]
    labels: NDArray[np.str_]
    source: str

    @classmethod
    def from_cells(
        cls, ids: NDArray[np.uint64], values: NDArray[np.integer[Any]], *, labels: list[str], source: str
    ) -> CellTable:
        """Merge labelled cells into runs.

        Args:
            ids: (N,) disjoint S2 cells of any level; what they leave uncovered gets label 0.
            values: (N,) label index of each cell.
            labels: the labels; index 0 is the empty one.
            source: what to cite.

        Raises:
            InputError: if two cells overlap.
        """
        order = np.argsort(ids)
        first = cells.range_min(ids[order]).astype(np.uint64)
        after = cells.range_max(ids[order]).astype(np.uint64) + np.uint64(2)
        first, after = first >> np.uint64(1), after >> np.uint64(1)
        if (first[1:] < after[:-1]).any():
            raise InputError("cells overlap; a table needs disjoint cells")
        # An uncovered stretch becomes a run of label 0, so that every leaf has exactly one run.
        holes = np.flatnonzero(np.append(first[1:] > after[:-1], True)[: len(first)])
        starts = np.concatenate([[np.uint64(0)], first, after[holes]]).astype(np.uint64)
        runs = np.concatenate([[0], values[order], np.zeros(len(holes), np.int64)])
        # A cell that starts where a filler run starts replaces it: stable order puts the filler first.
        by_start = np.argsort(starts, kind="stable")
        starts, runs = starts[by_start], runs[by_start]
        last = np.append(starts[1:] != starts[:-1], True)
        starts, runs = starts[last], runs[last]
        changes = np.append(True, runs[1:] != runs[:-1])
        return cls(starts[changes] << np.uint64(1), runs[changes].astype(np.uint16), np.array(labels), source)

    def index(self, lat: ArrayLike, lon: ArrayLike) -> NDArray[np.intp]:
        """Index into ``labels`` for points in WGS84 degrees; any shape in, the same shape out."""
        leaves = np.asarray(cells.from_latlon(lat, lon), np.uint64)
        return self.values[np.searchsorted(self.starts, leaves, side="right") - 1].astype(np.intp)

    def lookup(self, lat: ArrayLike, lon: ArrayLike) -> NDArray[np.str_]:
        """Label of each point in WGS84 degrees ('' where there is nothing)."""
        return self.labels[self.index(lat, lon)]

    def overlaps(self, ids: ArrayLike) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
        """Pairs of a cell and a run that overlap.

        Args:
            ids: (N,) S2 cells of any level.

        Returns:
            For each of P pairs the index of the cell, the label index of the run, and the share of the cell's leaves
            that lie in the run; the shares of a cell add up to 1.
        """
        array = np.atleast_1d(np.asarray(ids, np.uint64))
        low, high = cells.range_min(array) - np.uint64(1), cells.range_max(array) + np.uint64(1)
        first = np.searchsorted(self.starts, low, side="right") - 1
        count = np.searchsorted(self.starts, high, side="left") - first
        cell = np.repeat(np.arange(len(array)), count)
        run = np.arange(len(cell)) - np.repeat(np.cumsum(count) - count, count) + first[cell]
        ends = np.append(self.starts[1:], np.uint64(6 << 61))
        overlap = np.minimum(ends[run], high[cell]) - np.maximum(self.starts[run], low[cell])
        return cell, self.values[run].astype(np.intp), overlap / (high - low)[cell]

    def save(self, path: Path) -> None:
        """Write the table as a compressed ``.npz`` without pickled objects.

        Raises:
            InputError: if a run starts inside a level-18 cell, which the file cannot hold.
        """
        units = self.starts >> np.uint64(UNIT_BITS)
        if (units << np.uint64(UNIT_BITS) != self.starts).any():
            raise InputError("a run starts inside a level-18 cell; use cells of level 18 or coarser")
        gaps = np.diff(units, prepend=np.uint64(0))
        np.savez_compressed(
            path,
            gaps=np.ascontiguousarray(gaps.astype("<u8").view(np.uint8).reshape(-1, 8).T),
            values=np.ascontiguousarray(self.values.astype("<u2").view(np.uint8).reshape(-1, 2).T),
            labels=self.labels,
            source=np.array(self.source),
        )

    @classmethod
    def load(cls, name: str) -> CellTable:
        """Read a table shipped in ``gaea.atlas`` by its name, for example ``"countries"``."""
        with resources.as_file(resources.files("gaea.atlas") / f"{name}.npz") as path:
            return cls.read(path)

    @classmethod
    def read(cls, path: Path) -> CellTable:
        """Read a table from a file that :meth:`save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            gaps = np.ascontiguousarray(file["gaps"].T).view("<u8")[:, 0]
            values = np.ascontiguousarray(file["values"].T).view("<u2")[:, 0]
            return cls(
                np.cumsum(gaps, dtype=np.uint64) << np.uint64(UNIT_BITS),
                values.astype(np.uint16),
                file["labels"],
                str(file["source"]),
            )
