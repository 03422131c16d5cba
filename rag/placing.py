"""Embedded items as records of an index: what the source said of them, and where on Earth that is."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import cast

import numpy as np

from gaea import cells, places
from gaea.rag.records import Embedded, Record, Source


def records_of(source: Source, embedded: Sequence[Embedded]) -> list[Record]:
    """Records with S2 cell, country and region; coordinates have been checked before.

    Args:
        source: Gives its name, and licence and credit where an item has none of its own.
        embedded: Items that have coordinates.
    """
    items = [one.item for one in embedded]
    lat = np.array([item.lat for item in items], np.float64)
    lon = np.array([item.lon for item in items], np.float64)
    columns = (cells.from_latlon(lat, lon), places.country_codes(lat, lon), places.region_names(lat, lon))
    return [
        Record(
            row=-1,  # the index gives the number
            key=one.item.key,
            source=source.name,
            lat=float(cast("float", one.item.lat)),
            lon=float(cast("float", one.item.lon)),
            s2=int(s2),
            country=str(country),
            region=str(region),
            text=_utf8(one.item.text),
            licence=_utf8(one.item.licence or source.licence),
            credit=_utf8(one.item.credit or source.credit),
            sha256=one.sha256,
            phash=one.phash,
            width_km=math.nan if one.item.width_km is None else float(one.item.width_km),
            extra=_utf8(json.dumps(dict(one.item.extra), ensure_ascii=False, default=str)) if one.item.extra else "",
        )
        for one, s2, country, region in zip(embedded, *columns, strict=True)
    ]


def _utf8(text: str) -> str:
    """Text that can be stored; what a file system or a damaged table left undecoded becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")


def storable(key: str) -> bool:
    """Whether a key can be stored as it is; a file name that is not UTF-8 cannot."""
    return _utf8(key) == key
