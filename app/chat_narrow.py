"""Where a user says that a photo may be from: countries, regions, a box, or a hint in words, as one narrowing."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gaea.countries import all_countries
from gaea.errors import InputError
from gaea.mentions import find_mentions
from gaea.narrowing import Narrowing
from gaea.placenames import regions_by_name
from gaea.toponyms import Meaning

AROUND_KM = 150.0
"""A town that is hinted at stands for its surroundings."""

_NUMBER = re.compile(r"[-+\u2212]?\d+(?:\.\d+)?")


def countries() -> list[tuple[str, str]]:
    """Names and codes of all countries, by name."""
    return sorted((country.name, code) for code, country in all_countries().items())


def regions(codes: Sequence[str]) -> list[str]:
    """Names of the first-level divisions of some countries, by name."""
    chosen = set(codes)
    return sorted({r.name for found in regions_by_name().values() for r in found if r.country_code in chosen})


def narrowing(
    codes: Sequence[str] = (), names: Sequence[str] = (), *, box: str = "", hint: str = ""
) -> Narrowing | None:
    """All that was said, which must all be true; None where nothing was.

    Args:
        codes: ISO 3166 alpha-2 codes of countries.
        names: Names of first-level divisions.
        box: South, west, north and east in degrees, four numbers in any writing.
        hint: Words that name a country, region, town, sea or continent.

    Raises:
        InputError: The box is not one, or the hint names no place.
    """
    named, inside, circle = list(codes), list(names), None
    if hint.strip():
        meant = _meant(hint)
        if meant.kind == "continent":
            within = [code for code, country in all_countries().items() if country.continent == meant.name]
            named = [code for code in named if code in within] or within
        elif meant.kind == "country":
            named = named or [meant.country_code]
        elif meant.kind == "region":
            named, inside = named or [meant.country_code], inside or [meant.region]
        else:
            circle = (meant.lat, meant.lon, max(AROUND_KM, meant.radius_km))
    if not (named or inside or circle or box.strip()):
        return None
    return Narrowing(countries=tuple(named), regions=tuple(inside), box=_box(box), circle=circle)


def _meant(hint: str) -> Meaning:
    """The likeliest place that a hint names; of several, the first."""
    mentions = find_mentions(hint) or find_mentions(hint.title())
    if not mentions:
        raise InputError(f"hint {hint.strip()[:60]!r} names no place that I know: write a country, region, town or sea")
    return mentions[0].options[0]


def _box(text: str) -> tuple[float, float, float, float] | None:
    if not text.strip():
        return None
    numbers = [float(number.replace("\u2212", "-")) for number in _NUMBER.findall(text)]
    if len(numbers) != 4:
        raise InputError(f"box {text.strip()[:60]!r}: expected south, west, north, east, such as '-20, -75, -10, -65'")
    south, west, north, east = numbers
    return south, west, north, east
