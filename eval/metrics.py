"""The evaluation contract, as code: one distance, inclusive thresholds, missing answers count as misses."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from gaea.errors import InputError
from gaea.sphere import geoscore, great_circle_km

THRESHOLDS_KM = (1, 25, 200, 750, 2500)
CONTRACT = (
    "great-circle km on R = 6371.0088; a threshold includes its own distance; GeoScore 5000·exp(−d/1492.7), unrounded; "
    "a missing answer is a miss and scores 0; medians are over answered and unanswered alike, unanswered as 20015 km; "
    "95 % intervals by bootstrap over pictures"
)
FARTHEST_KM = 20015.1


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What was answered about one picture, and what was true."""

    lat: float
    lon: float
    guess: tuple[float, float] | None
    covered: dict[int, bool]
    area_km2: dict[int, float]
    abstained: bool = False

    @property
    def error_km(self) -> float:
        """Distance from the truth; the farthest possible where nothing was answered."""
        return FARTHEST_KM if self.guess is None else float(great_circle_km(self.lat, self.lon, *self.guess))


def score(
    outcomes: Sequence[Outcome], *, places: Sequence[str] | None = None, seed: int = 0, resamples: int = 1000
) -> dict[str, Any]:
    """Accuracy, median, GeoScore and coverage with 95 % intervals.

    Args:
        outcomes: One a picture.
        places: The place of each; pictures of one place depend on each other, so places are resampled and not pictures.
        seed: Of the bootstrap.
        resamples: Of the bootstrap.

    Raises:
        InputError: There is nothing to score.
    """
    if not outcomes:
        raise InputError("nothing to score: the benchmark has no pictures")
    error = np.array([o.error_km for o in outcomes])
    rng = np.random.default_rng(seed)
    members = [np.array([i]) for i in range(len(error))] if places is None else _members(places)
    drawn = rng.integers(len(members), size=(resamples, len(members)))
    draws = [np.concatenate([members[place] for place in draw]) for draw in drawn]

    def interval(values: np.ndarray, of: Any) -> list[float]:
        low, high = np.quantile([of(values[d]) for d in draws], (0.025, 0.975))
        return [round(float(low), 4), round(float(high), 4)]

    points = np.where(error < FARTHEST_KM, geoscore(error), 0.0)
    result: dict[str, Any] = {
        "n": len(outcomes),
        "places": len(members),
        "answered": sum(o.guess is not None for o in outcomes),
        "abstained": sum(o.abstained for o in outcomes),
        "median_km": [round(float(np.median(error)), 1), interval(error, np.median)],
        "geoscore": [round(float(points.mean()), 1), interval(points, np.mean)],
    }
    for km in THRESHOLDS_KM:
        hit = (error <= km).astype(float)
        result[f"within_{km}_km"] = [round(float(hit.mean()), 4), interval(hit, np.mean)]
    for mass in (50, 90):
        held = np.array([o.covered[mass] for o in outcomes if mass in o.covered], float)
        if len(held):
            areas = [o.area_km2[mass] for o in outcomes if mass in o.area_km2]
            result[f"coverage_{mass}"] = [round(float(held.mean()), 4), len(held)]
            result[f"median_area_{mass}_km2"] = round(float(np.median(areas)))
    return result


def _members(places: Sequence[str]) -> list[np.ndarray]:
    """Which pictures belong to each place, shape (pictures of it,)."""
    names, place = np.unique(np.asarray(places), return_inverse=True)
    return [np.flatnonzero(place == number) for number in range(len(names))]
