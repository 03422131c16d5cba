"""An index: a folder of Parquet shards and a manifest, the source of truth that vector stores are built from.

Readers take no lock: they read the manifest once and then only files that it names. A reader that finds a shard gone,
because a writer has replaced it meanwhile, reads the manifest again. How the folder lies on disk, and why a process
killed at any moment leaves it whole, is told in ``docs/decisions/0005-how-an-index-lies-on-disk.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from gaea.errors import GalleryError
from gaea.rag.encoder import Encoder
from gaea.rag.encoders import EncoderIdentity
from gaea.rag.files import unwritable
from gaea.rag.gallery import LABELS, Gallery, GalleryMeta
from gaea.rag.indexinfo import REJECTED_FILE, IndexInfo, count_rows
from gaea.rag.manifest import MANIFEST_FILE, SHARDS_FOLDER, Manifest, Shard

if TYPE_CHECKING:
    from gaea.rag.writer import Writer

__all__ = ["REJECTED_FILE", "STORES_FOLDER", "Index", "IndexInfo", "timestamp"]

T = TypeVar("T")
STORES_FOLDER = "stores"
_ATTEMPTS = 20  # a reader that is overtaken by a writer this often in a row has another problem


class Index:
    """An index folder as its manifest tells it; make one with :meth:`create` or :meth:`open`.

    An object stays at what it read: :meth:`refresh` looks for commits of others.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self._gallery: Gallery | None = None

    @classmethod
    def create(cls, folder: str | Path, encoder: EncoderIdentity, *, dtype: str = "int8") -> Index:
        """Make an empty index.

        Args:
            folder: Made if missing; must not hold an index.
            encoder: Whose vectors it will hold.
            dtype: ``int8``, or ``float16`` for twice the disk and a cosine exact to the sixth decimal.

        Raises:
            GalleryError: There is one already, or the folder cannot be written.
            InputError: Another dtype.
        """
        folder = Path(folder)
        now = timestamp()
        manifest = Manifest(encoder=encoder, dtype=dtype, created=now, updated=now)
        if (folder / MANIFEST_FILE).exists():
            raise GalleryError(f"{folder} holds an index already: open it, or choose another folder")
        try:
            (folder / SHARDS_FOLDER).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(folder, error) from error
        manifest.write(folder)
        return cls(folder, manifest)

    @classmethod
    def open(cls, folder: str | Path) -> Index:
        """Open an index for reading; nothing but the manifest is read.

        Raises:
            GalleryError: There is none, or its manifest is damaged or of a later format.
        """
        return cls(Path(folder), Manifest.read(Path(folder)))

    def __len__(self) -> int:
        return self.manifest.rows

    @property
    def encoder(self) -> EncoderIdentity:
        """Whose vectors these are."""
        return self.manifest.encoder

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The shards in ascending order of row numbers."""
        return self.manifest.shards

    @property
    def meta(self) -> GalleryMeta:
        """The encoder as a gallery tells it."""
        encoder = self.manifest.encoder
        return GalleryMeta(encoder.name, encoder.fingerprint, encoder.dim, created=self.manifest.created)

    def check_encoder(self, encoder: Encoder | EncoderIdentity) -> None:
        """Refuse an encoder whose vectors would not be comparable.

        Raises:
            GalleryError: It is another one; the message says what differs.
        """
        mine, other = self.encoder, encoder if isinstance(encoder, EncoderIdentity) else EncoderIdentity.of(encoder)
        if differences := mine.differences(other):
            raise GalleryError(
                f"index {self.folder} belongs to encoder {mine.name} ({mine.fingerprint[:12]}, {mine.dim}-d), this is "
                f"{other.name} ({other.fingerprint[:12]}, {other.dim}-d), which differs in {', '.join(differences)}: "
                f"load {mine.spec or mine.name}, or build another index with {other.name}"
            )

    def refresh(self) -> bool:
        """Read the manifest again; whether anything has changed."""
        found = Manifest.read(self.folder)
        changed = found != self.manifest
        self.adopt(found)
        return changed

    def adopt(self, manifest: Manifest) -> None:
        """Go on with another manifest, forgetting rows held in memory if its shards differ."""
        if manifest.shards != self.manifest.shards:
            self._gallery = None
        self.manifest = manifest

    def path(self, shard: Shard) -> Path:
        """Where a shard lies."""
        return self.folder / SHARDS_FOLDER / shard.file

    @property
    def gallery(self) -> Gallery:
        """All rows, read on first use and kept."""
        if self._gallery is None:
            self._gallery = self.read_gallery()
        return self._gallery

    def read_gallery(self, labels: Sequence[str] = LABELS) -> Gallery:
        """All rows, with the label columns named; a million rows of 512 numbers take 0.5 GB and their labels as much.

        Raises:
            GalleryError: A shard is gone or damaged.
        """
        return self.steady(lambda: _joined(self, labels))

    def read_shard(self, shard: Shard, labels: Sequence[str] = LABELS) -> Gallery:
        """The rows of one shard.

        Raises:
            GalleryError: It is gone or damaged, naming the file.
        """
        from gaea.rag.parquet import read_file

        try:
            rows = read_file(self.path(shard), labels)
        except GalleryError as error:
            raise GalleryError(
                f"{error}; or drop what is damaged with Writer.repair() and build again: other shards are whole"
            ) from error
        if len(rows) != shard.rows or rows.meta.fingerprint != self.encoder.fingerprint:
            raise GalleryError(f"{self.path(shard)} is not the shard that {MANIFEST_FILE} names: verify the index")
        return rows

    def table(self, columns: Sequence[str]) -> Any:
        """Some columns of all rows as a ``pyarrow.Table``, in ascending order of row numbers.

        Raises:
            GalleryError: A shard is gone or damaged.
        """
        from gaea.rag.parquet import empty_table, read_columns

        def read() -> Any:
            import pyarrow as pa

            tables = [read_columns(self.path(shard), columns) for shard in self.shards]
            return pa.concat_tables(tables, promote_options="default") if tables else empty_table(columns)

        return self.steady(read)

    def steady(self, read: Callable[[], T]) -> T:
        """Read something from the shards, again from the start where a writer has replaced them meanwhile."""
        for _ in range(_ATTEMPTS):
            try:
                return read()
            except GalleryError:
                if not self.refresh():
                    raise
        return read()

    def info(self) -> IndexInfo:
        """Count what the index holds: rows per source, country and licence."""
        return count_rows(self)

    def verify(self, *, deep: bool = True) -> tuple[str, ...]:
        """What is wrong with the index, one line each; see :func:`gaea.rag.verify.verify`."""
        from gaea.rag.verify import verify

        return verify(self.folder, deep=deep)

    def export(self, path: str | Path) -> int:
        """Write all rows as one ``.parquet``, ``.geojson`` or ``.csv``; see :func:`gaea.rag.export.export`."""
        from gaea.rag.export import export

        return export(self, Path(path))

    def writer(self) -> Writer:
        """The one who may change the index; a context manager, see :class:`gaea.rag.writer.Writer`."""
        from gaea.rag.writer import Writer

        return Writer(self)


def timestamp() -> str:
    """Now, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _joined(index: Index, labels: Sequence[str]) -> Gallery:
    """All rows of an index; vectors go straight to their place, so that they are never there twice."""
    n, dim = len(index), index.encoder.dim
    codes = np.empty((n, dim), index.manifest.dtype)
    columns: dict[str, list[np.ndarray]] = {}
    start = 0
    for shard in index.shards:
        rows = index.read_shard(shard, labels)
        codes[start : start + len(rows)] = rows.codes
        start += len(rows)
        for name, column in _columns(rows).items():
            columns.setdefault(name, []).append(column)
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    if not columns:
        return _no_rows(index, labels)
    return Gallery(
        codes=codes,
        lat=joined["lat"],
        lon=joined["lon"],
        width_km=joined["width_km"],
        meta=index.meta,
        labels={name: joined[name] for name in labels if name in joined},
        s2=joined["s2"],
        phash=joined["phash"],
        numbers=joined["numbers"],
    )


def _no_rows(index: Index, labels: Sequence[str]) -> Gallery:
    return Gallery.from_embeddings(
        np.zeros((0, index.encoder.dim)),
        [],
        [],
        meta=index.meta,
        labels={name: [] for name in labels},
        s2=[],
        phash=[],
        numbers=[],
        dtype=index.manifest.dtype,
    )


def _columns(rows: Gallery) -> dict[str, Any]:
    plain = {name: getattr(rows, name) for name in ("lat", "lon", "width_km", "s2", "phash", "numbers")}
    return {**plain, **rows.labels}
