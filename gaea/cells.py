"""S2 cells: a numbering of the Earth in which nearby places mostly have nearby numbers, at 31 scales.

Cells are ``np.uint64`` arrays of S2 ids of any level from 0 (a face of the cube) to 30 (about 9 mm). Integer order is
the order of the Hilbert curve, the leaves of a cell are a range of integers, and so containment is a range test. A
*cell set* is a one-dimensional array of disjoint cells in ascending order. Functions take arrays of any shape unless
they say so. Edges of cells are geodesics. Ids agree bit for bit with the S2 geometry library.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gaea.errors import InputError
from gaea.hilbert import (
    LEAVES_PER_SIDE,
    MAX_LEVEL,
    CellArray,
    IntArray,
    face_ij_of_leaf,
    face_uv_of_xyz,
    ij_of_st,
    leaf_of_face_ij,
    st_of_uv,
    uv_of_st,
    xyz_of_face_uv,
)
from gaea.sphere import EARTH_AREA_KM2, EARTH_RADIUS_KM, FloatArray, from_xyz, to_xyz, validate_latlon

FACES: CellArray = (np.arange(6, dtype=np.uint64) << np.uint64(61)) | np.uint64(1 << 60)
"""The six cells of level 0, a cell set that covers the Earth."""

_ONE = np.uint64(1)
_LOWEST_BITS_OF_LEVELS = np.uint64(0x1555555555555555)
_CHUNK = 1 << 14  # points worked on at once, so that the intermediate arrays stay in the processor's cache


def _checked_level(level: int) -> int:
    if not 0 <= level <= MAX_LEVEL:
        raise InputError(f"level {level} does not exist: S2 cells have levels 0 to {MAX_LEVEL}")
    return int(level)


def _as_cells(cells: npt.ArrayLike) -> CellArray:
    array = np.asarray(cells)
    if array.dtype != np.uint64:
        if array.size and array.dtype.kind not in "iu":
            raise InputError(f"cells must be whole numbers (uint64 S2 ids), not {array.dtype}")
        array = array.astype(np.uint64)
    return array


def _lowest_bit(cells: CellArray) -> CellArray:
    return cells & (~cells + _ONE)


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
    array = _as_cells(cells)
    flat = array.reshape(-1)
    lat, lon = np.empty(flat.size), np.empty(flat.size)
    for start in range(0, flat.size, _CHUNK):
        chunk = slice(start, start + _CHUNK)
        lat[chunk], lon[chunk] = from_xyz(_centre_xyz(flat[chunk]))
    return lat.reshape(array.shape)[()], lon.reshape(array.shape)[()]


def centre_xyz(cells: npt.ArrayLike) -> FloatArray:
    """Give the centres of cells as unit vectors ``(..., 3)``."""
    xyz = _centre_xyz(_as_cells(cells))
    unit: FloatArray = xyz / np.linalg.norm(xyz, axis=-1, keepdims=True)
    return unit


def _centre_xyz(cells: CellArray) -> FloatArray:
    face, i, j, size = face_ij_size(cells)
    u, v = (uv_of_st((2 * low + size) / (2.0 * LEAVES_PER_SIDE)) for low in (i, j))
    return xyz_of_face_uv(face, u, v)


def face_ij_size(cells: npt.ArrayLike) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Give the face, the lowest leaf coordinates i and j, and the width in leaves of cells."""
    array = _as_cells(cells)
    face, i, j = face_ij_of_leaf(range_min(array))
    size = LEAVES_PER_SIDE >> level(array)
    return face, i & -size, j & -size, size


# ---- the family of a cell


def level(cells: npt.ArrayLike) -> IntArray:
    """Give the levels of cells, 0 to 30."""
    # A power of two is exact in a float, so its exponent counts the trailing zeros of the id.
    exponent = np.frexp(_lowest_bit(_as_cells(cells)).astype(np.float64))[1].astype(np.int64)
    return MAX_LEVEL - (exponent - 1) // 2


def face(cells: npt.ArrayLike) -> IntArray:
    """Give the faces of the cube that cells lie on, 0 to 5."""
    return (_as_cells(cells) >> np.uint64(61)).astype(np.int64)


