"""Parts of the Earth as sets of S2 cells: a country, a region, a box, a circle.

Countries, and the states of the big federal ones, come from the tables of :mod:`gaea.borders`. Other regions are known
by their towns alone: a cell belongs to the region of the nearest town of its country, as in
:func:`gaea.borders.region_names`. Boxes and circles are made of cells about a sixtieth as wide as they are, long narrow
boxes of finer ones; those count whose centres lie inside.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from gaea import cells as s2
from gaea import cellsets
from gaea.borders import (
    countries_table,
    country_codes,
    country_labels,
    region_names,
    shores_table,
    states_table,
)
from gaea.celltable import CellTable
from gaea.countries import all_countries
from gaea.gazetteer import gazetteer
from gaea.hilbert import CellArray
from gaea.sphere import EARTH_AREA_KM2, EARTH_RADIUS_KM, great_circle_km, normalise_lon

CELLS_OF_A_BOX = 4096
CELLS_OF_A_STRIP = 65_536
CELLS_ACROSS = 8
"""A box much longer than wide gets more cells, so that some lie side by side in it."""

_LARGE_KM2 = 1e6


def of_labels(table: CellTable, wanted: np.ndarray) -> CellArray:
    """The cell set of all runs of a table whose label is wanted, ``wanted`` being one bool per label."""
    runs = np.flatnonzero(wanted[table.values])
    ends = np.append(table.starts[1:], np.uint64(6 << 61))
    one = np.uint64(1)
    begin, end = (table.starts[runs] >> one).astype(np.int64), (ends[runs] >> one).astype(np.int64)
    return cellsets.union(cellsets.from_ranges(begin, end)[0])


@lru_cache(maxsize=64)
def country(code: str) -> CellArray:
    """Land and shore of a country by its ISO 3166-1 alpha-2 code; '' is the sea, and land of no recognised state."""
    codes = country_labels()[0]
    land = of_labels(countries_table(), codes == code)
    if not code:
        shores = of_labels(shores_table(), codes != "")
        pieces, held = cellsets.overlay([land, shores])
        return cellsets.union(pieces[(held[0] >= 0) & (held[1] < 0)])
    return cellsets.union(np.append(land, of_labels(shores_table(), codes == code)))


@lru_cache(maxsize=64)
def region(name: str, code: str | None = None) -> CellArray:
    """A first-level division by its name in upper or lower case, of one country or of all that have one so called.

    Empty where no country has it.
    """
    towns = gazetteer()
    folded = name.casefold()
    known = {
        (str(c), str(r))
        for c, r in {*zip(towns.country_codes.tolist(), towns.regions.tolist(), strict=True), *_states()}
        if r.casefold() == folded and c and code in (None, str(c))
    }
    parts = [_state(c, r) if (c, r) in _states() else _by_towns(c, r) for c, r in sorted(known)]
    return cellsets.union(np.concatenate([np.zeros(0, np.uint64), *parts]))


def region_names_known() -> list[str]:
    """Names that :func:`region` knows, in order."""
    return sorted({*map(str, gazetteer().regions), *(name for _, name in _states())} - {""})


def box(south: float, west: float, north: float, east: float) -> CellArray:
    """A box in degrees; west above east crosses the antimeridian."""
    width_deg = (east - west) % 360 if west > east else east - west
    area = EARTH_AREA_KM2 * (math.sin(math.radians(north)) - math.sin(math.radians(south))) / 2 * width_deg / 360
    widest = math.cos(math.radians(min(abs(south), abs(north)))) if south * north > 0 else 1.0
    across_km = math.radians(min(north - south, width_deg * widest)) * EARTH_RADIUS_KM
    level = max(_level_of_area(area / CELLS_OF_A_BOX), _level_of_area((across_km / CELLS_ACROSS) ** 2))
    level = min(level, _level_of_area(area / CELLS_OF_A_STRIP))
    step_deg = math.degrees(s2.mean_edge_km(level) / EARTH_RADIUS_KM) / 3
    lat = np.linspace(south, north, int((north - south) / step_deg) + 2)
    # Meridians draw together towards the poles: each parallel gets as many points as it is long.
    count = np.maximum(np.cos(np.radians(lat)) * width_deg / step_deg, 0).astype(int) + 2
    lons = [normalise_lon(west + np.linspace(0, width_deg, n)) for n in count]
    cells = np.unique(s2.from_latlon(np.repeat(lat, count), np.concatenate(lons), level))
    at_lat, at_lon = s2.to_latlon(cells)
    after, before = at_lon >= west, at_lon <= east
    inside = (at_lat >= south) & (at_lat <= north) & (after & before if west <= east else after | before)
    return cellsets.union(cells[inside] if inside.any() else cells)


def circle(lat: float, lon: float, radius_km: float) -> CellArray:
    """All within a distance of one point."""
    finest = min(_level_of_area(math.pi * max(radius_km, 0.01) ** 2 / CELLS_OF_A_BOX), 20)
    cells = s2.cover_cap(lat, lon, radius_km, max_cells=CELLS_OF_A_BOX, max_level=finest)
    away = great_circle_km(*s2.to_latlon(cells), lat, lon)
    return cells[away <= radius_km] if (away <= radius_km).any() else cells


def coarsened(cells: CellArray, level: int) -> CellArray:
    """The cells of a level, or coarser ones, that hold a cell set."""
    fine = s2.level(cells) > level
    return cellsets.union(np.append(cells[~fine], s2.parent(cells[fine], level)))


def _level_of_area(area_km2: float) -> int:
    """The level whose mean cell is about so large."""
    return int(np.clip(round(math.log(EARTH_AREA_KM2 / 6 / max(area_km2, 1e-6), 4)), 0, 20))


@lru_cache(maxsize=1)
def _states() -> frozenset[tuple[str, str]]:
    split = [str(label).partition("|") for label in states_table().labels if label]
    return frozenset((code, name) for code, _, name in split)


def _state(code: str, name: str) -> CellArray:
    return of_labels(states_table(), states_table().labels == f"{code}|{name}")


def _by_towns(code: str, name: str) -> CellArray:
    """Cells of a country that are nearer to a town of a region than to one of another."""
    cells, names = _regions_of(code)
    found: CellArray = cells[names == name]
    return found


@lru_cache(maxsize=16)
def _regions_of(code: str) -> tuple[CellArray, np.ndarray]:
    """Cells of a country, and the region that each belongs to."""
    level = 8 if all_countries()[code].area_km2 > _LARGE_KM2 else 9
    own = cellsets.split(country(code), level)[0]
    parents = s2.parent(own, level)
    # A cell at a coast or border is judged where the country's largest piece of it lies.
    order = np.lexsort((-s2.area_km2(own), parents))
    first = order[np.append(True, parents[order][1:] != parents[order][:-1])]
    lat, lon = s2.to_latlon(own[first])
    names = np.where(country_codes(lat, lon) == code, region_names(lat, lon), "")
    return parents[first], names
