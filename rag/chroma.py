"""Chroma as a store: its embedded client, in a folder that is reopened in a tenth of a second.

The index is approximate. On galleries of pictures its recall is near one; on vectors without structure the farthest
rows are found only in part, because a negated query lies outside everything the graph was built on.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from gaea.errors import GalleryError
from gaea.rag.gallery import Gallery
from gaea.rag.store import (
    Float32Array,
    IntArray,
    Progress,
    StoreLostError,
    batches,
    checked_queries,
    checked_rows,
    refuse_taken,
)

# ef_search is four times Chroma's usual 100: a negated query lies far outside the data, and the graph finds its
# neighbours only with a wide beam; it costs a quarter of a millisecond.
HNSW = {"space": "cosine", "ef_construction": 100, "max_neighbors": 16, "ef_search": 400, "sync_threshold": 20_000}
_BATCH = 5_000  # Chroma refuses more than 5,461 at once
_PAGE = 100_000  # ids listed at once
_COLLECTION = "gallery"


class ChromaRows:
    """The rows of one Chroma collection, wherever it lies; the client and its faults are the subclass's own.

    Args:
        connect: Makes the client.
        dim: Length of the vectors.
        collection: Its name there, made if missing.

    Raises:
        GalleryError: It cannot be opened, or holds vectors of another length.
    """

    def __init__(self, connect: Callable[[], Any], dim: int, *, collection: str = _COLLECTION) -> None:
        self.dim = dim
        self._client: Any = self._asked(connect)
        self._collection: Any = self._asked(
            self._client.get_or_create_collection,
            name=collection,
            configuration={"hnsw": HNSW},
            embedding_function=None,
        )
        # Known from the first added row on.
        found = self._asked(self._client.get_collection, name=collection, embedding_function=None)
        held = found._model.dimension
        if held not in {None, dim}:
            self.close()
            raise GalleryError(
                f"collection {collection!r} of {self._where} holds {held}-d vectors, expected {dim}-d: "
                "name another collection, or delete that one"
            )
        self._count = self._counted()

    @property
    def _where(self) -> str:
        """What messages call the place of the store."""
        raise NotImplementedError

    def _fault(self, error: Exception) -> GalleryError:
        """What to tell of a fault that Chroma raised."""
        raise NotImplementedError

    def _asked(self, call: Callable[..., Any], **arguments: Any) -> Any:
        # Chroma's Rust core raises its own kinds, a bare panic among them, and the HTTP client a dozen others.
        try:
            return call(**arguments)
        except Exception as error:
            raise self._fault(error) from error

    def add(self, ids: Sequence[int] | IntArray, embeddings: ArrayLike) -> None:
        """See :meth:`Store.add`. Chroma itself passes over an id that is there already, without a word."""
        new_ids, rows = checked_rows(ids, embeddings, self.dim)
        for names in _named(new_ids):
            taken = self._asked(self._collection.get, ids=names, include=[])["ids"]
            refuse_taken(np.array(taken, dtype=np.int64))
        self._append(new_ids, rows)

    def _append(self, ids: IntArray, rows: Float32Array) -> None:
        for start, names in zip(range(0, len(ids), _BATCH), _named(ids), strict=True):
            part = rows[start : start + _BATCH]
            self._asked(self._collection.add, ids=names, embeddings=part)
            self._count += len(names)

    def query(self, embeddings: ArrayLike, k: int) -> tuple[IntArray, Float32Array]:
        """See :meth:`Store.query`."""
        queries, k = checked_queries(embeddings, self.dim, k, self._count)
        if not k or not len(queries):
            return np.zeros((len(queries), k), np.int64), np.zeros((len(queries), k), np.float32)
        found = self._asked(self._collection.query, query_embeddings=queries, n_results=k, include=["distances"])
        if (fewest := min(map(len, found["ids"]))) < k:
            raise StoreLostError(
                f"{self._where} gave {fewest} of {k} rows: it is damaged, or another process has changed it; "
                "open the gallery again, and the store is put right"
            )
        similarity = np.clip(1 - np.asarray(found["distances"], np.float32), -1, 1)
        return np.array(found["ids"], dtype=np.int64), similarity

    def remove(self, ids: Sequence[int] | IntArray) -> None:
        """See :meth:`Store.remove`."""
        for names in _named(np.asarray(ids, np.int64)):
            self._asked(self._collection.delete, ids=names)
        self._count = self._counted()

    def ids(self) -> IntArray:
        """See :meth:`Store.ids`."""
        pages = [np.zeros(0, np.int64)]
        for start in range(0, self._counted(), _PAGE):
            page = self._asked(self._collection.get, include=[], limit=_PAGE, offset=start)
            pages.append(np.array(page["ids"], dtype=np.int64))
        return np.sort(np.concatenate(pages))

    def count(self) -> int:
        """See :meth:`Store.count`."""
        return self._count

    def _counted(self) -> int:
        return int(self._asked(self._collection.count))

    def close(self) -> None:
        """See :meth:`Store.close`."""
        self._client.close()


class ChromaStore(ChromaRows):
    """Chroma's embedded client: an approximate (HNSW) index in a folder, reopened without being rebuilt.

    Removed under a running reader, it goes on answering from the files it holds open or raises
    :class:`GalleryError`; opening the gallery again rebuilds it.

    Args:
        folder: Made if missing.
        dim: Length of the vectors.
    """

    def __init__(self, folder: str | Path, dim: int) -> None:
        import chromadb
        from chromadb.config import Settings

        self.folder = Path(folder)
        quiet = Settings(anonymized_telemetry=False)
        super().__init__(lambda: chromadb.PersistentClient(str(folder), settings=quiet), dim)

    @property
    def _where(self) -> str:
        return f"vector store {self.folder}"

    def _fault(self, error: Exception) -> GalleryError:
        if not self.folder.exists():
            return StoreLostError(f"{self._where} was deleted: open the gallery again, and it is rebuilt")
        detail = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return StoreLostError(f"{self.folder} is not a usable vector store ({detail}): delete it, and it is rebuilt")

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


def _named(ids: IntArray) -> list[list[str]]:
    """Ids as Chroma wants them, in batches that it takes."""
    names = [str(row) for row in ids.tolist()]
    return [names[start : start + _BATCH] for start in range(0, len(names), _BATCH)]


def _build(folder: Path, gallery: Gallery, progress: Progress | None) -> None:
    """Build beside the final place, then rename; the caller holds the lock, so leftovers here are dead."""
    part = folder.with_suffix(".building")
    shutil.rmtree(part, ignore_errors=True)
    store = ChromaStore(part, gallery.meta.dim)
    try:
        for ids, rows in batches(gallery, _BATCH):
            store._append(ids, rows)
            if progress is not None:
                progress(store.count(), len(gallery))
    finally:
        store.close()
    shutil.rmtree(folder, ignore_errors=True)
    part.replace(folder)
