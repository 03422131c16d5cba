"""Learns on validation places how far to trust each locator, and writes ``calibration.json`` beside the gallery.

Half of the validation pictures come from unseen blocks and half are new crops of seen places, because a user's photo
may be either; both are spread evenly over the blocks of the map, as those are by which is examined. Fitted are, in
order: the neighbours' kernel density, the temperature of S2 symbols, and the exponents of the pool. Then is sized what
is promised: the nominal masses at which 50 and 90 % of the true places are covered (split conformal, each block counted
once), and the doubt from which no point is given (Learn then Test). What is sized was not fitted on: blocks are dealt
into folds, and each fold is read by what the others fitted (cross-conformal, Vovk 2015); what is shipped is fitted on
all. Last comes the strangeness beyond which a picture is of another world.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image

from gaea import prompts
from gaea.belief import ANSWERED, Belief, fuse
from gaea.calibration import Calibration
from gaea.conformal import Risk, conformal_mass, keep_risk, mass_to_reach
from gaea.decoding import SearchConfig, search
from gaea.engine import Engine
from gaea.finetune.crops import Crops
from gaea.finetune.splits import block_address
from gaea.fusion import fit as fit_pool
from gaea.locate.neighbours import NeighbourLocator, Neighbours
from gaea.locate.neighbours_fit import fit
from gaea.locate.surroundings import SurroundingsConfig, SurroundingsLocator
from gaea.rag.memory import GalleryMemory
from gaea.sphere import great_circle_km

logger = logging.getLogger(__name__)
TOKEN_TEMPERATURES = (1.0, 1.4, 2.0, 3.0)
STRANGER_SHARE = 0.02  # of pictures of the gallery's own world that may be taken for strangers
FEWEST = 100  # validation pictures; with fewer, all of them fit and size
FOLDS = 4
DEPTH = SurroundingsConfig().k  # of the ranking that is to be recalled
LEAST = 10  # pictures of unseen blocks, and of seen ones
WIDEST_KM = 1000.0  # a point whose half lies farther off is of no use to anybody, whatever the risk
LEAST_BITS = 1.0  # below it `briefing.how_sure` gives no point whatever the radius


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What the locators see of one validation picture, before anything is tempered.

    ``around`` is what the neighbours say of places without rows; None where it is not known how rows lie.
    """

    neighbours: Neighbours
    tokens: dict[float, Belief]
    lat: float
    lon: float
    strangeness: float
    unseen: bool
    others: Mapping[str, Belief] = dataclasses.field(default_factory=dict)
    around: Belief | None = None


def gather(
    memory: GalleryMemory,
    engine: Engine,
    unseen: Crops,
    seen: Crops,
    others: Mapping[str, Callable[[Image.Image, Neighbours], Belief]] | None = None,
) -> list[Evidence]:
    """Recall and decode every validation picture once; ``others`` are further locators, by name."""
    found, beyond = [], SurroundingsLocator(memory.rows)
    for part in (unseen, seen):
        for picture, lat, lon in zip(part.images_NHWC, part.lat.tolist(), part.lon.tolist(), strict=True):
            image = Image.fromarray(picture)
            recalled = memory.recall(image)
            asked = prompts.locate(prompts.neighbour_tokens(recalled.similar))
            score = engine.scorer(asked, engine.see(image))
            tokens = {t: search(score, SearchConfig(temperature=t)) for t in TOKEN_TEMPERATURES}
            more = {name: locate(image, recalled) for name, locate in (others or {}).items()}
            strange, around = memory.strangeness(image), beyond.belief(*(recalled.ranking or recalled.arrays()))
            found.append(Evidence(recalled, tokens, lat, lon, strange, part is unseen, more, around))
            if len(found) % 100 == 0:
                logger.info("%d of %d pictures", len(found), len(unseen) + len(seen))
    return found


def learn(evidence: Sequence[Evidence], risk: Risk | None = None) -> Calibration:
    """Fit everything in :class:`gaea.calibration.Calibration`.

    Args:
        evidence: From :func:`gather`, of validation places only.
        risk: What answers that are given shall keep to.
    """
    trust, beliefs = fitted(evidence), held_out(evidence)
    return promised(trust, evidence, beliefs or [trust.pool(beliefs_of(e, trust)) for e in evidence], risk or Risk())


def fitted(evidence: Sequence[Evidence]) -> Calibration:
    """Fit trust, and promise nothing."""
    arrays = [e.neighbours.arrays() for e in evidence]
    lat, lon, similarity = (np.stack([a[i] for a in arrays]) for i in range(3))
    true_lat, true_lon = (np.array([getattr(e, axis) for e in evidence]) for axis in ("lat", "lon"))
    said = [float(e.around.log_density(e.lat, e.lon)) for e in evidence if e.around is not None]
    around = (SurroundingsConfig(), np.exp(said)) if said else None
    density = fit(lat, lon, similarity, true_lat, true_lon, around=around)
    hot = min(TOKEN_TEMPERATURES, key=lambda t: _surprise([_floored(e.tokens[t]) for e in evidence], evidence))
    trust = Calibration(neighbours=density, token_temperature=hot)
    found = fit_pool([beliefs_of(e, trust) for e in evidence], [e.lat for e in evidence], [e.lon for e in evidence])
    weights = dict(found.pool.weights)
    logger.info("nats: alone %s, pooled %.3f with %s", dict(found.alone_nats), found.surprise_nats, found.pool)
    return dataclasses.replace(
        trust,
        weights=(weights.pop("neighbours"), weights.pop("tokens")),
        other_weights=weights,
        temperature=found.pool.temperature,
        strange=float(np.quantile([e.strangeness for e in evidence], 1 - STRANGER_SHARE)),
    )


