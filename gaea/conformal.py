"""Promises with proofs: regions that hold the truth as often as said, and answers that are as seldom wrong as said.

Both are learned from places that trained nothing, and hold for new places drawn in the same way, however good or bad
the beliefs are. They do not hold for photos of another kind, and places that resemble each other count for less than
their number.

Source:
    Regions: split conformal prediction (Papadopoulos et al. 2002; Angelopoulos and Bates 2021, section 1), the score
    being the mass that a region needs to reach the truth. Abstention: Learn then Test (Angelopoulos et al. 2021,
    arXiv 2110.01052) with exact binomial p-values and fixed-sequence testing, as for selective classification there
    (and Geifman and El-Yaniv 2017).
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gaea import cells as s2
from gaea import cellsets
from gaea.belief import Belief
from gaea.errors import InputError

_JUST_MORE = 1e-9  # of mass: far above what rounding leaves, far below what anybody asks for


def mass_to_reach(belief: Belief, lat: float, lon: float) -> float:
    """The least nominal mass at which :meth:`Belief.region` holds a place; 1 for a place in none of the cells.

    Regions take whole cells, densest first, until they hold their mass: a place is within as soon as what is denser
    than its own cell holds less.
    """
    index = int(cellsets.index_of(belief.cells, s2.from_latlon(lat, lon)))
    if index < 0:
        return 1.0
    order = np.argsort(-(belief.log_prob - np.log(belief.areas_km2)), kind="stable")
    before = np.exp(belief.log_prob[order])[: int(np.flatnonzero(order == index)[0])].sum()
    return float(min(before + _JUST_MORE, 1.0))


def conformal_mass(
    needed: npt.ArrayLike, coverage: float, *, groups: Sequence[object] | None = None, most: float = 0.995
) -> float:
    """Nominal mass at which regions hold the truth of a new place with at least a probability of ``coverage``.

    Args:
        needed: What :func:`mass_to_reach` says of n places, ``(n,)``.
        coverage: Above 0 and below 1.
        groups: What each place belongs to, for example its block of the map; n of them. Places of one group resemble
            each other, so every group counts as one, whatever it holds, and the promise is for a place of a new group
            (Lee, Barber and Willett 2023, arXiv 2306.06342). None: every place for itself.
        most: What is given where so high a mass is needed that the region would be the whole Earth, for example
            because there are too few places; the promise is then not kept.

    Returns:
        The ``ceil((n + 1) · coverage)``-th smallest of them; of k groups, the least mass up to which the shares of the
        groups add up to ``(k + 1) · coverage``.

    Raises:
        InputError: No places, a number out of range, or not a group for each place.
    """
    masses = np.asarray(needed, np.float64).reshape(-1)
    if not masses.size or not np.all((masses >= 0) & (masses <= 1)) or not 0 < coverage < 1:
        raise InputError(f"{masses.size} masses and a coverage of {coverage}: expected some masses of 0 to 1, and 0…1")
    names = list(range(masses.size)) if groups is None else list(groups)
    if len(names) != masses.size:
        raise InputError(f"{len(names)} groups for {masses.size} places: expected one each")
    sizes = Counter(names)
    order = np.argsort(masses, kind="stable")
    shares = np.cumsum([1 / sizes[names[i]] for i in order.tolist()])
    at = int(np.searchsorted(shares, (len(sizes) + 1) * coverage - 1e-9))
    return float(min(masses[order[at]], most)) if at < masses.size else most


@dataclasses.dataclass(frozen=True)
class Risk:
    """What is asked of answers: at most ``share`` of those given are off by more than ``beyond_km``.

    Attributes:
        share: Above 0 and below 1.
        beyond_km: What counts as wrong.
        confidence: Probability, over the choice of the validation places, that the promise holds.

    Raises:
        InputError: A number out of range.
    """

    share: float = 0.1
    beyond_km: float = 2500.0
    confidence: float = 0.9

    def __post_init__(self) -> None:
        if not (0 < self.share < 1 and 0 < self.confidence < 1 and self.beyond_km > 0):
            raise InputError(f"{self}: share and confidence lie between 0 and 1, and beyond_km is above 0")


@dataclasses.dataclass(frozen=True)
class Promise:
    """A threshold that keeps a risk, and how it did on the places that it was chosen on.

    Attributes:
        risk: What is promised.
        threshold: Answers are given where the doubt is at most this; for locators, a radius in km.
        answered: Share of the places that were answered.
        wrong: Share of the answered that were off by more.
        places: How many places there were.
    """

    risk: Risk
    threshold: float
    answered: float
    wrong: float
    places: int


def keep_risk(doubt: npt.ArrayLike, error_km: npt.ArrayLike, risk: Risk | None = None) -> Promise | None:
    """Choose the largest doubt up to which answers may be given.

    Thresholds stand at every twentieth of the places, by doubt alone, and are tested from the strictest on, those with
    too few places to prove anything left out. Testing ends with the first that cannot be shown to keep the risk.

    Args:
        doubt: Of n places, small where the answer is sure, infinite where none is given; ``(n,)``.
        error_km: How far off the answer is, ``(n,)``.
        risk: What is promised.

    Returns:
        The promise, or None where no threshold keeps it.

    Raises:
        InputError: Shapes that do not fit, or something that is not a number.
    """
    risk = risk or Risk()
    unsure, off = np.asarray(doubt, np.float64), np.asarray(error_km, np.float64)
    if unsure.ndim != 1 or unsure.shape != off.shape or np.isnan(unsure).any() or np.isnan(off).any():
        raise InputError(f"doubts of shape {unsure.shape}, errors of shape {off.shape}: expected (n,) numbers each")
    wrong, kept = off > risk.beyond_km, None
    finite = np.sort(unsure[np.isfinite(unsure)])
    ranks = sorted({math.ceil(finite.size * step / 20) for step in range(1, 21)} - {0})
    for threshold in dict.fromkeys(finite[rank - 1] for rank in ranks):
        given = unsure <= threshold
        n, misses = int(given.sum()), int(wrong[given].sum())
        if (1 - risk.share) ** n > 1 - risk.confidence:
            continue  # not even a perfect record of so few would prove it
        if at_most(misses, n, risk.share) > 1 - risk.confidence:
            break
        kept = Promise(risk, float(threshold), n / unsure.size, misses / n, unsure.size)
    return kept


def at_most(successes: int, trials: int, share: float) -> float:
    """Probability of at most so many successes in independent trials: the binomial distribution function."""
    k = np.arange(successes + 1)
    choose = [math.lgamma(trials + 1) - math.lgamma(i + 1) - math.lgamma(trials - i + 1) for i in k.tolist()]
    log_p = np.array(choose) + k * math.log(share) + (trials - k) * math.log1p(-share)
    return float(min(np.exp(log_p).sum(), 1.0))
