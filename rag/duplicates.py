"""The same picture twice: the same file by its hash, the same picture saved again by its looks.

Two pictures are near-duplicates when their perceptual hashes differ in a few bits *and* their embeddings are close;
hashes alone take flat pictures, such as sea from orbit, for one another. What has been seen before stays: a duplicate
is always one of an *earlier* row.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gaea.errors import InputError
from gaea.rag.encoder import unit_rows
from gaea.rag.hashindex import MAX_BITS, HashIndex
from gaea.rag.index import Index
from gaea.rag.manifest import Shard

IntArray: TypeAlias = NDArray[np.int64]
Float32Array: TypeAlias = NDArray[np.float32]

_SAME_HASH = 16  # earliest rows of one hash that a picture is compared with: the plain sea comes ten thousand times
_COMPARED = 32  # nearest hashes of a picture whose embeddings are compared with its own
_PAIRS = 32_768  # embeddings compared at once
_CACHED_BYTES = 256 * 2**20


@dataclass(frozen=True)
class DuplicateConfig:
    """What counts as a duplicate, and what is done about it.

    Attributes:
        exact: ``drop`` files that are byte for byte there already, or ``keep`` them.
        near: ``report`` pictures that are saved again, ``drop`` them, or ``keep`` them without looking.
        bits: Most of 64 bits in which perceptual hashes of near-duplicates differ, 0 to 11.
        cosine: Least cosine of their embeddings.

    Raises:
        InputError: Another word, or a number out of range.
    """

    exact: str = "drop"
    near: str = "report"
    bits: int = 6
    cosine: float = 0.95

    def __post_init__(self) -> None:
        """Check every field."""
        if self.exact not in {"drop", "keep"}:
            raise InputError(f"exact duplicates are 'drop' or 'keep', not {self.exact!r}")
        if self.near not in {"report", "drop", "keep"}:
            raise InputError(f"near-duplicates are 'report', 'drop' or 'keep', not {self.near!r}")
        if not 0 <= self.bits <= MAX_BITS or not -1 <= self.cosine <= 1:
            raise InputError(f"near-duplicates within {self.bits} bits and cosine {self.cosine}: out of range")


@dataclass(frozen=True)
class Duplicate:
    """A picture that an earlier row shows already.

    Attributes:
        row: Number of the earlier row.
        exact: Whether the files are the same; otherwise only what they show.
        bits: In how many bits the perceptual hashes differ.
        cosine: Of the embeddings.
    """

    row: int
    exact: bool
    bits: int = 0
    cosine: float = 1.0

    def __str__(self) -> str:
        if self.exact:
            return f"the same file as row {self.row}"
        return f"the same picture as row {self.row} ({self.bits} bits apart, cosine {self.cosine:.3f})"


class DuplicateFinder:
    """Knows the hashes of an index's rows, and tells of new pictures which are there already.

    About 150 bytes a row; an examination of a few thousand pictures against a million takes about half a second.
    """

    def __init__(self, index: Index, config: DuplicateConfig | None = None, *, empty: bool = False) -> None:
        self.config = config or DuplicateConfig()
        self._index = index
        self._rows_of_file: dict[bytes, int] = {}
        self._numbers, self._hashes = np.zeros(0, np.int64), np.zeros(0, np.uint64)
        self._cache: OrderedDict[str, tuple[IntArray, NDArray[np.generic]]] = OrderedDict()
        if not empty:
            known = index.table(["row", "sha256", "phash"])
            self.add(known["row"].to_numpy(), known["sha256"].to_pylist(), known["phash"].to_numpy())

    def add(self, numbers: IntArray, sha256: Sequence[str | None], phash: NDArray[np.uint64]) -> None:
        """Remember rows that the index now holds."""
        for number, digest in zip(numbers.tolist(), sha256, strict=True):
            if digest:
                self._rows_of_file.setdefault(bytes.fromhex(digest), number)
        if self.config.near != "keep":
            hashed = phash != 0
            self._numbers = np.concatenate([self._numbers, numbers[hashed]])
            self._hashes = np.concatenate([self._hashes, phash[hashed]])

    def examine(
        self,
        sha256: Sequence[str],
        phash: NDArray[np.uint64],
        embeddings: Float32Array,
        *,
        numbers: IntArray | None = None,
    ) -> tuple[NDArray[np.bool_], list[Duplicate | None]]:
        """Which of some new pictures are there already, or come twice among themselves.

        Args:
            sha256: Of the files, hex, shape (n,); empty where unknown.
            phash: Shape (n,); 0 where unknown.
            embeddings: Unit rows, shape (n, dim).
            numbers: Where they are rows of the index already: their numbers, shape (n,). None of them is dropped.

        Returns:
            Which pictures are to be added, shape (n,), and what each is a duplicate of. Rows that are named may be
            among the new ones: those to be added take the index's next numbers in their order.
        """
        near = self._near(phash, embeddings) if self.config.near != "keep" else {}
        added = np.zeros(len(sha256), bool)
        duplicates: list[Duplicate | None] = []
        new_files: dict[str, int] = {}
        number_of: dict[int, int] = {}
        for position, digest in enumerate(sha256):
            found = self._same_file(digest, new_files)
            for row, bits, cosine in near.get(position, ()) if found is None else ():
                # A row of this batch is told by its position, below zero; one that was dropped is no row.
                number = number_of.get(-row - 1) if row < 0 else row
                if number is not None:
                    found = Duplicate(number, False, bits, cosine)
                    break
            policy = "add" if found is None else self.config.exact if found.exact else self.config.near
            if policy != "drop" or numbers is not None:
                added[position] = True
                next_row = self._index.manifest.next_row + len(number_of)
                number_of[position] = next_row if numbers is None else int(numbers[position])
                new_files.setdefault(digest, number_of[position])
            duplicates.append(found)
        return added, duplicates

    def _same_file(self, digest: str, new_files: dict[str, int]) -> Duplicate | None:
        if not digest:
            return None
        row = self._rows_of_file.get(bytes.fromhex(digest), new_files.get(digest))
        return None if row is None else Duplicate(row, exact=True)

    def _near(self, phash: NDArray[np.uint64], embeddings: Float32Array) -> dict[int, list[tuple[int, int, float]]]:
        """Per new picture the (row, bits, cosine) of what it repeats, closest first; rows of the batch are < 0."""
        batch = np.flatnonzero(phash)
        numbers = np.concatenate([self._numbers, -batch - 1])
        hashes = np.concatenate([self._hashes, phash[batch]])
        query, row, bits = _near_rows(hashes, phash[batch], self.config.bits)
        query, row = batch[query], numbers[row]
        # Of the batch only earlier pictures count; of very many copies the nearest few are enough.
        earlier = np.flatnonzero((row >= 0) | (-row - 1 < query))
        kept = earlier[_first_per_query(query[earlier], bits[earlier])]
        query, row, bits = query[kept], row[kept], bits[kept]
        cosine = np.empty(len(row), np.float32)
        by_row = np.argsort(row, kind="stable")
        for start in range(0, len(row), _PAIRS):
            at = by_row[start : start + _PAIRS]
            cosine[at] = np.einsum("nd,nd->n", embeddings[query[at]], self._vectors(row[at], embeddings))
        found: dict[int, list[tuple[int, int, float]]] = {}
        for one in np.lexsort((bits, -cosine)):
            if cosine[one] >= self.config.cosine:
                found.setdefault(int(query[one]), []).append((int(row[one]), int(bits[one]), float(cosine[one])))
        return found

    def _vectors(self, rows: IntArray, batch: Float32Array) -> Float32Array:
        """Embeddings of rows of the index, or of the batch where a row is below zero."""
        vectors = np.empty((len(rows), batch.shape[1]), np.float32)
        vectors[rows < 0] = batch[-rows[rows < 0] - 1]
        shards = self._index.shards
        last = np.array([shard.last for shard in shards], np.int64)
        stored = np.flatnonzero(rows >= 0)
        for at in np.unique(np.searchsorted(last, rows[stored])):
            shard = shards[at]
            mine = stored[(rows[stored] >= shard.first) & (rows[stored] <= shard.last)]
            numbers, codes = self._codes(shard)
            vectors[mine] = unit_rows(codes[np.searchsorted(numbers, rows[mine])])
        return vectors

    def _codes(self, shard: Shard) -> tuple[IntArray, NDArray[np.generic]]:
        """Numbers and vectors of a shard; the last few are kept, because copies lie close together."""
        if shard.sha256 not in self._cache:
            rows = self._index.read_shard(shard, ())
            self._cache[shard.sha256] = (rows.row_numbers, rows.codes)
        self._cache.move_to_end(shard.sha256)
        while len(self._cache) > 1 and sum(codes.nbytes for _, codes in self._cache.values()) > _CACHED_BYTES:
            self._cache.popitem(last=False)
        return self._cache[shard.sha256]


def find_duplicates(index: Index, config: DuplicateConfig | None = None) -> Iterator[tuple[int, Duplicate]]:
    """All rows of an index that repeat an earlier row, with what they repeat, in ascending order.

    Raises:
        GalleryError: A shard is gone or damaged.
    """
    finder = DuplicateFinder(index, config, empty=True)
    for shard in index.shards:
        rows = index.read_shard(shard, ("sha256",))
        numbers, files = rows.row_numbers, rows.labels["sha256"].tolist()
        phash = np.zeros(len(rows), np.uint64) if rows.phash is None else rows.phash
        _, duplicates = finder.examine(files, phash, rows.embeddings, numbers=numbers)
        finder.add(numbers, files, phash)
        for number, duplicate in zip(numbers.tolist(), duplicates, strict=True):
            if duplicate is not None:
                yield number, duplicate


def _first_per_query(query: IntArray, bits: IntArray) -> IntArray:
    """Positions of the nearest few pairs of each query."""
    order = np.lexsort((bits, query))
    _, first, sizes = np.unique(query[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(first, sizes)
    return np.asarray(order[rank < _COMPARED], np.int64)


def _near_rows(
    hashes: NDArray[np.uint64], queries: NDArray[np.uint64], bits: int
) -> tuple[IntArray, IntArray, IntArray]:
    """Pairs of queries and rows whose hashes are near, with their distances; few rows of each distinct hash."""
    distinct, group, sizes = np.unique(hashes, return_inverse=True, return_counts=True)
    members = np.argsort(group, kind="stable")
    starts = np.cumsum(sizes) - sizes
    query, at = HashIndex(distinct).near(queries, bits)
    apart = np.bitwise_count(distinct[at] ^ queries[query]).astype(np.int64)
    taken = np.minimum(sizes[at], _SAME_HASH)
    offset = np.arange(taken.sum()) - np.repeat(np.cumsum(taken) - taken, taken)
    rows = members[np.repeat(starts[at], taken) + offset]
    return np.repeat(query, taken), rows, np.repeat(apart, taken)
