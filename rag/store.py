"""Nearest neighbours by cosine: the ``Store`` seam, and its exact form in memory.

A store knows row numbers and vectors, nothing else: places, texts and provenance stay in the gallery's Parquet rows,
and a store is a cache that can be thrown away. Similarities are cosines, highest first. The farthest pictures are the
nearest of the negated query (Img2Loc; G3), so one method serves both. On disk and past one machine, see
:mod:`gaea.rag.chroma`, :mod:`gaea.rag.chroma_server` and :mod:`gaea.rag.milvus`; :mod:`gaea.rag.sync` keeps them in
line with an index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, Self, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaea.errors import GalleryError, InputError
from gaea.rag.encoder import unit_rows
from gaea.rag.gallery import Gallery

IntArray: TypeAlias = NDArray[np.int64]
Float32Array: TypeAlias = NDArray[np.float32]
Progress: TypeAlias = Callable[[int, int], None]

ROWS_PER_QUESTION = 20_000
"""A question to a store that has an index costs as much as comparing so many rows, however few neighbours it asks for.

A store for which this is not so has an attribute ``rows_per_question``; see :mod:`gaea.rag.narrow`.
"""

_BLOCK = 16_000_000  # similarities held at once, 64 MB


class StoreLostError(GalleryError):
    """The files or the collection of a store are gone or damaged; it is rebuilt from the rows."""


@runtime_checkable
class Store(Protocol):
    """A vector index over numbered rows. Every method raises GalleryError where the store is gone or damaged."""

    @property
    def dim(self) -> int:
        """Length of its vectors."""
        ...

    def add(self, ids: Sequence[int] | IntArray, embeddings: ArrayLike) -> None:
        """Add rows: ids of shape (n,), embeddings of shape (n, dim), any length but not zero.

        Raises:
            InputError: An id is there already or twice, or the shape, the dimension or a value is wrong.
        """
        ...

    def query(self, embeddings: ArrayLike, k: int) -> tuple[IntArray, Float32Array]:
        """The k rows of highest cosine for each query of shape (q, dim).

        Returns:
            Ids and similarities, both of shape (q, min(k, count)), highest first.

        Raises:
            InputError: The dimension or a value is wrong, or k is below 1.
        """
        ...

    def remove(self, ids: Sequence[int] | IntArray) -> None:
        """Remove rows by their ids; one that is not there is passed over, so that a broken removal can be repeated."""
        ...

    def ids(self) -> IntArray:
        """The ids of all rows, ascending; a few seconds for a million of them."""
        ...

    def count(self) -> int:
        """How many rows it holds."""
        ...

    def close(self) -> None:
        """Release files; the store is not used afterwards."""
        ...


class MemoryStore:
    """Exact search by blocks of matrix products; equal similarities are ordered by when they were added."""

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._ids: IntArray = np.zeros(0, np.int64)
        self._rows: Float32Array = np.zeros((0, dim), np.float32)

    @classmethod
    def open(cls, gallery: Gallery) -> Self:
        """A store over all rows of a gallery, sharing its memory."""
        store = cls(gallery.meta.dim)
        store._ids, store._rows = gallery.row_numbers, gallery.embeddings
        return store

    def add(self, ids: Sequence[int] | IntArray, embeddings: ArrayLike) -> None:
        """See :meth:`Store.add`."""
        new_ids, rows = checked_rows(ids, embeddings, self.dim)
        refuse_taken(np.intersect1d(new_ids, self._ids))
        self._ids = np.concatenate([self._ids, new_ids])
        self._rows = np.concatenate([self._rows, rows])

    def query(self, embeddings: ArrayLike, k: int) -> tuple[IntArray, Float32Array]:
        """See :meth:`Store.query`."""
        queries, k = checked_queries(embeddings, self.dim, k, self.count())
        ids, similarity = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)

        block = max(1, _BLOCK // max(1, self.count()))
        for start in range(0, len(queries) if k else 0, block):
            found = queries[start : start + block] @ self._rows.T
            best = np.argpartition(-found, k - 1, axis=1)[:, :k]
            order = np.lexsort((best, -np.take_along_axis(found, best, axis=1)), axis=1)
            best = np.take_along_axis(best, order, axis=1)
            ids[start : start + block] = self._ids[best]
            similarity[start : start + block] = np.take_along_axis(found, best, axis=1)
        return ids, np.clip(similarity, -1, 1)

    @property
    def rows_per_question(self) -> int:
        """How many rows a question is compared with: all; see :mod:`gaea.rag.narrow`."""
        return self.count()

    def remove(self, ids: Sequence[int] | IntArray) -> None:
        """See :meth:`Store.remove`."""
        kept = ~np.isin(self._ids, np.asarray(ids, np.int64))
        self._ids, self._rows = self._ids[kept], self._rows[kept]

    def ids(self) -> IntArray:
        """See :meth:`Store.ids`."""
        return np.sort(self._ids)

    def count(self) -> int:
        """See :meth:`Store.count`."""
        return len(self._ids)

    def close(self) -> None:
        """See :meth:`Store.close`."""


def open_store(gallery: Gallery, backend: str, cache_dir: str | Path, progress: Progress | None = None) -> Store:
    """The store of one gallery that does not change, built if need be; an index that grows is kept by ``rag.sync``.

    Args:
        gallery: The rows; ids in the store are row numbers.
        backend: ``chroma`` (approximate, on disk) or ``memory`` (exact, nothing written).
        cache_dir: Folder for what Chroma builds.
        progress: Called with (rows done, rows in all) while building.

    Raises:
        InputError: Another backend.
        GalleryError: The cache cannot be written.
    """
    if backend == "memory":
        return MemoryStore.open(gallery)
    if backend == "chroma":
        from gaea.rag.chroma import ChromaStore

        return ChromaStore.open(gallery, cache_dir, progress)
    raise InputError(f"store {backend!r} is not one of chroma, memory")


def batches(gallery: Gallery, size: int, chosen: IntArray | None = None) -> Iterator[tuple[IntArray, Float32Array]]:
    """Row numbers and unit rows of a gallery, ``size`` at a time, so that a large one is never dequantised at once.

    Args:
        gallery: The rows.
        size: Rows per batch.
        chosen: Positions of the rows to give; all if left out.
    """
    positions = np.arange(len(gallery)) if chosen is None else chosen
    for start in range(0, len(positions), size):
        part = positions[start : start + size]
        yield gallery.row_numbers[part], unit_rows(gallery.codes[part])


def checked_rows(ids: Sequence[int] | IntArray, embeddings: ArrayLike, dim: int) -> tuple[IntArray, Float32Array]:
    """Ids and unit rows fit to be added, or :class:`InputError`."""
    rows = checked_vectors(embeddings, dim)
    numbers: IntArray = np.asarray(ids, np.int64)
    if numbers.shape != (len(rows),):
        raise InputError(f"{numbers.size} ids for {len(rows)} embeddings: expected one each")
    values, times = np.unique(numbers, return_counts=True)
    refuse_taken(values[times > 1])
    return numbers, rows


def checked_queries(embeddings: ArrayLike, dim: int, k: int, count: int) -> tuple[Float32Array, int]:
    """Unit queries, and k cut to what there is, or :class:`InputError`."""
    if k < 1:
        raise InputError(f"k is {k}: expected at least 1 neighbour")
    return checked_vectors(embeddings, dim), min(k, count)


def checked_vectors(embeddings: ArrayLike, dim: int) -> Float32Array:
    """Finite rows that have a direction, at unit length, shape (n, dim), or :class:`InputError`."""
    vectors = np.asarray(embeddings, np.float32)
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise InputError(f"embeddings of shape {vectors.shape}: this store holds vectors of shape (n, {dim})")
    unusable = np.flatnonzero(~(np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)))
    if len(unusable):
        raise InputError(f"embedding {unusable[0]} is zero or not finite: it has no direction to compare")
    return unit_rows(vectors)


def refuse_taken(taken: IntArray) -> None:
    """Raise :class:`InputError` if any id is taken."""
    if len(taken):
        shown = ", ".join(map(str, taken[:5]))
        raise InputError(f"ids {shown}{' …' if len(taken) > 5 else ''} are in the store already or given twice")