def is_valid(cells: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Tell which integers are S2 ids: a face below 6, and the lowest set bit at an even place up to 60."""
    array = _as_cells(cells)
    valid: npt.NDArray[np.bool_] = (array >> np.uint64(61) < 6) & (_lowest_bit(array) & _LOWEST_BITS_OF_LEVELS != 0)
    return valid


def parent(cells: npt.ArrayLike, level: int) -> CellArray:
    """Give the cells of a coarser (or the same) level around cells.

    Raises:
        InputError: A cell is coarser than ``level``, or there is no such level.
    """
    array = _as_cells(cells)
    bit = np.uint64(1 << 2 * (MAX_LEVEL - _checked_level(level)))
    if np.any(_lowest_bit(array) > bit):
        raise InputError(f"a cell coarser than level {level} has no parent there; split it with children() instead")
    return (array & (~bit + _ONE)) | bit


def children(cells: npt.ArrayLike) -> CellArray:
    """Give the four children of cells in the order of the curve, shape ``(..., 4)``.

    Raises:
        InputError: A cell is a leaf (level 30).
    """
    array = _as_cells(cells)
    bit = _lowest_bit(array)
    if np.any(bit == 1):
        raise InputError(f"leaf cells (level {MAX_LEVEL}) have no children")
    quarter = bit >> np.uint64(2)
    first = array - quarter - (quarter << _ONE)
    four: CellArray = first[..., None] + (quarter << _ONE)[..., None] * np.arange(4, dtype=np.uint64)
    return four


def range_min(cells: npt.ArrayLike) -> CellArray:
    """Give the first leaves of cells."""
    array = _as_cells(cells)
    return array - (_lowest_bit(array) - _ONE)


def range_max(cells: npt.ArrayLike) -> CellArray:
    """Give the last leaves of cells."""
    array = _as_cells(cells)
    return array + (_lowest_bit(array) - _ONE)


def contains(a: npt.ArrayLike, b: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Tell where cell ``a`` holds cell ``b`` (a cell holds itself); the arguments broadcast."""
    inner = _as_cells(b)
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
        if not 1 <= len(token) <= 16 or not token.isalnum():
            raise ValueError
        cell = np.uint64(int(token.ljust(16, "0"), 16))
    except ValueError:
        cell = np.uint64(0)
    if not is_valid(cell):
        raise InputError(f"{token!r} is not an S2 token: expected 1 to 16 hexadecimal digits such as '47e66fdc'")
    return cell


# ---- shape and size


def vertices_xyz(cells: npt.ArrayLike) -> FloatArray:
    """Give the corners of cells as unit vectors ``(..., 4, 3)``, anticlockwise seen from outside."""
    face_, i, j, size = face_ij_size(cells)
    i_corners = np.stack([i, i + size, i + size, i], axis=-1)
    j_corners = np.stack([j, j, j + size, j + size], axis=-1)
    u, v = uv_of_st(i_corners / LEAVES_PER_SIDE), uv_of_st(j_corners / LEAVES_PER_SIDE)
    xyz = xyz_of_face_uv(np.broadcast_to(face_[..., None], u.shape), u, v)
    unit: FloatArray = xyz / np.linalg.norm(xyz, axis=-1, keepdims=True)
    return unit


def vertices_latlon(cells: npt.ArrayLike) -> FloatArray:
    """Give the corners of cells in degrees, shape ``(..., 4, 2)`` with latitude first, anticlockwise from outside."""
    return np.stack(from_xyz(vertices_xyz(cells)), axis=-1)


def area_km2(cells: npt.ArrayLike) -> FloatArray:
    """Give the spherical areas of cells in km², each its own (cells of a level differ by a factor of up to 2.1)."""
    _, i, j, size = face_ij_size(cells)
    u0, v0 = uv_of_st(i / LEAVES_PER_SIDE), uv_of_st(j / LEAVES_PER_SIDE)
    u1, v1 = uv_of_st((i + size) / LEAVES_PER_SIDE), uv_of_st((j + size) / LEAVES_PER_SIDE)
    large = size > LEAVES_PER_SIDE >> 8
    # The solid angle of a rectangle on the face in closed form: exact, but a difference of large numbers ...
    angle = np.where(large, _corner(u1, v1) - _corner(u0, v1) - _corner(u1, v0) + _corner(u0, v0), 0.0)
    # ... so small cells integrate the projection's density instead, by Gauss's rule of 2 × 2 points, to 1e-10.
    off, (du, dv) = 1 / np.sqrt(12.0), (_uv_width(i, size), _uv_width(j, size))
    um, vm = (u0 + u1) / 2, (v0 + v1) / 2
    density = sum(_density(um + a * du, vm + b * dv) for a in (-off, off) for b in (-off, off)) / 4
    return EARTH_RADIUS_KM**2 * np.where(large, angle, density * du * dv)[()]


def _corner(u: FloatArray, v: FloatArray) -> FloatArray:
    return np.arctan(u * v / np.sqrt(1 + u * u + v * v))


def _density(u: FloatArray, v: FloatArray) -> FloatArray:
    return (1 + u * u + v * v) ** -1.5


def _uv_width(low: IntArray, size: IntArray) -> FloatArray:
    """Width of leaf intervals in u or v, from the derivative: the difference of the ends would cancel.

    Exact, since the projection is quadratic on either half of a face and only faces reach across its middle.
    """
    middle = np.abs((2 * low + size) / LEAVES_PER_SIDE - 1) / 2 + 0.5
    return np.where(size == LEAVES_PER_SIDE, 2.0, (8 / 3.0) * middle * (size / LEAVES_PER_SIDE))


def mean_edge_km(level: int) -> float:
    """Give the edge of a square as large as the mean cell of a level, km: 9220 at level 0, halved by each level."""
    return float(np.sqrt(EARTH_AREA_KM2 / 6) / (1 << _checked_level(level)))


# ---- neighbours


def edge_neighbours(cells: npt.ArrayLike) -> CellArray:
    """Give the cells of the same level across the edges, shape ``(..., 4)``: below, right, above, left on the face."""
    array = _as_cells(cells)
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
    bit = _lowest_bit(array)[..., None]
    return (leaf_of_face_ij(face4, i4, j4) & (~bit + _ONE)) | bit


def all_neighbours(cell: npt.ArrayLike) -> CellArray:
    """Give the cells of the same level that share an edge or a corner with one: 8, or 7 at a corner of the cube."""
    middle = np.uint64(_as_cells(cell))
    around = edge_neighbours(middle)
    if level(middle) == 0:
        return np.sort(around)
    second = edge_neighbours(around)
    # Diagonal neighbours are reached in two ways, cells two steps straight ahead in one.
    ids, times = np.unique(second, return_counts=True)
    return np.unique(np.concatenate([around, ids[(times > 1) & (ids != middle)]]))


# ---- cells and caps


def distance_range_km(cells: npt.ArrayLike, lat_deg: float, lon_deg: float) -> tuple[FloatArray, FloatArray]:
    """Give the distances in km from one point to the nearest and to the farthest point of each cell.

    Args:
        cells: Cells, shape ``(n,)``.
        lat_deg: Latitude of the point, degrees.
        lon_deg: Longitude of the point, degrees.

    Returns:
        Nearest (0 where the cell holds the point) and farthest distances, each ``(n,)``.
    """
    array = _as_cells(cells)
    point, corners = to_xyz(lat_deg, lon_deg), vertices_xyz(array)
    nearest = np.where(contains(array, from_latlon(lat_deg, lon_deg)), 0.0, _arc_to_edges(corners, point))
    # The farthest point of a cell is the one nearest to the antipode, whose leaf has the antipode's coordinates.
    antipode_lat, antipode_lon = from_xyz(-point)
    opposite = contains(array, from_latlon(antipode_lat, antipode_lon))
    farthest = np.pi - np.where(opposite, 0.0, _arc_to_edges(corners, -point))
    # Near the point the corners decide, and more precisely than a difference from half the circumference.
    by_corner = 2 * np.arcsin(np.minimum(np.linalg.norm(corners - point, axis=-1) / 2, 1.0)).max(axis=-1)
    farthest = np.where(by_corner < np.pi / 4, by_corner, farthest)
    return EARTH_RADIUS_KM * nearest, EARTH_RADIUS_KM * farthest


def _arc_to_edges(corners: FloatArray, point: FloatArray) -> FloatArray:
    """Angle from a point to the nearest of the four geodesic edges, for corners ``(n, 4, 3)``; gives ``(n,)``."""
    to_corner = 2 * np.arcsin(np.minimum(np.linalg.norm(corners - point, axis=-1) / 2, 1.0))
    following = np.roll(corners, -1, axis=-2)
    normal = np.cross(corners, following - corners)  # of the great circle; as a difference it stays exact when tiny
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    beside = ((point - corners) * normal).sum(-1)
    past_start = (np.cross(normal, corners) * point).sum(-1) > 0
    before_end = (np.cross(normal, following) * point).sum(-1) < 0
    to_line = np.where(past_start & before_end, np.abs(np.arcsin(np.clip(beside, -1.0, 1.0))), np.inf)
    arc: FloatArray = np.minimum(to_corner, to_line).min(axis=-1)
    return arc


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


def sample(cells: npt.ArrayLike, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Draw one point from each cell, evenly by area; latitudes and longitudes in degrees of the shape of ``cells``."""
    array = _as_cells(cells)
    face_, i, j, size = (part.reshape(-1) for part in face_ij_size(array))
    low = [uv_of_st(corner / LEAVES_PER_SIDE) for corner in (i, j)]
    width = [_uv_width(corner, size) for corner in (i, j)]
    # Even in u and v is too dense by (1 + u² + v²)**1.5, so draw again as often as that asks for.
    nearest = [np.maximum(0.0, np.maximum(a, -(a + w))) for a, w in zip(low, width, strict=True)]
    most = _density(nearest[0], nearest[1])
    u, v = np.empty(i.size), np.empty(i.size)
    open_ = np.arange(i.size)
    while open_.size:
        u[open_] = low[0][open_] + width[0][open_] * rng.random(open_.size)
        v[open_] = low[1][open_] + width[1][open_] * rng.random(open_.size)
        accepted = rng.random(open_.size) * most[open_] <= _density(u[open_], v[open_])
        open_ = open_[~accepted]
    lat, lon = from_xyz(xyz_of_face_uv(face_, u, v))
    return lat.reshape(array.shape)[()], lon.reshape(array.shape)[()]
