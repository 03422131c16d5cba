"""Draws paths from a next-token scorer, at several temperatures.

Draws at low temperatures repeat the likely places and those at high ones spread; together they are a pool to select
from (:mod:`gaea.selection`) and, by how often each place came up, a vote.

Source:
    GeoToken (arXiv 2511.01082): temperatures 0.2, 0.5, 0.7 and 1.2, up to 30 samples.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from gaea.errors import InputError
from gaea.searchtree import Candidate, Decoded, NextToken, TreeConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleConfig(TreeConfig):
    """How :func:`sample` draws.

    Attributes:
        samples: Paths drawn in all, duplicates included.
        temperatures: The grid; the draws take turns in it.
        seed: The same seed gives the same draws, and fewer samples are the first of more.
    """

    samples: int = 30
    temperatures: tuple[float, ...] = (0.2, 0.5, 0.7, 1.2)
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples < 1 or not self.temperatures or not all(t > 0 for t in self.temperatures):
            raise InputError(f"{self.samples} samples at temperatures {self.temperatures}: at least one, above 0")


def sample(score: NextToken, config: SampleConfig | None = None) -> Decoded:
    """Draw paths, each at one temperature of the grid.

    Returns:
        Distinct paths, most often drawn first, with their counts; their probabilities are the model's own, at
        ``config.temperature`` and not at the grid's.

    Raises:
        ModelError: The model returned a wrong shape or something that is not a probability.
    """
    config = config or SampleConfig()
    tree = config.tree(score)
    draws = np.random.default_rng(config.seed).random((config.samples, config.symbols))
    heat = np.resize(np.array(config.temperatures, np.float64), config.samples)[:, None]
    paths, log_p = np.zeros((config.samples, 0), np.int64), np.zeros(config.samples)
    for length in range(config.symbols):
        step = tree.open(paths)
        share = np.exp((step - step.max(1, keepdims=True)) / heat)
        rising = share.cumsum(1)
        symbol = (rising <= draws[:, length, None] * rising[:, -1:]).sum(1)
        last = share.shape[1] - 1 - np.argmax(share[:, ::-1] > 0, axis=1)
        symbol = np.minimum(symbol, last)  # rounding may reach the sum itself
        log_p = log_p + np.take_along_axis(step, symbol[:, None], 1)[:, 0]
        paths = np.concatenate([paths, symbol[:, None]], 1)
    distinct, first, count = np.unique(paths, axis=0, return_index=True, return_counts=True)
    found = [
        Candidate(tuple(path), float(log_p[i]), int(n))
        for path, i, n in zip(distinct.tolist(), first, count, strict=True)
    ]
    return tree.decoded(sorted(found, key=lambda c: (-c.count, -c.log_prob)))
