"""Which country, region, climate and continent a point is in, and how near the sea: questions to the S2 tables.

The tables are computed from Natural Earth by ``gaea.finetune.atlas``; borders are right to about 300 m of Natural
Earth's own lines, which show who is in control, not who claims what. All questions take arrays of WGS84 degrees and
refuse coordinates out of range. Nothing is read before the first question.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaea import cells as s2
from gaea.celltable import CellTable
from gaea.countries import all_countries
from gaea.gazetteer import gazetteer
from gaea.sphere import destination, validate_latlon

_SEA_RINGS_KM = (1.0, 2.0, 5.0, 10.0, 15.0, 25.0, 35.0, 50.0)
_BEARINGS_DEG = np.arange(0, 360, 15.0)
_TWO_CONTINENTS = ("KZ", "RU", "TR")
_MARMARA_LON, _MARMARA_LAT = (26.0, 26.2, 26.75, 29.0), (39.9, 40.0, 40.5, 40.9)
_REGION_TOWNS = 24

_TERRITORIES = frozenset(
    {
        "Northern Cyprus",
        "Cyprus No Mans Area",
        "Akrotiri Sovereign Base Area",
        "Dhekelia Sovereign Base Area",
        "Somaliland",
        "US Naval Base Guantanamo Bay",
        "Baykonur Cosmodrome",
        "Clipperton Island",
        "Coral Sea Islands",
        "Ashmore and Cartier Islands",
        "Indian Ocean Territories",
        "Brazilian Island",
    }
)
"""Areas that Natural Earth draws apart and whose name says more than the country's."""


# ── tables, read on first use ───────────────────────────────────────────────


@lru_cache(maxsize=1)
def countries_table() -> CellTable:
    """Countries and territories, labelled ``"ISO code|Natural Earth's name|ISO code of the sovereign"``."""
    return CellTable.load("countries")


@lru_cache(maxsize=1)
def states_table() -> CellTable:
    """States of the big federal countries, labelled ``"ISO code|name"``."""
    return CellTable.load("states")


@lru_cache(maxsize=1)
def europe_table() -> CellTable:
    """Europe, by a coarse outline."""
    return CellTable.load("europe")


@lru_cache(maxsize=1)
def climates_table() -> CellTable:
    """Köppen-Geiger classes."""
    return CellTable.load("climates")


@lru_cache(maxsize=1)
def country_labels() -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """Code and territory of each label of the country table ('' at sea, '' where no state is recognised)."""
    split = [label.split("|") if label else ["", "", ""] for label in countries_table().labels]
    codes = np.array([code for code, _, _ in split])
    # Elsewhere Natural Earth's name is just another spelling of the country's.
    territory = [name if name in _TERRITORIES or not code else "" for code, name, _ in split]
    return codes, np.array(territory)


@lru_cache(maxsize=1)
def _state_labels() -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """Country code and name of each label of the state table."""
    split = np.char.partition(states_table().labels, "|")
    return split[:, 0], split[:, 2]


def countries_with_states() -> frozenset[str]:
    """The countries whose states have a table of their own."""
    return frozenset(map(str, _state_labels()[0])) - {""}


# ── vectorised questions ────────────────────────────────────────────────────


def country_index(lat: ArrayLike, lon: ArrayLike, reach_km: float = 0.0) -> NDArray[np.intp]:
    """Index into ``countries_table().labels`` at each point, 0 at sea.

    Args:
        lat: degrees, any shape.
        lon: degrees, same shape.
        reach_km: points at sea take the first land met on growing rings around them, up to this far.
    """
    lat_deg, lon_deg = validate_latlon(lat, lon)
    table, lats, lons = countries_table(), np.ravel(lat_deg), np.ravel(lon_deg)
    index = table.index(lats, lons)
    for ring in (reach_km * share for share in (0.1, 0.25, 0.5, 0.75, 1.0) if reach_km > 0):
        lost = index == 0
        if not lost.any():
            break
        around = table.index(*destination(lats[lost, None], lons[lost, None], _BEARINGS_DEG, ring))
        # The first bearing that meets land will do: at this distance two countries are a coin's throw apart.
        index[lost] = np.take_along_axis(around, (around > 0).argmax(axis=1)[:, None], axis=1)[:, 0]
    return index.reshape(lat_deg.shape)


def country_codes(lat: ArrayLike, lon: ArrayLike, *, reach_km: float = 0.0) -> NDArray[np.str_]:
    """ISO 3166-1 alpha-2 code at each point.

    Args:
        lat: degrees, any shape.
        lon: degrees, same shape.
        reach_km: points at sea take the country of land at most this far away (0: none).

    Returns:
        Codes in the shape of the input; '' at sea and on land that belongs to no recognised state.

    Raises:
        InputError: if a coordinate is out of range.
    """
    return country_labels()[0][country_index(lat, lon, reach_km)]


def region_names(lat: ArrayLike, lon: ArrayLike) -> NDArray[np.str_]:
    """First-level division at each point ('' at sea or where it is not known).

    Exact polygons for the United States, Canada, Australia and Brazil (1:50m); elsewhere the division of the nearest
    town of the same country, which errs near the divisions' borders.

    Raises:
        InputError: if a coordinate is out of range.
    """
    lat_deg, lon_deg = validate_latlon(lat, lon)
    shape, lat_deg, lon_deg = lat_deg.shape, np.ravel(lat_deg), np.ravel(lon_deg)
    codes = country_codes(lat_deg, lon_deg)
    state = states_table().index(lat_deg, lon_deg)
    state_codes, state_names = _state_labels()
    names = np.where(state_codes[state] == codes, state_names[state], "").astype("<U64")
    open_ = np.flatnonzero((names == "") & (codes != ""))
    if len(open_):
        towns = gazetteer()
        near, _ = towns.nearest(lat_deg[open_], lon_deg[open_], _REGION_TOWNS)
        same = towns.country_codes[near] == codes[open_, None]
        first = near[np.arange(len(open_)), same.argmax(axis=1)]
        names[open_] = np.where(same.any(axis=1), towns.regions[first], "")
    return names.reshape(shape)


