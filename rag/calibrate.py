"""How far an index of one's own can be trusted: its rows are asked about each other, each left out in its turn.

A row plays the photo, and its own place is taken out of the gallery before its neighbours are sought: for half of the
questions only the same spot (other pictures of the same moment, the same file saved again), for half of them a whole
neighbourhood, because a user's photo may come from a place that the index knows or from one that it does not. One part
of the questions fits the neighbours' kernel density, the other sizes the regions (split conformal prediction:
Papadopoulos et al., 2002), so that no question sizes what it has fitted.

The coverage holds for photos like those in the index. Symbols of a language model are given no weight here, because
rows keep no picture that it could be asked about.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gaea.belief import ANSWERED
from gaea.calibration import Calibration
from gaea.conformal import conformal_mass, mass_to_reach
from gaea.errors import InputError
from gaea.locate.neighbours import NeighbourConfig, NeighbourLocator
from gaea.locate.neighbours_fit import fit
from gaea.rag.gallery import Gallery
from gaea.rag.neighbours import search
from gaea.rag.selection import Exclusion
from gaea.rag.store import Store
from gaea.sphere import great_circle_km

FloatArray = NDArray[np.float64]
LEAST_ROWS = 200


@dataclass(frozen=True)
class LeaveOut:
    """How an index is asked about itself.

    Attributes:
        questions: Rows that play the photo.
        spot_km: Rows nearer than this are the same place, and never count.
        away_km: For every second question, rows nearer than this do not count either.
        same_picture: Nor do rows at least this similar.
        seed: Which rows are drawn.
    """

    questions: int = 1000
    spot_km: float = 0.5
    away_km: float = 50.0
    same_picture: float = 0.995
    seed: int = 0


@dataclass(frozen=True)
class Learned:
    """What leaving out taught.

    Attributes:
        calibration: To be saved beside the index.
        questions: How many sized the regions.
        median_km: Error of their points, where the neighbourhood was there and where it was not.
        coverage: Share of them within the nominal 50 and 90 % regions, before these were sized.
    """

    calibration: Calibration
    questions: int
    median_km: tuple[float, float]
    coverage: tuple[float, float]


def learn(gallery: Gallery, store: Store, config: LeaveOut | None = None) -> Learned:
    """Ask an index about its own rows.

    Args:
        gallery: Its rows.
        store: Over their numbers.
        config: How.

    Raises:
        InputError: Too few rows, or all of them at one place.
    """
    config = config or LeaveOut()
    if len(gallery) < LEAST_ROWS:
        raise InputError(f"{len(gallery)} rows are too few to learn from: at least {LEAST_ROWS} are needed")
    rng = np.random.default_rng(config.seed)
    asked = rng.permutation(len(gallery))[: min(config.questions, len(gallery) // 2 * 2)]
    away = np.arange(len(asked)) % 2 == 1
    found = [_recall(gallery, store, asked[away == far], far, config) for far in (False, True)]
    lat, lon, similarity = (np.concatenate(columns) for columns in zip(*found, strict=True))
    order = np.concatenate([np.flatnonzero(~away), np.flatnonzero(away)])
    true_lat, true_lon = gallery.lat[asked[order]], gallery.lon[asked[order]]

    # Halves by chance; each holds questions of both kinds.
    fits = rng.permutation(len(order)) % 2 == 0
    density = fit(
        lat[fits],
        lon[fits],
        similarity[fits],
        true_lat[fits],
        true_lon[fits],
        start=NeighbourConfig(k=lat.shape[1]),
    )
    locator, sizes = NeighbourLocator(density), np.flatnonzero(~fits)
    beliefs = [locator.belief(lat[i], lon[i], similarity[i]) for i in sizes]
    needed = np.array([mass_to_reach(b, true_lat[i], true_lon[i]) for b, i in zip(beliefs, sizes, strict=True)])
    points = np.array([belief.point(ANSWERED) for belief in beliefs])
    errors_km = np.asarray(great_circle_km(points[:, 0], points[:, 1], true_lat[sizes], true_lon[sizes]))
    far = away[order][sizes]
    n = len(needed)
    half, most = (conformal_mass(needed, coverage) for coverage in (0.5, 0.9))
    return Learned(
        calibration=Calibration(neighbours=density, weights=(1.0, 0.0), region_mass=(half, most)),
        questions=n,
        median_km=(float(np.median(errors_km[~far])), float(np.median(errors_km[far]))),
        coverage=(float((needed <= 0.5).mean()), float((needed <= 0.9).mean())),
    )


def _recall(
    gallery: Gallery, store: Store, asked: NDArray[np.int64], far: bool, config: LeaveOut
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Neighbours of some rows without their own place: latitudes, longitudes and similarities of shape (q, k)."""
    k = min(NeighbourConfig().k, len(gallery) // 4)
    lat, lon = gallery.lat[asked], gallery.lon[asked]
    within_km = config.away_km if far else config.spot_km
    left_out = Exclusion(lat, lon, within_km, similarity_from=config.same_picture)
    found = search(gallery.embeddings[asked], store, gallery, k, exclude=left_out)
    # Where a dense neighbourhood is left out, some question may have fewer rows; the shortest list rules all.
    short = k - found.lat.shape[1]
    if short:
        raise InputError(f"leaving out {within_km:g} km about a row leaves too few others: the index is one place")
    return found.lat, found.lon, found.similarity
