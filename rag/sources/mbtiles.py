"""Tiles of one zoom level of an MBTiles file: pictures of the Earth from above, placed by their address.

MBTiles 1.3 counts rows from the south (TMS); keys are ``zoom/column/row`` with rows from the north, as on the web. The
width of a tile is measured across its middle on the sphere of R = 6371.0088 km.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from gaea.errors import InputError, PhotoError
from gaea.rag.records import Item
from gaea.rag.sources.located import Located
from gaea.sphere import EARTH_RADIUS_KM

_COUNT = "select count(*) from tiles where zoom_level = ?"
_LIST = "select tile_column, tile_row from tiles where zoom_level = ? order by tile_column, tile_row desc"
_READ = "select tile_data from tiles where zoom_level = ? and tile_column = ? and tile_row = ?"


@dataclass(frozen=True)
class Tiles(Located):
    """The tiles of one zoom level, column by column from the west, each from the north.

    Attributes:
        zoom: Which level; the deepest where none is given.
    """

    zoom: int | None = None
    kind: ClassVar[str] = "mbtiles"

    def _check(self, path: Path) -> None:
        super()._check(path)
        with self._database() as database:
            described = dict(database.execute("select name, value from metadata")) if _has_metadata(database) else {}
            zooms = [int(zoom) for (zoom,) in database.execute("select distinct zoom_level from tiles order by 1")]
        if str(described.get("format", "")).lower() in {"pbf", "mvt"}:
            raise InputError(f"{path}: holds vector tiles (format pbf); expected pictures: jpg, png or webp")
        if not zooms:
            raise InputError(f"{path}: holds no tiles")
        zoom = zooms[-1] if self.zoom is None else int(self.zoom)
        if zoom not in zooms:
            raise InputError(f"{path}: no tiles of zoom {zoom}; it holds {', '.join(map(str, zooms))}")
        object.__setattr__(self, "zoom", zoom)
        object.__setattr__(self, "credit", self.credit or str(described.get("attribution") or ""))

    def items(self) -> Iterator[Item]:
        """See :meth:`gaea.rag.records.Source.items`."""
        zoom = int(self.zoom or 0)
        with self._database() as database:
            for column, tms_row in database.execute(_LIST, (zoom,)):
                row = (1 << zoom) - 1 - tms_row
                if not (0 <= column < 1 << zoom and 0 <= row < 1 << zoom):
                    raise InputError(f"{self.path}: tile column {column}, row {tms_row} is not on zoom {zoom}")
                lat, lon, width_km = place_of(zoom, column, row)
                key = f"{zoom}/{column}/{row}"
                yield Item(key=key, lat=lat, lon=lon, width_km=width_km, where=(zoom, column, tms_row))

    def read(self, item: Item) -> bytes:
        """See :meth:`gaea.rag.records.Source.read`; the bytes as stored."""
        try:
            with self._database() as database:
                found = database.execute(_READ, item.where).fetchone()
        except InputError as error:
            raise PhotoError(str(error)) from error
        if found is None or not found[0]:
            raise PhotoError(f"{self.path.name}: tile {item.key} is gone; was the file replaced?")
        return bytes(found[0])

    def count(self) -> int:
        """How many tiles the zoom level has."""
        with self._database() as database:
            return int(database.execute(_COUNT, (self.zoom,)).fetchone()[0])

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        # A connection cannot be sent to another process, and opening one takes a tenth of a millisecond.
        try:
            with closing(sqlite3.connect(f"file:{quote(self.location)}?mode=ro", uri=True)) as database:
                yield database
        except sqlite3.DatabaseError as error:
            raise InputError(f"{self.path}: not a readable MBTiles file ({error}); get the file again") from error


def _has_metadata(database: sqlite3.Connection) -> bool:
    named = database.execute("select 1 from sqlite_master where name = 'metadata' and type in ('table', 'view')")
    return named.fetchone() is not None


def place_of(zoom: int, column: int, row: int) -> tuple[float, float, float]:
    """Centre and width of a Web-Mercator tile.

    Args:
        zoom: Level; the world is ``2**zoom`` tiles wide and high.
        column: From the west.
        row: From the north.

    Returns:
        Latitude and longitude of the middle of the picture in degrees, and km across it there.
    """
    side = float(1 << zoom)
    north = math.pi * (1 - 2 * (row + 0.5) / side)
    lat = math.atan(math.sinh(north))
    width_km = 2 * math.pi * EARTH_RADIUS_KM * math.cos(lat) / side
    return math.degrees(lat), (column + 0.5) / side * 360 - 180, width_km
