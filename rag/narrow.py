"""Neighbours from one part of the world only: a country, a region, a box, a circle, a source.

Metadata filters of vector stores walk over all rows and cost a tenth of a second per hundred thousand. Here a
narrowing is a mask over rows whose places are in memory anyway. Few rows that match are compared one by one, which is
exact; of many, the store is asked for so many neighbours that enough of them should match, and asked again for more
where they do not. When that would be dearer than comparing, the rows are compared after all, so that the answer is
always that of an exact search over the mask, up to the store's own recall.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaea import narrowing
from gaea.errors import InputError
from gaea.rag.columns import columns
from gaea.rag.gallery import Gallery
from gaea.rag.store import ROWS_PER_QUESTION, Float32Array, IntArray, Store, checked_queries
from gaea.sphere import EARTH_RADIUS_KM, to_xyz

BoolArray: TypeAlias = NDArray[np.bool_]

ROWS_PER_NEIGHBOUR = 150
"""Each neighbour that a store is asked for costs as much as comparing so many rows.

Measured as processor time with 512 numbers per row: 0.12 ms per thousand rows of a million compared; Chroma embedded
takes 2 to 4 ms for a question, and 0.025 ms for each neighbour that it lists.
"""

MAX_ASKED = 10_000
"""More neighbours are asked of no store: Milvus lists 16,384 at most."""

_MARGIN = 2.0  # places are not drawn at random: what looks alike often lies together
_SIMILARITIES = 16_000_000  # held at once, 64 MB
_BLOCK_BYTES = 2_000_000  # rows dequantised at once, so that they stay in the processor's cache


class Narrowing(narrowing.Narrowing):
    """:class:`gaea.narrowing.Narrowing` that also knows which rows of a gallery it means."""

    def mask(self, gallery: Gallery) -> BoolArray:
        """See :func:`allowed_rows`."""
        return allowed_rows(self, gallery)


def allowed_rows(meant_by: narrowing.Narrowing, gallery: Gallery) -> BoolArray:
    """Which rows of a gallery fulfil all conditions, shape (n,).

    The first question about countries or regions of a gallery whose rows do not tell them computes them for all
    rows from the tables of :mod:`gaea.places`; a few milliseconds for a million rows afterwards.
    """
    known = columns(gallery)
    meant = np.ones(len(gallery), bool)
    if meant_by.countries:
        meant &= known.country.among([code.upper() for code in meant_by.countries])
    if meant_by.regions:
        meant &= known.region.among(meant_by.regions)
    if meant_by.sources:
        meant &= known.source.among(meant_by.sources)
    if meant_by.box is not None:
        meant &= _in_box(gallery, meant_by.box)
    if meant_by.circle is not None:
        lat, lon, radius_km = meant_by.circle
        # Twenty times faster than great circles, and right to 0.2 m; the slack keeps the centre in its own circle.
        meant &= known.xyz @ to_xyz(lat, lon) >= np.cos(min(radius_km / EARTH_RADIUS_KM, np.pi)) - 4e-16
    return meant


def narrowed_query(
    store: Store, gallery: Gallery, embeddings: ArrayLike, k: int, mask: BoolArray
) -> tuple[IntArray, Float32Array]:
    """The k rows of highest cosine among those that a mask allows, for each query.

    Args:
        store: Index over the gallery's row numbers.
        gallery: The rows.
        embeddings: Queries, shape (q, dim).
        k: How many per query.
        mask: Rows that may be neighbours, shape (n,).

    Returns:
        Row numbers and similarities, both of shape (q, min(k, rows that match)), highest first.

    Raises:
        InputError: As the store does.
    """
    matching = np.flatnonzero(mask)
    queries, k = checked_queries(embeddings, gallery.meta.dim, k, len(matching))
    ids, similarity = np.zeros((len(queries), k), np.int64), np.zeros((len(queries), k), np.float32)
    open_ = np.arange(len(queries))
    asked = int(np.ceil(_MARGIN * k * len(gallery) / max(1, len(matching)))) + 8
    # A store that compares with all of its rows anyway says so, and is asked only where nearly all of them match.
    question = getattr(store, "rows_per_question", ROWS_PER_QUESTION)
    dearest = min(MAX_ASKED, store.count(), (len(matching) - question) / max(1, ROWS_PER_NEIGHBOUR))
    while len(open_) and asked < dearest:
        found, alike = store.query(queries[open_], asked)
        allowed = mask[gallery.positions(found)]
        filled = allowed.sum(axis=1) >= k
        # A stable sort brings the allowed rows forward without disturbing their order.
        order = np.argsort(~allowed[filled], axis=1, kind="stable")[:, :k]
        ids[open_[filled]] = np.take_along_axis(found[filled], order, axis=1)
        similarity[open_[filled]] = np.take_along_axis(alike[filled], order, axis=1)
        open_, asked = open_[~filled], 4 * asked
    block = max(1, _SIMILARITIES // max(1, len(matching)))
    for start in range(0, len(open_), block):
        part = open_[start : start + block]
        ids[part], similarity[part] = _compared(gallery, queries[part], k, matching)
    return ids, similarity


class NarrowedStore:
    """A store as seen through a mask: it finds and counts the allowed rows only, and cannot be changed.

    Args:
        store: Index over the gallery's row numbers; closed with this one.
        gallery: The rows.
        mask: Rows that may be neighbours, shape (n,), as :meth:`Narrowing.mask` gives it.

    Raises:
        InputError: No row is allowed.
    """

    def __init__(self, store: Store, gallery: Gallery, mask: BoolArray) -> None:
        if not mask.any():
            raise InputError(f"none of the {len(gallery):,} rows lies where neighbours are asked from: widen the area")
        self.dim = gallery.meta.dim
        self._store, self._gallery, self._mask = store, gallery, mask
        self._count = int(mask.sum())

    def query(self, embeddings: ArrayLike, k: int) -> tuple[IntArray, Float32Array]:
        """See :meth:`Store.query`."""
        return narrowed_query(self._store, self._gallery, embeddings, k, self._mask)

    def count(self) -> int:
        """How many rows are allowed."""
        return self._count

    def ids(self) -> IntArray:
        """See :meth:`Store.ids`."""
        return self._gallery.row_numbers[self._mask]

    def add(self, ids: Sequence[int] | IntArray, embeddings: ArrayLike) -> None:  # noqa: ARG002
        """InputError: add to the store itself."""
        raise InputError("rows cannot be added to a narrowed store: add them to the store itself")

    def remove(self, ids: Sequence[int] | IntArray) -> None:  # noqa: ARG002
        """InputError: remove from the store itself."""
        raise InputError("rows cannot be removed from a narrowed store: remove them from the store itself")

    def close(self) -> None:
        """See :meth:`Store.close`."""
        self._store.close()


def _compared(gallery: Gallery, queries: Float32Array, k: int, positions: IntArray) -> tuple[IntArray, Float32Array]:
    """Exact search over some rows, dequantised block by block; equal similarities are ordered by row number."""
    similarity = np.empty((len(queries), len(positions)), np.float32)
    lengths, dim = columns(gallery).lengths, gallery.meta.dim
    size = max(1, min(len(positions), _BLOCK_BYTES // (4 * dim)))
    # Memory that is handed back to the system after each block would cost as much as the comparing.
    codes, rows = np.empty((size, dim), gallery.codes.dtype), np.empty((size, dim), np.float32)
    for start in range(0, len(positions) if len(queries) else 0, size):
        at = positions[start : start + size]
        np.take(gallery.codes, at, axis=0, out=codes[: len(at)], mode="clip")
        part = rows[: len(at)]
        part[:] = codes[: len(at)]
        similarity[:, start : start + size] = (queries @ part.T) / lengths(at, part)
    best = np.argpartition(-similarity, k - 1, axis=1)[:, :k] if k else np.zeros((len(queries), 0), np.int64)
    order = np.lexsort((best, -np.take_along_axis(similarity, best, axis=1)), axis=1)
    best = np.take_along_axis(best, order, axis=1)
    found = np.take_along_axis(similarity, best, axis=1)
    return gallery.row_numbers[positions[best]], np.clip(found, -1, 1)


def _in_box(gallery: Gallery, box: tuple[float, float, float, float]) -> BoolArray:
    south, west, north, east = box
    meant: BoolArray = (gallery.lat >= south) & (gallery.lat <= north)
    after, before = gallery.lon >= west, gallery.lon <= east
    return meant & (after & before if west <= east else after | before)
