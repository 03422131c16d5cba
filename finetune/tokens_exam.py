"""What GeoToken's transformer over a gallery is worth: alone, and heard together with the gallery's neighbours.

Asked are new views of validation blocks and of training blocks, spread evenly over the blocks. The head's temperature
and the weights of the pool are fitted on every second block and read on the others, and the other way round.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gaea.belief import ANSWERED, Belief
from gaea.calibration import CALIBRATION_FILE, Calibration
from gaea.decoding import SearchConfig
from gaea.errors import InputError
from gaea.finetune.blocks import PROBE, draw_even
from gaea.finetune.calibrate import DEPTH, TOKEN_TEMPERATURES
from gaea.finetune.crops import Crops
from gaea.finetune.imagery import open_imagery
from gaea.finetune.splits import Part, block_address
from gaea.fusion import fit as fit_pool
from gaea.locate.neighbours import NeighbourConfig, NeighbourLocator
from gaea.locate.tokens import TokensLocator
from gaea.rag.encoders import load_encoder
from gaea.rag.gallery import Gallery
from gaea.rag.memory import GalleryMemory
from gaea.rag.store import MemoryStore
from gaea.rag.tokens import GalleryTokens
from gaea.sphere import great_circle_km

logger = logging.getLogger(__name__)
FEWEST = 10
NEIGHBOURS, HEAD, POOLED = "neighbours", "GeoToken", "pooled"


@dataclasses.dataclass(frozen=True)
class Placed:
    """One view: its truth, and what is believed of it by the neighbours and, at each temperature, by the head."""

    lat: float
    lon: float
    unseen: bool
    neighbours: Belief
    head: dict[float, Belief]


def examine(locator: GalleryTokens, density: NeighbourConfig, unseen: Crops, seen: Crops) -> dict[str, Any]:
    """Believe, fit on one half of the blocks, and read on the other.

    Args:
        locator: The network over its gallery.
        density: How neighbours become a belief there.
        unseen: Views of validation blocks.
        seen: Views of training blocks.

    Returns:
        For each of the two kinds of views and each belief: nats of surprise at the truth per km², median error and
        shares within 200, 750 and 2500 km, each with a 95 % interval by bootstrap over blocks; and what was fitted.

    Raises:
        InputError: Too few views.
    """
    if min(len(unseen), len(seen)) < FEWEST:
        raise InputError(f"{len(unseen)} unseen and {len(seen)} seen views are too few: at least {FEWEST} of each")
    placed = [*_placed(locator, density, unseen, True), *_placed(locator, density, seen, False)]
    address = np.stack(block_address(np.array([p.lat for p in placed]), np.array([p.lon for p in placed])))
    block = np.unique(address, axis=1, return_inverse=True)[1].reshape(-1)
    half = np.random.default_rng(0).permutation(block.max() + 1)[block] % 2
    read: list[dict[str, Belief]] = [{}] * len(placed)
    fitted = []
    for held in (0, 1):
        hot, pool = _fit([p for p, mine in zip(placed, half, strict=True) if mine != held])
        fitted.append({"temperature": hot, "weights": {k: round(v, 3) for k, v in pool.weights.items()}})
        for index in np.flatnonzero(half == held).tolist():
            beliefs = {NEIGHBOURS: placed[index].neighbours, HEAD: placed[index].head[hot]}
            read[index] = beliefs | {POOLED: pool(beliefs)}
    told: dict[str, Any] = {"fitted on each half": fitted}
    for name, kind in (("unseen", True), ("seen", False)):
        mine = [i for i, p in enumerate(placed) if p.unseen == kind]
        told[name] = _told([placed[i] for i in mine], [read[i] for i in mine], block[mine])
    return told


def examine_on_views(options: argparse.Namespace, gallery: Gallery) -> dict[str, Any]:
    """Examine what ``python -m gaea.finetune tokens`` has trained, on as many views as its options say.

    Raises:
        InputError: The imagery is not there, or too few views.
        GalleryError: The encoder is another than the gallery's.
    """
    source = options.imagery or str(Path(os.environ.get("GAEA_DATA", "../shared/data")) / "bluemarble.mbtiles")
    imagery, encoder = open_imagery(source, options.cache), load_encoder(options.encoder)
    memory = GalleryMemory(encoder, gallery, MemoryStore.open(gallery), depth=DEPTH)
    beside = options.gallery if options.gallery.is_dir() else options.gallery.parent
    trust = options.calibration or beside / CALIBRATION_FILE
    density = Calibration.load(trust).neighbours if trust.is_file() else NeighbourConfig()
    rng, half = np.random.default_rng((0, 17)), options.examine // 2
    unseen, seen = (draw_even(imagery, part, half, PROBE, rng) for part in (Part.VALIDATION, Part.TRAIN))
    locator = GalleryTokens(memory, TokensLocator.load(options.out, device=options.device))
    told: dict[str, Any] = {"rows": len(gallery), "calibration": str(trust) if trust.is_file() else "none"}
    return told | examine(locator, density, unseen, seen)


def _placed(locator: GalleryTokens, density: NeighbourConfig, views: Crops, unseen: bool) -> list[Placed]:
    near, found = NeighbourLocator(density, getattr(locator.memory, "rows", None)), []
    for picture, lat, lon in zip(views.images_NHWC, views.lat.tolist(), views.lon.tolist(), strict=True):
        image = Image.fromarray(picture)
        recalled = locator.memory.recall(image)
        head = {t: locator.belief(image, recalled, SearchConfig(temperature=t)) for t in TOKEN_TEMPERATURES}
        found.append(Placed(lat, lon, unseen, near.of(recalled), head))
        if len(found) % 50 == 0:
            logger.info("%d of %d %s views", len(found), len(views), "unseen" if unseen else "seen")
    return found


def _fit(placed: Sequence[Placed]) -> tuple[float, Any]:
    """The head's temperature, and the pool of both."""

    def surprise(temperature: float) -> float:
        return -float(np.mean([p.head[temperature].log_density(p.lat, p.lon) for p in placed]))

    hot = min(TOKEN_TEMPERATURES, key=surprise)
    beliefs = [{NEIGHBOURS: p.neighbours, HEAD: p.head[hot]} for p in placed]
    return hot, fit_pool(beliefs, [p.lat for p in placed], [p.lon for p in placed]).pool


