"""Regions: areas made of S2 cells, with their exact outline for maps.

The outline of a cell set is found on the cube, in integers: every edge of a cell is cut at all corners that lie on it, and
pieces that two cells share cancel. Nothing has to be compared within a tolerance, and cells of different levels, faces and
pole are no special cases. The antimeridian and the poles follow lines of that grid, so from level 1 on no cell
crosses them, and the outline is split there exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from gaea import cells as s2
from gaea import cellsets
from gaea.hilbert import LEAVES_PER_SIDE, CellArray, IntArray, uv_of_st
from gaea.sphere import EARTH_AREA_KM2, FloatArray, from_xyz

_FINEST_STEP_DEG, _COARSEST_STEP_DEG = 0.02, 1.0


@dataclass(frozen=True, eq=False)
class Region:
    """An area of the Earth that holds a share of a belief.

    Attributes:
        cells: Cell set, uint64 ``(n,)``, with four siblings merged to their parent wherever all are in.
        mass: Probability that the belief puts in the area, 0 to 1.
        area_km2: Spherical area, km².
    """

    cells: CellArray
    mass: float
    area_km2: float

    @property
    def is_whole_earth(self) -> bool:
        """Whether nothing is left outside."""
        return bool(self.area_km2 > EARTH_AREA_KM2 * (1 - 1e-9))

    def contains(self, lat_deg: npt.ArrayLike, lon_deg: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Tell which points in degrees lie inside, of their broadcast shape.

        Raises:
            InputError: A coordinate is out of range.
        """
        return cellsets.index_of(self.cells, s2.from_latlon(lat_deg, lon_deg)) >= 0

    def geojson(self) -> dict[str, Any]:
        """Give the outline as a GeoJSON MultiPolygon (RFC 7946).

        Positions are lon, lat in degrees. Rings are closed, shells anticlockwise and holes clockwise, split at the
        antimeridian; an area around a pole runs along ±90. Geodesic edges are followed by steps of at most a degree,
        shorter where fine cells lie beside coarse ones.
        """
        return dict(self._geometry)

    @cached_property
    def _geometry(self) -> dict[str, Any]:
        return {"type": "MultiPolygon", "coordinates": _polygons(self.cells)}


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


def _polygons(cells: CellArray) -> list[list[list[list[float]]]]:
    if not cells.size:
        return []
    cells, _ = cellsets.split(cells, 1)
    edges = _cut_edges(_cell_edges(cells))
    edges, component = _outline(edges, cells.size)
    finest_deg = 90.0 / (1 << int(s2.level(cells).max()))
    # A chord strays from its geodesic by about step²/8: keep that below a tenth of the finest cell.
    step_deg = float(np.clip(np.sqrt(0.8 * np.radians(finest_deg)) * 57.3 / 2, _FINEST_STEP_DEG, _COARSEST_STEP_DEG))
    polygons: dict[int, list[list[list[float]]]] = {}
    for ring in _rings(edges):
        line = _lonlat_ring(edges.start[ring], edges.end[ring], step_deg)
        parts = polygons.setdefault(int(component[edges.cell[ring[0]]]), [])
        parts.insert(0 if _signed_area(line) > 0 else len(parts), line.tolist())
    return list(polygons.values())


def _cell_edges(cells: CellArray) -> _Edges:
    """Give the four edges of each cell, and a fifth along the pole for those that touch one."""
    face, i, j, size = s2.face_ij_size(cells)
    u = 2 * np.stack([i, i + size, i + size, i], axis=-1) - LEAVES_PER_SIDE
    v = 2 * np.stack([j, j, j + size, j + size], axis=-1) - LEAVES_PER_SIDE
    corners = _cube(face[:, None], u, v)
    middle_y = corners[:, :, 1].sum(axis=1)
    half_turn = np.where(middle_y > 0, 180, -180)[:, None]
    on_antimeridian = (corners[..., 1] == 0) & (corners[..., 0] < 0)
    side = np.where(on_antimeridian, half_turn, 0)
    pole = (corners[..., 0] == 0) & (corners[..., 1] == 0)
    before, after = np.roll(corners, 1, axis=1), np.roll(corners, -1, axis=1)
    # A pole is reached along one meridian and left along another: the edges on either side of it.
    side_in = np.where(pole, _meridian(before, half_turn), side)
    side_out = np.where(pole, _meridian(after, half_turn), side)
    start = np.concatenate([corners, side_out[..., None]], axis=-1)
    end = np.roll(np.concatenate([corners, side_in[..., None]], axis=-1), -1, axis=1)
    index = np.broadcast_to(np.arange(cells.size)[:, None], pole.shape)
    along = [np.concatenate([corners[pole], sides[pole][:, None]], axis=-1) for sides in (side_in, side_out)]
    return _Edges(
        np.concatenate([start.reshape(-1, 4), along[0]]),
        np.concatenate([end.reshape(-1, 4), along[1]]),
        np.concatenate([index.reshape(-1), index[pole]]),
    )


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


