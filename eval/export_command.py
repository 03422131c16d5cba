"""``python -m gaea.eval export lmms-eval OUT``: a benchmark as a task folder for another harness."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from gaea.errors import InputError
from gaea.eval import lmms
from gaea.eval.benchmarks import TOLD, open_benchmark

log = logging.getLogger("gaea.eval")


def arguments(name: str, parser: argparse.ArgumentParser) -> None:  # noqa: ARG001 - the table's form
    """Declare the arguments."""
    parser.add_argument("harness", choices=["lmms-eval"], help="the harness that the task is for")
    parser.add_argument("out", type=Path, help="folder that will be given to --include_path")
    parser.add_argument("--benchmark", help=f"write this one's rows beside the task: {', '.join(TOLD)}")
    parser.add_argument("--root", type=Path, help="folder of a published benchmark")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with imagery and photographs")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="decoded mosaics")
    parser.add_argument("--dataset", default=lmms.HUB, help="data set on the hub, where no benchmark is written")
    parser.add_argument("--split", default="test", help="split of the hub's data set")


def run(options: argparse.Namespace) -> None:
    """Write the folder, and say how it is run."""
    if options.root and not options.benchmark:
        raise InputError("--root says where a benchmark lies: say which with --benchmark, such as gaea-bench")
    benchmark = None
    if options.benchmark:
        benchmark = open_benchmark(options.benchmark, root=options.root, data=options.data, cache=options.cache)
    told = lmms.export(options.out, benchmark, dataset=options.dataset, split=options.split)
    if told["without a picture"]:
        log.warning("%d questions are left out: their pictures cannot be opened", told["without a picture"])
    rows = f"{told['written']:,} questions with their pictures" if benchmark else f"questions stay at {options.dataset}"
    print(f"{told['folder']}: {rows}\nRun it with:")  # noqa: T201 - this is the edge
    print(f"  python -m lmms_eval --include_path {options.out} --tasks {told['task']} --model …")  # noqa: T201
