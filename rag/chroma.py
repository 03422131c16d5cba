"""Chroma's embedded client as a store: built once from a gallery, reopened in a tenth of a second.

The index is approximate. On galleries of pictures its recall is near one; on vectors without structure the farthest
rows are found only in part, because a negated query lies outside everything the graph was built on.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from gaea.errors import GalleryError
from gaea.rag.gallery import Gallery
from gaea.rag.store import Float32Array, IntArray, Progress, checked_queries, checked_rows, refuse_taken

# ef_search is four times Chroma's usual 100: a negated query lies far outside the data, and the graph finds its
# neighbours only with a wide beam; it costs a quarter of a millisecond.
HNSW = {"space": "cosine", "ef_construction": 100, "max_neighbors": 16, "ef_search": 400, "sync_threshold": 20_000}
_BATCH = 5_000  # Chroma refuses more than 5,461 at once
_COLLECTION = "gallery"


class ChromaStore:
    """Chroma's embedded client: an approximate (HNSW) index in a folder, reopened without being rebuilt.

    ``folder`` is made if missing, ``dim`` is the length of the vectors. Raises :class:`GalleryError` where the folder
    holds something Chroma cannot open.
    """

    def __init__(self, folder: str | Path, dim: int) -> None:
        import chromadb
        from chromadb.config import Settings

        self.dim = dim
        try:
            self._client: Any = chromadb.PersistentClient(str(folder), settings=Settings(anonymized_telemetry=False))
            self._collection: Any = self._client.get_or_create_collection(
                _COLLECTION, configuration={"hnsw": HNSW}, embedding_function=None
            )
            self._count = int(self._collection.count())
        # Chroma's Rust core raises its own kinds, a bare panic among them; the caller can only rebuild.
        except Exception as error:
            raise GalleryError(f"{folder} is not a usable vector store: delete it, and it is rebuilt") from error

    @classmethod
    def open(cls, gallery: Gallery, cache_dir: str | Path, progress: Progress | None = None) -> Self:
        """Open the index of a gallery, building it first if this cache has none.

        The index is keyed by the gallery's content and the settings. It is built in a folder of its own that gets its
        final name only when complete, so a build that was killed is never used. A second process that wants the same
        index waits for the first, then opens what it built.

        Args:
            gallery: The rows; ids in the store are row numbers.
            cache_dir: Folder for indexes, made if missing.
            progress: Called with (rows done, rows in all) while building.

        Raises:
            GalleryError: The cache cannot be written.
        """
        from filelock import FileLock

        key = hashlib.sha256(f"{gallery.content_hash} {json.dumps(HNSW, sort_keys=True)}".encode()).hexdigest()[:24]
        folder = Path(cache_dir, f"chroma-{key}")
        if (store := cls._reopen(folder, gallery)) is not None:
            return store
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.with_suffix(".lock")):
                if (store := cls._reopen(folder, gallery)) is None:
                    _build(folder, gallery, progress)
                    store = cls(folder, gallery.meta.dim)
        except OSError as error:
            detail = error.strerror or str(error)
            raise GalleryError(
                f"vector store cannot be built in {cache_dir}: {detail}; choose another cache"
            ) from error
        return store

    @classmethod
    def _reopen(cls, folder: Path, gallery: Gallery) -> Self | None:
        if not folder.is_dir():
            return None
        try:
            store = cls(folder, gallery.meta.dim)
        except GalleryError:
            return None
        if store.count() == len(gallery):
            return store
        store.close()
        return None

    def add(self, ids: Sequence[int] | IntArray, embeddings: ArrayLike) -> None:
        """See :meth:`Store.add`. Chroma itself passes over an id that is there already, without a word."""
        new_ids, rows = checked_rows(ids, embeddings, self.dim)
        for start in range(0, len(new_ids), _BATCH):
            names = [str(row) for row in new_ids[start : start + _BATCH]]
            refuse_taken(np.array(self._collection.get(ids=names, include=[])["ids"], dtype=np.int64))
        self._append(new_ids, rows, None)

    def _append(self, ids: IntArray, rows: Float32Array, progress: Progress | None) -> None:
        for start in range(0, len(ids), _BATCH):
            names = [str(row) for row in ids[start : start + _BATCH]]
            self._collection.add(ids=names, embeddings=rows[start : start + _BATCH])
            self._count += len(names)
            if progress is not None:
                progress(start + len(names), len(ids))

    def query(self, embeddings: ArrayLike, k: int) -> tuple[IntArray, Float32Array]:
        """See :meth:`Store.query`."""
        queries, k = checked_queries(embeddings, self.dim, k, self._count)
        if not k or not len(queries):
            return np.zeros((len(queries), k), np.int64), np.zeros((len(queries), k), np.float32)
        found = self._collection.query(query_embeddings=queries, n_results=k, include=["distances"])
        if min(map(len, found["ids"])) < k:
            raise GalleryError(
                f"vector store returned fewer than {k} rows: it is damaged; delete it, and it is rebuilt"
            )
        similarity = np.clip(1 - np.asarray(found["distances"], np.float32), -1, 1)
        return np.array(found["ids"], dtype=np.int64), similarity

    def count(self) -> int:
        """See :meth:`Store.count`."""
        return self._count

    def close(self) -> None:
        """See :meth:`Store.close`."""
        self._client.close()


def _build(folder: Path, gallery: Gallery, progress: Progress | None) -> None:
    """Build beside the final place, then rename; the caller holds the lock, so leftovers here are dead."""
    part = folder.with_suffix(".building")
    shutil.rmtree(part, ignore_errors=True)
    store = ChromaStore(part, gallery.meta.dim)
    try:
        store._append(np.arange(len(gallery), dtype=np.int64), gallery.embeddings, progress)
    finally:
        store.close()
    shutil.rmtree(folder, ignore_errors=True)
    part.replace(folder)
