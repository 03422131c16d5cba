"""The arithmetic under S2 cells: cube faces, their quadratic projection, and the Hilbert curve that numbers them.

A point of the sphere lies on one of six faces of a cube. On its face it has gnomonic coordinates ``u, v`` in [−1, 1]
(geodesics are straight lines there), even ones ``s, t`` in [0, 1], and those of a leaf, integers ``i, j`` below 2**30.
The Hilbert curve turns ``face, i, j`` into a leaf's id; the lowest set bit
of an id marks its level. :mod:`gaea.cells` is built on this and is what others import.

Source:
    The S2 geometry library, ``s2coords.h`` and ``s2cell_id.cc``; ids agree with it bit for bit.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gaea.errors import InputError
from gaea.sphere import FloatArray

MAX_LEVEL = 30
"""Level of the leaves, about 9 mm wide."""

LEAVES_PER_SIDE = 1 << MAX_LEVEL
"""Leaves along the edge of a face."""

IntArray: TypeAlias = npt.NDArray[np.int64]
CellArray: TypeAlias = npt.NDArray[np.uint64]

_ONE = np.uint64(1)
_SWAP, _INVERT = 1, 2
# By orientation and position along the curve: which quarter (2·i + j) comes, and how the curve inside it is turned.
_QUARTER = ((0, 1, 3, 2), (0, 2, 3, 1), (3, 2, 0, 1), (3, 1, 0, 2))
_TURN = (_SWAP, 0, 0, _INVERT + _SWAP)
_STEP_BITS = 4  # levels walked by one table lookup


def _hilbert_tables() -> tuple[IntArray, IntArray]:
    """Tabulate four levels of the curve at once: (i, j, orientation) to (position, orientation) and back."""
    to_position = np.zeros(1 << (2 * _STEP_BITS + 2), np.int64)
    to_ij = np.zeros_like(to_position)
    for start in range(4):
        for position in range(1 << 2 * _STEP_BITS):
            i, j, orientation = 0, 0, start
            for shift in range(2 * _STEP_BITS - 2, -1, -2):
                step = (position >> shift) & 3
                quarter = _QUARTER[orientation][step]
                i, j, orientation = (i << 1) + (quarter >> 1), (j << 1) + (quarter & 1), orientation ^ _TURN[step]
            ij = (i << _STEP_BITS) + j
            to_position[(ij << 2) + start] = (position << 2) + orientation
            to_ij[(position << 2) + start] = (ij << 2) + orientation
    return to_position, to_ij


_TO_POSITION, _TO_IJ = _hilbert_tables()


def leaf_of_face_ij(face: IntArray, i: IntArray, j: IntArray) -> CellArray:
    """Give the leaf ids of faces (0 to 5) and leaf coordinates (0 to 2**30 − 1), all of one shape."""
    # Eight lookups walk 32 levels; the two above the face go to quarter 0 and turn the curve twice, which cancels.
    state = face & _SWAP
    position = np.zeros_like(state)
    for shift in range(28, -1, -4):
        state = _TO_POSITION[state | (((i >> shift) & 15) << 6) | (((j >> shift) & 15) << 2)]
        position = (position << 8) | (state >> 2)
        state &= 3
    return (face.astype(np.uint64) << np.uint64(61)) | (position.astype(np.uint64) << np.uint64(1)) | np.uint64(1)


def face_ij_of_leaf(leaves: CellArray) -> tuple[IntArray, IntArray, IntArray]:
    """Give face and leaf coordinates of leaf ids; inverse of `leaf_of_face_ij`."""
    face = (leaves >> np.uint64(61)).astype(np.int64)
    position = ((leaves >> np.uint64(1)) & np.uint64((1 << 60) - 1)).astype(np.int64)
    state = face & _SWAP
    i, j = np.zeros_like(face), np.zeros_like(face)
    for shift in range(56, -1, -8):
        state = _TO_IJ[state | (((position >> shift) & 255) << 2)]
        i = (i << 4) | (state >> 6)
        j = (j << 4) | ((state >> 2) & 15)
        state &= 3
    return face, i, j


def uv_of_st(st: FloatArray) -> FloatArray:
    """Project s or t in [0, 1] to u or v in [−1, 1] with S2's quadratic, which keeps areas within a factor of 2.1."""
    uv: FloatArray = np.where(st >= 0.5, (1 / 3.0) * (4 * st * st - 1), (1 / 3.0) * (1 - 4 * (1 - st) * (1 - st)))
    return uv