def climate_codes(lat: ArrayLike, lon: ArrayLike) -> NDArray[np.str_]:
    """Köppen-Geiger class at each point ('' at sea, more than about 1.5° from land).

    Raises:
        InputError: if a coordinate is out of range.
    """
    return climates_table().lookup(*validate_latlon(lat, lon))


def continent_names(lat: ArrayLike, lon: ArrayLike) -> NDArray[np.str_]:
    """Continent of the country at each point ('' at sea); Russia, Turkey and Kazakhstan are split.

    Raises:
        InputError: if a coordinate is out of range.
    """
    lat_deg, lon_deg = validate_latlon(lat, lon)
    shape, lat_deg, lon_deg = lat_deg.shape, np.ravel(lat_deg), np.ravel(lon_deg)
    codes = country_codes(lat_deg, lon_deg)
    known = {"": "", **{code: one.continent for code, one in all_countries().items()}}
    unique, inverse = np.unique(codes, return_inverse=True)
    names = np.array([known[code] for code in unique], "<U16")[inverse]
    split = np.isin(codes, _TWO_CONTINENTS)
    inside = europe_table().index(lat_deg, lon_deg) > 0
    # The outline cuts off capes and islands; west of 48° E all of Russia is Europe.
    inside |= (codes == "RU") & (lon_deg > 0) & (lon_deg < 48)
    # So is Thrace: north of the Dardanelles and the Sea of Marmara, west of the Bosporus.
    thrace = lat_deg > np.interp(lon_deg, _MARMARA_LON, _MARMARA_LAT)
    inside |= (codes == "TR") & thrace & (lon_deg < 29.0 + 0.55 * (lat_deg - 41.0))
    names[split] = np.where(inside[split], "Europe", "Asia")
    return names.reshape(shape)


def sea_distance_km(lat: ArrayLike, lon: ArrayLike) -> NDArray[np.float64]:
    """How near the sea is: the smallest of 1, 2, 5, 10, 15, 25, 35, 50 km that reaches it.

    Looks along 24 bearings, so a narrow inlet can be missed. Seas include the Caspian, not lakes.

    Returns:
        Distance classes in km, 0 at sea, ``inf`` beyond 50 km.

    Raises:
        InputError: if a coordinate is out of range.
    """
    lat_deg, lon_deg = validate_latlon(lat, lon)
    lats, lons = np.ravel(lat_deg), np.ravel(lon_deg)
    distance = np.where(countries_table().index(lats, lons) == 0, 0.0, np.inf)
    for ring in _SEA_RINGS_KM:
        inland = np.flatnonzero(np.isinf(distance))
        around = destination(lats[inland, None], lons[inland, None], _BEARINGS_DEG, ring)
        distance[inland[(countries_table().index(*around) == 0).any(axis=1)]] = ring
    return distance.reshape(np.shape(lat_deg))


# ── shares of cells ─────────────────────────────────────────────────────────


def _spans(ids: ArrayLike) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """First leaf position of each cell, and of what follows it."""
    array = np.atleast_1d(np.asarray(ids, np.uint64))
    return s2.range_min(array) - np.uint64(1), s2.range_max(array) + np.uint64(1)


def _overlaps(
    low: NDArray[np.uint64], high: NDArray[np.uint64]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Pairs of cell and country run that overlap, and the share of the cell in each pair."""
    starts = countries_table().starts
    first = np.searchsorted(starts, low, side="right") - 1
    count = np.searchsorted(starts, high, side="left") - first
    cell = np.repeat(np.arange(len(low)), count)
    run = np.arange(len(cell)) - np.repeat(np.cumsum(count) - count, count) + first[cell]
    ends = np.append(starts[1:], np.uint64(6 << 61))
    overlap = np.minimum(ends[run], high[cell]) - np.maximum(starts[run], low[cell])
    return cell, run, overlap / (high - low)[cell]


def land_share(cells: ArrayLike) -> NDArray[np.float64]:
    """Share of each S2 cell that is land (any country's, lakes included), 0 to 1, in S2's near-equal areas.

    Args:
        cells: (N,) S2 cells of any level.
    """
    low, high = _spans(cells)
    cell, run, share = _overlaps(low, high)
    on_land = (countries_table().values[run] > 0).astype(np.float64)
    return np.bincount(cell, share * on_land, minlength=len(low)).astype(np.float64)


def country_shares(cells: ArrayLike, probs: ArrayLike) -> list[tuple[str, float]]:
    """How a belief over cells spreads over countries.

    Args:
        cells: (N,) disjoint S2 cells of any level; each spreads its probability evenly over its area.
        probs: (N,) probabilities; they need not sum to 1.

    Returns:
        (ISO code, probability), most probable first; code '' stands for the sea and land of no recognised state.
    """
    low, high = _spans(cells)
    cell, run, share = _overlaps(low, high)
    weights = share * np.atleast_1d(np.asarray(probs, np.float64))[cell]
    by_label = np.bincount(countries_table().values[run], weights, minlength=len(countries_table().labels))
    codes, inverse = np.unique(country_labels()[0], return_inverse=True)
    totals = np.bincount(inverse, by_label)
    order = np.argsort(-totals, kind="stable")
    return [(str(codes[i]), float(totals[i])) for i in order if totals[i] > 0]
