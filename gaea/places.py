"""What is known of a point on Earth, offline: country, region, sea, climate, nearest towns, customs of the country.

Borders come from S2 tables computed from Natural Earth by ``gaea.finetune.atlas``; they are right to about 300 m of
Natural Earth's own lines, which show who is in control, not who claims what. Every fact carries its source.
Coordinates are (lat, lon) in WGS84 degrees. Nothing is read before the first question.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gaea.borders import (
    climate_codes,
    climates_table,
    continent_names,
    countries_table,
    countries_with_states,
    country_codes,
    country_index,
    country_labels,
    country_shares,
    land_share,
    region_names,
    sea_distance_km,
    states_table,
)
from gaea.countries import GEONAMES, Country, Fact, all_countries, country, words
from gaea.gazetteer import City, gazetteer, nearest_cities
from gaea.placenames import Candidate, country_centre, find
from gaea.seas import SOURCE as SEAS
from gaea.seas import sea_names
from gaea.sphere import validate_latlon

__all__ = [
    "COASTAL_KM",
    "Candidate",
    "City",
    "Country",
    "Fact",
    "PlaceFacts",
    "climate_codes",
    "continent_names",
    "country",
    "country_centre",
    "country_codes",
    "country_shares",
    "describe",
    "find",
    "land_share",
    "nearest_cities",
    "region_names",
    "sea_distance_km",
    "sea_names",
]

ISLET_KM = 5.0
"""Away from all land of the map, a town this close tells of an island too small for it."""

COASTAL_KM = 25.0
"""Places at most this far from the sea are called coastal."""

_CITY_KM = 10.0


@dataclass(frozen=True)
class PlaceFacts:
    """All that is known of one point. ``None``, ``""`` or an empty tuple means not known, or nothing there.

    Attributes:
        lat: degrees.
        lon: degrees.
        country: English name.
        country_code: ISO 3166-1 alpha-2.
        territory: Natural Earth's name where control or status differs from the country's main part.
        region: first-level division.
        sea: sea or ocean, for points that are not on land.
        continent: English name.
        hemispheres: for example ``("northern", "eastern")``.
        climate_code: Köppen-Geiger class.
        climate: the class in words.
        driving_side: ``"left"`` or ``"right"``.
        languages: English names, most spoken first.
        currency: name and ISO code.
        calling_code: with its plus sign.
        tld: internet domain of the country.
        neighbours: names of countries across a land border.
        capital: of the country.
        timezone: IANA zone of the nearest town of the country; at sea the nautical ``Etc/GMT`` zone.
        nautical_offset_h: hours from UTC by longitude alone.
        coastal: at most ``COASTAL_KM`` from the sea.
        sea_km: distance class: the sea is within so many km; ``inf`` if farther than 50.
        nearest_cities: towns of more than 5,000 people, nearest first.
        main_city: the largest of the towns around, or the nearest.
    """

    lat: float
    lon: float
    country: str | None
    country_code: str | None
    territory: str | None
    region: str | None
    sea: str | None
    continent: str | None
    hemispheres: tuple[str, str]
    climate_code: str | None
    climate: str | None
    driving_side: str | None
    languages: tuple[str, ...]
    currency: str | None
    calling_code: str | None
    tld: str | None
    neighbours: tuple[str, ...]
    capital: str | None
    timezone: str
    nautical_offset_h: int
    coastal: bool
    sea_km: float
    nearest_cities: tuple[City, ...]
    main_city: City | None

    @property
    def label(self) -> str:
        """The place in a few words: ``"near Lyon, Auvergne-Rhône-Alpes, France"``, ``"in the Tasman Sea"``."""
        if self.sea and not self.country:
            return f"in the {self.sea}"
        where = [part for part in (self.region, self.territory or self.country) if part]
        city = self.main_city
        if city and city.distance_km <= 100:
            # A city across the region's border is not in the region, and a city state is not "near Monaco, Monaco".
            skipped = {city.name, self.region if city.region != self.region else None}
            return "near " + ", ".join([city.name, *(part for part in where if part not in skipped)])
        return "in " + ", ".join(where)

    def facts(self) -> tuple[Fact, ...]:
        """Everything known, one fact each, with sources; what is unknown is left out."""
        tables, towns = countries_table(), gazetteer().source
        shore = f"at most {self.sea_km:g} km" if np.isfinite(self.sea_km) else "more than 50 km"
        exact = self.country_code in countries_with_states()
        told = [
            ("country", self.country, tables.source),
            ("territory", self.territory, tables.source),
            ("region", self.region, states_table().source if exact else f"division of the nearest town, {towns}"),
            ("sea", self.sea, SEAS),
            ("hemisphere", " and ".join(self.hemispheres), "coordinates"),
            ("climate", self.climate and f"{self.climate} ({self.climate_code})", climates_table().source),
            ("distance to the sea", None if self.sea else shore, tables.source),
            ("time zone", self.timezone, "longitude" if self.timezone.startswith("Etc/") else towns),
            ("nearest places", "; ".join(_nearby(city) for city in self.nearest_cities), towns),
        ]
        facts = [Fact(name, value, source) for name, value, source in told if value]
        if self.country_code:
            known = [fact for fact in all_countries()[self.country_code].facts() if fact.name != "continent"]
            facts += known
        if self.continent:
            facts.append(Fact("continent", self.continent, GEONAMES))
        return tuple(facts)


def _nearby(city: City) -> str:
    return f"{city.name} ({city.population:,} people, {city.distance_km:.0f} km)"


# ── one point, everything ───────────────────────────────────────────────────


def _main_city(towns: tuple[City, ...], code: str | None, region: str) -> City | None:
    """The town by which people would name the place: the largest one around in the same country, or the nearest."""
    own = [town for town in towns if town.country_code == code]
    close = [town for town in own if town.distance_km <= _CITY_KM]
    alike = [town for town in close if region and town.region == region]
    if close:
        return max(alike or close, key=lambda town: town.population)
    return own[0] if own else None


def describe(lat: float, lon: float, cities: int = 3) -> PlaceFacts:
    """Tell everything that is known of a point.

    Args:
        lat: WGS84 degrees.
        lon: WGS84 degrees.
        cities: how many of the nearest towns to name.

    Raises:
        InputError: if a coordinate is out of range.
    """
    checked_lat, checked_lon = (float(value) for value in validate_latlon(lat, lon))
    index = int(country_index(checked_lat, checked_lon))
    at_sea = int(countries_table().index(checked_lat, checked_lon)) == 0
    codes, territories = country_labels()
    code, territory = str(codes[index]) or None, str(territories[index]) or None
    towns = nearest_cities(checked_lat, checked_lon, max(cities, 50))
    if index == 0 and towns[0].distance_km <= ISLET_KM:
        code = towns[0].country_code
    known = all_countries().get(code) if code else None
    own = [town for town in towns if town.country_code == code]
    # The smallest countries borrow their neighbour's clock.
    zone = own[0] if own else towns[0] if known and towns[0].distance_km <= 100 else None
    offset = round(checked_lon / 15)
    nautical = f"Etc/GMT{-offset:+d}" if offset else "Etc/GMT"
    region = str(region_names(checked_lat, checked_lon)) or (own[0].region if own else "") if code else ""
    climate = str(climate_codes(checked_lat, checked_lon)) if code or not at_sea else ""
    sea_km = float(sea_distance_km(checked_lat, checked_lon))
    continent = str(continent_names(checked_lat, checked_lon)) or (known.continent if known else "")
    return PlaceFacts(
        lat=checked_lat,
        lon=checked_lon,
        country=known.name if known else None,
        country_code=code,
        territory=territory,
        region=region or None,
        sea=str(sea_names(checked_lat, checked_lon)) if at_sea else None,
        continent=continent or None,
        hemispheres=("northern" if checked_lat >= 0 else "southern", "eastern" if checked_lon >= 0 else "western"),
        climate_code=climate or None,
        climate=words()["climates"].get(climate),
        driving_side=(known.driving_side or None) if known else None,
        languages=known.languages if known else (),
        currency=(known.currency or None) if known else None,
        calling_code=(known.calling_code or None) if known else None,
        tld=(known.tld or None) if known else None,
        neighbours=known.neighbours if known else (),
        capital=(known.capital or None) if known else None,
        timezone=zone.timezone if zone else nautical,
        nautical_offset_h=offset,
        coastal=sea_km <= COASTAL_KM,
        sea_km=sea_km,
        nearest_cities=towns[: max(cities, 0)],
        main_city=_main_city(towns, code, region),
    )