def st_of_uv(uv: FloatArray) -> FloatArray:
    """Invert `uv_of_st`."""
    root = 0.5 * np.sqrt(1 + 3 * np.abs(uv))
    st: FloatArray = np.where(uv >= 0, root, 1 - root)
    return st


def ij_of_st(st: FloatArray) -> IntArray:
    """Give the leaf coordinate, 0 to 2**30 − 1, that holds s or t."""
    return np.clip(np.floor(st * LEAVES_PER_SIDE).astype(np.int64), 0, LEAVES_PER_SIDE - 1)


def xyz_of_face_uv(face: IntArray, u: FloatArray, v: FloatArray) -> FloatArray:
    """Give the points ``(..., 3)`` of the cube with faces at distance 1, not of unit length."""
    one = np.ones_like(u)
    x = np.choose(face, [one, -u, -u, -one, v, v])
    y = np.choose(face, [u, one, -v, -v, -one, u])
    z = np.choose(face, [v, v, one, -u, -u, -one])
    return np.stack([x, y, z], axis=-1)


def face_uv_of_xyz(x: FloatArray, y: FloatArray, z: FloatArray) -> tuple[IntArray, FloatArray, FloatArray]:
    """Project vectors of any length on the faces they point through; on an edge between faces as S2 decides it."""
    abs_x, abs_y, abs_z = np.abs(x), np.abs(y), np.abs(z)
    axis = np.where(abs_x > abs_y, np.where(abs_x > abs_z, 0, 2), np.where(abs_y > abs_z, 1, 2))
    depth = np.choose(axis, [x, y, z])
    face = axis + 3 * (depth < 0)
    u = np.choose(face, [y, -x, -x, z, z, -y]) / depth
    v = np.choose(face, [z, z, -y, y, -x, -x]) / depth
    return face, u, v


def leaf_of_xyz(xyz: FloatArray) -> CellArray:
    """Give the leaf ids of directions ``(..., 3)`` of any length but zero."""
    face, u, v = face_uv_of_xyz(xyz[..., 0], xyz[..., 1], xyz[..., 2])
    return leaf_of_face_ij(face, ij_of_st(st_of_uv(u)), ij_of_st(st_of_uv(v)))


def as_cells(cells: npt.ArrayLike) -> CellArray:
    """Take ids as uint64 of their shape.

    Raises:
        InputError: They are not whole numbers.
    """
    array = np.asarray(cells)
    if array.dtype != np.uint64:
        if array.size and array.dtype.kind not in "iu":
            raise InputError(f"cells must be whole numbers (uint64 S2 ids), not {array.dtype}")
        array = array.astype(np.uint64)
    return array


def lowest_bit(cells: CellArray) -> CellArray:
    """Give the lowest set bit of ids, which marks their level."""
    return cells & (~cells + _ONE)


def level(cells: npt.ArrayLike) -> IntArray:
    """Give the levels of cells, 0 to 30."""
    # A power of two is exact in a float, so its exponent counts the trailing zeros of the id.
    exponent = np.frexp(lowest_bit(as_cells(cells)).astype(np.float64))[1].astype(np.int64)
    return MAX_LEVEL - (exponent - 1) // 2


def range_min(cells: npt.ArrayLike) -> CellArray:
    """Give the first leaves of cells."""
    array = as_cells(cells)
    return array - (lowest_bit(array) - _ONE)


def range_max(cells: npt.ArrayLike) -> CellArray:
    """Give the last leaves of cells."""
    array = as_cells(cells)
    return array + (lowest_bit(array) - _ONE)


def face_ij_size(cells: npt.ArrayLike) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Give the face, the lowest leaf coordinates i and j, and the width in leaves of cells."""
    array = as_cells(cells)
    face, i, j = face_ij_of_leaf(range_min(array))
    size = LEAVES_PER_SIDE >> level(array)
    return face, i & -size, j & -size, size