def held_out(evidence: Sequence[Evidence]) -> list[Belief] | None:
    """The pooled belief of every picture by what was fitted on other blocks; None where there are too few for that."""
    if len(evidence) < FEWEST:
        logger.warning("%d validation pictures are too few to be divided: they fit and size", len(evidence))
        return None
    fold = folds(evidence)
    beliefs: list[Belief | None] = [None] * len(evidence)
    for held in range(FOLDS):
        trust = fitted([e for e, mine in zip(evidence, fold, strict=True) if mine != held])
        for index in np.flatnonzero(fold == held).tolist():
            beliefs[index] = trust.pool(beliefs_of(evidence[index], trust))
    return [belief for belief in beliefs if belief is not None]


def promised(trust: Calibration, evidence: Sequence[Evidence], beliefs: Sequence[Belief], risk: Risk) -> Calibration:
    """Size the regions and choose the doubt from which no point is given.

    Regions are sized on unseen places alone: there they are hardest to get right, and seen ones are then safe. The risk
    is kept over seen and unseen places, half and half, because a user's photo may be of either; of answers about unseen
    places alone more are wrong. It is tested on one picture of each block, since such tests count independent places.
    The doubt is read at a mass that the same places have sized, one number. Where no radius keeps the risk, the usual
    one stays, and nothing is promised.

    Args:
        trust: Without sizes.
        evidence: Validation places, some of them unseen.
        beliefs: Theirs, pooled by what was not fitted on them.
        risk: Of the answers that are given.
    """
    block = blocks_of(evidence)
    unseen = [index for index, e in enumerate(evidence) if e.unseen]
    needed = [mass_to_reach(beliefs[i], evidence[i].lat, evidence[i].lon) for i in unseen]
    half, most = (conformal_mass(needed, coverage, groups=block[unseen].tolist()) for coverage in (0.5, 0.9))
    tested = _one_of_each(evidence, block)
    asked, told = [evidence[i] for i in tested], [beliefs[i] for i in tested]
    promise = keep_risk([_doubt(belief, half) for belief in told], errors_km(told, asked), risk)
    logger.info("regions at %.3f and %.3f; %s", half, most, promise or "no radius keeps the risk")
    sized = dataclasses.replace(trust, region_mass=(half, most), promise=promise)
    return sized if promise is None else dataclasses.replace(sized, abstain_radius_km=promise.threshold)


def _one_of_each(evidence: Sequence[Evidence], block: np.ndarray) -> list[int]:
    """The first picture of each block, as many of seen places as of unseen ones."""
    firsts: dict[bool, list[int]] = {True: [], False: []}
    for index in np.sort(np.unique(block, return_index=True)[1]).tolist():  # in the order of drawing, which is random
        firsts[evidence[index].unseen].append(index)
    fewest = min(map(len, firsts.values()))
    return sorted(index for mine in firsts.values() for index in (mine[:fewest] if fewest else mine))


def folds(evidence: Sequence[Evidence]) -> np.ndarray:
    """Which of :data:`FOLDS` each picture belongs to, (n,): pictures of one block of the map stay together."""
    blocks = blocks_of(evidence)
    dealt = np.random.default_rng(0).permutation(blocks.max() + 1) % FOLDS
    return np.asarray(dealt[blocks])


def blocks_of(evidence: Sequence[Evidence]) -> np.ndarray:
    """A number for the block of each picture, (n,)."""
    address = np.stack(block_address(np.array([e.lat for e in evidence]), np.array([e.lon for e in evidence])))
    return np.unique(address, axis=1, return_inverse=True)[1].reshape(-1)


def beliefs_of(evidence: Evidence, trust: Calibration) -> dict[str, Belief]:
    """What each locator believes of one picture, by name."""
    near = NeighbourLocator(trust.neighbours).belief(*evidence.neighbours.arrays(), around=evidence.around)
    return {"neighbours": near, "tokens": evidence.tokens[trust.token_temperature], **evidence.others}


def _doubt(belief: Belief, mass: float) -> float:
    """Radius in km about the point that holds a mass; infinite where too little is known for any point."""
    if belief.information_gain() < LEAST_BITS:
        return float("inf")
    radius_km = belief.radius_km(*belief.point(ANSWERED), mass)
    return radius_km if radius_km <= WIDEST_KM else float("inf")


def _surprise(beliefs: Sequence[Belief], evidence: Sequence[Evidence]) -> float:
    return -float(np.mean([b.log_density(e.lat, e.lon) for b, e in zip(beliefs, evidence, strict=True)]))


def errors_km(beliefs: Sequence[Belief], evidence: Sequence[Evidence]) -> np.ndarray:
    """Distance of each belief's point from the truth."""
    points = [b.point(ANSWERED) for b in beliefs]
    return np.array([float(great_circle_km(*p, e.lat, e.lon)) for p, e in zip(points, evidence, strict=True)])


def _floored(belief: Belief) -> Belief:
    return fuse([belief], floor=1e-3)
