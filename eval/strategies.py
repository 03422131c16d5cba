"""Each way of searching the S2 tree, and each way of choosing from what was found: what decoding is examined on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from gaea.decoding import (
    BeamConfig,
    BestFirstConfig,
    Decoded,
    NextToken,
    SampleConfig,
    beam,
    best_first,
    greedy,
    sample,
)
from gaea.eval.metrics import Outcome
from gaea.reward import Reward
from gaea.selection import by_least_loss, by_likelihood, by_majority, by_reward

Search = Callable[[NextToken], Decoded]
GRID = (0.2, 0.5, 0.7, 1.2)
LOSSES = ("median", "geoscore", "hit")
SAMPLES = (1, 2, 4, 8, 16, 30, 60, 120)
WIDTHS = (1, 2, 5, 10, 20, 40)
OPENED = (4, 8, 16, 32, 64, 128, 256)
POOL = 30  # most candidates that are selected from
SELECTIONS = ("likelihood", "majority", *(f"least loss ({loss})" for loss in LOSSES), "reward head")


def strategies(symbols: int, seed: int = 0) -> dict[str, Search]:
    """The searches of the table, paths of at most so many symbols."""
    told: dict[str, Search] = {
        "greedy": lambda score: greedy(score, BeamConfig(symbols=symbols)),
        "beam 5": lambda score: beam(score, BeamConfig(symbols=symbols, width=5)),
        "beam 20": lambda score: beam(score, BeamConfig(symbols=symbols, width=20)),
    }
    for heat in GRID:
        told[f"30 samples, T {heat:g}"] = _samples(30, (heat,), symbols, seed)
    told["30 samples, grid"] = _samples(30, GRID, symbols, seed)
    told["best first"] = lambda score: _cut(best_first(score, BestFirstConfig(symbols=symbols, most_scored=256)))
    return told


def curves(symbols: int, seed: int = 0) -> dict[str, dict[int, Search]]:
    """The same search at more and more compute: by kind, then by its own measure of it."""

    def beams(width: int) -> Search:
        return lambda score: beam(score, BeamConfig(symbols=symbols, width=width))

    def opened(most: int) -> Search:
        return lambda score: _cut(best_first(score, BestFirstConfig(symbols=symbols, mass=1.0, most_scored=most)))

    return {
        "samples, grid": {n: _samples(n, GRID, symbols, seed) for n in SAMPLES},
        "beam": {width: beams(width) for width in WIDTHS},
        "best first": {most: opened(most) for most in OPENED},
    }


def _cut(decoded: Decoded) -> Decoded:
    """With as many candidates as the draws have at most; the belief stays whole."""
    return dataclasses.replace(decoded, candidates=decoded.candidates[:POOL])


def _samples(count: int, grid: tuple[float, ...], symbols: int, seed: int) -> Search:
    return lambda score: sample(score, SampleConfig(symbols=symbols, samples=count, temperatures=grid, seed=seed))


@dataclasses.dataclass(frozen=True)
class Picked:
    """Points by selection; None where a rule could not be asked."""

    points: Mapping[str, tuple[float, float] | None]

    def outcome(self, selection: str, truth: tuple[float, float]) -> Outcome:
        """For the metrics."""
        return Outcome(*truth, self.points[selection], {}, {})


def select(decoded: Decoded, head: Reward | None = None, losses: tuple[str, ...] = LOSSES) -> Picked:
    """Ask every rule; the reward head only where there is one."""
    belief = decoded.belief()
    points: dict[str, tuple[float, float] | None] = {
        "likelihood": by_likelihood(decoded.candidates).point,
        "majority": by_majority(decoded.candidates).point,
    }
    for loss in LOSSES:
        if loss in losses:
            points[f"least loss ({loss})"] = by_least_loss(belief, loss=loss).point  # type: ignore[arg-type]
    if head is not None:
        points["reward head"] = by_reward(decoded, head).point
    return Picked(points)
