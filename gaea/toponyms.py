"""What a written name means on the map: points with radii, weighted where several places bear it.

Wraps :func:`gaea.placenames.find` with what reading free text needs besides: English names of regions, seas, oceans and
continents, the extent of each place, and how probable each meaning is. Nothing is read before the first question.

A place is told as a disc. That of a country or region lies around the mean of its towns, because photos are taken where
towns are, with √2 times their root mean square distance (which is R / √2 for an even disc of radius R). That of a sea
or continent has its area. That of a city has the area on which its people would live at 3,000 per km², a usual density
of built-up areas.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gaea.borders import continent_names, country_index
from gaea.countries import CONTINENTS, all_countries, codes_by_name, normalise, words
from gaea.gazetteer import gazetteer
from gaea.placenames import Candidate, find, regions_by_name, state_names
from gaea.seas import sea_names
from gaea.sphere import EARTH_AREA_KM2, FloatArray, from_xyz, great_circle_km, mean_point, to_xyz

PEOPLE_PER_KM2 = 3000.0
SMALLEST_CITY_KM, SMALLEST_REGION_KM = 2.0, 20.0
FEWEST_TOWNS = 5
"""A country or region with fewer is placed by its middle and area."""
OCEANS = ("Arctic", "Atlantic", "Indian", "Pacific", "Southern")
ALIAS_PRIOR = 0.02
"""A place known by another name is this much less meant than one of the same size that bears the name itself."""
LEAST_MEANT = 0.01
"""Meanings less probable than this share of the likeliest are left out."""

EXONYMS = {
    "DE": {"Bavaria": "Bayern", "Saxony": "Sachsen", "Hesse": "Hessen", "Lower Saxony": "Niedersachsen"}
    | {"North Rhine-Westphalia": "Nordrhein-Westfalen", "Rhineland-Palatinate": "Rheinland-Pfalz"}
    | {"Thuringia": "Thüringen", "Saxony-Anhalt": "Sachsen-Anhalt"},
    "IT": {"Tuscany": "Toscana", "Lombardy": "Lombardia", "Piedmont": "Piemonte", "Sardinia": "Sardegna"}
    | {"Latium": "Lazio", "Puglia": "Apulia", "Sicilia": "Sicily", "Aosta Valley": "Valle d'Aosta"},
    "ES": {"Andalusia": "Andalucía", "Catalonia": "Cataluña", "Canary Islands": "Canarias", "Aragon": "Aragón"}
    | {"Balearic Islands": "Islas Baleares", "Basque Country": "País Vasco", "Asturias": "Principado de Asturias"}
    | {"Castile and León": "Castilla y León", "Navarre": "Comunidad Foral de Navarra", "Catalunya": "Cataluña"},
    "FR": {
        "Brittany": "Bretagne",
        "Normandy": "Normandie",
        "Corsica": "Corse",
        "Provence": "Provence-Alpes-Côte d'Azur",
    }
    | {"Burgundy": "Bourgogne-Franche-Comté"},
    "AT": {"Tyrol": "Tirol", "Styria": "Steiermark", "Carinthia": "Kärnten", "Upper Austria": "Oberösterreich"}
    | {"Lower Austria": "Niederösterreich"},
    "GR": {"Crete": "Kriti", "Attica": "Attiki", "Thessaly": "Thessalia", "Epirus": "Ipeiros"}
    | {"Peloponnese": "Peloponnisos", "Ionian Islands": "Ionioi Nisoi"},
    "NL": {"North Holland": "Noord-Holland", "South Holland": "Zuid-Holland", "North Brabant": "Noord-Brabant"},
    "CN": {"Tibet": "Xizang", "Inner Mongolia": "Nei Mongol", "Xinjiang": "Xinjiang Uygur"},
    "SE": {"Scania": "Skåne"},
    "IN": {"Odisha": "Orissa", "Uttarakhand": "Uttaranchal"},
    "US": {"NYC": "New York City", "L.A.": "Los Angeles", "Washington D.C.": "District of Columbia"},
}
"""English names that the gazetteer spells otherwise, by country."""


@dataclass(frozen=True)
class Meaning:
    """One place that a name may mean.

    Attributes:
        kind: ``"country"``, ``"region"``, ``"city"``, ``"sea"`` or ``"continent"``.
        name: main name.
        country_code: ISO 3166-1 alpha-2, '' for seas and continents.
        region: first-level division, '' if not known.
        lat: degrees.
        lon: degrees.
        radius_km: of a disc as wide as the place.
        weight: probability among the meanings of the name; they add up to one.
    """

    kind: str
    name: str
    country_code: str
    region: str
    lat: float
    lon: float
    radius_km: float
    weight: float

    def holds(self, other: Meaning) -> bool:
        """Whether this is a larger place that the other lies in."""
        if self.kind == "continent":
            known = all_countries().get(other.country_code)
            return other.kind != "continent" and known is not None and known.continent == self.name
        same = bool(self.country_code) and self.country_code == other.country_code
        inner = {"country": ("region", "city"), "region": ("city",)}.get(self.kind, ())
        return same and other.kind in inner and (self.kind == "country" or self.region == other.region)


@lru_cache(maxsize=1)
def _exonyms() -> dict[str, tuple[str, str]]:
    """The gazetteer's name and the country of each normalised English one."""
    return {normalise(e): (name, code) for code, names in EXONYMS.items() for e, name in names.items()}


