"""Learns on validation places how far to trust each locator, and writes ``calibration.json`` beside the gallery.

Half of the validation pictures come from unseen blocks and half are new crops of seen places, because a user's photo
may be either. A third of the blocks fits, in order: the neighbours' kernel density, the temperature of S2 symbols, and
the exponents of the pool. The rest sizes what is promised, so that nothing is promised by what it was fitted on:
the nominal masses at which 50 and 90 % of the true places are covered (split conformal), and the doubt from which no
point is given (Learn then Test). Last comes the strangeness beyond which a picture is of another world.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image

from gaea import prompts
from gaea.belief import Belief, fuse
from gaea.calibration import Calibration
from gaea.conformal import Risk, conformal_mass, keep_risk, mass_to_reach
from gaea.decoding import SearchConfig, search
from gaea.engine import Engine
from gaea.finetune.crops import Crops
from gaea.finetune.splits import block_address
from gaea.fusion import fit as fit_pool
from gaea.locate.neighbours import NeighbourConfig, NeighbourLocator, Neighbours
from gaea.locate.neighbours_fit import fit
from gaea.rag.memory import GalleryMemory
from gaea.sphere import great_circle_km

logger = logging.getLogger(__name__)
TOKEN_TEMPERATURES = (1.0, 1.4, 2.0, 3.0)
STRANGER_SHARE = 0.02  # of pictures of the gallery's own world that may be taken for strangers
FEWEST = 100  # validation pictures; with fewer, all of them fit and size
LEAST_BITS = 1.0  # below it `briefing.how_sure` gives no point whatever the radius


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What the locators see of one validation picture, before anything is tempered."""

    neighbours: Neighbours
    tokens: dict[float, Belief]
    lat: float
    lon: float
    strangeness: float
    unseen: bool
    others: Mapping[str, Belief] = dataclasses.field(default_factory=dict)


def gather(
    memory: GalleryMemory,
    engine: Engine,
    unseen: Crops,
    seen: Crops,
    others: Mapping[str, Callable[[Image.Image, Neighbours], Belief]] | None = None,
) -> list[Evidence]:
    """Recall and decode every validation picture once; ``others`` are further locators, by name."""
    found = []
    for part in (unseen, seen):
        for picture, lat, lon in zip(part.images_NHWC, part.lat.tolist(), part.lon.tolist(), strict=True):
            image = Image.fromarray(picture)
            recalled = memory.recall(image)
            asked = prompts.locate(prompts.neighbour_tokens(recalled.similar))
            score = engine.scorer(asked, engine.see(image))
            tokens = {t: search(score, SearchConfig(temperature=t)) for t in TOKEN_TEMPERATURES}
            more = {name: locate(image, recalled) for name, locate in (others or {}).items()}
            found.append(Evidence(recalled, tokens, lat, lon, memory.strangeness(image), part is unseen, more))
    return found


def learn(evidence: Sequence[Evidence], risk: Risk | None = None) -> Calibration:
    """Fit everything in :class:`gaea.calibration.Calibration`.

    Args:
        evidence: From :func:`gather`, of validation places only.
        risk: What answers that are given shall keep to.
    """
    fits, sizes = divided(evidence)
    arrays = [e.neighbours.arrays() for e in fits]
    lat, lon, similarity = (np.stack([a[i] for a in arrays]) for i in range(3))
    density = fit(lat, lon, similarity, np.array([e.lat for e in fits]), np.array([e.lon for e in fits]))
    hot = min(TOKEN_TEMPERATURES, key=lambda t: _surprise([_floored(e.tokens[t]) for e in fits], fits))
    beliefs = [_beliefs(e, density, hot) for e in fits]
    fitted = fit_pool(beliefs, [e.lat for e in fits], [e.lon for e in fits])
    weights = dict(fitted.pool.weights)
    logger.info("nats: alone %s, pooled %.3f with %s", dict(fitted.alone_nats), fitted.surprise_nats, fitted.pool)
    trust = Calibration(
        neighbours=density,
        token_temperature=hot,
        weights=(weights.pop("neighbours"), weights.pop("tokens")),
        other_weights=weights,
        temperature=fitted.pool.temperature,
        strange=float(np.quantile([e.strangeness for e in evidence], 1 - STRANGER_SHARE)),
    )
    return promised(trust, sizes, [trust.pool(_beliefs(e, density, hot)) for e in sizes], risk or Risk())


