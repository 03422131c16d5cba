"""How much each of several locators is to be heard: exponents of a log-linear pool, fitted on validation places.

The pool of beliefs with densities p_i is p(x) ∝ Π p_i(x)^{w_i}. A locator's own temperature T_i and its weight w_i are
one exponent w_i / T_i there, and a temperature of the pool divides all of them; so one number per locator is fitted,
whatever it is then called. As a function of the exponents the log-likelihood of the true places is that of an
exponential family, hence concave: Newton's method finds the best exponents exactly, for any number of locators.

Source:
    Genest and Zidek (1986) for the pool; Heskes (1998), "Selecting weighting factors in logarithmic opinion pools".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from gaea import cells as s2
from gaea import cellsets
from gaea.belief import Belief, fuse
from gaea.errors import InputError
from gaea.sphere import EARTH_AREA_KM2, FloatArray

FLOOR = 1e-6
"""Even mass mixed into every belief before it is pooled, as in :func:`gaea.belief.fuse`."""

_RIDGE = 1e-4
_STEPS = 50


@dataclasses.dataclass(frozen=True)
class Pool:
    """A log-linear pool of named locators.

    Attributes:
        weights: Exponent of each; a locator that is not named is not heard.
        temperature: Of what comes out: all exponents are divided by it.

    Raises:
        InputError: A weight that is negative, or a temperature that is not positive.
    """

    weights: Mapping[str, float]
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not self.temperature > 0 or not all(weight >= 0 for weight in self.weights.values()):
            raise InputError(f"{self}: weights are not negative, and the temperature is above 0")

    def __call__(self, beliefs: Mapping[str, Belief]) -> Belief:
        """Pool the beliefs of one place; without any that is heard, nothing is known."""
        heard = [name for name in beliefs if self.weights.get(name, 0.0) > 0]
        if not heard:
            return Belief.uniform()
        return fuse([beliefs[name] for name in heard], [self.weights[name] / self.temperature for name in heard], FLOOR)


@dataclasses.dataclass(frozen=True)
class FittedPool:
    """What fitting found.

    Attributes:
        pool: To be used.
        surprise_nats: Mean −ln density per km² at the true places, of the pool.
        alone_nats: The same of each locator by itself, as it came.
    """

    pool: Pool
    surprise_nats: float
    alone_nats: Mapping[str, float]


def fit(
    beliefs: Sequence[Mapping[str, Belief]], lat: Sequence[float], lon: Sequence[float], *, floor: float = FLOOR
) -> FittedPool:
    """Find the exponents under which the true places are least surprising.

    Args:
        beliefs: Of each place, by locator; the same locators for all.
        lat: Where the places are, degrees.
        lon: Likewise.
        floor: Even mass mixed into every belief.

    Returns:
        The pool, with a temperature of 1; a locator that only harms has the weight 0.

    Raises:
        InputError: No places, or not the same locators for all of them.
    """
    if not beliefs or not beliefs[0] or len({frozenset(each) for each in beliefs}) != 1:
        raise InputError("fitting a pool takes at least one place, and beliefs of the same locators for each")
    if not len(beliefs) == len(lat) == len(lon):
        raise InputError(
            f"{len(beliefs)} places with {len(lat)} latitudes and {len(lon)} longitudes: expected one each"
        )
    names = sorted(beliefs[0])
    terms = [_Terms(b, names, at, floor) for b, at in zip(beliefs, zip(lat, lon, strict=True), strict=True)]
    exponents = np.full(len(names), 1.0 / len(names))
    value, gradient, curvature = _likelihood(terms, exponents)
    for _ in range(_STEPS):
        step = _newton(exponents, gradient, curvature)
        for halving in range(20):
            tried = np.maximum(exponents + step / 2**halving, 0.0)
            ahead = _likelihood(terms, tried)
            if ahead[0] >= value - 1e-12:
                break
        moved = float(np.abs(tried - exponents).max())
        exponents, (value, gradient, curvature) = tried, ahead
        if moved < 1e-6:
            break
    told = {name: float(exponent) for name, exponent in zip(names, exponents, strict=True)}
    alone = {name: -float(np.mean([t.truth[i] for t in terms])) for i, name in enumerate(names)}
    surprise = -float(np.mean([t.log_likelihood(exponents)[0] for t in terms]))
    return FittedPool(Pool(told), surprise, alone)


class _Terms:
    """One place: log-densities of k locators on m pieces of the Earth, and at the truth."""

    def __init__(self, beliefs: Mapping[str, Belief], names: list[str], at: tuple[float, float], floor: float) -> None:
        held = [beliefs[name] for name in names]
        pieces, owners = cellsets.overlay([belief.cells for belief in held])
        areas = s2.area_km2(pieces)
        rest_km2 = max(EARTH_AREA_KM2 - float(areas.sum()), 0.0)
        some_rest = rest_km2 > 1e-9 * EARTH_AREA_KM2

        def floored(log_density: FloatArray) -> FloatArray:
            mixed: FloatArray = np.logaddexp(log_density + np.log1p(-floor), np.log(floor / EARTH_AREA_KM2))
            return mixed

        rows = []
        for belief, owner in zip(held, owners, strict=True):
            elsewhere_km2 = EARTH_AREA_KM2 - float(belief.areas_km2.sum())
            with np.errstate(divide="ignore", invalid="ignore"):
                rest = np.log(belief.elsewhere / elsewhere_km2) if belief.elsewhere > 0 else -np.inf
            own = np.append(belief.log_prob - np.log(belief.areas_km2), rest)[owner]
            rows.append(floored(np.append(own, rest) if some_rest else own))
        self.log_densities = np.stack(rows)  # (k, m)
        self.log_areas = np.log(np.append(areas, rest_km2) if some_rest else areas)
        self.truth = floored(np.array([float(belief.log_density(*at)) for belief in held]))

    def log_likelihood(self, exponents: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        """Log-density of the pool at the truth, its gradient and minus its Hessian in the exponents."""
        log_mass = exponents @ self.log_densities + self.log_areas
        top = log_mass.max()
        mass = np.exp(log_mass - top)
        total = mass.sum()
        share = mass / total
        mean = self.log_densities @ share
        spread = (self.log_densities * share) @ self.log_densities.T - np.outer(mean, mean)
        return float(exponents @ self.truth - top - np.log(total)), self.truth - mean, spread


def _likelihood(terms: list[_Terms], exponents: FloatArray) -> tuple[float, FloatArray, FloatArray]:
    """Mean over the places, held by a ridge that decides where locators say the same."""
    parts = [term.log_likelihood(exponents) for term in terms]
    value = float(np.mean([part[0] for part in parts])) - 0.5 * _RIDGE * float(exponents @ exponents)
    gradient = np.mean([part[1] for part in parts], axis=0) - _RIDGE * exponents
    return value, gradient, np.mean([part[2] for part in parts], axis=0) + _RIDGE * np.eye(len(exponents))


def _newton(exponents: FloatArray, gradient: FloatArray, curvature: FloatArray) -> FloatArray:
    """A step among those exponents that are not held at zero."""
    free = (exponents > 0) | (gradient > 0)
    step = np.zeros_like(exponents)
    if free.any():
        step[free] = np.linalg.solve(curvature[np.ix_(free, free)], gradient[free])
    return step