def _told(placed: Sequence[Placed], read: Sequence[dict[str, Belief]], block: np.ndarray) -> dict[str, Any]:
    blocks = np.unique(block)
    rng = np.random.default_rng(0)
    draws = [np.concatenate([np.flatnonzero(block == b) for b in rng.choice(blocks, len(blocks))]) for _ in range(500)]

    def estimate(values: np.ndarray, of: Callable[[np.ndarray], Any] = np.mean) -> list[float]:
        low, high = np.quantile([of(values[draw]) for draw in draws], (0.025, 0.975))
        return [round(float(v), 3) for v in (of(values), low, high)]

    told: dict[str, Any] = {"n": len(placed), "blocks": len(blocks)}
    nats = {}
    for name in (NEIGHBOURS, HEAD, POOLED):
        beliefs = [each[name] for each in read]
        points = np.array([belief.point(ANSWERED) for belief in beliefs])
        lat, lon = np.array([p.lat for p in placed]), np.array([p.lon for p in placed])
        error_km = np.asarray(great_circle_km(points[:, 0], points[:, 1], lat, lon))
        nats[name] = np.array([-float(b.log_density(p.lat, p.lon)) for b, p in zip(beliefs, placed, strict=True)])
        told[name] = {"nats": estimate(nats[name]), "median_km": estimate(error_km, np.median)}
        told[name] |= {f"within_{km}_km": estimate((error_km <= km).astype(float)) for km in (200, 750, 2500)}
    told["nats saved by hearing GeoToken too"] = estimate(nats[NEIGHBOURS] - nats[POOLED])
    return told
