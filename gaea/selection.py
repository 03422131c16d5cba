"""One answer out of many candidates: the most probable, the most voted for, the safest, or the best by another's score.

Asking a language model to choose is in :mod:`gaea.adviser`. The best that a pool holds, judged by the truth, is a
diagnostic of the pool and of nothing else: :func:`oracle_best_in_pool` returns a value that no evaluation takes.

Source:
    GeoToken (arXiv 2511.01082) selects by a reward head or a language model; G3 (NeurIPS 2024) verifies candidates by
    their similarity to the picture, which is :func:`by_score`. The others are here to be measured beside them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from gaea import cells as s2
from gaea.belief import Belief
from gaea.errors import InputError, ModelError
from gaea.hilbert import MAX_LEVEL
from gaea.quadrature import Loss
from gaea.reward import Reward, features
from gaea.searchtree import Candidate, Decoded
from gaea.sphere import great_circle_km, validate_latlon


@dataclasses.dataclass(frozen=True)
class Choice:
    """The answer that was selected.

    Attributes:
        lat: Degrees.
        lon: Degrees.
        how: Which rule gave it.
        candidate: The candidate that it is, where it is one.
        failure: Why the rule that was asked could not answer and another did; empty where all went well.
    """

    lat: float
    lon: float
    how: str
    candidate: Candidate | None = None
    failure: str = ""

    @property
    def point(self) -> tuple[float, float]:
        """Latitude and longitude in degrees."""
        return self.lat, self.lon


def by_likelihood(candidates: Sequence[Candidate], *, length_power: float = 1.0) -> Choice:
    """Choose the most probable candidate; paths of several lengths compete as in a beam.

    Raises:
        InputError: There are no candidates.
    """
    return _of(max(_some(candidates), key=lambda c: c.score(length_power)), "likelihood")


def by_majority(candidates: Sequence[Candidate], *, level: int = 6) -> Choice:
    """Choose the most probable candidate in the cell that was drawn most often; equal counts go by probability.

    Args:
        candidates: With their counts.
        level: Of the cells that are voted for; a candidate coarser than that votes for its own cell.

    Raises:
        InputError: There are no candidates, or no such level.
    """
    if not 0 <= level <= MAX_LEVEL:
        raise InputError(f"level {level} does not exist: S2 cells have levels 0 to {MAX_LEVEL}")
    cells = np.array([c.cell for c in _some(candidates)], np.uint64)
    fine = s2.level(cells) > level
    cells[fine] = s2.parent(cells[fine], level)
    votes: dict[int, list[Candidate]] = {}
    for cell, candidate in zip(cells.tolist(), candidates, strict=True):
        votes.setdefault(cell, []).append(candidate)
    winner = max(votes.values(), key=lambda own: (sum(c.count for c in own), sum(np.exp(c.log_prob) for c in own)))
    return _of(by_likelihood(winner).candidate, "majority")


def by_least_loss(belief: Belief, *, loss: Loss = "median", radius_km: float = 200.0) -> Choice:
    """Choose the point of least expected loss, which need not be a candidate.

    Args:
        belief: Such as :meth:`Decoded.belief`, or :meth:`Decoded.votes` for the draws alone.
        loss: ``median`` for distance, ``geoscore``, ``hit`` within ``radius_km``, or ``near`` on its scale.
        radius_km: Of a hit.

    Raises:
        InputError: As :meth:`Belief.point`.
    """
    return Choice(*belief.point(loss, radius_km), f"least loss ({loss})")


def by_score(candidates: Sequence[Candidate], scores: npt.ArrayLike, *, how: str = "score") -> Choice:
    """Choose by another's score, such as the similarity of picture and place; equal scores go to the first.

    Args:
        candidates: Of shape ``(n,)``.
        scores: One for each, higher is better.
        how: What the choice calls it.

    Raises:
        InputError: There are no candidates.
        ModelError: The scores are not one finite number for each.
    """
    values = np.asarray(scores, np.float64)
    if values.shape != (len(_some(candidates)),) or not np.isfinite(values).all():
        raise ModelError(f"scores of shape {values.shape} for {len(candidates)} candidates: expected a number for each")
    return _of(candidates[int(np.argmax(values))], how)


def by_reward(decoded: Decoded, head: Reward, picture: npt.ArrayLike = ()) -> Choice:
    """Choose the candidate that a reward head holds most likely to lie within 200 km.

    Args:
        decoded: What a search found.
        head: Trained on :func:`gaea.reward.features`, followed by the picture's where it was given any.
        picture: Features of the picture, the same for all candidates.

    Raises:
        InputError: There are no candidates.
        ModelError: The head was trained on other features.
    """
    _some(decoded.candidates)
    return by_score(decoded.candidates, head(features(decoded, picture)), how="reward head")


@dataclasses.dataclass(frozen=True)
class OracleDiagnostic:
    """How good the best candidate of a pool is, found by looking at the truth; never an answer.

    It holds no point and does not unpack into one, so that it cannot be scored as a guess.

    Attributes:
        best_km: Distance from the truth to the nearest candidate.
        rank: Its place in the pool, 0 for the first.
        pool: How many candidates there were.
    """

    best_km: float
    rank: int
    pool: int

    def __iter__(self) -> Iterator[NoReturn]:
        """Refuse to be read as a point.

        Raises:
            InputError: Always.
        """
        raise InputError("an oracle's best in pool is a diagnostic, not a guess: select without the truth to be scored")


def oracle_best_in_pool(candidates: Sequence[Candidate], truth: tuple[float, float]) -> OracleDiagnostic:
    """Measure the best candidate of a pool, as an upper bound for any selection from it.

    Raises:
        InputError: There are no candidates, or the truth is out of range.
    """
    validate_latlon(*truth)
    points = np.array([c.point for c in _some(candidates)])
    distance = np.asarray(great_circle_km(points[:, 0], points[:, 1], *truth))
    best = int(np.argmin(distance))
    return OracleDiagnostic(float(distance[best]), best, len(candidates))


def _some(candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    if not candidates:
        raise InputError("there are no candidates to choose from: the search found none")
    return candidates


def _of(candidate: Candidate | None, how: str) -> Choice:
    if candidate is None:
        raise InputError("there are no candidates to choose from: the search found none")
    return Choice(*candidate.point, how, candidate)
