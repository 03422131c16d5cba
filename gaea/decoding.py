"""From next-token probabilities to places and beliefs: searches over the S2 tree.

Any model that can say how probable each next S2 symbol is defines a distribution over the whole Earth: a path of
symbols is a cell, and the product of their probabilities is the cell's. All searches grow the same kind of tree
(:mod:`gaea.searchtree`) and differ in what they open:

- :func:`search` opens the cells that hold the most probability, level by level: the belief that locators answer with;
- :func:`best_first` opens the most probable cell wherever it lies, until the finest cells hold a wanted mass;
- :func:`beam` follows the best few paths down, and stops where the model says nothing more; :func:`greedy` follows one;
- :func:`gaea.sampling.sample` draws paths at several temperatures.

Source:
    Greedy, beam and the temperature grid as in GeoToken (arXiv 2511.01082); where a path ends early is our own choice.
"""

from __future__ import annotations

import dataclasses
import heapq

import numpy as np
import numpy.typing as npt

from gaea.belief import Belief
from gaea.errors import InputError
from gaea.hilbert import IntArray
from gaea.sampling import SampleConfig, sample
from gaea.searchtree import Candidate, Decoded, NextToken, Tree, TreeConfig, children, length_scores
from gaea.sphere import FloatArray

__all__ = [
    "BeamConfig",
    "BestFirstConfig",
    "Candidate",
    "Decoded",
    "NextToken",
    "SampleConfig",
    "SearchConfig",
    "beam",
    "best_first",
    "greedy",
    "sample",
    "search",
]

_ROOT = np.zeros((1, 0), np.int64)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchConfig(TreeConfig):
    """How far :func:`search` opens the tree.

    Attributes:
        width: Most cells opened at one level.
        keep: A cell with less probability than this is not opened.
    """

    width: int = 48
    keep: float = 0.002

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width < 1 or not self.keep >= 0:
            raise InputError(f"width {self.width}, keep {self.keep}: expected at least 1 and 0 or more")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BestFirstConfig(TreeConfig):
    """How far :func:`best_first` goes.

    Attributes:
        mass: Probability that cells of full length shall hold, above 0 and up to 1.
        most_scored: Stop when this many prefixes have been scored.
    """

    mass: float = 0.9
    most_scored: int = 2048

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.mass <= 1 or self.most_scored < 1:
            raise InputError(f"mass {self.mass}, most_scored {self.most_scored}: expected (0, 1] and at least 1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BeamConfig(TreeConfig):
    """How :func:`beam` prunes and where its paths end.

    Attributes:
        width: Paths kept.
        keep: A path ends where its best child would hold less probability than this.
        least_gain_bits: A path ends where the next symbol tells less than this, of at most 4 bits.
        length_power: Paths compete by ``log p / length**length_power``; matters once some have ended.

    With ``keep=0, least_gain_bits=0`` all paths go to the end, as a plain beam.
    """

    width: int = 5
    keep: float = 0.002
    least_gain_bits: float = 0.05
    length_power: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width < 1 or not min(self.keep, self.least_gain_bits, self.length_power) >= 0:
            raise InputError(f"{self}: width is at least 1, and the others are not negative")


def search(score: NextToken, config: SearchConfig | None = None) -> Belief:
    """Open the heaviest cells level by level and return the tree as a belief.

    Raises:
        ModelError: The model returned a wrong shape or something that is not a probability.
    """
    config = config or SearchConfig()
    tree = config.tree(score)
    paths, log_p = _ROOT, np.zeros(1)
    for _ in range(config.symbols):
        log_p = (log_p[:, None] + tree.open(paths)).ravel()
        paths = children(paths)
        opened = _heaviest(log_p, config.width, config.keep)
        if not len(opened):
            break
        paths, log_p = paths[opened], log_p[opened]
    return tree.decoded([]).belief()


def best_first(score: NextToken, config: BestFirstConfig | None = None) -> Decoded:
    """Open the most probable cell of the whole tree, again and again, until enough mass lies in cells of full length.

    Returns:
        The candidates are the fewest cells of full length that hold ``mass``: no cell that was not found is more
        probable than one of them. Where the limit of work came first they are what was found so far, of full length
        or, if nothing is, the heaviest cells as they stand. ``leftover`` is the mass outside them.

    Raises:
        ModelError: As :func:`search`.
    """
    config = config or BestFirstConfig()
    tree = config.tree(score)
    inner: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]  # heaps of (−log p, path): cells that can be opened,
    finest: list[tuple[float, tuple[int, ...]]] = []  # and those of full length that were found
    sure: list[Candidate] = []  # as probable as anything that can still be found
    reached = 0.0
    while inner and reached < config.mass - 1e-12 and tree.scored < config.most_scored:
        room = min(config.batch, config.most_scored - tree.scored)
        for minus, path, step in _opened(tree, [heapq.heappop(inner) for _ in range(min(room, len(inner)))]):
            into = finest if len(path) + 1 == config.symbols else inner
            for symbol in np.flatnonzero(step > -np.inf).tolist():
                heapq.heappush(into, (minus - float(step[symbol]), (*path, symbol)))
        while finest and reached < config.mass - 1e-12 and (not inner or finest[0][0] <= inner[0][0]):
            minus, path = heapq.heappop(finest)
            sure.append(Candidate(path, -minus))
            reached += float(np.exp(-minus))
    if reached < config.mass - 1e-12:
        rest = sorted(finest) if finest or sure else sorted(inner)
        sure += [Candidate(path, -minus) for minus, path in rest if path]
    return tree.decoded(sure)


