"""Runs the examination of decoding on Orbit's seen and unseen places, and writes what is known after each split."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np

from gaea import prompts
from gaea.app.assemble import NANO, assemble
from gaea.assistant import Assistant
from gaea.decoding import NextToken
from gaea.errors import InputError
from gaea.eval import orbit
from gaea.eval.blocks import even_crops
from gaea.eval.decoding import DecodingExam, Scorer, examine, train_heads
from gaea.eval.decoding_report import markdown
from gaea.eval.grouped import RESAMPLES
from gaea.eval.metrics import CONTRACT
from gaea.eval.orbit import PROBE, Case
from gaea.eval.retrieval_run import commit
from gaea.finetune.imagery import Imagery, open_imagery
from gaea.finetune.splits import Part
from gaea.locate.tokens import WEIGHTS_FILE, TokensLocator
from gaea.rag.memory import GalleryMemory
from gaea.rag.tokens import GalleryTokens

logger = logging.getLogger(__name__)
INTERVALS = f"95 % intervals by bootstrap over blocks of the map ({RESAMPLES} resamples)"
SPLITS = {"seen": Part.TRAIN, "unseen": Part.TEST}


@dataclasses.dataclass(frozen=True)
class DecodingPlan:
    """Which pictures and models are examined.

    Attributes:
        data: Folder with ``bluemarble.mbtiles``.
        cache: Decoded mosaics.
        count: Crops of each split, spread evenly over its blocks.
        validation: Crops that reward heads are trained on, half of them seen.
        tokens: Folder of GeoToken's network.
        index: Gallery; None for the shipped one.
    """

    data: Path
    cache: Path
    count: int = 200
    validation: int = 200
    tokens: Path = Path("runs/tokens")
    index: Path | None = None


def run(plan: DecodingPlan, exam: DecodingExam, out: Path) -> dict[str, Any]:
    """Examine the shipped model and, where its weights are there, GeoToken's network.

    Raises:
        InputError: The imagery is not there.
    """
    assistant, memory = opened(plan.index)
    imagery = tiles(plan.data, plan.cache)
    scorers, absent = _scorers(assistant, memory, plan.tokens)
    report: dict[str, Any] = {
        "contract": CONTRACT.rsplit(";", 1)[0] + "; " + INTERVALS,
        "command": "python -m gaea.eval " + " ".join(sys.argv[1:]),
        "commit": commit(),
        "exam": dataclasses.asdict(exam),
        "provenance": assistant.describe(),
        "hashes": hashes(memory, plan.tokens),
        "absent": absent,
        "models": {name: {} for name in scorers},
    }
    learned = _cases(imagery, Part.VALIDATION, plan.validation // 2, exam.seed + 1)
    learned += _cases(imagery, Part.TRAIN, plan.validation - len(learned), exam.seed + 1)
    splits = {name: _cases(imagery, part, plan.count, exam.seed) for name, part in SPLITS.items()}
    for name, scorer in scorers.items():
        logger.info("%s: reward heads, on %d validation pictures", name, len(learned))
        heads = train_heads(scorer, learned, exam)
        mine = report["models"][name]
        mine["reward heads"] = {"trained": heads.quality, "absent": heads.absent}
        for split, cases in splits.items():
            logger.info("%s: %s", name, split)
            engine = assistant.engine if name == "nano LLaVA" and exam.advised else None
            mine[split] = examine(scorer, cases, heads, exam, engine)
            orbit.save(report, out)
            out.with_suffix(".md").write_text(markdown(report), encoding="utf-8")
    logger.info("wrote %s", out)
    return report


def opened(index: Path | None) -> tuple[Assistant, GalleryMemory]:
    """The assistant with its gallery in memory.

    Raises:
        InputError: It was assembled without a gallery.
    """
    assistant = assemble(store="memory", index=str(index) if index else None)
    memory = assistant.memory
    if not isinstance(memory, GalleryMemory):
        raise InputError("the assistant was assembled without a gallery: there are no neighbours to tell the models")
    return assistant, memory


def tiles(data: Path, cache: Path) -> Imagery:
    """The imagery that places are cut from.

    Raises:
        InputError: It is not there.
    """
    if not (data / "bluemarble.mbtiles").is_file():
        raise InputError(f"{data} has no bluemarble.mbtiles: name the folder that holds it with --data")
    return open_imagery(data / "bluemarble.mbtiles", cache)


def geotoken(memory: GalleryMemory, folder: Path) -> GalleryTokens | str:
    """GeoToken's network over the gallery, or why there is none."""
    if not (folder / WEIGHTS_FILE).is_file():
        train = "python -m gaea.finetune tokens --gallery gaea/nano/gallery/gallery.parquet"
        return f"no weights in {folder}: {train} --out {folder} trains them"
    return GalleryTokens(memory, TokensLocator.load(folder))


def _scorers(assistant: Assistant, memory: GalleryMemory, folder: Path) -> tuple[dict[str, Scorer], dict[str, str]]:
    scorers: dict[str, Scorer] = {}
    absent: dict[str, str] = {}
    if assistant.engine.has_geotokens:

        def spoken(case: Case) -> NextToken:
            asked = prompts.locate(prompts.neighbour_tokens(memory.recall(case.image).similar))
            return assistant.engine.scorer(asked, assistant.engine.see(case.image))

        scorers["nano LLaVA"] = spoken
    else:
        absent["nano LLaVA"] = f"{assistant.engine.name} has no S2 tokens in its vocabulary"
    head = geotoken(memory, folder)
    if isinstance(head, str):
        absent["GeoToken"] = head
    else:
        scorers["GeoToken"] = lambda case: head.scorer(case.image, memory.recall(case.image))
    return scorers, absent


def _cases(imagery: Imagery, part: Part, count: int, seed: int) -> list[Case]:
    return even_crops(imagery, part, count, PROBE, np.random.default_rng((seed, int(part), 41))) if count else []


def hashes(memory: GalleryMemory, tokens: Path) -> dict[str, str]:
    """Of what the figures depend on."""
    files = {"weights": NANO / "llava" / "model.safetensors", "GeoToken": tokens / WEIGHTS_FILE}
    told = {"encoder": memory.encoder.fingerprint, "gallery": memory.gallery.content_hash}
    for name, path in files.items():
        if path.is_file():
            with path.open("rb") as file:
                told[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return told
