"""Scores whose uncertainty is that of places: pictures of one block or place depend on each other.

Intervals are by the cluster bootstrap: whole places are drawn with replacement, with all of their pictures (A. Davison
& D. Hinkley, Bootstrap Methods and their Application, 1997, §3.8). Differences between two ways of answering are taken
picture by picture before drawing, because both saw the same pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gaea.errors import InputError
from gaea.eval.metrics import FARTHEST_KM, THRESHOLDS_KM, Outcome
from gaea.sphere import geoscore, great_circle_km

RESAMPLES = 1000


class Draws:
    """Resamples of places, the same for everything that is compared.

    Args:
        places: The place of each picture.
        seed: Of the draws.
        resamples: How many.

    Raises:
        InputError: There are no pictures.
    """

    def __init__(self, places: Sequence[str], *, seed: int = 0, resamples: int = RESAMPLES) -> None:
        if not places:
            raise InputError("nothing to score: the benchmark has no pictures")
        names, which = np.unique(np.asarray(places), return_inverse=True)
        self.places, self.pictures = len(names), len(places)
        members = [np.flatnonzero(which == index) for index in range(len(names))]
        drawn = np.random.default_rng(seed).integers(len(names), size=(resamples, len(names)))
        self._drawn = [np.concatenate([members[index] for index in row]) for row in drawn]

    def estimate(self, values: np.ndarray, of: Callable[[np.ndarray], Any] = np.mean) -> list[Any]:
        """A statistic of (n,) values and its 95 % interval: ``[value, [low, high]]``; NaN marks what is not asked."""

        def told(part: np.ndarray) -> float:
            known = part[~np.isnan(part)]
            return float(of(known)) if len(known) else float("nan")

        if np.isnan(values).all():
            return [None, [None, None]]
        low, high = np.nanquantile([told(values[rows]) for rows in self._drawn], (0.025, 0.975))
        return [_rounded(told(values)), [_rounded(low), _rounded(high)]]


def score(outcomes: Sequence[Outcome], draws: Draws) -> dict[str, Any]:
    """What the evaluation contract asks for, with intervals over places."""
    error_km, points = errors(outcomes)
    result: dict[str, Any] = {
        "n": draws.pictures,
        "places": draws.places,
        "answered": sum(o.guess is not None for o in outcomes),
        "abstained": sum(o.abstained for o in outcomes),
        "median_km": draws.estimate(error_km, np.median),
        "geoscore": draws.estimate(points),
    }
    return result | {f"within_{km}_km": draws.estimate((error_km <= km).astype(float)) for km in THRESHOLDS_KM}


def errors(outcomes: Sequence[Outcome]) -> tuple[np.ndarray, np.ndarray]:
    """Distances in km and GeoScores, each of shape (n,); a missing answer is as far as can be and scores 0."""
    error_km = np.array([o.error_km for o in outcomes])
    return error_km, np.where(error_km < FARTHEST_KM, geoscore(error_km), 0.0)


def compared(outcomes: Sequence[Outcome], baseline: Sequence[Outcome], draws: Draws) -> dict[str, Any]:
    """What changes against a baseline on the same pictures: mean differences, and how far points move."""
    (far, points), (base_far, base_points) = errors(outcomes), errors(baseline)
    moved = np.array(
        [
            0.0 if a.guess == b.guess else FARTHEST_KM if None in (a.guess, b.guess) else _apart(a, b)
            for a, b in zip(outcomes, baseline, strict=True)
        ]
    )
    return {
        "geoscore": draws.estimate(points - base_points),
        "within_200_km": draws.estimate((far <= 200).astype(float) - (base_far <= 200)),
        "within_750_km": draws.estimate((far <= 750).astype(float) - (base_far <= 750)),
        "moved_25_km": _rounded(float((moved > 25).mean())),
        "median_moved_km": _rounded(float(np.median(moved))),
    }


def _apart(one: Outcome, other: Outcome) -> float:
    return float(great_circle_km(*(one.guess or ()), *(other.guess or ())))


def _rounded(value: float) -> float | None:
    """Four decimals; None where there is nothing to tell, which JSON can say."""
    return None if np.isnan(value) else round(float(value), 4)
