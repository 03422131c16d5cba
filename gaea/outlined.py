"""Cells that cover an area drawn on a map: the way back from GeoJSON to S2."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gaea import cells as s2
from gaea import cellsets
from gaea.hilbert import CellArray
from gaea.sphere import EARTH_RADIUS_KM, FloatArray

MOST_CELLS = 6000
_CHUNK = 512


def covering(geometry: dict[str, Any], level: int) -> CellArray:
    """Cells that hold every point of a geometry, and few others.

    Args:
        geometry: GeoJSON Polygon or MultiPolygon, split at the antimeridian (RFC 7946).
        level: Of the cells; areas of more than :data:`MOST_CELLS` such cells are covered by coarser ones.

    Returns:
        A cell set.
    """
    polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    parts = [np.zeros(0, np.uint64), *(_covering(rings, level) for rings in polygons)]
    return cellsets.union(np.concatenate(parts))


def _covering(rings: Sequence[Any], level: int) -> CellArray:
    lines = [np.asarray(ring, np.float64) for ring in rings]
    low, high = lines[0].min(axis=0), lines[0].max(axis=0)
    area = EARTH_RADIUS_KM**2 * math.radians(high[0] - low[0])
    area *= math.sin(math.radians(high[1])) - math.sin(math.radians(low[1]))
    while level > 0 and area / s2.mean_edge_km(level) ** 2 > MOST_CELLS:
        level -= 1
    step_deg = math.degrees(s2.mean_edge_km(level) / EARTH_RADIUS_KM) / 4
    edge = np.concatenate([_dense(line, step_deg) for line in lines])
    lat = np.arange(low[1], high[1] + step_deg, 2 * step_deg).clip(-90, 90)
    # Meridians draw together towards the poles: each parallel gets as many points as it is long.
    count = np.maximum((high[0] - low[0]) * np.cos(np.radians(lat)) / (2 * step_deg), 0).astype(int) + 2
    grid = np.column_stack([np.concatenate([np.linspace(low[0], high[0], n) for n in count]), np.repeat(lat, count)])
    inside = grid[_inside(grid, lines)]
    points = np.concatenate([edge, inside])
    return np.unique(s2.from_latlon(points[:, 1].clip(-90, 90), points[:, 0].clip(-180, 180), level))


def _dense(line_lonlat: FloatArray, step_deg: float) -> FloatArray:
    """A line with points at least every step."""
    ends = line_lonlat[1:]
    counts = np.maximum(np.ceil(np.abs(np.diff(line_lonlat, axis=0)).max(axis=1) / step_deg).astype(int), 1)
    which = np.repeat(np.arange(counts.size), counts)
    share = (np.arange(which.size) - np.repeat(np.cumsum(counts) - counts, counts)) / counts[which]
    between = line_lonlat[:-1][which] * (1 - share[:, None]) + ends[which] * share[:, None]
    return np.concatenate([between, line_lonlat[-1:]])


def _inside(points_lonlat: FloatArray, lines: Sequence[FloatArray]) -> np.ndarray:
    """Which points lie inside, by the even-odd rule over all rings."""
    odd = np.zeros(len(points_lonlat), bool)
    for line in lines:
        (x0, y0), (x1, y1) = line[:-1].T, line[1:].T
        for start in range(0, len(points_lonlat), _CHUNK):
            x, y = points_lonlat[start : start + _CHUNK, :, None].transpose(1, 0, 2)
            crosses = (y0 <= y) != (y1 <= y)
            with np.errstate(divide="ignore", invalid="ignore"):
                at = x0 + (y - y0) * (x1 - x0) / (y1 - y0)
            odd[start : start + _CHUNK] ^= (crosses & (x < at)).sum(axis=1) % 2 == 1
    return odd
