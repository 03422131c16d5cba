"""Which of a million 64-bit hashes differ from a query in a few bits: multi-index hashing, in numpy.

A hash is cut into four bands of 16 bits. Two hashes that differ in at most ``bits`` bits differ in at most
``bits // 4`` of them in some band, so it is enough to look up every band value that is so near (Norouzi, Punjani and
Fleet, "Fast search in Hamming space with multi-index hashing", CVPR 2012). For up to 7 bits that is 17 values a band.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gaea.errors import InputError

IntArray: TypeAlias = NDArray[np.int64]
HashArray: TypeAlias = NDArray[np.uint64]

MAX_BITS = 11
_BANDS = 4
_VALUES = 1 << 16
_CANDIDATES = 4_000_000  # compared at once, some 100 MB


class HashIndex:
    """An index over distinct hashes, uint64 of shape (n,); built in about 0.1 s for a million."""

    def __init__(self, hashes: HashArray) -> None:
        self.hashes = np.asarray(hashes, np.uint64)
        self._order: list[IntArray] = []
        self._start: list[IntArray] = []
        for band in range(_BANDS):
            values = _band(self.hashes, band)
            self._order.append(np.argsort(values, kind="stable"))
            self._start.append(np.concatenate([[0], np.cumsum(np.bincount(values, minlength=_VALUES))]))

    def near(self, queries: HashArray, bits: int) -> tuple[IntArray, IntArray]:
        """All pairs of a query and a hash that differ in at most ``bits`` bits.

        Args:
            queries: uint64, shape (q,).
            bits: 0 to 11.

        Returns:
            Positions in ``queries`` and in ``hashes``, both of shape (pairs,), ascending by query, each pair once.

        Raises:
            InputError: ``bits`` out of range.
        """
        if not 0 <= bits <= MAX_BITS:
            raise InputError(f"hashes may differ in 0 to {MAX_BITS} of 64 bits, not {bits}: more finds strangers")
        queries = np.asarray(queries, np.uint64)
        found = [self._near_in_band(queries, band, bits) for band in range(_BANDS)]
        # The same pair may be near in several bands.
        pairs = np.unique(np.concatenate(found))
        size = max(len(self.hashes), 1)
        return pairs // size, pairs % size

    def _near_in_band(self, queries: HashArray, band: int, bits: int) -> IntArray:
        """Pairs found through one band, as query * n + position."""
        probes = _band(queries, band)[:, None] ^ _masks(bits // _BANDS)
        first, last = self._start[band][probes], self._start[band][probes + 1]
        sizes = (last - first).sum(axis=1)
        found = [np.zeros(0, np.int64)]
        for block in _blocks(sizes):
            lengths = (last[block] - first[block]).ravel()
            begins = np.repeat(first[block].ravel() - np.cumsum(lengths) + lengths, lengths)
            positions = self._order[band][begins + np.arange(lengths.sum())]
            query = np.repeat(np.arange(block.start, block.stop), sizes[block])
            near = np.bitwise_count(self.hashes[positions] ^ queries[query]) <= bits
            found.append(query[near] * len(self.hashes) + positions[near])
        return np.concatenate(found)


def _band(hashes: HashArray, band: int) -> IntArray:
    return ((hashes >> np.uint64(16 * band)) & np.uint64(_VALUES - 1)).astype(np.int64)


@lru_cache(maxsize=4)
def _masks(radius: int) -> IntArray:
    """What a band value has to be exclusively or-ed with to reach all values within a radius."""
    masks = [sum(1 << bit for bit in bits) for size in range(radius + 1) for bits in combinations(range(16), size)]
    return np.array(masks, np.int64)


def _blocks(sizes: IntArray) -> list[slice]:
    """Runs of queries with few enough candidates together; a query with more stands alone."""
    blocks, start, total = [], 0, 0
    for position, size in enumerate(sizes.tolist()):
        if total and total + size > _CANDIDATES:
            blocks.append(slice(start, position))
            start, total = position, 0
        total += size
    return [*blocks, slice(start, len(sizes))] if total else blocks