def greedy(score: NextToken, config: BeamConfig | None = None) -> Decoded:
    """Take the most probable symbol at each step: a beam of width 1 with one candidate.

    Raises:
        ModelError: As :func:`search`.
    """
    return beam(score, dataclasses.replace(config or BeamConfig(), width=1))


def beam(score: NextToken, config: BeamConfig | None = None) -> Decoded:
    """Follow the best paths down, each as far as the probabilities support finer cells.

    A path ends, and stays in the competition as it is, where its best child would hold less than ``keep`` or where the
    next symbol is told by fewer than ``least_gain_bits``: there the model knows the cell and nothing within it.

    Raises:
        ModelError: As :func:`search`.
    """
    config = config or BeamConfig()
    tree = config.tree(score)
    ended: list[Candidate] = []
    paths, log_p = _ROOT, np.zeros(1)
    for length in range(config.symbols):
        step = tree.open(paths)
        if length:
            goes_on = _supports(log_p, step, config)
            ended += _candidates(paths[~goes_on], log_p[~goes_on])
            paths, log_p, step = paths[goes_on], log_p[goes_on], step[goes_on]
        log_p, paths = (log_p[:, None] + step).ravel(), children(paths)
        best = _heaviest(log_p, config.width, 0.0)
        paths, log_p = paths[best], log_p[best]
        # Those that ended and those that go on share the beam.
        rivals = length_scores(log_p, length + 1, config.length_power)
        ended = sorted(ended, key=lambda c: -c.score(config.length_power))[: config.width]
        better = np.array([sum(c.score(config.length_power) >= r for c in ended) for r in rivals], np.int64)
        stay = np.arange(len(rivals)) + better < config.width
        paths, log_p, rivals = paths[stay], log_p[stay], rivals[stay]
        if not len(paths):
            break
        ended = ended[: config.width - len(paths)]
    found = ended + _candidates(paths, log_p)
    return tree.decoded(sorted(found, key=lambda c: -c.score(config.length_power)))


def _heaviest(log_p: FloatArray, width: int, keep: float) -> IntArray:
    best = np.argsort(-log_p, kind="stable")[:width]
    return best[(np.exp(log_p[best]) >= keep) & (log_p[best] > -np.inf)]


def _supports(log_p: FloatArray, step: FloatArray, config: BeamConfig) -> npt.NDArray[np.bool_]:
    """Tell which paths go on, from the log-probabilities of their next symbols."""
    if config.keep <= 0 and config.least_gain_bits <= 0:
        return np.ones(len(step), bool)
    p = np.exp(step)
    told_bits = np.log2(step.shape[1]) + (p * np.where(p > 0, step, 0.0)).sum(1) / np.log(2.0)
    told = told_bits >= config.least_gain_bits - 1e-9  # rounding must not end a path where nothing is asked of it
    return np.asarray(told & (np.exp(log_p + step.max(1)) >= config.keep))


def _candidates(paths: IntArray, log_p: FloatArray) -> list[Candidate]:
    return [Candidate(tuple(path), value) for path, value in zip(paths.tolist(), log_p.tolist(), strict=True)]


def _opened(tree: Tree, cells: list[tuple[float, tuple[int, ...]]]) -> list[tuple[float, tuple[int, ...], FloatArray]]:
    """Open cells of several lengths, with one call of the tree for each length."""
    result: list[tuple[float, tuple[int, ...], FloatArray]] = []
    for length in sorted({len(path) for _, path in cells}):
        group = [(minus, path) for minus, path in cells if len(path) == length]
        steps = tree.open(np.array([path for _, path in group], np.int64).reshape(len(group), length))
        result += [(minus, path, step) for (minus, path), step in zip(group, steps, strict=True)]
    return result
