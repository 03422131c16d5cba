"""The S2 tree as a scorer sees it: what has been opened, what each path is worth, and what that makes of the Earth.

Every search opens cells of one :class:`Tree`. A cell that is opened is replaced by its children, which share its
probability; nothing is ever dropped, so the tree's leaves tile the Earth whichever search grew it, and *are* a belief.
The tree asks the scorer once for each prefix, in batches of bounded size, and counts what it asked.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from gaea import cells as s2
from gaea import geotokens
from gaea.belief import Belief
from gaea.errors import InputError, ModelError
from gaea.hilbert import CellArray, IntArray
from gaea.sphere import FloatArray

_FACE = 1 << 60
"""The lowest bit of a cell that one symbol names."""


class NextToken(Protocol):
    """Scores the next symbol after each of a batch of prefixes."""

    def __call__(self, prefixes: IntArray) -> FloatArray:
        """Log-probabilities of the next symbol.

        Args:
            prefixes: ``(n, k)`` symbols so far; k = 0 asks for the six faces, with n = 1.

        Returns:
            ``(n, 6)`` for k = 0, else ``(n, 16)``; each row adds up to one in probability.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class TreeConfig:
    """What every search may choose.

    Attributes:
        symbols: Most symbols in a path, 1…11; k symbols reach S2 level 2(k − 1).
        temperature: Log-probabilities of each symbol are divided by this, then renormalised: a scorer's calibration.
        batch: Most prefixes in one call of the scorer.
    """

    symbols: int = 6
    temperature: float = 1.0
    batch: int = 64

    def __post_init__(self) -> None:
        if not 1 <= self.symbols <= 11:
            raise InputError(f"symbols is {self.symbols}: an S2 path has 1 to 11")
        if not self.temperature > 0 or self.batch < 1:
            raise InputError(f"temperature {self.temperature}, batch {self.batch}: expected above 0 and at least 1")

    def tree(self, score: NextToken) -> Tree:
        """Begin a tree."""
        return Tree(score, temperature=self.temperature, batch=self.batch)


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One cell that a search came back with.

    Attributes:
        tokens: Its path, 1 to 11 symbols.
        log_prob: Natural logarithm of its probability under the scorer, however it was found.
        count: How often it was drawn; 1 where nothing was drawn.
    """

    tokens: tuple[int, ...]
    log_prob: float
    count: int = 1

    @cached_property
    def cell(self) -> int:
        """S2 id."""
        return geotokens.cell_of_prefix(self.tokens)

    @cached_property
    def point(self) -> tuple[float, float]:
        """Centre of the cell, latitude and longitude in degrees."""
        lat, lon = s2.to_latlon(np.uint64(self.cell))
        return float(lat), float(lon)

    def score(self, length_power: float = 1.0) -> float:
        """Give ``log_prob / length**length_power``, so that a long path may beat a short one; see `length_scores`."""
        return float(length_scores(np.array(self.log_prob), len(self.tokens), length_power))


@dataclasses.dataclass(frozen=True, eq=False)
class Decoded:
    """What a search found, and the tree that it left behind.

    Attributes:
        candidates: Best first, in the search's own order; distinct.
        cells: Leaves of the tree, ``(n,)``; they tile the Earth.
        log_prob: Their log-probabilities, ``(n,)``.
        calls: How often the scorer was called.
        scored: Prefixes that it scored in all.
    """

    candidates: tuple[Candidate, ...]
    cells: CellArray
    log_prob: FloatArray
    calls: int
    scored: int

    @cached_property
    def leftover(self) -> float:
        """Probability of lying in none of the candidates; where that mass lies is known all the same."""
        return max(0.0, 1.0 - float(np.exp([c.log_prob for c in self.candidates]).sum()))

    def belief(self) -> Belief:
        """Give the distribution of the scorer itself, as finely as the search has opened it."""
        return Belief.from_weights(self.cells, np.exp(self.log_prob))

    def votes(self) -> Belief:
        """Give the distribution of the draws: each candidate by its count, nothing elsewhere."""
        cells = np.array([c.cell for c in self.candidates], np.uint64)
        return Belief.from_weights(cells, [c.count for c in self.candidates])


class Tree:
    """What a scorer says of the part of the S2 tree that has been opened.

    Args:
        score: The model.
        temperature: Log-probabilities of each symbol are divided by this, then renormalised.
        batch: Most prefixes in one call of the scorer.

    Raises:
        InputError: A temperature or batch that is not positive.
    """

    def __init__(self, score: NextToken, *, temperature: float = 1.0, batch: int = 64) -> None:
        if not temperature > 0 or batch < 1:
            raise InputError(f"temperature {temperature} and batch {batch}: expected above 0 and at least 1")
        self.calls = 0
        self.scored = 0
        self._score, self._temperature, self._batch = score, temperature, batch
        self._opened: dict[int, tuple[float, FloatArray]] = {}  # by cell: log p, and each symbol's
        self._children: list[tuple[CellArray, FloatArray]] = []

    def open(self, paths: IntArray) -> FloatArray:
        """Open cells, each once however often it is named.

        Args:
            paths: ``(n, k)`` prefixes of 0 to 10 symbols, whose parents have been opened before; may repeat.

        Returns:
            Log-probabilities of the next symbol, ``(n, 6)`` for k = 0, else ``(n, 16)``.

        Raises:
            InputError: A path that does not exist, or whose parent has not been opened.
            ModelError: The scorer returned a wrong shape or something that is not a probability.
        """
        keys = _keys(paths)
        fresh = {key: row for row, key in enumerate(keys) if key not in self._opened}
        rows = np.array(list(fresh.values()), np.int64)
        for start in range(0, len(rows), self._batch):
            some = rows[start : start + self._batch]
            self._ask(paths[some], [keys[row] for row in some])
        return np.stack([self._opened[key][1] for key in keys])

    def leaves(self) -> tuple[CellArray, FloatArray]:
        """Give the cells that have not been opened and their log-probabilities, ``(n,)`` each; they tile the Earth."""
        if not self._children:
            self.open(np.zeros((1, 0), np.int64))
        cells = np.concatenate([cells for cells, _ in self._children])
        log_p = np.concatenate([log_p for _, log_p in self._children])
        left = ~np.isin(cells, np.array(list(self._opened), np.uint64))
        return cells[left], log_p[left]

    def decoded(self, candidates: list[Candidate]) -> Decoded:
        """Close the search with what it found, best first."""
        cells, log_p = self.leaves()
        return Decoded(tuple(candidates), cells, log_p, self.calls, self.scored)

    def _ask(self, paths: IntArray, keys: list[int]) -> None:
        n, length = paths.shape
        choices = geotokens.VOCAB_SIZES[length]
        before = self._log_p(paths, keys)
        raw = np.asarray(self._score(paths), np.float64)
        self.calls += 1
        self.scored += n
        step = _checked(raw, (n, choices), self._temperature)
        self._children.append((_below(keys, choices), (before[:, None] + step).ravel()))
        self._opened.update(zip(keys, zip(before.tolist(), step, strict=True), strict=True))

    def _log_p(self, paths: IntArray, keys: list[int]) -> FloatArray:
        if not paths.shape[1]:
            return np.zeros(len(paths))
        parents = [_above(key) for key in keys]
        missing = [row for row, parent in enumerate(parents) if parent not in self._opened]
        if missing:
            raise InputError(f"path {paths[missing[0]].tolist()} cannot be opened before its parent")
        last = paths[:, -1].tolist()
        found = [self._opened[parent] for parent in parents]
        return np.array([log_p + step[symbol] for (log_p, step), symbol in zip(found, last, strict=True)])


def children(paths: IntArray) -> IntArray:
    """Extend each path ``(n, k)`` by every next symbol: ``(n · choices, k + 1)``, all of one path together."""
    choices = geotokens.VOCAB_SIZES[paths.shape[1]]
    return np.concatenate([np.repeat(paths, choices, 0), np.tile(np.arange(choices), len(paths))[:, None]], 1)


def length_scores(log_prob: FloatArray, length: npt.ArrayLike, length_power: float) -> FloatArray:
    """Make log-probabilities of paths of several lengths comparable: ``log_prob / length**length_power``.

    With 0 the coarser of two nested cells always wins, for it holds the finer one; with 1 it is the mean per symbol.

    Source:
        Wu et al. (2016), section 7, with the plain length as its length penalty.
    """
    return np.asarray(log_prob / np.power(np.asarray(length, np.float64), length_power))


def _keys(paths: IntArray) -> list[int]:
    if paths.ndim != 2 or paths.shape[1] >= geotokens.LENGTH:
        raise InputError(f"paths of shape {paths.shape}: expected (n, k) with k from 0 to {geotokens.LENGTH - 1}")
    if not paths.shape[1]:
        return [0] * len(paths)
    keys: list[int] = geotokens.decode(paths).tolist()
    return keys


def _above(key: int) -> int:
    """The key of a path without its last symbol."""
    lowest = (key & -key) << 4
    return key & -lowest | lowest if lowest < _FACE << 4 else 0


def _below(keys: list[int], choices: int) -> CellArray:
    """Cells of all paths that are longer by a symbol, those of one path together."""
    if choices == geotokens.VOCAB_SIZES[0]:
        return geotokens.decode(np.arange(choices)[:, None])
    path, lowest = np.array([(key & (key - 1), (key & -key) >> 4) for key in keys], np.uint64).T[..., None]
    cells: CellArray = path + lowest * np.arange(1, 2 * choices, 2, dtype=np.uint64)
    return cells.ravel()


def _checked(log_p: FloatArray, shape: tuple[int, int], temperature: float) -> FloatArray:
    if log_p.shape != shape:
        raise ModelError(f"the scorer returned shape {log_p.shape}, expected {shape}")
    if not np.isfinite(log_p.max(1)).all():
        raise ModelError("the scorer returned NaN, or a mask that leaves no symbol")
    tempered = log_p / temperature
    return np.asarray(tempered - np.logaddexp.reduce(tempered, axis=1, keepdims=True))
