"""The gallery: geotagged embeddings in Parquet, the source of truth from which every vector store is rebuilt.

One row is one picture: where it was taken, how wide its footprint is, and its embedding as a fixed-size list of int8
(or float16). The quantisation is symmetric and keeps no scale: a row is stretched until its largest component is
±127 and rounded, and because embeddings have unit length, dividing by the row's own length undoes the stretch. In
96 dimensions the cosine of a row with its original stays above 0.999.

A gallery is one ``.parquet`` file or a folder of shards with the same encoder, read in the order of their names. A row
has a *position* in the arrays, and a *number* by which stores know it: the same thing until rows are removed.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaea.errors import GalleryError, InputError
from gaea.rag.encoder import Encoder, unit_rows

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
LABELS = ("text", "source", "credit", "licence", "key", "sha256", "country", "region", "extra")
_BLOCK_ROWS = 65_536  # rows worked on at once, so that a million of them do not exist three times over


@dataclass(frozen=True)
class GalleryMeta:
    """Which encoder made the embeddings, and whose pictures they are where a row does not say otherwise."""

    encoder: str
    fingerprint: str
    dim: int
    source: str = ""
    credit: str = ""
    licence: str = ""
    created: str = ""


@dataclass(frozen=True, eq=False)
class Gallery:
    """Rows of a gallery, column by column; build one with :meth:`from_embeddings` or :meth:`read`.

    Attributes:
        codes: Embeddings as stored, int8 or float16, shape (n, dim).
        lat: Degrees north, float64, shape (n,).
        lon: Degrees east, -180 to 180, shape (n,).
        width_km: Width of what the picture shows, shape (n,); NaN where unknown.
        meta: Encoder and default provenance.
        labels: Optional columns of strings named in :data:`LABELS`, each of shape (n,).
        s2: Optional level-30 S2 cell ids, uint64, shape (n,).
        phash: Optional perceptual hashes of the pictures, uint64, shape (n,).
        numbers: Row numbers, int64, ascending, shape (n,); None where they are the positions.

    Raises:
        GalleryError: Columns of different lengths, coordinates out of range, or embeddings that are not vectors.
    """

    codes: NDArray[np.int8] | NDArray[np.float16]
    lat: FloatArray
    lon: FloatArray
    width_km: FloatArray
    meta: GalleryMeta
    labels: Mapping[str, NDArray[np.object_]] = field(default_factory=dict)
    s2: NDArray[np.uint64] | None = None
    phash: NDArray[np.uint64] | None = None
    numbers: IntArray | None = None

    def __post_init__(self) -> None:
        """Check lengths, coordinates and vectors, naming the first rows at fault."""
        columns = {"lat": self.lat, "lon": self.lon, "width_km": self.width_km, **self.labels}
        optional = {"s2": self.s2, "phash": self.phash, "row": self.numbers}
        columns |= {name: column for name, column in optional.items() if column is not None}
        if self.codes.ndim != 2 or self.codes.shape[1] != self.meta.dim:
            raise GalleryError(f"embeddings have shape {self.codes.shape}, expected (rows, {self.meta.dim})")
        if bad := {name: len(column) for name, column in columns.items() if len(column) != len(self.codes)}:
            raise GalleryError(f"gallery has {len(self.codes)} embeddings, but columns of other lengths: {bad}")
        if unknown := set(self.labels) - set(LABELS):
            raise GalleryError(f"unknown label columns {sorted(unknown)}: expected some of {', '.join(LABELS)}")
        # NaN compares false, so a missing coordinate is caught here too.
        _refuse_rows(~np.less_equal(np.abs(self.lat), 90), "latitude outside -90..90 or missing", self.lat)
        _refuse_rows(~np.less_equal(np.abs(self.lon), 180), "longitude outside -180..180 or missing", self.lon)
        _refuse_rows(~_usable(self.codes), "an embedding that is zero or not finite", None)
        if self.numbers is not None and not (np.diff(self.numbers) > 0).all():
            raise GalleryError("row numbers of the gallery do not ascend: rows are doubled or shards are out of order")

    def __len__(self) -> int:
        return len(self.codes)

    @cached_property
    def embeddings(self) -> NDArray[np.float32]:
        """All embeddings, float32 unit rows of shape (n, dim); dequantised on first use."""
        rows = np.empty(self.codes.shape, np.float32)
        for start in range(0, len(rows), _BLOCK_ROWS):
            rows[start : start + _BLOCK_ROWS] = unit_rows(self.codes[start : start + _BLOCK_ROWS])
        return rows

    @cached_property
    def row_numbers(self) -> IntArray:
        """The number of every row, int64, ascending, shape (n,)."""
        return np.arange(len(self), dtype=np.int64) if self.numbers is None else self.numbers

    def positions(self, numbers: ArrayLike) -> IntArray:
        """Where rows with these numbers stand in the arrays, any shape.

        Raises:
            GalleryError: The gallery has no row of that number.
        """
        asked = np.asarray(numbers, np.int64)
        found = np.minimum(np.searchsorted(self.row_numbers, asked), max(len(self) - 1, 0))
        missing = asked[self.row_numbers[found] != asked] if len(self) else asked.ravel()
        if missing.size:
            raise GalleryError(f"the gallery has no row {missing[0]}: the vector store belongs to other rows")
        return np.asarray(found, np.int64)

    def take(self, positions: ArrayLike) -> Gallery:
        """The rows at these positions, in their order; numbers stay with their rows."""
        at = np.asarray(positions, np.int64)
        columns = {name: getattr(self, name)[at] for name in ("codes", "lat", "lon", "width_km")}
        optional = {"s2": self.s2, "phash": self.phash, "numbers": self.row_numbers}
        columns |= {name: column[at] for name, column in optional.items() if column is not None}
        return replace(self, **columns, labels={name: column[at] for name, column in self.labels.items()})

    @classmethod
    def join(cls, parts: Sequence[Gallery]) -> Gallery:
        """The rows of several galleries of one encoder, one after the other."""
        return parts[0] if len(parts) == 1 else _concatenate(parts)

    @cached_property
    def content_hash(self) -> str:
        """Hex SHA-256 over encoder, embeddings and coordinates, the same however the rows are sharded."""
        digest = hashlib.sha256(f"{self.meta.fingerprint} {self.codes.dtype} {self.codes.shape}".encode())
        for column in (self.codes, self.lat.astype(np.float32), self.lon.astype(np.float32)):
            digest.update(np.ascontiguousarray(column).data)
        if self.numbers is not None:
            digest.update(np.ascontiguousarray(self.numbers).data)
        return digest.hexdigest()

    def label(self, name: str, row: int) -> str:
        """The text, source, credit or licence of one row, falling back to the gallery's own."""
        value = self.labels[name][row] if name in self.labels else None
        return str(value or getattr(self.meta, name, ""))

    def check_encoder(self, encoder: Encoder) -> None:
        """Refuse an encoder whose vectors would not be comparable.

        Raises:
            GalleryError: The gallery belongs to another encoder.
        """
        if (self.meta.fingerprint, self.meta.dim) != (encoder.fingerprint, encoder.dim):
            raise GalleryError(
                f"index belongs to encoder {self.meta.encoder} ({self.meta.fingerprint[:12]}, {self.meta.dim}-d), "
                f"this is {encoder.name} ({encoder.fingerprint[:12]}, {encoder.dim}-d): rebuild the index "
                f"with {encoder.name}, or load {self.meta.encoder}"
            )

    @classmethod
    def from_embeddings(
        cls,
        embeddings: ArrayLike,
        lat: ArrayLike,
        lon: ArrayLike,
        *,
        meta: GalleryMeta,
        width_km: ArrayLike | None = None,
        labels: Mapping[str, ArrayLike] | None = None,
        s2: ArrayLike | None = None,
        phash: ArrayLike | None = None,
        numbers: ArrayLike | None = None,
        dtype: str = "int8",
    ) -> Gallery:
        """Quantise embeddings, float of shape (n, dim), and bind them to their places.

        Args:
            embeddings: Any scale; only directions are kept.
            lat: Degrees, shape (n,).
            lon: Degrees, shape (n,).
            meta: Encoder and provenance.
            width_km: Footprint, one number or shape (n,).
            labels: Columns named in :data:`LABELS`.
            s2: Level-30 cells.
            phash: Perceptual hashes.
            numbers: Row numbers, where they are not the positions.
            dtype: ``int8`` or ``float16``.

        Raises:
            GalleryError: As for :class:`Gallery`.
            InputError: Another dtype.
        """
        if dtype not in {"int8", "float16"}:
            raise InputError(f"embedding dtype {dtype!r} is not int8 or float16")
        vectors: NDArray[np.float32] = np.asarray(embeddings, np.float32)
        # A row that is not finite becomes zeros here, and is then refused with its number.
        rows = unit_rows(np.where(np.isfinite(vectors).all(axis=-1, keepdims=True), vectors, 0))
        if dtype == "int8":
            peak = np.abs(rows).max(axis=-1, keepdims=True, initial=0.0)
            rows = np.rint(np.divide(rows * 127, peak, out=np.zeros_like(rows), where=peak > 0))
        n = len(rows)
        return cls(
            codes=rows.astype(dtype),
            lat=_degrees(lat),
            lon=_degrees(lon),
            width_km=np.broadcast_to(_degrees(np.nan if width_km is None else width_km), (n,)),
            meta=meta,
            labels={name: np.asarray(column, dtype=object) for name, column in (labels or {}).items()},
            s2=None if s2 is None else np.asarray(s2, np.uint64),
            phash=None if phash is None else np.asarray(phash, np.uint64),
            numbers=None if numbers is None else np.asarray(numbers, np.int64),
        )

    @classmethod
    def read(cls, path: str | Path) -> Gallery:
        """Read one Parquet file, or every ``*.parquet`` of a folder in the order of their names.

        Raises:
            GalleryError: Nothing there, not a gallery, damaged, or shards of different encoders.
        """
        from gaea.rag.parquet import read_file

        path = Path(path)
        files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
        if not files or not files[0].is_file():
            raise GalleryError(f"no gallery at {path}: expected a .parquet file or a folder that holds some")
        shards = [read_file(file) for file in files]
        meta = shards[0].meta
        for file, shard in zip(files, shards, strict=True):
            if (shard.meta.fingerprint, shard.codes.dtype) != (meta.fingerprint, shards[0].codes.dtype):
                raise GalleryError(f"{file} belongs to encoder {shard.meta.encoder}, {files[0]} to {meta.encoder}")
        return cls.join(shards)

    def write(self, path: str | Path) -> None:
        """Write one Parquet file; it appears whole or not at all.

        Raises:
            GalleryError: The file cannot be written; what was there before stays.
        """
        from gaea.rag.parquet import write_file

        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=".gallery-") as folder:
                part = Path(folder, path.name)
                write_file(self, part)
                with part.open("rb") as written:
                    os.fsync(written.fileno())
                part.replace(path)
        except OSError as error:
            raise GalleryError(f"gallery {path} cannot be written: {error.strerror or error}") from error


