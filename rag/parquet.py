"""How a gallery lies in a Parquet file.

Columns: ``embedding`` (fixed-size list of int8 or float16), ``lat``, ``lon`` (float64, float32 in older files),
``width_km`` (float32), optionally ``s2`` (uint64, level 30), ``phash`` (uint64), ``row`` (int64) and strings: ``text``,
``source``, ``credit``, ``licence``, ``country``, ``region`` (dictionary-encoded), ``key``, ``sha256``, ``extra``. File
metadata holds one JSON object under the key ``gaea``: the format's number, and the fields of
:class:`~gaea.rag.gallery.GalleryMeta` (encoder name, fingerprint and dim, default provenance). Pages carry checksums,
so that a flipped bit is an error and not another vector.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from gaea.errors import GalleryError
from gaea.rag.gallery import LABELS, Gallery, GalleryMeta

_NUMERIC = ("embedding", "lat", "lon", "width_km", "s2", "phash", "row")
_METADATA_KEY = b"gaea"
_FORMAT = 1
_UNIQUE = frozenset({"key", "sha256", "extra"})  # a dictionary of these would hold every value once


def write_file(gallery: Gallery, file: Path) -> None:
    """Write one file, in place; :meth:`Gallery.write` makes that atomic."""
    import pyarrow.parquet as pq

    table = to_table(gallery)
    # Opened here and not by Arrow, which after a failed write keeps the file, and so the disk's last room, open.
    with file.open("wb") as sink:
        pq.write_table(table, sink, compression="zstd", row_group_size=32_768, write_page_checksum=True)


def read_file(file: Path, labels: Sequence[str] = LABELS) -> Gallery:
    """Read one file, with those of the label columns that it has.

    Raises:
        GalleryError: The file is damaged, is not a gallery, or holds rows that cannot be used.
    """
    import pyarrow as pa

    try:
        table = _read_table(file, (*_NUMERIC, *labels))
        described = json.loads((table.schema.metadata or {})[_METADATA_KEY])
        known = {item.name for item in fields(GalleryMeta)}
        meta = GalleryMeta(**{key: value for key, value in described.items() if key in known})
        flat = table["embedding"].combine_chunks().flatten()
        if flat.type not in {pa.int8(), pa.float16()}:
            raise TypeError(f"embeddings are {flat.type}, expected int8 or float16")
        names = set(table.column_names)
        return Gallery(
            codes=flat.to_numpy(zero_copy_only=False).reshape(len(table), -1),
            lat=table["lat"].to_numpy().astype(np.float64),
            lon=table["lon"].to_numpy().astype(np.float64),
            width_km=table["width_km"].to_numpy().astype(np.float64),
            meta=meta,
            labels={name: table[name].to_numpy() for name in labels if name in names},
            s2=table["s2"].to_numpy() if "s2" in names else None,
            phash=table["phash"].to_numpy() if "phash" in names else None,
            numbers=table["row"].to_numpy() if "row" in names else None,
        )
    except GalleryError as error:
        raise GalleryError(f"{file}: {error}") from error
    # Arrow reports damage as its own errors, OSError or ValueError; a file of other columns as KeyError or TypeError.
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise _damaged(file, error) from error


def read_columns(file: Path, columns: Sequence[str]) -> Any:
    """Some columns of one file as a ``pyarrow.Table``; strings are plain, and a missing column is null.

    Raises:
        GalleryError: The file is damaged, or is not Parquet.
    """
    import pyarrow as pa

    try:
        table = _read_table(file, columns)
        schema = empty_table(columns).schema
        arrays = [
            table[name].cast(schema.field(name).type) if name in table.column_names else pa.nulls(len(table), kind.type)
            for name, kind in zip(columns, schema, strict=True)
        ]
        return pa.table(arrays, schema=schema)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise _damaged(file, error) from error


def empty_table(columns: Sequence[str]) -> Any:
    """The named columns without rows."""
    import pyarrow as pa

    numeric = {"lat": pa.float64(), "lon": pa.float64(), "width_km": pa.float32(), "row": pa.int64()}
    numeric |= {"s2": pa.uint64(), "phash": pa.uint64()}
    return pa.schema([(name, numeric.get(name, pa.string())) for name in columns]).empty_table()


def _read_table(file: Path, columns: Sequence[str]) -> Any:
    import pyarrow.parquet as pq

    with pq.ParquetFile(file, page_checksum_verification=True) as opened:
        present = set(opened.schema_arrow.names)
        return opened.read(columns=[name for name in columns if name in present])


def _damaged(file: Path, error: Exception) -> GalleryError:
    detail = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return GalleryError(f"{file} is not a readable gallery ({detail}): fetch or build it again")


def to_table(gallery: Gallery) -> Any:
    """The rows as an Arrow table, as they are written."""
    import pyarrow as pa

    columns = {
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(gallery.codes.ravel()), gallery.meta.dim),
        # Half of float32's steps are wider than a metre at 180 degrees, and S2 ids are made from the full value.
        **{name: pa.array(np.ascontiguousarray(getattr(gallery, name))) for name in ("lat", "lon")},
        "width_km": pa.array(gallery.width_km.astype(np.float32)),
        **{name: _strings(column, name) for name, column in gallery.labels.items()},
    }
    numbered = {"s2": gallery.s2, "phash": gallery.phash, "row": gallery.numbers}
    columns |= {name: pa.array(column) for name, column in numbered.items() if column is not None}
    described = json.dumps({"format": _FORMAT, **asdict(gallery.meta)}, sort_keys=True)
    return pa.table(columns).replace_schema_metadata({_METADATA_KEY: described.encode()})


def _strings(column: Any, name: str) -> Any:
    import pyarrow as pa

    strings = pa.array(column, pa.string())
    return strings if name in _UNIQUE else strings.dictionary_encode()
