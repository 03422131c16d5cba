"""The countries as questions may ask about them: what is outdated is corrected, what is disputed left blank."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

from gaea import places
from gaea.borders import countries_with_states
from gaea.countries import Country, all_countries

CORRECTED: dict[str, dict[str, str]] = {
    "KZ": {"capital": "Astana"},  # called Nur-Sultan from 2019 to 2022
    "BG": {"currency": "Euro (EUR)"},  # since 1 January 2026
}
NO_CAPITAL = frozenset({"BO", "EH", "IL", "LK", "PS", "ZA"})
"""Countries with several capitals, or one that is disputed: nobody is asked for it."""

REGIONS = {"Maga Buryatdan": "Magadan", "Chita": "Zabaykalsky Krai", "Orissa": "Odisha", "Uttaranchal": "Uttarakhand"}
"""Names of first-level divisions that the map has wrong, or that have been replaced."""

REGIONS_KNOWN = frozenset("AT BE CH CN CZ DE ES FR GB IE IN IT JP MX NL NO PL RU SE".split())  # noqa: SIM905 - codes
"""Where the nearest town's division is named as people name it today; of other countries no region is told, but for
those whose states have polygons of their own (``gaea.borders.countries_with_states``), which alone are asked for it."""

REGION_REACH_KM = 250.0
"""How far the nearest town may be for its division to be told: Taymyr is not in Sakha, where its nearest town is."""


def describe(lat: float, lon: float) -> places.PlaceFacts:
    """What is known of a point, with ten towns around it, and without regions that may be outdated.

    Raises:
        InputError: A coordinate is out of range.
    """
    place = places.describe(lat, lon, cities=10)
    own = next((town for town in place.nearest_cities if town.country_code == place.country_code), None)
    beside = place.country_code in REGIONS_KNOWN and own is not None and own.distance_km <= REGION_REACH_KM
    told = beside or place.country_code in countries_with_states()
    return dataclasses.replace(place, region=REGIONS.get(place.region or "", place.region) if told else None)


@lru_cache(maxsize=1)
def known_countries() -> dict[str, Country]:
    """Every country by its code, as :func:`gaea.countries.all_countries` but corrected."""
    known = {}
    for code, country in all_countries().items():
        blank = {"capital": ""} if code in NO_CAPITAL else {}
        told = {"capital": country.capital.strip(), **CORRECTED.get(code, {}), **blank}
        known[code] = dataclasses.replace(country, **told)
    return known
