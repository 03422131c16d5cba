"""The countries as questions may ask about them: what is outdated is corrected, what is disputed left blank."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

from gaea.countries import Country, all_countries

CORRECTED: dict[str, dict[str, str]] = {
    "KZ": {"capital": "Astana"},  # called Nur-Sultan from 2019 to 2022
    "BG": {"currency": "Euro (EUR)"},  # since 1 January 2026
}
NO_CAPITAL = frozenset({"BO", "EH", "IL", "LK", "PS", "ZA"})
"""Countries with several capitals, or one that is disputed: nobody is asked for it."""


@lru_cache(maxsize=1)
def known_countries() -> dict[str, Country]:
    """Every country by its code, as :func:`gaea.countries.all_countries` but corrected."""
    known = {}
    for code, country in all_countries().items():
        blank = {"capital": ""} if code in NO_CAPITAL else {}
        told = {"capital": country.capital.strip(), **CORRECTED.get(code, {}), **blank}
        known[code] = dataclasses.replace(country, **told)
    return known
