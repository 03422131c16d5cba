"""What was promised against what came true: regions, densities, doubt and abstention, from the lines of a run.

Source:
    Reliability of regions: Gneiting et al. (2007), probabilistic calibration. Risk–coverage curves and the area under
    them: El-Yaniv and Wiener (2010), Geifman et al. (2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gaea.eval.answers import Answers
from gaea.eval.bootstrap import Asked, Bootstrap
from gaea.eval.records import MASSES, Prediction
from gaea.sphere import EARTH_AREA_KM2

WRONG_KM = (200.0, 2500.0)
"""Answers farther off are wrong, in two senses."""

NOMINAL = tuple(round(0.1 * step, 1) for step in range(1, 10))
SHARES = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


def calibration(answers: Answers, draws: Bootstrap) -> dict[str, Any]:
    """Coverage and area of the promised regions, reliability, and the density at the truth.

    Only predictions that carry such values are counted, and how many do is told. ``log density`` is the mean natural
    logarithm per km² (minus it is the negative log-likelihood); places to which a belief gives no density at all are
    counted beside it, because their logarithm is no number.
    """
    made = answers.predictions
    told: dict[str, Any] = {"n": sum(p.covered is not None for p in made)}
    if not told["n"]:
        return told
    means: dict[str, np.ndarray] = {}
    medians: dict[str, np.ndarray] = {}
    for mass in MASSES:
        means[f"coverage_{mass}"] = _values(made, lambda p, m=mass: p.covered.get(m) if p.covered else None)
        medians[f"area_{mass}_km2"] = _values(made, lambda p, m=mass: p.area_km2.get(m) if p.area_km2 else None)
    needed = _values(made, lambda p: p.needed)
    for nominal in NOMINAL:
        means[f"reliability {nominal:g}"] = np.where(np.isnan(needed), np.nan, needed <= nominal)
    density = _values(made, lambda p: p.log_score)
    means["log_density"] = density
    means["bits_gained"] = (density + np.log(EARTH_AREA_KM2)) / np.log(2)
    found = draws.estimate(Asked(means, medians))
    told |= {name: each for name, each in found.items() if not name.startswith("reliability")}
    told["no_density"] = int(sum(p.covered is not None and p.log_score is None for p in made))
    curve = [[nominal, *found[f"reliability {nominal:g}"]] for nominal in NOMINAL]
    if not np.isnan(needed).all():
        told["reliability"] = curve
        told["reliability_error"] = round(float(np.mean([abs(share - nominal) for nominal, share, _ in curve])), 4)
    return told


def doubt(answers: Answers, draws: Bootstrap) -> dict[str, Any]:
    """Risk–coverage: how wrong the answers are of which a system is surest.

    Doubt is the radius that holds half of a belief, then the one that holds 90 %; a prediction without a radius counts
    as most doubtful, and one without a point as wrong. ``aurc`` is the area under the curve (the mean risk over all
    coverages), ``oracle`` the least that any order of these answers could have, ``random`` what no order at all has.
    """
    known = [p.radius_km is not None for p in answers.predictions]
    told: dict[str, Any] = {"n": int(sum(known))}
    if not told["n"]:
        return told
    radius = [(p.radius_km[50], p.radius_km[90]) if p.radius_km else (np.inf, np.inf) for p in answers.predictions]
    asked = np.flatnonzero(~np.isnan(answers.error_km))
    order = asked[np.lexsort(np.array(radius)[asked].T[::-1])]
    for wrong_km in WRONG_KM:
        wrong = (answers.error_km > wrong_km).astype(float)
        best = asked[np.argsort(wrong[asked], kind="stable")]
        found = draws.estimate(
            Asked(
                means={"random": np.where(np.isnan(answers.error_km), np.nan, wrong)},
                ordered={"aurc": (order, _area(wrong[order])), "oracle": (best, _area(wrong[best]))},
            )
        )
        risks = np.cumsum(wrong[order]) / np.arange(1, len(order) + 1)
        at = [max(int(np.ceil(share * len(order))), 1) - 1 for share in SHARES]
        told[f"beyond_{wrong_km:g}_km"] = found | {
            "curve": [[share, round(float(risks[index]), 4)] for share, index in zip(SHARES, at, strict=True)]
        }
    return told


def abstention(answers: Answers, draws: Bootstrap) -> dict[str, Any]:
    """Whether it was right to abstain: errors of the guesses behind abstentions, and of the answers that were given."""
    if not answers.abstained.any():
        return {"abstained": 0}
    asked = ~np.isnan(answers.error_km)
    told: dict[str, Any] = {"abstained": int(answers.abstained.sum()), "given": int((~answers.abstained).sum())}
    for wrong_km in WRONG_KM:
        wrong = np.where(asked, answers.error_km > wrong_km, np.nan)
        means = {
            "wrong among abstained": np.where(answers.abstained, wrong, np.nan),
            "wrong among given": np.where(answers.abstained, np.nan, wrong),
            "abstained among wrong": np.where(wrong == 1, answers.abstained, np.nan),
            "abstained among right": np.where(wrong == 0, answers.abstained, np.nan),
        }
        told[f"beyond_{wrong_km:g}_km"] = draws.estimate(Asked(means))
    return told


def _area(wrong: np.ndarray) -> Any:
    """Mean over all coverages of the share of wrong among the surest so many."""

    def read(weights: np.ndarray) -> np.ndarray:
        mass = np.cumsum(weights, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            risk = np.cumsum(weights * wrong, axis=1) / mass
        return np.nansum(risk * weights, axis=1) / mass[:, -1]

    return read


def _values(made: Sequence[Prediction], of: Any) -> np.ndarray:
    return np.array([np.nan if (value := of(each)) is None else float(value) for each in made])
