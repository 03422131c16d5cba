"""``python -m gaea.eval gate`` (`make eval`): run the small suite, and hold it against the committed results."""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path

from gaea.eval.gate import COMMITTED, SUITE, held, load, measure, save

log = logging.getLogger("gaea.eval")
OUTSIDE = 1
"""Exit status where a figure lies outside its interval."""


def arguments(name: str, parser: argparse.ArgumentParser) -> None:  # noqa: ARG001 - the table's form
    """Declare the arguments."""
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with imagery and photographs")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="decoded mosaics")
    parser.add_argument("--committed", type=Path, default=COMMITTED, help="results to compare with")
    parser.add_argument("--update", action="store_true", help="write them anew instead of comparing")
    parser.add_argument("--out", type=Path, help="folder of the runs (default: a new one under runs/eval/gate)")
    parser.add_argument("--entry", action="append", choices=list(SUITE), help="only this entry; may be given again")


def run(options: argparse.Namespace) -> int:
    """Measure, compare, print; returns the exit status."""
    committed = None if options.update else load(options.committed)
    out = options.out or Path("runs/eval/gate") / time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    suite = {name: entry for name, entry in SUITE.items() if not options.entry or name in options.entry}
    started = time.monotonic()
    now = measure(out, options.data, options.cache, tell=log.info, suite=suite)
    log.info("measured in %.1f min", (time.monotonic() - started) / 60)
    if committed is None:
        save({"command": "python -m gaea.eval gate --update", **now}, options.committed)
        log.info("wrote %s", options.committed)
        return 0
    if options.entry:
        committed = {**committed, "entries": {n: e for n, e in committed["entries"].items() if n in options.entry}}
    findings, notes = held(now, committed)
    outside = [finding for finding in findings if not finding.passed]
    told = [*(finding.line() for finding in findings), *notes]
    told.append(f"{len(findings) - len(outside)} of {len(findings)} figures within their committed intervals")
    print("\n".join(told))  # noqa: T201 - this is the edge
    return OUTSIDE if outside else 0
