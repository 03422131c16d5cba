"""S2 cells: a numbering of the Earth in which nearby places mostly have nearby numbers, at 31 scales.

Cells are ``np.uint64`` arrays of S2 ids of any level from 0 (a face of the cube) to 30 (about 9 mm). Integer order is
the order of the Hilbert curve, the leaves of a cell are a range of integers, and so containment is a range test. A
*cell set* is a one-dimensional array of disjoint cells in ascending order. Functions take arrays of any shape unless
they say so. Edges of cells are geodesics. Ids agree bit for bit with the S2 geometry library.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gaea.cellshape import (
    area_km2,
    centre_xyz,
    cube_xyz,
    distance_range_km,
    sample,
    vertices_latlon,
    vertices_xyz,
)
from gaea.errors import InputError
from gaea.hilbert import (
    LEAVES_PER_SIDE,
    MAX_LEVEL,
    CellArray,
    IntArray,
    as_cells,
    face_ij_size,
    face_uv_of_xyz,
    ij_of_st,
    leaf_of_face_ij,
    level,
    lowest_bit,
    range_max,
    range_min,
    st_of_uv,
    xyz_of_face_uv,
)
from gaea.sphere import EARTH_AREA_KM2, EARTH_RADIUS_KM, FloatArray, from_xyz, validate_latlon

__all__ = [
    "FACES",
    "MAX_LEVEL",
    "all_neighbours",
    "area_km2",
    "centre_xyz",
    "children",
    "contains",
    "cover_cap",
    "distance_range_km",
    "edge_neighbours",
    "face",
    "face_ij_size",
    "from_latlon",
    "from_token",
    "is_valid",
    "level",
    "mean_edge_km",
    "parent",
    "range_max",
    "range_min",
    "sample",
    "to_latlon",
    "to_token",
    "vertices_latlon",
    "vertices_xyz",
]

FACES: CellArray = (np.arange(6, dtype=np.uint64) << np.uint64(61)) | np.uint64(1 << 60)
"""The six cells of level 0, a cell set that covers the Earth."""

_ONE = np.uint64(1)
_LOWEST_BITS_OF_LEVELS = np.uint64(0x1555555555555555)
_CHUNK = 1 << 14  # points worked on at once, so that the intermediate arrays stay in the processor's cache


def _checked_level(level: int) -> int:
    if not 0 <= level <= MAX_LEVEL:
        raise InputError(f"level {level} does not exist: S2 cells have levels 0 to {MAX_LEVEL}")
    return int(level)


# ---- between points and ids


def from_latlon(lat_deg: npt.ArrayLike, lon_deg: npt.ArrayLike, level: int = MAX_LEVEL) -> CellArray:
    """Find the cells of one level that hold points.

    Args:
        lat_deg: Latitudes, degrees, −90 to 90.
        lon_deg: Longitudes, degrees, −180 to 180.
        level: Level of the cells, 0 to 30.

    Returns:
        S2 ids of the broadcast shape.

    Raises:
        InputError: A coordinate or the level is out of range.
    """
    level = _checked_level(level)
    lat, lon = validate_latlon(lat_deg, lon_deg)
    flat_lat, flat_lon = lat.reshape(-1), lon.reshape(-1)
    leaves = np.empty(flat_lat.size, np.uint64)
    for start in range(0, flat_lat.size, _CHUNK):
        chunk = slice(start, start + _CHUNK)
        phi, theta = np.radians(flat_lat[chunk]), np.radians(flat_lon[chunk])
        cos_phi = np.cos(phi)
        face, u, v = face_uv_of_xyz(np.cos(theta) * cos_phi, np.sin(theta) * cos_phi, np.sin(phi))
        leaves[chunk] = leaf_of_face_ij(face, ij_of_st(st_of_uv(u)), ij_of_st(st_of_uv(v)))
    return parent(leaves.reshape(lat.shape), level)


def to_latlon(cells: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Give the centres of cells as latitudes and longitudes in degrees, of the shape of ``cells``."""
    array = as_cells(cells)
    flat = array.reshape(-1)
    lat, lon = np.empty(flat.size), np.empty(flat.size)
    for start in range(0, flat.size, _CHUNK):
        chunk = slice(start, start + _CHUNK)
        lat[chunk], lon[chunk] = from_xyz(cube_xyz(flat[chunk]))
    return lat.reshape(array.shape)[()], lon.reshape(array.shape)[()]


