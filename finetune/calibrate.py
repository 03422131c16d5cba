"""Learns on validation places how far to trust each locator, and writes ``calibration.json`` beside the gallery.

Half of the validation pictures come from unseen blocks and half are new crops of seen places, because a user's photo
may be either. In order: the neighbours' kernel density, the temperature of S2 symbols, the exponents of the pool, the
temperature of the result, the nominal masses at which 50 and 90 % of the true places are covered, and the strangeness
beyond which a picture is of another world.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Sequence

import numpy as np
from PIL import Image

from gaea import prompts
from gaea.belief import Belief, calibrate, fuse
from gaea.calibration import Calibration
from gaea.decoding import SearchConfig, search
from gaea.engine import Engine
from gaea.finetune.crops import Crops
from gaea.locate.neighbours import NeighbourLocator, Neighbours
from gaea.locate.neighbours_fit import fit
from gaea.rag.calibrate import mass_to_reach
from gaea.rag.memory import GalleryMemory
from gaea.sphere import great_circle_km

logger = logging.getLogger(__name__)
TOKEN_TEMPERATURES = (1.0, 1.4, 2.0, 3.0)
WEIGHTS = ((1.0, 0.0), (1.0, 0.25), (1.0, 0.5), (0.75, 0.25), (0.75, 0.5), (0.5, 0.5), (1.0, 1.0))
TEMPERATURES = (0.7, 0.85, 1.0, 1.2, 1.5)
STRANGER_SHARE = 0.02  # of pictures of the gallery's own world that may be taken for strangers


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What the locators see of one validation picture, before anything is tempered."""

    neighbours: Neighbours
    tokens: dict[float, Belief]
    lat: float
    lon: float
    strangeness: float
    unseen: bool


def gather(memory: GalleryMemory, engine: Engine, unseen: Crops, seen: Crops) -> list[Evidence]:
    """Recall and decode every validation picture once."""
    found = []
    for part in (unseen, seen):
        for picture, lat, lon in zip(part.images_NHWC, part.lat.tolist(), part.lon.tolist(), strict=True):
            image = Image.fromarray(picture)
            recalled = memory.recall(image)
            asked = prompts.locate(prompts.neighbour_tokens(recalled.similar))
            score = engine.scorer(asked, engine.see(image))
            tokens = {t: search(score, SearchConfig(temperature=t)) for t in TOKEN_TEMPERATURES}
            found.append(Evidence(recalled, tokens, lat, lon, memory.strangeness(image), part is unseen))
    return found


def learn(evidence: Sequence[Evidence]) -> Calibration:
    """Fit everything in :class:`gaea.calibration.Calibration`.

    Args:
        evidence: From :func:`gather`, of validation places only.
    """
    arrays = [e.neighbours.arrays() for e in evidence]
    lat, lon, similarity = (np.stack([a[i] for a in arrays]) for i in range(3))
    true_lat, true_lon = np.array([e.lat for e in evidence]), np.array([e.lon for e in evidence])
    density = fit(lat, lon, similarity, true_lat, true_lon)
    locator = NeighbourLocator(density)
    near = [locator.belief(*a) for a in arrays]

    def surprise(beliefs: Sequence[Belief]) -> float:
        return -float(np.mean([b.log_density(e.lat, e.lon) for b, e in zip(beliefs, evidence, strict=True)]))

    hot = min(TOKEN_TEMPERATURES, key=lambda t: surprise([_floored(e.tokens[t]) for e in evidence]))
    tokens = [e.tokens[hot] for e in evidence]
    logger.info(
        "neighbours alone %.3f, tokens alone (T=%.1f) %.3f nats",
        surprise(near),
        hot,
        surprise([_floored(t) for t in tokens]),
    )
    pools = {w: [fuse([n, t], w) for n, t in zip(near, tokens, strict=True)] for w in WEIGHTS}
    weights, temperature = min(
        itertools.product(WEIGHTS, TEMPERATURES), key=lambda wt: surprise([calibrate(b, wt[1]) for b in pools[wt[0]]])
    )
    final = [calibrate(b, temperature) for b in pools[weights]]
    logger.info("pooled with %s at T=%.2f: %.3f nats", weights, temperature, surprise(final))
    # Regions are sized on unseen places alone: there they are hardest to get right, and seen ones are then safe.
    needed = np.array([mass_to_reach(b, e.lat, e.lon) for b, e in zip(final, evidence, strict=True) if e.unseen])
    # Split conformal: the ceil((n + 1) q) / n quantile of the mass a region needs to reach the truth.
    n = len(needed)
    masses = tuple(float(np.quantile(needed, min(np.ceil((n + 1) * q) / n, 1.0))) for q in (0.5, 0.9))
    return Calibration(
        neighbours=density,
        token_temperature=hot,
        weights=weights,
        temperature=temperature,
        region_mass=(masses[0], min(masses[1], 0.995)),
        strange=float(np.quantile([e.strangeness for e in evidence], 1 - STRANGER_SHARE)),
    )


def errors_km(beliefs: Sequence[Belief], evidence: Sequence[Evidence]) -> np.ndarray:
    """Distance of each belief's point from the truth."""
    points = [b.point("median") for b in beliefs]
    return np.array([float(great_circle_km(*p, e.lat, e.lon)) for p, e in zip(points, evidence, strict=True)])


def _floored(belief: Belief) -> Belief:
    return fuse([belief], floor=1e-3)
