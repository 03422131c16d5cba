"""Which country, region, climate and continent a point is in, and how near the sea: questions to the S2 tables.

The tables are computed from Natural Earth by ``gaea.finetune.atlas``; borders are right to about 300 m of Natural
Earth's own lines, which show who is in control, not who claims what. All questions take arrays of WGS84 degrees and
refuse coordinates out of range. Nothing is read before the first question.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaea.celltable import CellTable
from gaea.countries import all_countries
from gaea.gazetteer import gazetteer
from gaea.sphere import destination, validate_latlon

_SEA_RINGS_KM = (1.0, 2.0, 5.0, 10.0, 15.0, 25.0, 35.0, 50.0)
_BEARINGS_DEG = np.arange(0, 360, 15.0)
_TWO_CONTINENTS = ("KZ", "RU", "TR")
_MARMARA_LON, _MARMARA_LAT = (26.0, 26.2, 26.75, 29.0), (39.9, 40.0, 40.5, 40.9)
_REGION_TOWNS = 24
_STATE_RINGS_KM = (2.0, 5.0, 10.0, 20.0, 40.0, 80.0)

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
def shores_table() -> CellTable:
    """The nearest country of water within 5 km of land, with the labels of :func:`countries_table`."""
    return CellTable.load("shores")


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


def country_index(lat: ArrayLike, lon: ArrayLike, *, shore: bool = True) -> NDArray[np.intp]:
    """Index into ``countries_table().labels`` at each point, 0 at sea (see :func:`country_codes`)."""
    lat_deg, lon_deg = validate_latlon(lat, lon)
    index = np.ravel(countries_table().index(lat_deg, lon_deg))
    if shore:
        wet = index == 0
        index[wet] = shores_table().index(np.ravel(lat_deg)[wet], np.ravel(lon_deg)[wet])
    return index.reshape(lat_deg.shape)


def country_codes(lat: ArrayLike, lon: ArrayLike, *, shore: bool = True) -> NDArray[np.str_]:
    """ISO 3166-1 alpha-2 code at each point.

    Args:
        lat: degrees, any shape.
        lon: degrees, same shape.
        shore: water within 5 km of land counts as that land's: photographs are taken from beaches, piers and boats,
            and the map's coastline is coarser than they are. Without it the map's own coastline decides.

    Returns:
        Codes in the shape of the input; '' at sea and on land that belongs to no recognised state.

    Raises:
        InputError: if a coordinate is out of range.
    """
    return country_labels()[0][country_index(lat, lon, shore=shore)]


def region_names(lat: ArrayLike, lon: ArrayLike) -> NDArray[np.str_]:
    """First-level division at each point ('' at sea or where it is not known).

    Exact polygons for the United States, Canada, Australia and Brazil (1:50m), off whose coarser coasts the nearest
    state counts; elsewhere the division of the nearest town of the same country, which errs near the divisions'
    borders.

    Raises:
        InputError: if a coordinate is out of range.
    """
    lat_deg, lon_deg = validate_latlon(lat, lon)
    shape, lat_deg, lon_deg = lat_deg.shape, np.ravel(lat_deg), np.ravel(lon_deg)
    codes = country_codes(lat_deg, lon_deg)
    state = states_table().index(lat_deg, lon_deg)
    state_codes, state_names = _state_labels()
    names = np.where(state_codes[state] == codes, state_names[state], "").astype("<U64")
    _states_off_the_coast(names, codes, lat_deg, lon_deg)
    open_ = np.flatnonzero((names == "") & (codes != ""))
    if len(open_):
        towns = gazetteer()
        near, _ = towns.nearest(lat_deg[open_], lon_deg[open_], _REGION_TOWNS)
        same = towns.country_codes[near] == codes[open_, None]
        first = near[np.arange(len(open_)), same.argmax(axis=1)]
        names[open_] = np.where(same.any(axis=1), towns.regions[first], "")
    return names.reshape(shape)


def _states_off_the_coast(
    names: NDArray[np.str_], codes: NDArray[np.str_], lat_deg: NDArray[np.float64], lon_deg: NDArray[np.float64]
) -> None:
    """Fill in states on land that the map of countries has and the coarser one of states lacks.

    The nearest town may be a thousand kilometres off there: Rankin Inlet's was in Manitoba.
    """
    state_codes, state_names = _state_labels()
    left = np.flatnonzero((names == "") & np.isin(codes, list(countries_with_states())))
    for ring in _STATE_RINGS_KM:
        if not len(left):
            return
        around = destination(lat_deg[left, None], lon_deg[left, None], _BEARINGS_DEG, ring)
        state = states_table().index(*around)
        same = state_codes[state] == codes[left, None]
        first = state[np.arange(len(left)), same.argmax(axis=1)]
        names[left] = np.where(same.any(axis=1), state_names[first], "")
        left = left[~same.any(axis=1)]


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


def land_share(cells: ArrayLike) -> NDArray[np.float64]:
    """Share of each S2 cell that is land (any country's, lakes included), 0 to 1, in S2's near-equal areas.

    Args:
        cells: (N,) S2 cells of any level.
    """
    cell, label, share = countries_table().overlaps(cells)
    return np.bincount(cell, np.where(label > 0, share, 0), minlength=np.size(cells)).astype(np.float64)


def country_shares(cells: ArrayLike, probs: ArrayLike) -> list[tuple[str, float]]:
    """How a belief over cells spreads over countries.

    Args:
        cells: (N,) disjoint S2 cells of any level; each spreads its probability evenly over its area.
        probs: (N,) probabilities; they need not sum to 1.

    Returns:
        (ISO code, probability), most probable first; code '' stands for the sea and land of no recognised state.
    """
    cell, label, share = countries_table().overlaps(cells)
    weights = share * np.atleast_1d(np.asarray(probs, np.float64))[cell]
    by_label = np.bincount(label, weights, minlength=len(countries_table().labels))
    codes, inverse = np.unique(country_labels()[0], return_inverse=True)
    totals = np.bincount(inverse, by_label)
    order = np.argsort(-totals, kind="stable")
    return [(str(codes[i]), float(totals[i])) for i in order if totals[i] > 0]
