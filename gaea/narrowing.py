"""Where somebody says that a place must be: conditions on country, region, box, circle and source.

What is said narrows the neighbours to rows that fulfil it (:mod:`gaea.rag.narrow`) and the belief to the cells that do:
its mass outside is taken away, and what remains is the whole.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import numpy as np

from gaea import areas, cellsets
from gaea.countries import all_countries
from gaea.errors import InputError
from gaea.hilbert import CellArray
from gaea.sphere import validate_latlon


@dataclass(frozen=True)
class Narrowing:
    """Conditions, all of which a place or row must fulfil that are given.

    Attributes:
        countries: ISO 3166 alpha-2 codes; an empty one stands for the sea.
        regions: Names of first-level divisions, upper or lower case.
        box: (south, west, north, east) in degrees; west above east crosses the antimeridian.
        circle: (lat, lon, radius_km).
        sources: Names of sources; of neighbours only, because a photo has none.

    Raises:
        InputError: A code that no country has, coordinates out of range, a box upside down or a radius below zero.
    """

    countries: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    box: tuple[float, float, float, float] | None = None
    circle: tuple[float, float, float] | None = None
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no place can fulfil."""
        for code in self.countries:
            if code and code.upper() not in all_countries():
                raise InputError(f"country {code!r} is not known: expected an ISO 3166 alpha-2 code such as FR")
        if self.box is not None:
            south, west, north, east = self.box
            validate_latlon([south, north], [west, east])
            if south > north:
                raise InputError(f"box {self.box} has its south above its north: expected (south, west, north, east)")
        if self.circle is not None:
            lat, lon, radius_km = self.circle
            validate_latlon(lat, lon)
            if not radius_km >= 0:
                raise InputError(f"circle {self.circle} has radius {radius_km} km: expected (lat, lon, radius_km)")

    def cells(self) -> CellArray | None:
        """The part of the Earth that fulfils all conditions, a cell set; None where none is of a place.

        Raises:
            InputError: No country has a region of that name, or no place fulfils all conditions.
        """
        sets = []
        if self.countries:
            sets.append(self._union([areas.country(code.upper()) for code in self.countries]))
        if self.regions:
            found = [areas.region(name) for name in self.regions]
            for name, cells in zip(self.regions, found, strict=True):
                if not cells.size:
                    near = difflib.get_close_matches(name, areas.region_names_known(), 1)
                    hint = f"did you mean {near[0]!r}?" if near else "expected a first-level division such as Bayern"
                    raise InputError(f"region {name!r} is not known: {hint}")
            sets.append(self._union(found))
        if self.box is not None:
            sets.append(areas.box(*self.box))
        if self.circle is not None:
            sets.append(areas.circle(*self.circle))
        if not sets:
            return None
        pieces, held = cellsets.overlay(sets)
        inside = cellsets.union(pieces[(held >= 0).all(axis=0)])
        if not inside.size:
            raise InputError(f"no place on Earth fulfils all of {self.describe()}: leave one of them out")
        return inside

    def describe(self) -> str:
        """The conditions of a place in words, for messages."""
        told = [
            ("country", ", ".join(code or "the sea" for code in self.countries)),
            ("region", ", ".join(self.regions)),
            ("box", ", ".join(f"{degrees:g}" for degrees in self.box or ())),
            ("circle", ", ".join(f"{number:g}" for number in self.circle or ())),
        ]
        return "; ".join(f"{name} {value}" for name, value in told if value) or "nothing"

    @staticmethod
    def _union(sets: list[CellArray]) -> CellArray:
        return cellsets.union(np.concatenate(sets))
