"""Runs the retrieval ablation over its worlds, and writes what is known after each of them."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import logging
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from gaea import prompts
from gaea.app.assemble import NANO, assemble
from gaea.errors import InputError
from gaea.eval import orbit, retold, worlds
from gaea.eval.metrics import CONTRACT
from gaea.eval.retrieval import RetrievalExam, examine
from gaea.eval.retrieval_report import markdown
from gaea.eval.worlds import Query, World
from gaea.finetune.imagery import open_imagery
from gaea.finetune.splits import Part
from gaea.rag.memory import GalleryMemory

logger = logging.getLogger(__name__)
NOTES = {
    "Orbit, seen blocks": "New crops of places that the gallery shows; a block is 313 km wide at the equator.",
    "Orbit, unseen blocks": "Crops of held-out blocks: neither training nor gallery has anything of them.",
    "Ground-level photos, leave one place out": (
        "travel_photos, the gallery being all other photos, encoded by nano's encoder. Photos within 25 km, of one "
        "title or of the same picture are one place, and are left out together. The encoder knows the planet from "
        "orbit and nothing else: this is out of its world, the assistant refuses such photos by itself, and its "
        "calibration was not fitted for them. What is printed is what happens when it is made to guess."
    ),
}


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which pictures are examined.

    Attributes:
        data: Folder with ``bluemarble.mbtiles`` and ``photos/travel_photos``; a world whose data are absent is left
            out and said so.
        cache: Decoded mosaics.
        count: Crops of each split.
        limit: Photographs asked about; None for all.
    """

    data: Path
    cache: Path
    count: int = 400
    limit: int | None = None


def run(plan: Plan, exam: RetrievalExam, out: Path) -> dict[str, Any]:
    """Examine the shipped assistant, and write ``out`` and its Markdown after every world.

    Raises:
        InputError: None of the data are there.
    """
    assistant = assemble(store="memory")
    memory = assistant.memory
    if not isinstance(memory, GalleryMemory):
        raise InputError("the assistant was assembled without a gallery: there is nothing to ablate")
    report: dict[str, Any] = {
        "contract": CONTRACT,
        "command": "python -m gaea.eval " + " ".join(sys.argv[1:]),
        "commit": commit(),
        "seed": exam.seed,
        "exam": dataclasses.asdict(exam),
        "provenance": assistant.describe(),
        "hashes": _hashes(memory),
        "worlds": {},
    }
    for name, make in _worlds(plan, memory, exam.seed):
        logger.info("%s", name)
        report["worlds"][name] = {"note": NOTES[name], **examine(assistant, make(), exam, _counted)}
        orbit.save(report, out)
        out.with_suffix(".md").write_text(markdown(report), encoding="utf-8")
        logger.info("%s: %.0f s, wrote %s", name, report["worlds"][name]["seconds"], out)
    if not report["worlds"]:
        raise InputError(f"{plan.data} holds neither bluemarble.mbtiles nor photos/travel_photos: name it with --data")
    return report


def _counted(queries: Iterable[Query]) -> Iterator[Query]:
    """The same queries, with a word about how far it has come."""
    for done, query in enumerate(queries):
        if done and done % 20 == 0:
            logger.info("%d pictures", done)
        yield query


def _worlds(plan: Plan, memory: GalleryMemory, seed: int) -> Iterator[tuple[str, Callable[[], World]]]:
    tiles, photos = plan.data / "bluemarble.mbtiles", plan.data / "photos" / "travel_photos"
    seen, unseen, ground = NOTES
    for name, part in ((seen, Part.TRAIN), (unseen, Part.TEST)):
        if tiles.is_file():
            imagery = open_imagery(tiles, plan.cache)
            yield (
                name,
                lambda n=name, p=part, i=imagery: worlds.crops(n, memory, i, part=p, count=plan.count, seed=seed),
            )
        else:
            logger.warning("%s is left out: there is no %s", name, tiles)
    if photos.is_dir():
        yield ground, lambda: worlds.photographs(ground, memory.encoder, photos, limit=plan.limit, seed=seed)
    else:
        logger.warning("%s is left out: there is no %s", ground, photos)


def _hashes(memory: GalleryMemory) -> dict[str, str]:
    """Of what the figures depend on: weights, encoder, gallery and the code that words the prompts."""
    weights = NANO / "llava" / "model.safetensors"
    with weights.open("rb") as file:
        model = hashlib.file_digest(file, "sha256").hexdigest()
    wording = inspect.getsource(prompts) + inspect.getsource(retold)
    return {
        "weights": model,
        "encoder": memory.encoder.fingerprint,
        "gallery": memory.gallery.content_hash,
        "prompts": hashlib.sha256(wording.encode()).hexdigest(),
    }


def commit() -> str:
    """The commit of the code, with ``+`` where files were changed since; ``unknown`` outside a checkout."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=False)  # noqa: S603, S607
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        head = git("rev-parse", "--short", "HEAD")
        return head + ("+" if git("status", "--porcelain", "--untracked-files=no") else "") if head else "unknown"
    except OSError:
        return "unknown"