def _concatenate(shards: Sequence[Gallery]) -> Gallery:
    names = [name for name in LABELS if any(name in shard.labels for shard in shards)]
    return Gallery(
        codes=np.concatenate([shard.codes for shard in shards]),
        lat=np.concatenate([shard.lat for shard in shards]),
        lon=np.concatenate([shard.lon for shard in shards]),
        width_km=np.concatenate([shard.width_km for shard in shards]),
        meta=shards[0].meta,
        labels={name: np.concatenate([_label_column(shard, name) for shard in shards]) for name in names},
        s2=_joined([shard.s2 for shard in shards]),
        phash=_joined([shard.phash for shard in shards]),
        numbers=_joined([shard.numbers for shard in shards]),
    )


def _usable(codes: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows have a direction."""
    usable: NDArray[np.bool_] = np.asarray(codes.any(axis=1), np.bool_)
    if codes.dtype.kind == "f":
        for start in range(0, len(codes), _BLOCK_ROWS):
            usable[start : start + _BLOCK_ROWS] &= np.isfinite(codes[start : start + _BLOCK_ROWS]).all(axis=1)
    return usable


def _joined(columns: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    """One column, where every shard has it."""
    present = [column for column in columns if column is not None]
    return np.concatenate(present) if len(present) == len(columns) else None


def _label_column(shard: Gallery, name: str) -> NDArray[np.object_]:
    """A label column in full, so that a shard's own default survives being joined to others."""
    return np.array([shard.label(name, row) for row in range(len(shard))], dtype=object)


def _degrees(values: ArrayLike) -> FloatArray:
    return np.asarray(values, np.float64)


def _refuse_rows(bad: NDArray[np.bool_], fault: str, values: FloatArray | None) -> None:
    if not bad.any():
        return
    rows = np.flatnonzero(bad)
    shown = ", ".join(str(row) if values is None else f"{row} ({values[row]:g})" for row in rows[:5])
    more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
    raise GalleryError(f"{fault} in row {shown}{more}")
