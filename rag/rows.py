"""Records and galleries as rows that an index can take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaea import cells
from gaea.errors import GalleryError
from gaea.rag.gallery import LABELS, Gallery
from gaea.rag.index import Index
from gaea.rag.records import Record


def gallery_of(index: Index, records: Sequence[Record], embeddings: ArrayLike) -> Gallery:
    """Records and their embeddings, float of shape (n, dim), as rows that an index can take.

    Raises:
        GalleryError: Embeddings of another shape, or coordinates that are none.
    """
    dim = index.encoder.dim
    vectors = np.asarray(embeddings, np.float32) if len(records) else np.zeros((0, dim), np.float32)
    if vectors.shape != (len(records), dim):
        raise GalleryError(f"embeddings have shape {vectors.shape}, expected {(len(records), dim)}: one per record")
    return Gallery.from_embeddings(
        vectors,
        [record.lat for record in records],
        [record.lon for record in records],
        meta=index.meta,
        width_km=[record.width_km for record in records],
        labels={name: [getattr(record, name) for record in records] for name in LABELS},
        s2=[record.s2 for record in records],
        phash=[record.phash for record in records],
        dtype=index.manifest.dtype,
    )


def completed(rows: Gallery, numbers: NDArray[np.int64], index: Index) -> Gallery:
    """Rows with every column that an index keeps, so that all shards have the same ones."""
    blank = {name: np.full(len(rows), getattr(rows.meta, name, ""), object) for name in LABELS}
    return replace(
        rows,
        meta=index.meta,
        labels={**blank, **rows.labels},
        s2=cells.from_latlon(rows.lat, rows.lon) if rows.s2 is None else rows.s2,
        phash=np.zeros(len(rows), np.uint64) if rows.phash is None else rows.phash,
        numbers=numbers,
    )
