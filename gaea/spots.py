"""What stands for a place where the place itself may not be told: a town, a region, a country, or cells around it.

A spot depends on the place only through what its level may tell, so that two places that a level does not tell apart
have the same spot, to the last digit. A *city* spot is made from an S2 cell of about 18 km and the country: its town is
the largest one near the middle of the cell, not the nearest to the place. A *region* spot is made from the name of a
first-level division that is larger than a few such cells, else from a cell of about 144 km; a *country* spot from the
country alone. At sea, where nothing has borders, cells of those sizes stand alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from gaea import areas, places
from gaea import cells as s2
from gaea.belief import Belief
from gaea.briefing import place_facts
from gaea.countries import all_countries
from gaea.disclosure import Level
from gaea.findings import MASSES, Place, Point
from gaea.gazetteer import gazetteer
from gaea.hilbert import CellArray
from gaea.placenames import country_centre
from gaea.sphere import great_circle_km

CELL_LEVEL = {Level.CITY: 9, Level.REGION: 6, Level.COUNTRY: 4}
"""S2 level of the cells, whose mean edges are 18, 144 and 576 km."""

TOWN_KM = 15.0
"""The town that stands for a cell is the largest of those within this distance of the cell's middle."""

SMALLEST_REGION_KM2 = 2500.0
"""Smaller regions, such as Berlin or a municipality, would tell a city: they are not named at the level of regions."""

Facts = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Spot:
    """A place as a level tells it.

    Attributes:
        point: In its stead.
        radius_km: Great-circle radius around the point that holds 50 and 90 % of the cells' area.
        cells: All of what the place may be, as far as is told: a cell set.
        place: Names, of the level and coarser ones.
        facts: (name, value) pairs for a briefing.
    """

    point: Point
    radius_km: dict[int, float]
    cells: CellArray
    place: Place
    facts: Facts


def spot(lat: float, lon: float, level: Level) -> Spot:
    """What stands for a place in degrees at the level of cities, regions or countries."""
    code = str(places.country_codes(lat, lon)) or ""
    if level is Level.COUNTRY and code:
        return _country(code)
    if level is Level.REGION and code:
        name = str(places.region_names(lat, lon))
        if name and _area_km2(code, name) >= SMALLEST_REGION_KM2:
            return _region(code, name)
    return _cell(int(s2.from_latlon(lat, lon, CELL_LEVEL[level])), code, level is Level.CITY)


def name_at(lat: float, lon: float, level: Level) -> tuple[str, Point | None]:
    """A place in a few words, and a point for it: of a neighbour, of which nothing else needs to be known."""
    code = str(places.country_codes(lat, lon)) or ""
    if level is Level.CITY:
        found = _cell(int(s2.from_latlon(lat, lon, CELL_LEVEL[level])), code, True)
        return found.place.label, found.point
    if code:
        return all_countries()[code].name, None
    return places.describe(*_middle(int(s2.from_latlon(lat, lon, CELL_LEVEL[Level.COUNTRY])))).sea or "open ocean", None


@lru_cache(maxsize=4096)
def _cell(cell: int, code: str, towns: bool) -> Spot:
    """A cell and those around it; named by a town where that is wanted and there is one, else by what lies around."""
    block = np.unique(np.append(s2.all_neighbours(np.uint64(cell)), np.uint64(cell)))
    lat, lon = _middle(cell)
    town = _town(lat, lon, code) if towns and code else None
    if town is not None:
        lat, lon = float(gazetteer().lat[town]), float(gazetteer().lon[town])
    here = places.describe(lat, lon)
    known: places.PlaceFacts | None = here
    region = here.region if towns else None
    told = ("region", "country", "sea", "continent", *_OF_COUNTRIES, "climate") if towns else _WIDE
    if (here.country_code or "") != code:  # across a border from the place
        known, region, told = (places.describe(*country_centre(code)) if code else None), None, _WIDE
    facts = _facts(known, *told) if known else ()
    name = gazetteer().names[town] if town is not None else None
    if name:
        facts = (("near", f"{name} 0 km"), *facts)  # of the point that stands for the place, as of any other
    sea = known.sea if known and not code else None
    place = Place(
        name=name or sea,
        region=str(gazetteer().regions[town]) or None if town is not None else region,
        country=all_countries()[code].name if code else None,
        country_code=code or None,
        continent=known.continent if known else None,
        population=int(gazetteer().population[town]) if town is not None else None,
        sources=_sources(known),
    )
    return Spot(Point(lat, lon), _radii(block, lat, lon), block, place, facts)


@lru_cache(maxsize=256)
def _region(code: str, name: str) -> Spot:
    cells = areas.coarsened(areas.region(name, code), CELL_LEVEL[Level.REGION])
    belief = Belief.from_weights(cells, s2.area_km2(cells))
    lat, lon = belief.point("median")
    known = places.describe(*country_centre(code))
    facts = (("region", name), *_facts(known, "country", "continent", *_OF_COUNTRIES))
    return Spot(Point(lat, lon), _radii(cells, lat, lon), cells, _named(known, name), facts)


@lru_cache(maxsize=256)
def _country(code: str) -> Spot:
    cells = areas.coarsened(areas.country(code), CELL_LEVEL[Level.REGION])
    lat, lon = country_centre(code)
    known = places.describe(lat, lon)
    facts = _facts(known, "country", "continent", *_OF_COUNTRIES)
    return Spot(Point(lat, lon), _radii(cells, lat, lon), cells, _named(known, None), facts)


_OF_COUNTRIES = ("capital", "neighbours", "languages", "driving", "currency")
_WIDE = ("country", "sea", "continent", *_OF_COUNTRIES)


def _named(known: places.PlaceFacts, region: str | None) -> Place:
    return Place(
        region=region,
        country=known.country,
        country_code=known.country_code,
        continent=known.continent,
        sources=_sources(known),
    )


def _facts(known: places.PlaceFacts, *names: str) -> Facts:
    return tuple((name, value) for name, value in place_facts(known) if name in names)


def _sources(known: places.PlaceFacts | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(fact.source for fact in known.facts())) if known else ()


@lru_cache(maxsize=1024)
def _area_km2(code: str, name: str) -> float:
    return float(s2.area_km2(areas.region(name, code)).sum())


def _radii(cells: CellArray, lat: float, lon: float) -> dict[int, float]:
    even = Belief.from_weights(cells, s2.area_km2(cells))
    return {mass: even.radius_km(lat, lon, mass / 100) for mass in MASSES}


def _middle(cell: int) -> tuple[float, float]:
    lat, lon = s2.to_latlon(np.uint64(cell))
    return float(lat), float(lon)


def _town(lat: float, lon: float, code: str) -> int | None:
    """The largest town of a country within a distance of a point, or else the nearest one within three times that."""
    towns = gazetteer()
    away = great_circle_km(towns.lat, towns.lon, lat, lon)
    own = towns.country_codes == code
    near = np.flatnonzero(own & (away <= TOWN_KM))
    if near.size:
        return int(near[np.argmax(towns.population[near])])
    around = np.flatnonzero(own & (away <= 3 * TOWN_KM))
    return int(around[np.argmin(away[around])]) if around.size else None