@lru_cache(maxsize=1)
def _wide_names() -> dict[str, tuple[str, str]]:
    """Kind and name of every sea, ocean and continent by normalised name."""
    seas = {normalise(sea["name"]): ("sea", str(sea["name"])) for sea in words()["seas"]}
    seas |= {normalise(f"{name} Ocean"): ("sea", f"{name} Ocean") for name in OCEANS}
    return seas | {normalise(name): ("continent", name) for name in CONTINENTS.values()}


@lru_cache(maxsize=64)
def _wide(name: str) -> Meaning | None:
    """A sea, ocean or continent, measured on a grid of 1.5°; None where it is too small for that."""
    kind, full = _wide_names()[name]
    lat, lon, seas, continents = _grid()
    inside = (seas if kind == "sea" else continents) == full
    if not inside.any():
        return None
    area = np.cos(np.radians(lat))
    area *= EARTH_AREA_KM2 / area.sum()
    xyz = np.asarray(to_xyz(lat[inside], lon[inside]))
    # The mean of a crescent may lie outside; the nearest of its points does not.
    at_lat, at_lon = (float(v) for v in from_xyz(xyz[np.argmax(xyz @ (area[inside] @ xyz))]))
    return Meaning(kind, full, "", "", at_lat, at_lon, math.sqrt(float(area[inside].sum()) / math.pi), 1.0)


@lru_cache(maxsize=1)
def _grid() -> tuple[FloatArray, FloatArray, NDArray[np.str_], NDArray[np.str_]]:
    lat, lon = (a.ravel() for a in np.meshgrid(np.arange(-89.25, 90, 1.5), np.arange(-179.25, 180, 1.5), indexing="ij"))
    wet = country_index(lat, lon, shore=False) == 0
    return lat, lon, np.where(wet, sea_names(lat, lon), ""), np.where(wet, "", continent_names(lat, lon))


@lru_cache(maxsize=4096)
def _disc(code: str, region: str) -> tuple[float, float, float] | None:
    """Centre and radius of the towns of a country ('' for region) or of a region; None where there are too few."""
    towns = gazetteer()
    inside = towns.country_codes == code
    if region:
        inside &= towns.regions == region
    if np.count_nonzero(inside) < FEWEST_TOWNS:
        return None
    lat, lon = (float(v) for v in mean_point(towns.lat[inside], towns.lon[inside]))
    away = great_circle_km(towns.lat[inside], towns.lon[inside], lat, lon)
    return lat, lon, max(float(np.sqrt(2 * np.mean(away**2))), SMALLEST_CITY_KM)


def _placed(place: Candidate) -> tuple[float, float, float]:
    """Latitude, longitude and radius in km."""
    if place.kind == "city":
        return place.lat, place.lon, max(math.sqrt(place.population / PEOPLE_PER_KM2 / math.pi), SMALLEST_CITY_KM)
    country = place.kind == "country"
    area = all_countries()[place.country_code].area_km2 if country else 0.0
    few = (place.lat, place.lon, max(math.sqrt(area / math.pi), SMALLEST_CITY_KM if area else SMALLEST_REGION_KM))
    return _disc(place.country_code, "" if country else place.region) or few


