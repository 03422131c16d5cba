"""The commands of the special examinations: orbit, retrieval, decoding, reliability, and answers that were spoken."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path


def arguments(name: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of one of these commands."""
    held = "folder that holds reference/" if name == "spoken" else "folder with imagery and photographs"
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help=held)
    parser.add_argument("--seed", type=int, default=0)
    if name == "spoken":
        parser.add_argument("--beliefs", type=int, default=0, help="answers per model that are scored as beliefs too")
        return
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="decoded mosaics")
    parser.add_argument("--out", type=Path, default=Path(f"runs/eval/{name}.json"), help="JSON of the result")
    _DECLARED[name](parser)


def run(options: argparse.Namespace) -> None:
    """Run the command that was chosen."""
    _RUN[options.command](options)


def _orbit_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=500, help="pictures per split")
    parser.add_argument("--questions", type=int, default=150, help="pictures that are asked about")


def _retrieval_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=400, help="crops per split, spread evenly over its blocks")
    parser.add_argument("--limit", type=int, help="ground-level photos asked about (default: all)")
    parser.add_argument("--questions", type=int, default=60, help="pictures per world whose words are read")
    parser.add_argument("--duplicate-similarity", type=float, default=0.98, help="cosine of a near-duplicate")


def _reliability_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=200, help="crops per split, spread evenly over its blocks")
    parser.add_argument("--index", type=Path, help="folder with a gallery and its calibration (default: the shipped)")
    parser.add_argument("--tokens", type=Path, default=Path("runs/tokens"), help="folder of GeoToken's network")


def _decoding_arguments(parser: argparse.ArgumentParser) -> None:
    _reliability_arguments(parser)
    parser.add_argument("--validation", type=int, default=200, help="crops that reward heads are trained on")
    parser.add_argument("--advised", type=int, default=20, help="crops per split that a language model judges")


def _orbit(options: argparse.Namespace) -> None:
    import json

    from gaea.app.assemble import assemble
    from gaea.eval import orbit
    from gaea.eval.metrics import CONTRACT
    from gaea.finetune.imagery import open_imagery
    from gaea.finetune.splits import Part

    log = logging.getLogger("gaea.eval")
    assistant = assemble(store="memory")
    imagery = open_imagery(options.data / "bluemarble.mbtiles", options.cache)
    report = {"contract": CONTRACT, "seed": options.seed, "provenance": assistant.describe()}
    for name, part in (("seen", Part.TRAIN), ("unseen", Part.TEST)):
        report[name] = orbit.examine(assistant, orbit.crops(imagery, part, options.count, options.seed))
        log.info("%s %s", name, json.dumps(report[name]["system"]))
    report["astronaut photographs"] = orbit.one_by_one(assistant, orbit.table(options.data / "photos/astronaut_photos"))
    log.info("astronauts %s", report["astronaut photographs"])
    ground = sorted((options.data / "photos/travel_photos/images").glob("*.jpg"))
    report["ground-level photos"] = orbit.refusals(assistant, iter(ground))
    log.info("ground level %s", report["ground-level photos"])
    asked = orbit.crops(imagery, Part.TEST, options.questions, options.seed + 1)
    report["questions on unseen places"] = orbit.questions(assistant, asked, options.seed)
    orbit.save(report, options.out)
    log.info("wrote %s", options.out)


def _retrieval(options: argparse.Namespace) -> None:
    from gaea.eval.retrieval import RetrievalExam
    from gaea.eval.retrieval_run import Plan, run

    exam = RetrievalExam(duplicate_similarity=options.duplicate_similarity, asked=options.questions, seed=options.seed)
    run(Plan(options.data, options.cache, options.count, options.limit), exam, options.out)


def _decoding(options: argparse.Namespace) -> None:
    from gaea.eval.decoding import DecodingExam
    from gaea.eval.decoding_run import DecodingPlan, run

    plan = DecodingPlan(
        options.data, options.cache, options.count, options.validation, tokens=options.tokens, index=options.index
    )
    run(plan, DecodingExam(advised=options.advised, seed=options.seed), options.out)


def _reliability(options: argparse.Namespace) -> None:
    from gaea.eval.reliability_run import ReliabilityPlan, run

    run(
        ReliabilityPlan(options.data, options.cache, options.count, options.tokens, options.index),
        options.out,
        options.seed,
    )


def _spoken(options: argparse.Namespace) -> None:
    import json

    from gaea.eval.spoken import examine

    print(json.dumps(examine(options.data, options.beliefs, options.seed), indent=2))  # noqa: T201 - this is the edge


_DECLARED: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "orbit": _orbit_arguments,
    "retrieval": _retrieval_arguments,
    "decoding": _decoding_arguments,
    "reliability": _reliability_arguments,
}
_RUN: dict[str, Callable[[argparse.Namespace], None]] = {
    "orbit": _orbit,
    "retrieval": _retrieval,
    "decoding": _decoding,
    "reliability": _reliability,
    "spoken": _spoken,
}
