"""``python -m gaea.eval``: examine an assistant on places, pictures and questions, and each part of it by itself."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from gaea.errors import GaeaError


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m gaea.eval", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    orbit = commands.add_parser("orbit", help="seen, unseen, other cameras, another world, and questions")
    orbit.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with imagery and photographs")
    orbit.add_argument("--cache", type=Path, default=Path("runs/cache"), help="decoded mosaics")
    orbit.add_argument("--count", type=int, default=500, help="pictures per split")
    orbit.add_argument("--questions", type=int, default=150, help="pictures that are asked about")
    orbit.add_argument("--seed", type=int, default=0)
    orbit.add_argument("--out", type=Path, default=Path("runs/eval/orbit.json"))
    retrieval = commands.add_parser("retrieval", help="what neighbours do to an answer: the ablation, and leakage")
    retrieval.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="folder with imagery and photographs"
    )
    retrieval.add_argument("--cache", type=Path, default=Path("runs/cache"), help="decoded mosaics")
    retrieval.add_argument("--count", type=int, default=400, help="crops per split, spread evenly over its blocks")
    retrieval.add_argument("--limit", type=int, help="ground-level photos asked about (default: all)")
    retrieval.add_argument("--questions", type=int, default=60, help="pictures per world whose words are read")
    retrieval.add_argument("--duplicate-similarity", type=float, default=0.98, help="cosine of a near-duplicate")
    retrieval.add_argument("--seed", type=int, default=0)
    retrieval.add_argument(
        "--out", type=Path, default=Path("runs/eval/retrieval.json"), help="JSON; a .md lies beside it"
    )
    spoken = commands.add_parser("spoken", help="what is read out of real answers of vision-language models")
    spoken.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder that holds reference/")
    spoken.add_argument("--beliefs", type=int, default=0, help="answers per model that are scored as beliefs too")
    spoken.add_argument("--seed", type=int, default=0)
    for name, told in (
        ("decoding", "each search of the S2 tree with each selection, and whether more computing helps"),
        ("reliability", "what is promised: regions, and answers that are given, against what comes true"),
    ):
        exam = commands.add_parser(name, help=told)
        exam.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with imagery")
        exam.add_argument("--cache", type=Path, default=Path("runs/cache"), help="decoded mosaics")
        exam.add_argument("--count", type=int, default=200, help="crops per split, spread evenly over its blocks")
        exam.add_argument("--index", type=Path, help="folder with a gallery and its calibration (default: the shipped)")
        exam.add_argument("--tokens", type=Path, default=Path("runs/tokens"), help="folder of GeoToken's network")
        exam.add_argument("--seed", type=int, default=0)
        exam.add_argument("--out", type=Path, default=Path(f"runs/eval/{name}.json"), help="JSON; a .md lies beside it")
        if name == "decoding":
            exam.add_argument("--validation", type=int, default=200, help="crops that reward heads are trained on")
            exam.add_argument("--advised", type=int, default=20, help="crops per split that a language model judges")
    report = commands.add_parser("report", help="print a report as Markdown tables")
    report.add_argument("file", type=Path, help="JSON that an examination wrote")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        {
            "orbit": _orbit,
            "retrieval": _retrieval,
            "decoding": _decoding,
            "reliability": _reliability,
            "spoken": _spoken,
            "report": _report,
        }[options.command](options)
    except GaeaError as error:
        print(f"gaea: {error}", file=sys.stderr)  # noqa: T201 - this is the edge
        return 2
    return 0


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


def _report(options: argparse.Namespace) -> None:
    import json

    from gaea.errors import InputError
    from gaea.eval import decoding_report, reliability_report, report, retrieval_report

    kinds = {"worlds": retrieval_report, "models": decoding_report, "beliefs": reliability_report}
    try:
        held = json.loads(options.file.read_text())
        told = next((kind for key, kind in kinds.items() if key in held), report).markdown(held)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{options.file} is not a report: {error}") from error
    print(told, end="")  # noqa: T201 - this is the edge


if __name__ == "__main__":
    raise SystemExit(main())
