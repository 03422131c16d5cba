"""Which column is which: the spellings under which people write latitude, longitude, file name, caption and licence."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime
from functools import cached_property
from typing import Any

from gaea.errors import InputError
from gaea.rag.records import Item

_SPELLINGS = {
    "lat": "lat latitude gpslat gpslatitude latdeg latitudedeg declat decimallatitude",
    "lon": "lon lng long longitude gpslon gpslng gpslong gpslongitude londeg longitudedeg declon decimallongitude",
    "path": "filename filepath path file imagepath imgpath imagefile image img imgid imageid photo picture",
    "text": "caption text title place placename location description",
    "licence": "licence license licencename licensename licenceurl licenseurl rights",
    "credit": "credit author creator photographer attribution owner creatorusername username",
    "width_km": "widthkm",
}
_MISSING = frozenset({"", "nan", "none", "null", "na", "n/a", "-"})


@dataclass(frozen=True)
class Columns:
    """The names a file gives to what an item needs; None where it has no such column.

    ``text`` is the first of caption, text, title, place, location and description that there is; the others stay
    extra columns.
    """

    lat: str
    lon: str
    path: str | None = None
    text: str | None = None
    licence: str | None = None
    credit: str | None = None
    width_km: str | None = None

    @cached_property
    def _named(self) -> frozenset[str]:
        return frozenset(filter(None, (getattr(self, field.name) for field in fields(self))))

    @classmethod
    def find(cls, names: Iterable[str], where: str, *, path: bool = True) -> Columns:
        """Recognise columns whatever their case, spaces and underscores.

        Args:
            names: The columns of the file.
            where: The file, for the message.
            path: Whether there must be a column that names a picture.

        Raises:
            InputError: A needed column is missing; the message names those found.
        """
        names = list(names)
        found = guess(names)
        needed = {"lat": "a latitude", "lon": "a longitude", **({"path": "a file_name or path"} if path else {})}
        if missing := [words for key, words in needed.items() if key not in found]:
            raise InputError(
                f"{where}: no column for {' and '.join(missing)}; found {', '.join(names) or 'no columns at all'}: "
                f"expected file_name, lat and lon"
            )
        return cls(**found)

    def item(self, key: str, values: Mapping[str, Any], *, where: Any = None) -> Item:
        """One row as an item; columns that are not recognised are kept in ``extra``.

        A coordinate that is empty becomes None; one that is no number becomes NaN, and is kept as found in ``extra``.
        """
        extra = {name: plain(value) for name, value in values.items() if name not in self._named}
        for name in (self.lat, self.lon):
            degrees = number(values.get(name))
            if degrees is not None and math.isnan(degrees):
                extra[name] = str(values[name])[:80]
        width_km = number(values.get(self.width_km)) if self.width_km else None
        return Item(
            key=key,
            lat=number(values.get(self.lat)),
            lon=number(values.get(self.lon)),
            text=words(values.get(self.text)) if self.text else "",
            licence=words(values.get(self.licence)) if self.licence else "",
            credit=words(values.get(self.credit)) if self.credit else "",
            width_km=width_km if width_km and width_km > 0 else None,
            where=where,
            extra={name: value for name, value in extra.items() if value not in (None, "")},
        )


def guess(names: Iterable[str]) -> dict[str, str]:
    """Columns by meaning, as far as they are recognised; of several, the more usual spelling."""
    written = {re.sub(r"[^a-z0-9]", "", str(name).casefold()): name for name in reversed(list(names))}
    return {
        meaning: next(written[spelling] for spelling in spellings.split() if spelling in written)
        for meaning, spellings in _SPELLINGS.items()
        if any(spelling in written for spelling in spellings.split())
    }


def number(value: Any) -> float | None:
    """A coordinate as found: None where there is none, NaN where there is something that is no number."""
    if value is None or (isinstance(value, str) and value.strip().casefold() in _MISSING):
        return None
    if isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def words(value: Any) -> str:
    """Text on one line; lists are joined, as some files name several authors."""
    if isinstance(value, list | tuple):
        value = ", ".join(str(part) for part in value)
    return "" if value is None else " ".join(str(value).split())


def plain(value: Any) -> Any:
    """A value that JSON knows, or None for what it does not: bytes, nested columns, numbers that are not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str | int | bool):
        return value
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, list | tuple) and len(value) <= 64:
        return [plain(part) for part in value]
    return None
