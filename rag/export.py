"""All rows of an index as one file for other programs: Parquet with the vectors, GeoJSON or CSV without.

Rows are written shard by shard, so that an index larger than memory can be exported. Text is written as it is, which
a spreadsheet may take for a formula where it begins with ``=``: CSV cells that do are given an apostrophe.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaea.errors import InputError
from gaea.rag.files import write_atomically
from gaea.rag.gallery import LABELS

if TYPE_CHECKING:
    from gaea.rag.index import Index

_COLUMNS = ("row", "lat", "lon", "width_km", "s2", "phash", *LABELS)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def export(index: Index, path: Path) -> int:
    """Write all rows of an index as one file, whole or not at all.

    Args:
        index: What to export.
        path: ``.parquet`` (a gallery that ``Gallery.read`` reads), ``.geojson`` (points, lon before lat) or ``.csv``.

    Returns:
        How many rows were written.

    Raises:
        InputError: Another suffix.
        GalleryError: A shard cannot be read, or the file not be written; what was there before stays.
    """
    writers: dict[str, Callable[[Index, Path], None]] = {
        ".parquet": _parquet,
        ".geojson": _geojson,
        ".csv": _csv,
    }
    if path.suffix.lower() not in writers:
        raise InputError(f"{path.name!r} is not a format to export to: expected one of {', '.join(writers)}")
    write = writers[path.suffix.lower()]
    index.steady(lambda: write_atomically(path, lambda part: write(index, part)))
    return len(index)


def _parquet(index: Index, path: Path) -> None:
    import pyarrow.parquet as pq

    from gaea.rag.parquet import to_table

    if not index.shards:
        pq.write_table(to_table(index.read_gallery()), path)
        return
    first = to_table(index.read_shard(index.shards[0]))
    with pq.ParquetWriter(path, first.schema, compression="zstd", write_page_checksum=True) as file:
        for shard in index.shards:
            # Shards name the same encoder, but each the dictionary of its own strings.
            file.write_table(to_table(index.read_shard(shard)).select(first.column_names).cast(first.schema))


def _geojson(index: Index, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for number, row in enumerate(_rows(index)):
            lon, lat = row.pop("lon"), row.pop("lat")
            # JSON numbers are doubles to most readers, and a cell id has 64 bits.
            properties = {name: str(value) if name in {"s2", "phash"} else value for name, value in row.items()}
            feature = {
                "type": "Feature",
                "geometry": {"type": "Point", "coordinates": [lon, lat]},
                "properties": properties,
            }
            file.write((",\n" if number else "\n") + json.dumps(feature, ensure_ascii=False, allow_nan=False))
        file.write("\n]}\n")


def _csv(index: Index, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, _COLUMNS)
        table.writeheader()
        for row in _rows(index):
            table.writerow({name: _cell(value) for name, value in row.items()})


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _rows(index: Index) -> Iterator[dict[str, Any]]:
    from gaea.rag.parquet import read_columns

    for shard in index.shards:
        for row in read_columns(index.path(shard), _COLUMNS).to_pylist():
            width_km = row["width_km"]
            row["width_km"] = None if width_km is None or math.isnan(width_km) else width_km
            yield row
