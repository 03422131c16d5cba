"""From next-token probabilities to a belief: a search over the S2 tree.

Any model that can say how probable each next S2 symbol is defines a distribution over the whole Earth: a path of
symbols is a cell, and the product of their probabilities is the cell's. The search opens the cells that hold the most
probability, level by level, and leaves the others whole, so that the tree it ends with *is* the belief: nothing is
sampled, nothing is dropped, the probabilities add up to one.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np

from gaea import geotokens
from gaea.belief import Belief
from gaea.errors import InputError, ModelError
from gaea.hilbert import IntArray
from gaea.sphere import FloatArray


class NextToken(Protocol):
    """Scores the next symbol after each of a batch of prefixes."""

    def __call__(self, prefixes: IntArray) -> FloatArray:
        """Log-probabilities of the next symbol.

        Args:
            prefixes: ``(n, k)`` symbols so far; k = 0 asks for the six faces, with n = 1.

        Returns:
            ``(n, 6)`` for k = 0, else ``(n, 16)``; each row adds up to one in probability.
        """


@dataclasses.dataclass(frozen=True)
class SearchConfig:
    """How far the tree is opened.

    Attributes:
        symbols: Most symbols in a path, 1…11; k symbols reach S2 level 2(k − 1).
        width: Most cells opened at one level.
        keep: A cell with less probability than this is not opened.
        temperature: Log-probabilities of each symbol are divided by this, then renormalised.
    """

    symbols: int = 6
    width: int = 48
    keep: float = 0.002
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.symbols <= 11:
            raise InputError(f"symbols is {self.symbols}: an S2 path has 1 to 11")
        if self.width < 1 or self.temperature <= 0:
            raise InputError("width must be at least 1 and temperature above 0")


def search(score: NextToken, config: SearchConfig | None = None) -> Belief:
    """Open the tree and return it as a belief.

    Args:
        score: The model.
        config: How far to go.

    Raises:
        ModelError: The model returned a wrong shape or something that is not a probability.
    """
    config = config or SearchConfig()
    paths = np.zeros((1, 0), np.int64)
    log_p = np.zeros(1)
    cells: list[np.ndarray] = []
    kept: list[FloatArray] = []
    for length in range(config.symbols):
        choices = 6 if length == 0 else 16
        step = _checked(score(paths), (len(paths), choices), config.temperature)
        paths = np.concatenate([np.repeat(paths, choices, 0), np.tile(np.arange(choices), len(paths))[:, None]], 1)
        log_p = (log_p[:, None] + step).ravel()
        best = np.argsort(-log_p, kind="stable")[: config.width]
        opened = best[log_p[best] >= np.log(config.keep)] if length + 1 < config.symbols else best[:0]
        closed = np.setdiff1d(np.arange(len(paths)), opened)
        cells.append(geotokens.decode(paths[closed]))
        kept.append(log_p[closed])
        if not len(opened):
            break
        paths, log_p = paths[opened], log_p[opened]
    return Belief.from_weights(np.concatenate(cells), np.exp(np.concatenate(kept)))


def _checked(log_p: FloatArray, shape: tuple[int, int], temperature: float) -> FloatArray:
    if log_p.shape != shape:
        raise ModelError(f"the scorer returned shape {log_p.shape}, expected {shape}")
    if np.isnan(log_p).any() or not np.isfinite(log_p.max(1)).all():
        raise ModelError("the scorer returned NaN, or a mask that leaves no symbol")
    tempered = log_p / temperature
    return np.asarray(tempered - np.logaddexp.reduce(tempered, axis=1, keepdims=True))
