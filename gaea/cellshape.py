"""The shape of S2 cells: corners, centres, areas, distances, and points drawn from them.

Cells are quadrilaterals with geodesic edges, which are lines of constant u or v on a face of the cube.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gaea.hilbert import (
    LEAVES_PER_SIDE,
    IntArray,
    as_cells,
    face_ij_size,
    leaf_of_xyz,
    range_max,
    range_min,
    uv_of_st,
    xyz_of_face_uv,
)
from gaea.sphere import EARTH_RADIUS_KM, FloatArray, from_xyz, to_xyz


def centre_xyz(cells: npt.ArrayLike) -> FloatArray:
    """Give the centres of cells as unit vectors ``(..., 3)``."""
    xyz = cube_xyz(cells)
    unit: FloatArray = xyz / np.linalg.norm(xyz, axis=-1, keepdims=True)
    return unit


def cube_xyz(cells: npt.ArrayLike) -> FloatArray:
    """Give the centres of cells on the cube with faces at distance 1, ``(..., 3)``: not of unit length."""
    face, i, j, size = face_ij_size(cells)
    u, v = (uv_of_st((2 * low + size) / (2.0 * LEAVES_PER_SIDE)) for low in (i, j))
    return xyz_of_face_uv(face, u, v)


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
    return np.asarray(np.arctan(u * v / np.sqrt(1 + u * u + v * v)))


def _density(u: FloatArray, v: FloatArray) -> FloatArray:
    return (1 + u * u + v * v) ** -1.5


def _uv_width(low: IntArray, size: IntArray) -> FloatArray:
    """Width of leaf intervals in u or v, from the derivative: the difference of the ends would cancel.

    Exact, since the projection is quadratic on either half of a face and only faces reach across its middle.
    """
    middle = np.abs((2 * low + size) / LEAVES_PER_SIDE - 1) / 2 + 0.5
    return np.where(size == LEAVES_PER_SIDE, 2.0, (8 / 3.0) * middle * (size / LEAVES_PER_SIDE))


def distance_range_km(cells: npt.ArrayLike, lat_deg: float, lon_deg: float) -> tuple[FloatArray, FloatArray]:
    """Give the distances in km from one point to the nearest and to the farthest point of each cell.

    Args:
        cells: Cells, shape ``(n,)``.
        lat_deg: Latitude of the point, degrees.
        lon_deg: Longitude of the point, degrees.

    Returns:
        Nearest (0 where the cell holds the point) and farthest distances, each ``(n,)``.
    """
    array = as_cells(cells)
    point, corners = to_xyz(lat_deg, lon_deg), vertices_xyz(array)
    first, last = range_min(array), range_max(array)
    leaf, antipode = leaf_of_xyz(point), leaf_of_xyz(-point)
    nearest = np.where((first <= leaf) & (leaf <= last), 0.0, _arc_to_edges(corners, point))
    # The farthest point of a cell is the one nearest to the antipode.
    farthest = np.pi - np.where((first <= antipode) & (antipode <= last), 0.0, _arc_to_edges(corners, -point))
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


def sample(cells: npt.ArrayLike, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Draw one point from each cell, evenly by area; latitudes and longitudes in degrees of the shape of ``cells``."""
    array = as_cells(cells)
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
