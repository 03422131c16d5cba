"""``python -m gaea.eval suite``: the shipped assistant on Orbit and Travel, each way it can answer, and every baseline.

One command that makes all runs of the published report; what is there already is not asked again. Places and questions
are runs of their own: ``python -m gaea.eval report OUT/orbit-places --html page.html`` reports on all systems of one.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping
from pathlib import Path

from gaea.errors import InputError
from gaea.eval import running
from gaea.eval.benchmarks import HERE, open_benchmark
from gaea.eval.judge_command import LEXICALLY
from gaea.eval.judged import summary
from gaea.eval.judging import Judging, judge_run
from gaea.eval.run_command import file_name
from gaea.eval.running import Plan
from gaea.eval.score_command import score_folder
from gaea.eval.strategies import strategies
from gaea.eval.systems import open_system
from gaea.eval.verdicts import VERDICTS, VerdictBook
from gaea.rag.files import write_atomically

log = logging.getLogger("gaea.eval")
BOTH, PLACES = ("locate", "ask"), ("locate",)
FOLDERS = {"locate": "places", "ask": "questions"}
SYSTEMS: tuple[tuple[str, str, Mapping[str, str], tuple[str, ...]], ...] = (
    ("nano", "assistant", {}, BOTH),
    ("nano without retrieval", "assistant", {"index": "none"}, BOTH),
    ("nano, picture blanked", "assistant", {"blank": "true"}, BOTH),
    *((f"nano, {name}", "assistant", {"decoding": name, "selection": "likelihood"}, PLACES) for name in strategies(6)),
    ("nearest neighbour", "nearest", {}, BOTH),
    ("majority", "majority", {}, BOTH),
    ("random place", "random-place", {}, BOTH),
    ("always true", "always-true", {}, ("ask",)),
    ("EXIF", "exif", {}, BOTH),
)
"""Label, system, settings, and what it is asked; of a search, its likeliest candidate is the answer."""


def arguments(name: str, parser: argparse.ArgumentParser) -> None:  # noqa: ARG001 - the table's form
    """Declare the arguments."""
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with imagery and photographs")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="decoded mosaics")
    parser.add_argument("--out", type=Path, default=Path("runs/eval/suite"), help="folder of the runs")
    parser.add_argument("--limit", type=int, help="items of each kind that every system is asked (default: all)")
    parser.add_argument("--benchmark", action="append", choices=list(HERE), help="only this one; may be given again")
    parser.add_argument(
        "--system", action="append", choices=[each[0] for each in SYSTEMS], help="only this one; likewise"
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything that draws")


def run(options: argparse.Namespace) -> None:
    """Make all runs, mark what is said by rule, and score."""
    for name in options.benchmark or list(HERE):
        try:
            benchmark = open_benchmark(name, data=options.data, cache=options.cache)
        except InputError as error:
            log.warning("%s is left out: %s", name, error)
            continue
        for number, (label, system, settings, kinds) in enumerate(SYSTEMS, 1):
            if options.system and label not in options.system:
                continue
            opened = open_system(system, settings, benchmark, seed=options.seed)
            for kind in kinds:
                plan = Plan(limit=options.limit, seed=options.seed, only=kind)
                folder = options.out / f"{name}-{FOLDERS[kind]}" / f"{number:02d}-{file_name(label)}"
                log.info("%s: %s, %s", name, label, FOLDERS[kind])
                made = running.run(benchmark, opened, plan, folder, tell=log.info)
                if kind == "ask":
                    _mark(made)
                score_folder([folder], seed=options.seed, out=folder)


def _mark(made: running.Run) -> None:
    """Marks by rule: choices and statements parsed, other words compared with references and facts."""
    pairs, plan = list(made.pairs()), Judging(None)
    with VerdictBook(made.folder / VERDICTS) as book:
        told = summary(pairs, judge_run(pairs, plan, book), plan)
    told = {"benchmark": made.header.benchmark, "system": made.header.system, **told}
    text = json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(made.folder / LEXICALLY, lambda part: part.write_text(text, encoding="utf-8") and None)
