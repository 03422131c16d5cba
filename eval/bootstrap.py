"""Intervals for many statistics of many items at once, by the bootstrap over places.

The same as :mod:`gaea.eval.grouped`, written for a hundred thousand items: a resample is not a list of items but how
often each place was drawn, so that all means of it are one product of matrices, and a median is read off one sorting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from gaea.errors import InputError

RESAMPLES = 1000
MANY = 20_000
"""Places above which :data:`FEWER` resamples are drawn: the intervals are narrow then, and their ends hardly move."""

FEWER = 200
BLOCK = 50
Estimate: TypeAlias = list[Any]
"""``[value, [low, high]]``, with None where nothing is known."""

Ordered: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""From weights of items in a given order, (resamples, n), to one value a resample."""


@dataclass(frozen=True)
class Asked:
    """The statistics that are wanted.

    Attributes:
        means: (n,) values by name; NaN where an item is not asked.
        medians: Likewise.
        ordered: An order of the items, (m,) indices, and what is read off weights in that order.
    """

    means: Mapping[str, np.ndarray] = field(default_factory=dict)
    medians: Mapping[str, np.ndarray] = field(default_factory=dict)
    ordered: Mapping[str, tuple[np.ndarray, Ordered]] = field(default_factory=dict)


class Bootstrap:
    """Resamples of places.

    Args:
        places: The place of each item.
        seed: Of the draws.
        resamples: How many; :data:`RESAMPLES`, or :data:`FEWER` of very many places, if left out.

    Raises:
        InputError: There are no items.
    """

    def __init__(self, places: Sequence[str], *, seed: int = 0, resamples: int | None = None) -> None:
        if not len(places):
            raise InputError("nothing to score: there are no items")
        names, self._place_of = np.unique(np.asarray(places), return_inverse=True)
        self.places, self.items, self.seed = len(names), len(places), seed
        self.resamples = resamples or (RESAMPLES if self.places <= MANY else FEWER)

    def estimate(self, asked: Asked) -> dict[str, Estimate]:
        """Every statistic with its 95 % interval, all from the same resamples."""
        names = list(asked.means)
        values = (
            np.stack([np.asarray(asked.means[name], float) for name in names], 1)
            if names
            else np.empty((self.items, 0))
        )
        known = ~np.isnan(values)
        sums, counts = (self._by_place(each) for each in (np.where(known, values, 0.0), known.astype(float)))
        ordered = dict(asked.ordered) | {
            name: _median_of(np.asarray(each, float)) for name, each in asked.medians.items()
        }
        drawn: dict[str, list[np.ndarray]] = {name: [] for name in (*names, *ordered)}
        for weights in self._weights():
            with np.errstate(invalid="ignore", divide="ignore"):
                means = (weights @ sums) / (weights @ counts)
            for column, name in enumerate(names):
                drawn[name].append(means[:, column])
            for name, (order, read) in ordered.items():
                drawn[name].append(
                    read(weights[:, self._place_of[order]]) if len(order) else np.full(len(weights), np.nan)
                )
        with np.errstate(invalid="ignore", divide="ignore"):
            whole = dict(zip(names, values.sum(0, where=known) / known.sum(0), strict=True))
        ones = np.ones((1, self.items))
        whole |= {
            name: float(read(ones[:, order])[0]) if len(order) else float("nan")
            for name, (order, read) in ordered.items()
        }
        return {name: told(float(whole[name]), np.concatenate(drawn[name])) for name in drawn}

    def _by_place(self, values: np.ndarray) -> np.ndarray:
        """Sums of (n, m) values over the items of each place, (places, m)."""
        if self.places == self.items:
            summed = np.empty_like(values)
            summed[self._place_of] = values
            return summed
        return (
            np.stack([np.bincount(self._place_of, column, self.places) for column in values.T], 1)
            if values.size
            else (np.empty((self.places, values.shape[1])))
        )

    def _weights(self) -> Iterator[np.ndarray]:
        """How often each place was drawn, a block of resamples at a time, (block, places)."""
        rng = np.random.default_rng(self.seed)
        for start in range(0, self.resamples, BLOCK):
            size = min(BLOCK, self.resamples - start)
            picked = rng.integers(self.places, size=(size, self.places))
            yield np.stack([np.bincount(row, minlength=self.places) for row in picked]).astype(float)


def told(value: float, drawn: np.ndarray) -> Estimate:
    """A value with the 2.5 and 97.5 % quantiles of its resamples."""
    if np.isnan(value):
        return [None, [None, None]]
    known = drawn[~np.isnan(drawn)]
    low, high = np.quantile(known, (0.025, 0.975)) if len(known) else (float("nan"), float("nan"))
    return [_rounded(value), [_rounded(float(low)), _rounded(float(high))]]


def _median_of(values: np.ndarray) -> tuple[np.ndarray, Ordered]:
    """Read a median off weights: the mean of the values around the middle of the mass."""
    asked = np.flatnonzero(~np.isnan(values))
    order = asked[np.argsort(values[asked], kind="stable")]
    ranked = values[order]

    def read(weights: np.ndarray) -> np.ndarray:
        mass = np.cumsum(weights, axis=1)
        half = mass[:, -1] / 2
        low = np.array([np.searchsorted(row, each, "left") for row, each in zip(mass, half, strict=True)])
        high = np.array([np.searchsorted(row, each, "right") for row, each in zip(mass, half, strict=True)])
        last = len(ranked) - 1
        middle = (ranked[np.minimum(low, last)] + ranked[np.minimum(high, last)]) / 2
        return np.where(half > 0, middle, np.nan)

    return order, read


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)
