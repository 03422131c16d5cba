"""Cut the sphere into S2 cells along the borders of polygons.

A cell that no border touches stays as large as it is, a cell on a border is cut down to a given level, and every final
cell takes the polygon under its centre. Polygons are in degrees, x = longitude and y = latitude, with edges straight
in those coordinates, as Natural Earth draws them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from gaea import cells
from gaea.celltable import CellTable

log = logging.getLogger(__name__)

FIRST_LEVEL = 4
"""The search starts with cells of about 560 km."""

CELL_RADIUS = 1.3
"""A cell of level L lies within CELL_RADIUS / 2**L radians of its centre (half the longest diagonal is 1.22)."""


@dataclass(frozen=True)
class Part:
    """One polygon of a country, state or continent, with the label it gives to cells under it."""

    polygon: shapely.Polygon
    label: str


def polygons(geometry: Any) -> list[shapely.Polygon]:
    """The polygons of a polygon or multipolygon, repaired where the rings cross."""
    valid = geometry if geometry.is_valid else shapely.make_valid(geometry)
    return [piece for part in shapely.get_parts(valid) for piece in shapely.get_parts(part) if piece.area > 0]


def segments(parts: Sequence[Part], levels: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """All border segments as two-point lines, and the level to which cells on each are cut."""
    lines, fineness = [], []
    for part, level in zip(parts, levels, strict=True):
        for ring in (part.polygon.exterior, *part.polygon.interiors):
            points = shapely.get_coordinates(ring)
            lines.append(np.stack([points[:-1], points[1:]], axis=1))
            fineness.append(np.full(len(points) - 1, level))
    return shapely.linestrings(np.concatenate(lines)), np.concatenate(fineness)


def cell_boxes(ids: NDArray[np.uint64], level: int) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Latitude and longitude boxes that surely hold the cells, and the index of each box's cell.

    A cell that reaches over the antimeridian gets two boxes, one over a pole the full circle of longitudes.
    """
    lat, lon = cells.to_latlon(ids)
    radius = np.degrees(CELL_RADIUS / 2**level)
    south, north = np.maximum(lat - radius, -90), np.minimum(lat + radius, 90)
    polar = np.abs(lat) + radius >= 90
    ratio = np.sin(np.radians(radius)) / np.maximum(np.cos(np.radians(lat)), 1e-12)
    reach = np.where(polar, 180.0, np.degrees(np.arcsin(np.minimum(ratio, 1))))
    west, east = np.where(polar, -180.0, lon - reach), np.where(polar, 180.0, lon + reach)
    index = np.arange(len(ids))
    over_west, over_east = np.flatnonzero(west < -180), np.flatnonzero(east > 180)
    boxes = [
        shapely.box(np.maximum(west, -180), south, np.minimum(east, 180), north),
        shapely.box(west[over_west] + 360, south[over_west], np.full(len(over_west), 180.0), north[over_west]),
        shapely.box(np.full(len(over_east), -180.0), south[over_east], east[over_east] - 360, north[over_east]),
    ]
    return np.concatenate(boxes), np.concatenate([index, over_west, over_east])


def first_cells(level: int) -> NDArray[np.uint64]:
    """All cells of a level, along the curve."""
    ids = np.arange(6, dtype=np.uint64) * np.uint64(1 << 61) + np.uint64(1 << 60)
    for _ in range(level):
        ids = cells.children(ids).reshape(-1)
    return ids


def cut(lines: NDArray[Any], levels: NDArray[np.int64], *, finest: int) -> NDArray[np.uint64]:
    """Cover the sphere with disjoint cells, as large as the borders allow.

    Args:
        lines: (S,) border segments, x = longitude and y = latitude in degrees.
        levels: (S,) level to which a cell touched by the segment is cut.
        finest: no cell is cut beyond this level.

    Returns:
        (N,) cells; those coarser than their borders' levels are touched by no border.
    """
    tree = shapely.STRtree(lines)
    frontier = first_cells(FIRST_LEVEL)
    done = []
    for level in range(FIRST_LEVEL, finest + 1):
        wanted = np.zeros(len(frontier), np.int64)
        for start in range(0, len(frontier), 100_000):
            chunk = frontier[start : start + 100_000]
            boxes, owner = cell_boxes(chunk, level)
            hit, segment = tree.query(boxes, predicate="intersects")
            np.maximum.at(wanted, start + owner[hit], np.minimum(levels[segment], finest))
        final = wanted <= level
        done.append(frontier[final])
        log.info("level %d: %d cells, %d to cut", level, len(frontier), int((~final).sum()))
        frontier = cells.children(frontier[~final]).reshape(-1)
    return np.concatenate(done)


def owners(parts: Sequence[Part], lat: NDArray[np.float64], lon: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index of the part under each point, -1 where there is none; later parts win where two overlap."""
    by_lat = np.argsort(lat)
    sorted_lat, sorted_lon = lat[by_lat], lon[by_lat]
    found = np.full(len(lat), -1)
    for number, part in enumerate(parts):
        west, south, east, north = part.polygon.bounds
        low, high = np.searchsorted(sorted_lat, [south, north])
        near = low + np.flatnonzero((sorted_lon[low:high] >= west) & (sorted_lon[low:high] <= east))
        shapely.prepare(part.polygon)
        inside = near[shapely.contains_xy(part.polygon, sorted_lon[near], sorted_lat[near])]
        found[by_lat[inside]] = number
    return found


def table_of_parts(parts: Sequence[Part], *, levels: NDArray[np.int64], source: str) -> CellTable:
    """Turn polygons into a cell table (see the module's text for the method)."""
    ids = cut(*segments(parts, levels), finest=int(levels.max()))
    lat, lon = cells.to_latlon(ids)
    labels = ["", *sorted({part.label for part in parts})]
    number = {label: index for index, label in enumerate(labels)}
    of_part = np.array([number[part.label] for part in parts] + [0])
    return CellTable.from_cells(ids, of_part[owners(parts, lat, lon)], labels=labels, source=source)


def agreement(table: CellTable, parts: Sequence[Part], *, points: int, seed: int = 0) -> tuple[float, int]:
    """How often a table says what the polygons say, on points spread evenly over the polygons' land.

    Args:
        table: labels of cells.
        parts: the polygons it was computed from.
        points: how many points on land to compare.
        seed: of the points.

    Returns:
        Share of points with equal labels, and how many were compared.
    """
    rng = np.random.default_rng(seed)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, points * 4)))
    lon = rng.uniform(-180, 180, points * 4)
    owner = owners(parts, lat, lon)
    land = np.flatnonzero(owner >= 0)[:points]
    labels = np.array([part.label for part in parts])[owner[land]]
    return float((table.lookup(lat[land], lon[land]) == labels).mean()), len(land)
