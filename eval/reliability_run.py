"""Reads every belief on Orbit's seen and unseen places, and writes the report with its diagrams."""

from __future__ import annotations

import dataclasses
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np

from gaea.assistant import Assistant
from gaea.belief import Belief
from gaea.decoding import SearchConfig
from gaea.eval import diagram, orbit
from gaea.eval.blocks import even_crops
from gaea.eval.decoding import counted
from gaea.eval.decoding_run import INTERVALS, SPLITS, geotoken, hashes, opened, tiles
from gaea.eval.grouped import Draws
from gaea.eval.orbit import PROBE, Case
from gaea.eval.reliability import Read, abstention, told
from gaea.eval.reliability_report import markdown
from gaea.eval.retrieval_run import commit
from gaea.fusion import Pool
from gaea.photo import Photo
from gaea.rag.tokens import GalleryTokens

logger = logging.getLogger(__name__)
SYSTEM = "pool, calibrated"


@dataclasses.dataclass(frozen=True)
class ReliabilityPlan:
    """Which pictures and models are examined; as :class:`gaea.eval.decoding_run.DecodingPlan`."""

    data: Path
    cache: Path
    count: int = 200
    tokens: Path = Path("runs/tokens")
    index: Path | None = None


def run(plan: ReliabilityPlan, out: Path, seed: int = 0) -> dict[str, Any]:
    """Examine the shipped assistant's beliefs, and those of GeoToken's network where its weights are there.

    Raises:
        InputError: The imagery or the gallery is not there.
    """
    assistant, memory = opened(plan.index)
    imagery, trust = tiles(plan.data, plan.cache), assistant.calibration
    head = geotoken(memory, plan.tokens)
    report: dict[str, Any] = {
        "contract": "great-circle km on R = 6371.0088; areas on the same sphere; " + INTERVALS,
        "command": "python -m gaea.eval " + " ".join(sys.argv[1:]),
        "commit": commit(),
        "seed": seed,
        "provenance": assistant.describe(),
        "hashes": hashes(memory, plan.tokens),
        "calibration": dataclasses.asdict(trust),
        "pool": dataclasses.asdict(trust.pool),
        "absent": {"GeoToken": head} if isinstance(head, str) else {},
        "beliefs": {},
    }
    together: list[tuple[str, Read]] = []
    for split, part in SPLITS.items():
        logger.info("%s places", split)
        cases = even_crops(imagery, part, plan.count, PROBE, np.random.default_rng((seed, int(part), 43)))
        draws = Draws([case.name for case in cases], seed=seed)
        reads = read_all(assistant, cases, None if isinstance(head, str) else head)
        report["beliefs"][split] = {
            "n": draws.pictures,
            "places": draws.places,
            "read": {name: told(mine, draws) for name, mine in reads.items()},
            "abstention": abstention(reads[SYSTEM], trust, draws),
        }
        together += [(case.name, read) for case, read in zip(cases, reads[SYSTEM], strict=True)]
        figure = out.with_name(f"{out.stem}-{split}.svg")
        figure.parent.mkdir(parents=True, exist_ok=True)
        series = {name: mine["diagram"] for name, mine in report["beliefs"][split]["read"].items()}
        figure.write_text(diagram.svg(series, f"Reliability, {split} places"), encoding="utf-8")
        report["beliefs"][split]["figure"] = figure.name
        if len(report["beliefs"]) == len(SPLITS):
            both = Draws([name for name, _ in together], seed=seed)
            report["abstention on both"] = abstention([read for _, read in together], trust, both)
        orbit.save(report, out)
        out.with_suffix(".md").write_text(markdown(report), encoding="utf-8")
    logger.info("wrote %s", out)
    return report


def read_all(assistant: Assistant, cases: list[Case], head: GalleryTokens | None) -> dict[str, list[Read]]:
    """What each belief says of every place: each locator alone, all of them equally, and the calibrated pool."""
    trust, found = assistant.calibration, {}
    symbols = SearchConfig(temperature=trust.token_temperature)
    for case in counted(cases):
        chat = assistant.open(Photo.open(case.image))
        beliefs = dict(chat.beliefs)
        if head is not None:
            beliefs["geotoken"] = head.belief(case.image, chat.neighbours, symbols)
        named: dict[str, Belief] = {f"{name} alone": belief for name, belief in beliefs.items()}
        named["pool, all alike"] = Pool(dict.fromkeys(beliefs, 1.0))(beliefs)
        named[SYSTEM] = trust.pool(beliefs)
        for name, belief in named.items():
            found.setdefault(name, []).append(Read.of(belief, case.lat, case.lon, trust.region_mass))
    return found
