"""Where neighbours agree a picture is, and how strongly.

The weighted spherical mean and its resultant length: K. Mardia & P. Jupp, Directional Statistics (2000), §9.2.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from gaea.errors import InputError
from gaea.sphere import from_xyz, great_circle_km, to_xyz


@dataclass(frozen=True)
class Consensus:
    """Where neighbours agree the picture is, and how strongly.

    Attributes:
        lat: Of the weighted spherical mean, degrees.
        lon: Likewise.
        resultant: Its resultant length R̄, from 0 (they cancel out) to 1 (one place). 2 (1 − R̄) is the weighted mean
            of the squared chord to the mean, in Earth radii.
        spread_km: Great-circle distance from the mean within which half of the weight lies; unlike R̄, one stray
            neighbour does not move it.
        effective: How many neighbours are really heard, 1 / Σ w².
    """

    lat: float
    lon: float
    resultant: float
    spread_km: float
    effective: float


def consensus(lat: ArrayLike, lon: ArrayLike, similarity: ArrayLike, *, temperature: float = 0.05) -> Consensus:
    """Where neighbours agree the picture is: their spherical mean, weighted by the softmax of similarity.

    With unit vectors x_i and w = softmax(similarity / temperature): m = Σ w_i x_i, the mean direction is m / ‖m‖ and
    the resultant length R̄ = ‖m‖ (K. Mardia & P. Jupp, Directional Statistics, 2000, §9.2.1). Neighbours that balance
    each other (antipodes) have no mean; the most similar one then speaks alone, with R̄ = 0.

    Args:
        lat: Degrees, shape (k,).
        lon: Degrees, shape (k,).
        similarity: Cosines, shape (k,).
        temperature: Of the softmax.

    Raises:
        InputError: No neighbours.
    """
    score = np.asarray(similarity, np.float64)
    if score.size == 0:
        raise InputError("no neighbours to agree on a place: the gallery gave none")
    weights = np.exp((score - score.max()) / temperature)
    weights /= weights.sum()
    xyz = to_xyz(lat, lon)
    mean = weights @ xyz
    resultant = float(np.linalg.norm(mean))
    at_lat, at_lon = (float(x) for x in from_xyz(mean if resultant > 1e-9 else xyz[int(np.argmax(score))]))
    away = great_circle_km(at_lat, at_lon, np.asarray(lat, np.float64), np.asarray(lon, np.float64))
    order = np.argsort(away, kind="stable")
    half = int(np.searchsorted(np.cumsum(weights[order]), 0.5 - 1e-12))
    return Consensus(at_lat, at_lon, min(resultant, 1.0), float(away[order[half]]), float(1 / np.square(weights).sum()))