def _spelled(name: str) -> list[str]:
    """The parts of a name between commas, as the gazetteer spells them."""
    parts: list[str] = []
    for part in name.split(","):
        known = _exonyms().get(normalise(part))
        parts += list(known) if known else [part.strip()]
    return [part for part in parts if part]


def _home_nation(found: list[Candidate], name: str) -> list[Candidate]:
    """Without the country where the name is that of one of its regions (Scotland for the United Kingdom)."""
    regions = {c.country_code for c in found if c.kind == "region" and normalise(c.name) == name}
    return [c for c in found if not (c.kind == "country" and c.country_code in regions and normalise(c.name) != name)]


@lru_cache(maxsize=4096)
def meanings(name: str, kind: str = "", limit: int = 5) -> tuple[Meaning, ...]:
    """Places that a name may mean, the likeliest first.

    Args:
        name: ``"Lyon"``, ``"Paris, Texas"``, ``"Bavaria"``, ``"North Sea"``, ``"Europe"``; see
            :func:`gaea.placenames.find`.
        kind: ``"city"``, ``"region"`` or ``"country"`` if it is known what is named: others are then left out, unless
            nothing else bears the name.
        limit: how many at most.

    Returns:
        Meanings with weights by population that add up to one; empty if the name is not known. Of two that overlap in
        one country (Luxembourg and its capital) only the first in ``find``'s order stays.
    """
    parts = _spelled(name)
    if not parts:
        return ()
    whole = normalise(parts[0].removeprefix("the ").removeprefix("The "))
    if len(parts) == 1 and whole in _wide_names() and kind in ("", *_wide_names()[whole][:1]):
        wide = _wide(whole)
        return (wide,) if wide else ()
    found = _home_nation(list(find(", ".join(parts), limit=12)), whole)
    found = [c for c in found if c.kind == kind] or found
    told = {state_names().get(q, q) for q in map(normalise, parts[1:])}
    found = [c for c in found if normalise(c.region) in told and c.kind != "country"] or found
    own = [c for c in found if whole in (normalise(c.name), normalise(c.region) if c.kind == "region" else None)]
    kept: list[Meaning] = []
    for place in found:
        weight = (place.population + 1.0) * (ALIAS_PRIOR if own and place not in own else 1.0)
        one = Meaning(place.kind, place.name, place.country_code, place.region, *_placed(place), weight)
        if not any(_overlap(one, other) for other in kept):
            kept.append(one)
    most = max((m.weight for m in kept), default=0.0)
    kept = sorted((m for m in kept if m.weight >= LEAST_MEANT * most), key=lambda m: -m.weight)[:limit]
    total = sum(m.weight for m in kept)
    return tuple(dataclasses.replace(m, weight=m.weight / total) for m in kept)


def _overlap(a: Meaning, b: Meaning) -> bool:
    apart = float(great_circle_km(a.lat, a.lon, b.lat, b.lon))
    return a.country_code == b.country_code and apart < max(a.radius_km, b.radius_km)


@lru_cache(maxsize=1)
def known_names() -> dict[str, int]:
    """Every normalised name that may be meant in running text, with the population of its largest place.

    Codes of two and three letters are left out, but for the few by which people call countries (USA, UK). Countries,
    seas and continents count as very large.
    """
    towns = gazetteer()
    called = {normalise(alias) for aliases in words()["aliases"].values() for alias in aliases}
    names = {key: int(towns.population[rows[0]]) for key, rows in towns.by_name.items() if len(key) > 1}
    for key, regions in regions_by_name().items():
        names[key] = max([names.get(key, 0), *(region.population for region in regions)])
    for key, (name, _) in _exonyms().items():
        names[key] = names.get(normalise(name), 0)
    large = [key for key in codes_by_name() if len(key) > 3 or key in called]
    return names | dict.fromkeys([*large, *_wide_names()], 10**9)


def is_wide(name: str) -> bool:
    """Whether a name is that of a country, sea or continent."""
    return known_names().get(normalise(name), 0) >= 10**9