def _cut_edges(edges: _Edges) -> _Edges:
    """Cut edges at every corner that lies on them."""
    difference = (edges.end - edges.start)[:, :3]
    axis = np.abs(difference).argmax(axis=1)
    straight = difference.any(axis=1)  # not those along a pole
    rows = np.arange(axis.size)
    begin, finish = edges.start[rows, axis], edges.end[rows, axis]
    # The line that an edge lies on: its axis, its two other coordinates, and its side on the antimeridian.
    line = edges.start.copy()
    line[rows, axis] = 0
    line[:, 3] = np.where(edges.start[:, 3] == edges.end[:, 3], edges.start[:, 3], 0)
    line[:, 3] = np.where((line[:, 1] == 0) & (axis != 1), _shared_side(edges), line[:, 3] * 0)
    keys = np.concatenate([line, axis[:, None], ~straight[:, None] * (1 + rows[:, None])], axis=1)
    line_id = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)
    place = (line_id << 32) + LEAVES_PER_SIDE  # leaves room for coordinates from −2**30 to 2**30
    low, high = place + np.minimum(begin, finish), place + np.maximum(begin, finish)
    breaks = np.unique(np.concatenate([low, high]))
    first, last = np.searchsorted(breaks, low), np.searchsorted(breaks, high)
    count = np.maximum(last - first, 1)
    edge = np.repeat(rows, count)
    step = np.arange(edge.size) - np.repeat(np.cumsum(count) - count, count)
    forward = (finish > begin)[edge]
    from_index = np.where(forward, first[edge] + step, last[edge] - step)
    to_index = np.where(forward, from_index + 1, np.maximum(from_index - 1, 0))
    start, end = edges.start[edge], edges.end[edge]
    cut = straight[edge]
    is_first, is_last = step == 0, step == count[edge] - 1
    inner_side = line[edge, 3]
    for keys_, index, keep in ((start, from_index, is_first), (end, to_index, is_last)):
        moved = np.flatnonzero(cut & ~keep)
        keys_[moved, axis[edge[moved]]] = breaks[index[moved]] - place[edge[moved]]
        keys_[moved, 3] = inner_side[moved]
    return _Edges(start, end, edges.cell[edge])


def _shared_side(edges: _Edges) -> IntArray:
    """Side of edges that run along the antimeridian (180 or −180), 0 for all others."""
    along = (np.abs(edges.start[:, 3]) == 180) & (edges.start[:, 3] == edges.end[:, 3])
    return np.where(along, edges.start[:, 3], 0)


def _outline(edges: _Edges, n_cells: int) -> tuple[_Edges, IntArray]:
    """Cancel edges that two cells share; also label the cells that hang together by shared edges."""
    ids = np.unique(np.concatenate([edges.start, edges.end]), axis=0, return_inverse=True)[1].reshape(2, -1)
    low, high = ids.min(axis=0), ids.max(axis=0)
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
    return _Edges(edges.start[alone], edges.end[alone], edges.cell[alone]), label


def _rings(edges: _Edges) -> list[list[int]]:
    """Chain edges to rings that visit no corner twice; where two cells touch in a corner, each ring stays with its cell."""
    ids = np.unique(np.concatenate([edges.start, edges.end]), axis=0, return_inverse=True)[1].reshape(2, -1)
    starts, ends, cells = ids[0].tolist(), ids[1].tolist(), edges.cell.tolist()
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


def _lonlat_ring(start: IntArray, end: IntArray, step_deg: float) -> FloatArray:
    """Give a ring of edges as a closed line ``(m, 2)`` of lon, lat that follows the geodesics."""
    a, b = _lonlat(start), _lonlat(end)
    span = np.abs(b - a)
    count = np.where(span[:, 0] == 0, 1, np.ceil(span.max(axis=1) / step_deg)).astype(np.int64)
    # Straight on the map as they are: meridians, the equator, the line along a pole.
    count[(start[:, 2] == 0) & (end[:, 2] == 0) | (span[:, 1] == 0) & (np.abs(a[:, 1]) == 90)] = 1
    edge = np.repeat(np.arange(len(start)), count)
    step = np.arange(edge.size) - np.repeat(np.cumsum(count) - count, count)
    first, last = _uv_cube(start), _uv_cube(end)
    share = (step / count[edge])[:, None]
    lat, lon = from_xyz(first[edge] + (last - first)[edge] * share)
    line = np.stack([lon, lat], axis=-1)
    line[step == 0] = a
    return np.concatenate([line, line[:1]])


def _uv_cube(keys: IntArray) -> FloatArray:
    """Corners on the cube of half-width 1 in gnomonic coordinates, where geodesics are straight."""
    position = keys[:, :3] / LEAVES_PER_SIDE
    uv: FloatArray = np.where(np.abs(keys[:, :3]) == LEAVES_PER_SIDE, position, uv_of_st((position + 1) / 2))
    return uv


def _lonlat(keys: IntArray) -> FloatArray:
    """Longitude and latitude ``(n, 2)`` of corner keys."""
    lat, lon = from_xyz(_uv_cube(keys))
    pole = (keys[:, 0] == 0) & (keys[:, 1] == 0)
    return np.stack([np.where(pole | (np.abs(keys[:, 3]) == 180), keys[:, 3], lon), lat], axis=-1)


def _signed_area(line: FloatArray) -> float:
    """Twice the area on the map of a closed line, positive if anticlockwise."""
    lon, lat = (line - line[0]).T
    return float((lon[:-1] * lat[1:] - lon[1:] * lat[:-1]).sum())