def promised(trust: Calibration, evidence: Sequence[Evidence], beliefs: Sequence[Belief], risk: Risk) -> Calibration:
    """Size the regions and choose the doubt from which no point is given.

    Regions are sized on unseen places alone: there they are hardest to get right, and seen ones are then safe. The risk
    is kept over seen and unseen places as they come here, half and half, because a user's photo may be of either; of
    answers about unseen places alone more are wrong. The doubt is read at a mass that the same places have sized, one
    number. Where no radius keeps the risk, the usual one stays, and nothing is promised.

    Args:
        trust: Without sizes.
        evidence: Places that it was not fitted on, some of them unseen.
        beliefs: Theirs, pooled.
        risk: Of the answers that are given.
    """
    pairs = list(zip(beliefs, evidence, strict=True))
    needed = [mass_to_reach(belief, e.lat, e.lon) for belief, e in pairs if e.unseen]
    half, most = (conformal_mass(needed, coverage) for coverage in (0.5, 0.9))
    doubt = [_doubt(belief, half) for belief in beliefs]
    promise = keep_risk(doubt, errors_km(beliefs, evidence), risk)
    logger.info("regions at %.3f and %.3f; %s", half, most, promise or "no radius keeps the risk")
    sized = dataclasses.replace(trust, region_mass=(half, most), promise=promise)
    return sized if promise is None else dataclasses.replace(sized, abstain_radius_km=promise.threshold)


def divided(evidence: Sequence[Evidence]) -> tuple[list[Evidence], list[Evidence]]:
    """Evidence to fit with and evidence to size with: pictures of one block of the map stay together.

    Less fits than sizes, because few numbers are fitted, and a promise is as sharp as its places are many.
    """
    if len(evidence) < FEWEST:
        logger.warning("%d validation pictures are too few to be divided: they fit and size", len(evidence))
        return list(evidence), list(evidence)
    rows, columns = block_address(np.array([e.lat for e in evidence]), np.array([e.lon for e in evidence]))
    addresses, which = np.unique(np.stack([rows, columns]), axis=1, return_inverse=True)
    fits = (np.random.default_rng(0).permutation(addresses.shape[1]) % 3 == 0)[which.reshape(-1)]
    first = [e for e, here in zip(evidence, fits, strict=True) if here]
    return first, [e for e, here in zip(evidence, fits, strict=True) if not here]


def _beliefs(evidence: Evidence, density: NeighbourConfig, hot: float) -> dict[str, Belief]:
    near = NeighbourLocator(density).belief(*evidence.neighbours.arrays())
    return {"neighbours": near, "tokens": evidence.tokens[hot], **evidence.others}


def _doubt(belief: Belief, mass: float) -> float:
    """Radius in km about the point that holds a mass; infinite where too little is known for any point."""
    if belief.information_gain() < LEAST_BITS:
        return float("inf")
    return belief.radius_km(*belief.point("median"), mass)


def _surprise(beliefs: Sequence[Belief], evidence: Sequence[Evidence]) -> float:
    return -float(np.mean([b.log_density(e.lat, e.lon) for b, e in zip(beliefs, evidence, strict=True)]))


def errors_km(beliefs: Sequence[Belief], evidence: Sequence[Evidence]) -> np.ndarray:
    """Distance of each belief's point from the truth."""
    points = [b.point("median") for b in beliefs]
    return np.array([float(great_circle_km(*p, e.lat, e.lon)) for p, e in zip(points, evidence, strict=True)])


def _floored(belief: Belief) -> Belief:
    return fuse([belief], floor=1e-3)
