"""Which rows of a ranking are taken: caps that keep one place, one picture or one source from filling the list.

A gallery that anybody can add to is a gallery that anybody can flood. Three caps hold that: rows that are the same
picture count once (by embedding, and by perceptual hash where rows have one), a place gives only so many rows, and so
does a source. Taking the best row that every cap still allows, again and again, is greedy selection as in maximal
marginal relevance (Carbonell & Goldstein, SIGIR 1998), with hard limits in place of its weighted sum.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaea.errors import InputError
from gaea.rag.gallery import Gallery
from gaea.sphere import great_circle_km

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]

_sources: weakref.WeakKeyDictionary[Gallery, IntArray] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Exclusion:
    """Rows that do not count; for evaluation protocols, and for whatever else must not be recalled.

    A row is left out where any of the conditions that are given holds.

    Attributes:
        lat: With ``lon`` and ``within_km``: rows nearer than that to this place, degrees; scalars, or one per query.
        lon: Likewise.
        within_km: 0 leaves nothing out by place.
        rows: Row numbers.
        similarity_from: Rows at least this similar to the query: the query itself, or the same picture saved again.
    """

    lat: ArrayLike = 0.0
    lon: ArrayLike = 0.0
    within_km: float = 0.0
    rows: tuple[int, ...] = ()
    similarity_from: float = float("inf")

    def allows(self, gallery: Gallery, numbers: IntArray, positions: IntArray, similarity: FloatArray) -> BoolArray:
        """Which of the rows found for some queries count: arrays of shape (q, k) in and out."""
        kept = np.asarray(similarity, np.float64) < self.similarity_from
        if self.within_km > 0:
            lat, lon = (np.asarray(place, np.float64).reshape(-1, 1) for place in (self.lat, self.lon))
            kept &= great_circle_km(lat, lon, gallery.lat[positions], gallery.lon[positions]) >= self.within_km
        return kept & ~np.isin(numbers, self.rows) if self.rows else kept

    def __str__(self) -> str:
        told = [f"within {self.within_km:g} km"] if self.within_km > 0 else []
        told += [f"with {len(self.rows)} given numbers"] if self.rows else []
        told += [f"of similarity {self.similarity_from:g} and more"] if np.isfinite(self.similarity_from) else []
        return " or ".join(told) or "of no kind"


@dataclass(frozen=True)
class RetrievalConfig:
    """How many neighbours of each role are found, and what keeps them apart.

    Attributes:
        k_similar: Nearest rows.
        k_dissimilar: Farthest rows, the nearest of the negated query.
        k_hard: Rows that look alike but lie far away, most similar first.
        hard_beyond_km: How far from the consensus a hard row must lie.
        hard_pool: Hard rows are sought among this many nearest rows; deeper down nothing looks alike any more.
        duplicate_similarity: A row whose cosine to one already taken is above this is the same picture.
        duplicate_bits: So is one whose perceptual hash differs in at most this many of its 64 bits; rows without a
            hash (0) are compared by cosine alone.
        per_source_cap: Most rows of one source in each list: a number (int), or a share (float in 0…1) of the length
            asked for, but at least one row. A gallery of a single source is not capped: there is nobody else to ask.
        per_place_cap: Most rows within ``place_km`` of each other.
        place_km: How large a place is.
        exclusions: Rows that do not count at all.

    Raises:
        InputError: A value out of range.
    """

    k_similar: int = 16
    k_dissimilar: int = 4
    k_hard: int = 0
    hard_beyond_km: float = 1000.0
    hard_pool: int = 1000
    duplicate_similarity: float | None = None
    duplicate_bits: int | None = None
    per_source_cap: int | float | None = None
    per_place_cap: int | None = None
    place_km: float = 1.0
    exclusions: tuple[Exclusion, ...] = ()

    def __post_init__(self) -> None:
        """Check every field, naming the ones at fault."""
        cap = self.per_source_cap
        checks = {
            "k_similar": self.k_similar >= 0,
            "k_dissimilar": self.k_dissimilar >= 0,
            "k_hard": self.k_hard >= 0,
            "hard_beyond_km": self.hard_beyond_km >= 0,
            "hard_pool": self.hard_pool >= 1,
            "duplicate_similarity": self.duplicate_similarity is None or -1 <= self.duplicate_similarity <= 1,
            "duplicate_bits": self.duplicate_bits is None or 0 <= self.duplicate_bits < 64,
            "per_source_cap": cap is None or (0 < cap <= 1 if isinstance(cap, float) else cap >= 1),
            "per_place_cap": self.per_place_cap is None or self.per_place_cap >= 1,
            "place_km": self.place_km > 0,
        }
        if bad := [name for name, good in checks.items() if not good]:
            raise InputError("retrieval settings out of range: " + ", ".join(f"{x}={getattr(self, x)!r}" for x in bad))

    @property
    def capped(self) -> bool:
        """Whether a list may have to pass rows over."""
        caps = (self.duplicate_similarity, self.duplicate_bits, self.per_source_cap, self.per_place_cap)
        return any(cap is not None for cap in caps)

    def most_per_source(self, k: int) -> int | None:
        """Rows of one source that a list of k may hold; None for any number."""
        cap = self.per_source_cap
        return max(1, int(cap * k)) if isinstance(cap, float) else cap


def choose(positions: IntArray, gallery: Gallery, k: int, config: RetrievalConfig) -> list[int]:
    """Indices into ``positions``, best first, of at most k rows that the caps allow.

    Args:
        positions: Rows as positions in the gallery's arrays, best first, shape (n,).
        gallery: The rows.
        k: How many are wanted.
        config: The caps.
    """
    if not config.capped:
        return list(range(min(k, len(positions))))
    closed = np.zeros(len(positions), bool)
    near = np.zeros(len(positions), np.int64)
    source = source_codes(gallery)
    most = config.most_per_source(k) if source.max(initial=0) > 0 else None
    source = source[positions]
    taken: list[int] = []
    for index in range(len(positions)):
        if len(taken) == k:
            break
        if closed[index]:
            continue
        taken.append(index)
        closed |= _same_picture(positions, positions[index], gallery, config)
        if config.per_place_cap is not None:
            lat, lon = gallery.lat[positions], gallery.lon[positions]
            near += great_circle_km(lat[index], lon[index], lat, lon) <= config.place_km
            closed |= near >= config.per_place_cap
        if most is not None and int((source[taken] == source[index]).sum()) >= most:
            closed |= source == source[index]
    return taken


def source_codes(gallery: Gallery) -> IntArray:
    """A number for each row's source, from 0, shape (n,); all zeros where there is one source."""
    if gallery not in _sources:
        import pyarrow as pa

        column = gallery.labels.get("source")
        if column is None:
            codes = np.zeros(len(gallery), np.int64)
        else:
            filled = pa.array([value or gallery.meta.source for value in column], pa.string())
            codes = np.asarray(filled.dictionary_encode().indices.to_numpy(), np.int64)
        _sources[gallery] = codes
    return _sources[gallery]


def _same_picture(positions: IntArray, position: int, gallery: Gallery, config: RetrievalConfig) -> BoolArray:
    """Which rows are near-duplicates of one of them, shape (n,)."""
    same = np.zeros(len(positions), bool)
    if config.duplicate_similarity is not None:
        same |= gallery.embeddings[positions] @ gallery.embeddings[position] > config.duplicate_similarity
    if config.duplicate_bits is not None and gallery.phash is not None and gallery.phash[position]:
        hashes = gallery.phash[positions]
        same |= (np.bitwise_count(hashes ^ gallery.phash[position]) <= config.duplicate_bits) & (hashes != 0)
    return same