# ---- the family of a cell


def face(cells: npt.ArrayLike) -> IntArray:
    """Give the faces of the cube that cells lie on, 0 to 5."""
    return (as_cells(cells) >> np.uint64(61)).astype(np.int64)


def is_valid(cells: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Tell which integers are S2 ids: a face below 6, and the lowest set bit at an even place up to 60."""
    array = as_cells(cells)
    flat = array.reshape(-1)  # a NumPy scalar 0 would warn about overflow, an array does not
    valid: npt.NDArray[np.bool_] = (flat >> np.uint64(61) < 6) & (lowest_bit(flat) & _LOWEST_BITS_OF_LEVELS != 0)
    return valid.reshape(array.shape)[()]


def parent(cells: npt.ArrayLike, level: int) -> CellArray:
    """Give the cells of a coarser (or the same) level around cells.

    Raises:
        InputError: A cell is coarser than ``level``, or there is no such level.
    """
    array = as_cells(cells)
    bit = np.uint64(1 << 2 * (MAX_LEVEL - _checked_level(level)))
    if np.any(lowest_bit(array) > bit):
        raise InputError(f"a cell coarser than level {level} has no parent there; split it with children() instead")
    return (array & (~bit + _ONE)) | bit


def children(cells: npt.ArrayLike) -> CellArray:
    """Give the four children of cells in the order of the curve, shape ``(..., 4)``.

    Raises:
        InputError: A cell is a leaf (level 30).
    """
    array = as_cells(cells)
    bit = lowest_bit(array)
    if np.any(bit == 1):
        raise InputError(f"leaf cells (level {MAX_LEVEL}) have no children")
    quarter = bit >> np.uint64(2)
    first = array - quarter - (quarter << _ONE)
    four: CellArray = first[..., None] + (quarter << _ONE)[..., None] * np.arange(4, dtype=np.uint64)
    return four


def contains(a: npt.ArrayLike, b: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Tell where cell ``a`` holds cell ``b`` (a cell holds itself); the arguments broadcast."""
    inner = as_cells(b)
    return (range_min(a) <= inner) & (inner <= range_max(a))


# ---- names


def to_token(cell: int | np.uint64) -> str:
    """Write one id as S2 tokens are written: hexadecimal without the trailing zeros."""
    return f"{int(cell):016x}".rstrip("0") or "X"


def from_token(token: str) -> np.uint64:
    """Read one S2 token.

    Raises:
        InputError: The text is not the token of a cell.
    """
    try:
        if not set(token) <= set("0123456789abcdef") or len(token) > 16:
            raise ValueError  # int() would also take '0x47', '4_7' and ' 47'
        cell = np.uint64(int(token.ljust(16, "0"), 16))
    except ValueError:
        cell = np.uint64(0)
    if not is_valid(cell):
        raise InputError(f"{token!r} is not an S2 token: expected 1 to 16 hexadecimal digits such as '47e66fdc'")
    return cell


def mean_edge_km(level: int) -> float:
    """Give the edge of a square as large as the mean cell of a level, km: 9220 at level 0, halved by each level."""
    return float(np.sqrt(EARTH_AREA_KM2 / 6) / (1 << _checked_level(level)))


# ---- neighbours


def edge_neighbours(cells: npt.ArrayLike) -> CellArray:
    """Give the cells of the same level across the edges, shape ``(..., 4)``: below, right, above, left on the face."""
    array = as_cells(cells)
    face_, i, j, size = face_ij_size(array)
    i4 = np.stack([i, i + size, i, i - size], axis=-1)
    j4 = np.stack([j - size, j, j + size, j], axis=-1)
    face4 = np.broadcast_to(face_[..., None], i4.shape)
    outside = (np.minimum(i4, j4) < 0) | (np.maximum(i4, j4) >= LEAVES_PER_SIDE)
    # A leaf just outside a face is found on the next one; any leaf of the neighbour will do.
    i_near, j_near = np.clip(i4, -1, LEAVES_PER_SIDE), np.clip(j4, -1, LEAVES_PER_SIDE)
    edge = 1.0 + np.finfo(np.float64).eps
    u, v = (
        np.clip((2 * (near - (LEAVES_PER_SIDE >> 1)) + 1) / LEAVES_PER_SIDE, -edge, edge) for near in (i_near, j_near)
    )
    next_face, u, v = face_uv_of_xyz(*np.moveaxis(xyz_of_face_uv(face4, u, v), -1, 0))
    face4 = np.where(outside, next_face, face4)
    i4 = np.where(outside, ij_of_st((u + 1) / 2), i4)  # u stands for s here, linearly: exact for leaf centres
    j4 = np.where(outside, ij_of_st((v + 1) / 2), j4)
    bit = lowest_bit(array)[..., None]
    return (leaf_of_face_ij(face4, i4, j4) & (~bit + _ONE)) | bit


def all_neighbours(cell: npt.ArrayLike) -> CellArray:
    """Give the cells of the same level that share an edge or a corner with one: 8, or 7 at a corner of the cube."""
    middle = as_cells(cell).reshape(())
    around = np.unique(np.append(edge_neighbours(middle), edge_neighbours(edge_neighbours(middle))))
    around = around[around != middle]
    # Two steps over edges reach all of them, and some that are too far: keep those that share a corner.
    corners, own = vertices_xyz(around), vertices_xyz(middle)
    apart = np.linalg.norm(corners[:, :, None] - own, axis=-1).min(axis=(1, 2))
    neighbours: CellArray = around[apart < 0.1 / (1 << int(level(middle)))]
    return neighbours


# ---- cells and caps


def cover_cap(
    lat_deg: float,
    lon_deg: float,
    radius_km: float,
    *,
    max_cells: int = 64,
    min_level: int = 0,
    max_level: int = MAX_LEVEL,
) -> CellArray:
    """Cover all points within a distance of one point by cells, coarse inside and finer towards the rim.

    Args:
        lat_deg: Latitude of the centre, degrees.
        lon_deg: Longitude of the centre, degrees.
        radius_km: Radius of the cap, km, not negative.
        max_cells: Refine the rim while the cover holds no more cells than this. The coarsest cover that the levels
            allow may hold more.
        min_level: Coarsest level allowed, 0 to 30; kept even at the price of more than ``max_cells``.
        max_level: Finest level allowed, ``min_level`` to 30.

    Returns:
        A cell set (disjoint, ascending) that covers the cap.

    Raises:
        InputError: The radius is negative, or the levels are out of range or in the wrong order.
    """
    _checked_level(min_level), _checked_level(max_level)
    if not radius_km >= 0 or min_level > max_level:
        raise InputError(f"radius_km {radius_km}, levels {min_level}..{max_level}: expected radius >= 0, min <= max")
    reach_km = radius_km + 1e-9  # a micrometre for rounding, so that a cap's rim is never outside its cover
    start_level = min(_level_at_least_as_wide(reach_km), max_level)
    centre = from_latlon(lat_deg, lon_deg, start_level)
    rim = FACES if start_level == 0 else np.append(all_neighbours(centre[()]), centre)
    done: list[CellArray] = []
    n_done = 0
    while True:
        near, far = distance_range_km(rim, lat_deg, lon_deg)
        levels = level(rim)
        within = (far <= reach_km) & (levels >= min_level)
        done.append(rim[within])
        n_done += int(within.sum())
        rim = rim[(near <= reach_km) & ~within]
        if not rim.size or level(rim)[0] >= max_level:
            break
        finer = children(rim).reshape(-1)
        kept = finer[distance_range_km(finer, lat_deg, lon_deg)[0] <= reach_km]
        if level(rim)[0] >= min_level and n_done + kept.size > max_cells:
            break
        rim = kept
    return np.sort(np.concatenate([*done, rim]))


def _level_at_least_as_wide(width_km: float) -> int:
    """Finest level whose every cell is at least this wide between opposite edges, so that 3 × 3 of them hold a cap."""
    narrowest = 2 * np.sqrt(2) / 3 * EARTH_RADIUS_KM  # S2's kMinWidth; halves from level to level
    return int(np.clip(np.floor(np.log2(narrowest / max(width_km, 1e-9))), 0, MAX_LEVEL))
