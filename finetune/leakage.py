"""Does a training file hold what another one is to examine? By place, by picture and by question.

Places are compared by the blocks of :mod:`gaea.finetune.splits`, pictures by name, by the bytes of their files and by
their looks. Looks alone take flat pictures for one another, so they are told apart from what is certain.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaea.errors import InputError
from gaea.finetune.dataset import Example
from gaea.finetune.splits import BLOCKS, Part, block_address, part_of
from gaea.rag.hashindex import HashIndex

_TOLD = 5  # rows of each sort that are named
NEAR_BITS = 6  # of 64, in which pictures that were saved again may differ (the index's own setting)


@dataclass(frozen=True)
class Leakage:
    """What an examination shares with the training.

    Attributes:
        rows: Of the training file.
        held_rows: Of the other one.
        unplaced: Rows of the other one without coordinates, of which nothing can be said by place.
        trained_on_held_out: Training rows within blocks that :mod:`gaea.finetune.splits` holds out.
        found: For each sort of leak, numbers of the rows of the other file that have it, from 1, ascending.
    """

    rows: int
    held_rows: int
    unplaced: int
    trained_on_held_out: int
    found: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    @property
    def leaks(self) -> bool:
        """Whether anything is shared."""
        return self.trained_on_held_out > 0 or any(len(rows) for rows in self.found.values())

    def lines(self) -> Iterator[str]:
        """The findings, a line each."""
        yield f"{self.held_rows:,} rows against {self.rows:,} rows of training"
        for sort, rows in self.found.items():
            told = ", ".join(f"{row:,}" for row in rows[:_TOLD])
            more = ", …" if len(rows) > _TOLD else ""
            yield f"{sort}: {len(rows):,} rows" + (f" (row {told}{more})" if len(rows) else "")
        if self.unplaced:
            yield f"no coordinates: {self.unplaced:,} rows, which nobody can tell apart by place"
        if self.trained_on_held_out:
            yield f"training rows within held-out blocks: {self.trained_on_held_out:,}"


def compare(
    training: Iterable[Example], held: Iterable[Example], *, pictures: Path | None = None, bits: int = NEAR_BITS
) -> Leakage:
    """Look for what two files share.

    Args:
        training: Examples of the one; read once.
        held: Examples of the other.
        pictures: Folder of the picture files, to compare them by bytes and looks; without it only rows that carry
            ``sha256`` and ``phash`` among our facts are.
        bits: Most of 64 bits in which the hashes of looks differ.

    Raises:
        InputError: No picture is found in the folder.
    """
    hashes = _FileHashes(pictures) if pictures else None
    here, there = _Traces(training, hashes), _Traces(held, hashes)
    if hashes and not hashes.read:
        raise InputError(f"{pictures} has none of the pictures: name the folder that their paths begin at")
    found = {
        "same block of the map": there.rows_of(np.isin(there.blocks, here.blocks[here.blocks >= 0])),
        "picture of the same name": there.picture_rows(np.isin(there.names, here.names)),
        "same question about it": there.rows_of(np.isin(there.questions, here.questions)),
        "picture with the same bytes": there.picture_rows((there.sha != 0) & np.isin(there.sha, here.sha)),
        "picture that looks the same": there.picture_rows(_alike(here.phash, there.phash, bits)),
    }
    return Leakage(here.rows, there.rows, int((there.blocks < 0).sum()), here.held_out, found)


class _Traces:
    """What is remembered of the rows of a file: 64-bit numbers in arrays."""

    def __init__(self, examples: Iterable[Example], hashes: _FileHashes | None) -> None:
        self.rows = self.held_out = 0
        lat, lon = array("d"), array("d")
        questions, names, rows, sha, phash = array("q"), array("q"), array("q"), array("q"), array("Q")
        for example in examples:
            self.rows += 1
            place = example.place or (np.nan, np.nan)
            lat.append(place[0])
            lon.append(place[1])
            questions.append(hash((example.images, example.question)))
            for name in example.images:
                names.append(hash(name))
                rows.append(self.rows)
                told = hashes.of(example.dataset, name) if hashes else None
                one_sha, one_phash = told or _told_hashes(example)
                sha.append(one_sha)
                phash.append(one_phash)
        self.questions, self.names, self._rows = _numbers(questions), _numbers(names), _numbers(rows)
        self.sha, self.phash = _numbers(sha), np.frombuffer(phash, np.uint64) if phash else np.zeros(0, np.uint64)
        self._place(np.array(lat), np.array(lon))

    def _place(self, lat_deg: NDArray[np.float64], lon_deg: NDArray[np.float64]) -> None:
        placed = np.isfinite(lat_deg)
        self.blocks = np.full(len(lat_deg), -1, np.int64)
        row, column = block_address(lat_deg[placed], lon_deg[placed])
        self.blocks[placed] = row * BLOCKS + column
        self.held_out = int((part_of(lat_deg[placed], lon_deg[placed]) != Part.TRAIN).sum())

    def rows_of(self, which: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.flatnonzero(which) + 1

    def picture_rows(self, which: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.unique(self._rows[which])


class _FileHashes:
    """Hashes of picture files, each read once; (0, 0) of those that are not there or are no pictures."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._known = folder, dict[int, tuple[int, int]]()
        self.read = 0

    def of(self, dataset: str, name: str) -> tuple[int, int] | None:
        key = hash((dataset, name))
        if key not in self._known:
            places = (self._folder / name, self._folder / dataset / name)
            place = next((one for one in places if one.is_file()), None)
            self._known[key] = (0, 0) if place is None else self._hash(place)
        return self._known[key] if any(self._known[key]) else None

    def _hash(self, place: Path) -> tuple[int, int]:
        from gaea.photo import Photo
        from gaea.rag.embed import perceptual_hash
        from gaea.rag.files import file_sha256

        self.read += 1
        sha = hash(file_sha256(place))
        try:
            return sha, perceptual_hash(Photo.open(place).image())
        except InputError:  # no picture that can be read; its bytes still tell
            return sha, 0


def _told_hashes(example: Example) -> tuple[int, int]:
    """Hashes that lie with the row; they are of its one picture."""
    ours = example.ours if len(example.images) == 1 else {}
    told: Any = ours.get("phash") or 0
    try:
        phash = int(told, 16) if isinstance(told, str) else int(told)
    except (TypeError, ValueError):
        phash = 0
    return hash(ours["sha256"]) if ours.get("sha256") else 0, phash if 0 < phash < 1 << 64 else 0


def _alike(here: NDArray[np.uint64], there: NDArray[np.uint64], bits: int) -> NDArray[np.bool_]:
    alike = np.zeros(len(there), bool)
    asked = np.flatnonzero(there)
    if len(asked) and here.any():
        alike[asked[HashIndex(np.unique(here[here != 0])).near(there[asked], bits)[0]]] = True
    return alike


def _numbers(values: array[int]) -> NDArray[np.int64]:
    return np.frombuffer(values, np.int64) if values else np.zeros(0, np.int64)
