"""What is promised, held against what comes true: regions against coverage, doubt against error, abstention.

Every belief is asked which mass its region needs to hold the truth (:func:`gaea.conformal.mass_to_reach`). The share of
places that need at most m is the observed coverage of regions of the nominal mass m: the reliability diagram. Doubt is
the radius about the point that holds half the promise; ordered by it, the share of wrong answers among those given is
the risk–coverage curve.

Source:
    Reliability diagrams: DeGroot and Fienberg (1983); for regions, Gneiting et al. (2007), probabilistic calibration.
    Risk–coverage curves: El-Yaniv and Wiener (2010).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gaea.belief import ANSWERED, Belief
from gaea.calibration import Calibration
from gaea.conformal import mass_to_reach
from gaea.eval.grouped import Draws
from gaea.sphere import great_circle_km

NOMINAL = tuple(round(0.05 * step, 2) for step in range(1, 20))
WRONG_KM = (750.0, 2500.0)
PROMISED = (50, 90)
LEAST_BITS = 1.0  # as in `briefing.how_sure`: with less no point is given


@dataclasses.dataclass(frozen=True)
class Read:
    """What one belief says of one place, and what is true.

    Attributes:
        needed: Mass that its region needs to hold the truth.
        nats: −ln of its density per km² at the truth.
        error_km: Of its point.
        doubt_km: Radius about the point that holds the mass at which half was promised; infinite without a point.
        held: Whether the promised regions hold the truth, by percentage.
        area_km2: Their areas.
    """

    needed: float
    nats: float
    error_km: float
    doubt_km: float
    held: Mapping[int, bool]
    area_km2: Mapping[int, float]

    @classmethod
    def of(cls, belief: Belief, lat: float, lon: float, masses: Sequence[float]) -> Read:
        """Read a belief; ``masses`` are those at which 50 and 90 % are promised."""
        point = belief.point(ANSWERED)
        knows = belief.information_gain() >= LEAST_BITS
        regions = {percent: belief.region(mass) for percent, mass in zip(PROMISED, masses, strict=True)}
        return cls(
            mass_to_reach(belief, lat, lon),
            -float(belief.log_density(lat, lon)),
            float(great_circle_km(*point, lat, lon)),
            belief.radius_km(*point, masses[0]) if knows else float("inf"),
            {percent: bool(region.contains(lat, lon)) for percent, region in regions.items()},
            {percent: region.area_km2 for percent, region in regions.items()},
        )


def told(reads: Sequence[Read], draws: Draws) -> dict[str, Any]:
    """Everything that is reported of one kind of belief on one split."""
    needed, error_km = np.array([r.needed for r in reads]), np.array([r.error_km for r in reads])
    diagram = {f"{mass:.2f}": draws.estimate((needed <= mass + 1e-12).astype(float)) for mass in NOMINAL}
    gaps = [abs(value[0] - float(mass)) for mass, value in diagram.items()]
    return {
        "surprise_nats": draws.estimate(np.array([r.nats for r in reads])),
        "median_km": draws.estimate(error_km, np.median),
        "diagram": diagram,
        "mean gap": round(float(np.mean(gaps)), 4),
        "regions": {
            str(percent): {
                "held": draws.estimate(np.array([r.held[percent] for r in reads], float)),
                "mean_km2": draws.estimate(np.array([r.area_km2[percent] for r in reads])),
                "median_km2": draws.estimate(np.array([r.area_km2[percent] for r in reads]), np.median),
            }
            for percent in PROMISED
        },
        "risk and coverage": risk_curve(np.array([r.doubt_km for r in reads]), error_km),
    }


def risk_curve(doubt_km: np.ndarray, error_km: np.ndarray) -> dict[str, Any]:
    """Share of wrong answers among the surest tenths, the area under it, and what the best order would have.

    Args:
        doubt_km: (n,); those with infinite doubt are never answered.
        error_km: (n,).

    Returns:
        For each distance: ``points`` (share answered, share wrong of these), ``area`` under the curve over all shares
        at which answers can be given, and ``best area``, had the errors been known.
    """
    finite = np.isfinite(doubt_km)
    curve: dict[str, Any] = {"answerable": round(float(finite.mean()), 4)}
    for km in WRONG_KM:
        wrong = (error_km[finite] > km).astype(float)
        if not wrong.size:
            curve[f"{km:g} km"] = {"points": [], "area": None, "best area": None}
            continue
        count = np.arange(1, wrong.size + 1)
        given = np.cumsum(wrong[np.argsort(doubt_km[finite], kind="stable")]) / count
        best = np.cumsum(np.sort(wrong)) / count
        at = sorted({max(round(len(doubt_km) * tenth / 10), 1) for tenth in range(1, 11)})
        curve[f"{km:g} km"] = {
            "points": [[round(n / len(doubt_km), 4), round(float(given[n - 1]), 4)] for n in at if n <= wrong.size],
            "area": round(float(given.mean()), 4),
            "best area": round(float(best.mean()), 4),
        }
    return curve


def abstention(reads: Sequence[Read], trust: Calibration, draws: Draws) -> dict[str, Any]:
    """What abstaining beyond the calibrated radius does, beside what was promised of it."""
    answered = np.array([r.doubt_km <= trust.abstain_radius_km for r in reads])
    error_km = np.array([r.error_km for r in reads])
    promise = trust.promise
    beyond = promise.risk.beyond_km if promise else WRONG_KM[-1]
    wrong = np.where(answered, (error_km > beyond).astype(float), np.nan)
    return {
        "radius_km": trust.abstain_radius_km,
        "promise": None if promise is None else dataclasses.asdict(promise),
        "beyond_km": beyond,
        "answered": draws.estimate(answered.astype(float)),
        "wrong of the answered": draws.estimate(wrong),
        "wrong of all": draws.estimate((error_km > beyond).astype(float)),
    }
