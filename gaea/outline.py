"""Outlines of cell sets on the map, found on the cube in integers.

Every edge of a cell is cut at all corners that lie on it, and pieces that two cells share cancel. Nothing is compared
within a tolerance, and neighbours of other levels, on other faces or at a corner of the cube are no special cases. The
antimeridian and the poles follow lines of the grid, so from level 1 on no cell crosses them: the outline is split there
exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from gaea import cells as s2
from gaea import cellsets
from gaea.hilbert import LEAVES_PER_SIDE, CellArray, IntArray, uv_of_st
from gaea.sphere import FloatArray, from_xyz

Ring: TypeAlias = list[list[float]]

_FINEST_STEP_DEG, _COARSEST_STEP_DEG = 0.02, 1.0


@dataclass(frozen=True)
class _Edges:
    """Directed edges with their cell on the left.

    Attributes:
        start: Corner keys ``(n, 4)``: position on the cube in leaves from its middle, and the side (below).
        end: Corner keys ``(n, 4)``.
        cell: Index of the cell, ``(n,)``.

    The side tells apart what is one point on the cube but two on the map: −180 or 180 on the antimeridian, and the
    longitude in which a pole is reached. It is 0 elsewhere.
    """

    start: IntArray
    end: IntArray
    cell: IntArray

    def take(self, index: IntArray) -> _Edges:
        return _Edges(self.start[index], self.end[index], self.cell[index])

    def join(self, other: _Edges) -> _Edges:
        pairs = ((self.start, other.start), (self.end, other.end), (self.cell, other.cell))
        return _Edges(*(np.concatenate(pair) for pair in pairs))


def polygons(cells: CellArray) -> list[list[Ring]]:
    """Give the outline of a cell set as the coordinates of a GeoJSON MultiPolygon.

    Args:
        cells: Cell set, ``(n,)``.

    Returns:
        Polygons, each a shell (anticlockwise) and its holes (clockwise): closed rings of [lon, lat] in degrees that
        touch each other in single points at most. Pieces that hang together by edges form one polygon.
    """
    if not cells.size:
        return []
    cells, _ = cellsets.split(cells, 1)
    sides, along_poles = _cell_edges(cells)
    edges, component = _cancel_shared(_cut(sides).join(along_poles), cells.size)
    rings = _rings(edges)
    lengths = np.array([len(ring) for ring in rings])
    edges = edges.take(np.concatenate([np.array(ring) for ring in rings]))
    first = np.cumsum(lengths) - lengths
    points, begin = _follow_geodesics(edges, _steps_deg(cells)[edges.cell])
    shape: dict[int, list[Ring]] = {}
    for start, stop in zip(begin[first].tolist(), np.append(begin[first][1:], len(points)).tolist(), strict=True):
        ring = np.concatenate([points[start:stop], points[start : start + 1]])
        parts = shape.setdefault(int(component[edges.cell[np.searchsorted(begin, start)]]), [])
        parts.insert(0 if _signed_area(ring) > 0 else len(parts), ring.tolist())
    return list(shape.values())


def _steps_deg(cells: CellArray) -> FloatArray:
    """Longest chord allowed along the edges of each cell, ``(n,)``: one that strays little from its geodesic.

    A chord strays by about step²/8 at most. That is to stay below 1/10000 of the cell itself, so that areas agree, and
    below 1/40 of the finest cell of the set, which may lie beside it.
    """
    width = np.pi / 2 * np.exp2(-s2.level(cells))
    steps = np.degrees(np.sqrt(np.minimum(width / 1250, width.min() / 5)))
    clipped: FloatArray = np.clip(steps, _FINEST_STEP_DEG, _COARSEST_STEP_DEG)
    return clipped


def _cell_edges(cells: CellArray) -> tuple[_Edges, _Edges]:
    """Give the four edges of each cell, and the lines along a pole of the cells that touch one."""
    face, i, j, size = s2.face_ij_size(cells)
    u = 2 * np.stack([i, i + size, i + size, i], axis=-1) - LEAVES_PER_SIDE
    v = 2 * np.stack([j, j, j + size, j + size], axis=-1) - LEAVES_PER_SIDE
    corners = _cube(face[:, None], u, v)
    half_turn = np.where(corners[:, :, 1].sum(axis=1) > 0, 180, -180)[:, None]
    side = np.where((corners[..., 1] == 0) & (corners[..., 0] < 0), half_turn, 0)
    pole = (corners[..., 0] == 0) & (corners[..., 1] == 0)
    # A pole is reached along one meridian and left along another: those of the edges on either side of it.
    reached = np.where(pole, _meridian(np.roll(corners, 1, axis=1), half_turn), side)[..., None]
    left = np.where(pole, _meridian(np.roll(corners, -1, axis=1), half_turn), side)[..., None]
    begin, finish = np.concatenate([corners, left], axis=-1), np.concatenate([corners, reached], axis=-1)
    index = np.broadcast_to(np.arange(cells.size)[:, None], pole.shape)
    sides = _Edges(begin.reshape(-1, 4), np.roll(finish, -1, axis=1).reshape(-1, 4), index.reshape(-1))
    return sides, _Edges(finish[pole], begin[pole], index[pole])


def _cube(face: IntArray, u: IntArray, v: IntArray) -> IntArray:
    """Place corners on a cube of half-width 2**30, in integers; the same point has one place on all its faces."""
    w = np.full_like(u, LEAVES_PER_SIDE)
    x = np.choose(face, [w, -u, -u, -w, v, v])
    y = np.choose(face, [u, w, -v, -v, -w, u])
    z = np.choose(face, [v, v, w, -u, -u, -w])
    return np.stack([x, y, z], axis=-1)


def _meridian(corners: IntArray, half_turn: IntArray) -> IntArray:
    """Longitude, a multiple of 90, of corners on the lines of the grid that meet at a pole."""
    x, y = corners[..., 0], corners[..., 1]
    return np.where(y > 0, 90, np.where(y < 0, -90, np.where(x < 0, half_turn, 0)))


def _corner_id(keys: IntArray) -> CellArray:
    """Number corner keys ``(n, 4)``, one number for each: which side of the cube and of the map, and where on it."""
    position, side = keys[:, :3], keys[:, 3]
    axis = (np.abs(position) == LEAVES_PER_SIDE).argmax(axis=1)  # the first, so a corner on two faces counts as of one
    rows = np.arange(len(keys))
    plate = axis + 3 * (position[rows, axis] < 0) + 6 * (side == -180)
    i, j = ((position[rows, (axis + turn) % 3] + LEAVES_PER_SIDE) // 2 for turn in (1, 2))
    pole = (position[:, 0] == 0) & (position[:, 1] == 0)
    plate, i = np.where(pole, 12, plate), np.where(pole, side // 90 + 2, i)
    j = np.where(pole, position[:, 2] > 0, j)
    per_side = np.uint64(LEAVES_PER_SIDE + 1)
    return (plate.astype(np.uint64) * per_side + i.astype(np.uint64)) * per_side + j.astype(np.uint64)


def _cut(edges: _Edges) -> _Edges:
    """Cut edges, each parallel to an axis of the cube, at every corner that lies on them."""
    rows = np.arange(edges.cell.size)
    axis = np.abs((edges.end - edges.start)[:, :3]).argmax(axis=1)
    begin, finish = edges.start[rows, axis], edges.end[rows, axis]
    # On the antimeridian the two sides of the map are two lines; an edge that only ends on it has no side.
    on_antimeridian = (edges.start[:, 1] == 0) & (edges.end[:, 1] == 0) & (edges.start[:, 0] + edges.end[:, 0] < 0)
    line = np.concatenate([edges.start[:, :3], np.where(on_antimeridian, _far_side(edges), 0)[:, None]], axis=1)
    side = line[:, 3].copy()
    line[rows, axis] = 0
    # The point of a line where the running coordinate is 0 tells lines of one axis apart; it may be a pole.
    number = np.unique(_corner_id(line), return_inverse=True)[1].reshape(-1) * 3 + axis
    place = (number << 32) + LEAVES_PER_SIDE  # leaves room for coordinates from −2**30 to 2**30
    low, high = place + np.minimum(begin, finish), place + np.maximum(begin, finish)
    breaks = np.unique(np.concatenate([low, high]))
    first, last = np.searchsorted(breaks, low), np.searchsorted(breaks, high)
    count = last - first
    edge = np.repeat(rows, count)
    step = np.arange(edge.size) - np.repeat(np.cumsum(count) - count, count)
    ahead = np.where(finish > begin, 1, -1)[edge]
    at = np.where(ahead > 0, first[edge], last[edge]) + ahead * step
    start, end = edges.start[edge], edges.end[edge]
    for keys, index, moved in ((start, at, step > 0), (end, at + ahead, step < count[edge] - 1)):
        inner = np.flatnonzero(moved)
        keys[inner, axis[edge[inner]]] = breaks[index[inner]] - place[edge[inner]]
        keys[inner, 3] = side[edge[inner]]
    return _Edges(start, end, edges.cell[edge])


def _far_side(edges: _Edges) -> IntArray:
    """Side of edges along the antimeridian, read from the end that is not a pole."""
    return np.where(edges.start[:, 0] < 0, edges.start[:, 3], edges.end[:, 3])


def _cancel_shared(edges: _Edges, n_cells: int) -> tuple[_Edges, IntArray]:
    """Drop edges that two cells share; also give a label per cell that cells have in common which hang together."""
    start, end = _corner_id(edges.start), _corner_id(edges.end)
    low, high = np.minimum(start, end), np.maximum(start, end)
    order = np.lexsort((high, low))
    twin = (low[order][1:] == low[order][:-1]) & (high[order][1:] == high[order][:-1])
    first, second = order[:-1][twin], order[1:][twin]
    alone = np.ones(low.size, np.bool_)
    alone[first] = alone[second] = False
    label = np.arange(n_cells)
    a, b = edges.cell[first], edges.cell[second]
    while np.any(label[a] != label[b]):
        least = np.minimum(label[a], label[b])
        np.minimum.at(label, label[a], least)
        np.minimum.at(label, label[b], least)
        label = label[label]
    return edges.take(np.flatnonzero(alone)), label


def _rings(edges: _Edges) -> list[list[int]]:
    """Chain edges to rings that visit no corner twice; where cells only touch in one, a ring stays with its cell."""
    starts, ends, cells = _corner_id(edges.start).tolist(), _corner_id(edges.end).tolist(), edges.cell.tolist()
    leaving: dict[int, list[int]] = {}
    for edge, corner in enumerate(starts):
        leaving.setdefault(corner, []).append(edge)
    used = [False] * len(starts)
    rings = []
    for seed in range(len(starts)):
        path: list[int] = []
        met: dict[int, int] = {}
        edge = seed
        while not used[edge]:
            used[edge] = True
            met[starts[edge]] = len(path)
            path.append(edge)
            corner = ends[edge]
            if corner in met:
                rings.append(path[met[corner] :])
                del path[met[corner] :]
                for closed in rings[-1]:
                    del met[starts[closed]]
            choices = [each for each in leaving[corner] if not used[each]]
            if not choices:
                break
            edge = next((each for each in choices if cells[each] == cells[edge]), choices[0])
    return rings


def _follow_geodesics(edges: _Edges, step_deg: FloatArray) -> tuple[FloatArray, IntArray]:
    """Give points ``(m, 2)`` of lon, lat along edges, without their ends, and the index where each edge begins."""
    start, end = edges.start, edges.end
    a, b = _lonlat(start), _lonlat(end)
    span = np.abs(b - a)
    count = np.maximum(np.ceil(span.max(axis=1) / step_deg), 1).astype(np.int64)
    # Straight on the map as they are: meridians, the equator, and the line along a pole.
    on_equator = (start[:, 2] == 0) & (end[:, 2] == 0)
    at_pole = (np.abs(a[:, 1]) == 90) & (np.abs(b[:, 1]) == 90)
    count[(span[:, 0] == 0) | on_equator | at_pole] = 1
    begin = np.cumsum(count) - count
    edge = np.repeat(np.arange(len(start)), count)
    step = np.arange(edge.size) - begin[edge]
    first, last = _gnomonic(start), _gnomonic(end)
    lat, lon = from_xyz(first[edge] + (last - first)[edge] * (step / count[edge])[:, None])
    points = np.stack([lon, lat], axis=-1)
    points[begin] = a
    return points, begin


def _gnomonic(keys: IntArray) -> FloatArray:
    """Place corners on the cube of half-width 1 where geodesics are straight."""
    position = keys[:, :3] / LEAVES_PER_SIDE
    uv: FloatArray = np.where(np.abs(keys[:, :3]) == LEAVES_PER_SIDE, position, uv_of_st((position + 1) / 2))
    return uv


def _lonlat(keys: IntArray) -> FloatArray:
    """Longitude and latitude ``(n, 2)`` of corner keys, in degrees."""
    lat, lon = from_xyz(_gnomonic(keys))
    pole = (keys[:, 0] == 0) & (keys[:, 1] == 0)
    return np.stack([np.where(pole | (np.abs(keys[:, 3]) == 180), keys[:, 3], lon), lat], axis=-1)


def _signed_area(line: FloatArray) -> float:
    """Twice the area on the map of a closed line, positive if anticlockwise."""
    lon, lat = (line - line[0]).T
    return float((lon[:-1] * lat[1:] - lon[1:] * lat[:-1]).sum())
