"""What is computed once for a gallery and then known of every row: its place, its length, its country in numbers.

Kept beside the gallery for as long as that lives. A million rows take 24 MB for their places and 8 MB for each label.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaea.rag.gallery import Gallery
from gaea.rag.store import Float32Array, IntArray
from gaea.sphere import to_xyz

_known: weakref.WeakKeyDictionary[Gallery, Columns] = weakref.WeakKeyDictionary()


def columns(gallery: Gallery) -> Columns:
    """What is known of a gallery's rows; the same object for the same gallery."""
    if gallery not in _known:
        _known[gallery] = Columns(gallery)
    return _known[gallery]


class Labels:
    """One word per row, shape (n,), held as numbers: comparing a million strings takes as long as a search."""

    def __init__(self, words: NDArray[Any]) -> None:
        import pyarrow as pa

        encoded = pa.array(words, pa.string()).dictionary_encode()
        self._words = [word.casefold() for word in encoded.dictionary.to_pylist()]
        self._codes: IntArray = encoded.indices.to_numpy()

    def among(self, wanted: Sequence[str]) -> NDArray[np.bool_]:
        """Which rows have one of these words, in upper or lower case, shape (n,)."""
        folded = {word.casefold() for word in wanted}
        return np.array([word in folded for word in self._words], bool)[self._codes]


class Columns:
    """Columns of one gallery, each computed when first asked for."""

    def __init__(self, gallery: Gallery) -> None:
        # A strong reference would keep the gallery, and with it this object, for ever.
        self._gallery = weakref.ref(gallery)

    @property
    def gallery(self) -> Gallery:
        """Whose rows these are."""
        gallery = self._gallery()
        if gallery is None:
            raise ReferenceError("the gallery of these columns is gone")
        return gallery

    @cached_property
    def xyz(self) -> NDArray[np.float64]:
        """Places as unit vectors, shape (n, 3)."""
        return to_xyz(self.gallery.lat, self.gallery.lon)

    @cached_property
    def country(self) -> Labels:
        """ISO code of each row."""
        return Labels(self._words("country"))

    @cached_property
    def region(self) -> Labels:
        """First-level division of each row."""
        return Labels(self._words("region"))

    @cached_property
    def source(self) -> Labels:
        """Source of each row."""
        return Labels(self._words("source"))

    def lengths(self, positions: IntArray, rows: Float32Array) -> Float32Array:
        """Lengths of stored rows, whose scale is arbitrary; each is computed once.

        Args:
            positions: Where the rows stand, shape (n,).
            rows: The rows as they are stored, as float32 of shape (n, dim).
        """
        if np.isnan(self._lengths[positions]).any():
            self._lengths[positions] = np.sqrt(np.einsum("ij,ij->i", rows, rows))
        return self._lengths[positions]

    @cached_property
    def _lengths(self) -> Float32Array:
        return np.full(len(self.gallery), np.nan, np.float32)

    def _words(self, name: str) -> NDArray[Any]:
        """A label of every row: its own, the gallery's, or for countries and regions that of its place."""
        from gaea import places

        gallery = self.gallery
        told = gallery.labels.get(name)
        if told is None or not np.any(told != ""):
            if name in {"country", "region"}:
                ask = places.country_codes if name == "country" else places.region_names
                return np.asarray(ask(gallery.lat, gallery.lon))
            return np.full(len(gallery), getattr(gallery.meta, name))
        default = getattr(gallery.meta, name, "")
        return np.where(told == "", default, told) if default else told
