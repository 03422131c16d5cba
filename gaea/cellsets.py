"""Sets of S2 cells as ranges of leaves: union, overlay, complement and lookup, all without a loop over cells.

A *cell set* is a one-dimensional uint64 array of disjoint cells in ascending order. The leaves of the Earth are
numbered 0 to 6·4**30 − 1 along the Hilbert curve, a cell is an aligned range of them, and sets are swept together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gaea import cells as s2
from gaea.errors import InputError
from gaea.hilbert import MAX_LEVEL, CellArray, IntArray

N_LEAVES = 6 << (2 * MAX_LEVEL)
"""Leaves of the Earth, 6.9e18."""


def ranges(cells: CellArray) -> tuple[IntArray, IntArray]:
    """Give the leaves of cells as half-open ranges ``[begin, end)`` of int64 leaf numbers."""
    one = np.uint64(1)
    return (s2.range_min(cells) >> one).astype(np.int64), (s2.range_max(cells) >> one).astype(np.int64) + 1


def from_ranges(begin: IntArray, end: IntArray) -> tuple[CellArray, IntArray]:
    """Write ranges of leaves with as few cells as can be.

    Args:
        begin: First leaf numbers, ``(n,)``; ranges do not overlap.
        end: Leaf numbers after the last ones, ``(n,)``, not below ``begin``.

    Returns:
        Cells in ascending order, and for each the index of the range that it came from.
    """
    begin, end, origin = begin.copy(), end.copy(), np.arange(begin.size)
    found: list[CellArray] = []
    source: list[IntArray] = []
    width = end - begin
    single = (width > 0) & (width & (width - 1) == 0) & (width & 0x1555555555555555 != 0) & (begin & (width - 1) == 0)
    found.append(_cells_at(begin[single], width[single]))
    source.append(origin[single])
    open_ = ~single & (width > 0)
    begin, end, origin = begin[open_], end[open_], origin[open_]
    for shift in range(0, 2 * MAX_LEVEL + 1, 2):  # blocks of 4**k leaves, until both ends are aligned to the next size
        if not begin.size:
            break
        block = np.int64(1 << shift)
        limit = 3 if shift < 2 * MAX_LEVEL else 7
        left = np.minimum((-begin >> shift) & limit if limit == 3 else end - begin >> shift, end - begin >> shift)
        right = np.minimum((end >> shift) & limit, (end - begin >> shift) - left) if limit == 3 else np.zeros_like(left)
        for start, count in ((begin, left), (end - right * block, right)):
            repeated = np.repeat(np.arange(begin.size), count)
            step = np.arange(repeated.size) - np.repeat(np.cumsum(count) - count, count)
            found.append(_cells_at(start[repeated] + step * block, block))
            source.append(origin[repeated])
        begin, end = begin + left * block, end - right * block
        open_ = begin < end
        begin, end, origin = begin[open_], end[open_], origin[open_]
    cells, sources = np.concatenate(found), np.concatenate(source)
    order = np.argsort(cells)
    return cells[order], sources[order]


def _cells_at(begin: IntArray, width: IntArray | np.int64) -> CellArray:
    return (begin.astype(np.uint64) << np.uint64(1)) + np.asarray(width).astype(np.uint64)


def is_disjoint(cells: CellArray) -> bool:
    """Tell whether an array is a cell set: ascending, and no cell holds another or comes twice."""
    return bool(np.all(s2.range_max(cells[:-1]) < s2.range_min(cells[1:])))


def union(cells: npt.ArrayLike) -> CellArray:
    """Join any cells (nested, repeated, in any order) to the smallest cell set of the same area.

    Raises:
        InputError: An integer is not an S2 id.
    """
    array = np.unique(checked(cells))
    if not array.size:
        return array
    begin, end = ranges(array)
    order = np.argsort(begin)
    begin, reach = begin[order], np.maximum.accumulate(end[order])
    first = np.append(True, begin[1:] > reach[:-1])
    return from_ranges(begin[first], reach[np.append(first[1:], True)])[0]


def complement(cells: CellArray) -> CellArray:
    """Give the cell set of the rest of the Earth."""
    begin, end = ranges(cells)
    return from_ranges(np.append(np.int64(0), end), np.append(begin, np.int64(N_LEAVES)))[0]


def overlay(sets: Sequence[CellArray]) -> tuple[CellArray, IntArray]:
    """Cut cell sets along each other's borders.

    Args:
        sets: Cell sets.

    Returns:
        The cell set of all pieces ``(n,)``, and ``(len(sets), n)`` the index of the cell that holds each piece in each
        set, −1 where none does.
    """
    bounds = [ranges(cells) for cells in sets]
    breaks = np.unique(np.concatenate([np.concatenate(pair) for pair in bounds]))
    begin, end = breaks[:-1], breaks[1:]
    held = np.stack([_index_in_ranges(*pair, begin) for pair in bounds])
    covered = (held >= 0).any(axis=0)
    pieces, origin = from_ranges(begin[covered], end[covered])
    return pieces, held[:, covered][:, origin]


def index_of(cells: CellArray, inner: npt.ArrayLike) -> IntArray:
    """Find in a cell set the cell that holds each leaf (or smaller cell); −1 where none does.

    Args:
        cells: Cell set, ``(n,)``.
        inner: Cells of any shape, none of them larger than the cell of the set that it touches.

    Returns:
        Indices of the shape of ``inner``.
    """
    begin, end = ranges(cells)
    return _index_in_ranges(begin, end, (np.asarray(inner, np.uint64) >> np.uint64(1)).astype(np.int64))


def _index_in_ranges(begin: IntArray, end: IntArray, leaves: IntArray) -> IntArray:
    if not begin.size:
        return np.full(np.shape(leaves), -1)
    index = np.searchsorted(begin, leaves, side="right") - 1
    return np.where((index >= 0) & (leaves < end[index]), index, -1)


def split(cells: CellArray, level: int, *, max_cells: int = 1 << 22) -> tuple[CellArray, IntArray]:
    """Divide the coarser cells of a set into cells of one level; finer ones stay.

    Args:
        cells: Cell set, ``(n,)``.
        level: Coarsest level of the result, 0 to 30.
        max_cells: Refuse to make more.

    Returns:
        The finer cell set, and for each cell the index of the one that it came from.

    Raises:
        InputError: The result would hold more than ``max_cells``.
    """
    depth = np.maximum(level - s2.level(cells), 0)
    total = float(np.sum(4.0**depth))
    if total > max_cells:
        raise InputError(
            f"splitting {cells.size} cells to level {level} makes {total:.3g}: expected {max_cells} at most"
        )
    count = np.int64(1) << 2 * depth
    origin = np.repeat(np.arange(cells.size), count)
    step = np.arange(origin.size) - np.repeat(np.cumsum(count) - count, count)
    begin, end = ranges(cells)
    width = (end - begin) >> 2 * depth
    return _cells_at(begin[origin] + step * width[origin], width[origin]), origin


def checked(cells: npt.ArrayLike) -> CellArray:
    """Take cells from outside as a one-dimensional uint64 array.

    Raises:
        InputError: They are not whole numbers, or not S2 ids.
    """
    array = np.asarray(cells)
    if array.size and array.dtype.kind not in "iu":
        raise InputError(f"cells must be S2 ids (uint64), not {array.dtype}")
    array = np.atleast_1d(array).astype(np.uint64)
    bad = ~s2.is_valid(array)
    if array.ndim != 1 or bad.any():
        what = f"shape {array.shape}" if array.ndim != 1 else f"{array[bad][0]:#x}"
        raise InputError(f"expected a row of S2 cell ids, not {what}")
    return array
