"""Which rows of an index are meant: by number, source, key, licence, country, region or box."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from gaea.errors import InputError
from gaea.rag.gallery import Gallery
from gaea.sphere import validate_latlon


@dataclass(frozen=True)
class RowFilter:
    """Rows that fulfil every condition given; at least one has to be.

    Attributes:
        numbers: Row numbers.
        source: Name of a source.
        key: Key within a source.
        licence: As the rows tell it.
        country: ISO 3166 alpha-2 code; empty for the sea.
        region: First-level division.
        box: (south, west, north, east) in degrees; west above east crosses the antimeridian.

    Raises:
        InputError: No condition at all, or a box that is none.
    """

    numbers: tuple[int, ...] | None = None
    source: str | None = None
    key: str | None = None
    licence: str | None = None
    country: str | None = None
    region: str | None = None
    box: tuple[float, float, float, float] | None = None

    def __post_init__(self) -> None:
        """Refuse a filter that would take everything by accident."""
        if all(getattr(self, item.name) is None for item in fields(self)):
            names = ", ".join(item.name for item in fields(self))
            raise InputError(f"no rows are named: give at least one of {names}")
        if self.box is not None:
            south, west, north, east = self.box
            validate_latlon([south, north], [west, east])
            if south > north:
                raise InputError(f"box {self.box} has its south above its north: expected (south, west, north, east)")

    def mask(self, rows: Gallery) -> NDArray[np.bool_]:
        """Which rows of a gallery are meant, shape (n,)."""
        meant = np.ones(len(rows), bool)
        for name in ("source", "key", "licence", "country", "region"):
            if (wanted := getattr(self, name)) is not None:
                column = rows.labels.get(name)
                default = getattr(rows.meta, name, "")
                meant &= (column == wanted) if column is not None else default == wanted
        if self.numbers is not None:
            meant &= np.isin(rows.row_numbers, self.numbers)
        if self.box is not None:
            south, west, north, east = self.box
            between = (rows.lon >= west, rows.lon <= east)
            meant &= (rows.lat >= south) & (rows.lat <= north)
            meant &= between[0] & between[1] if west <= east else between[0] | between[1]
        return meant
