"""``python -m gaea.eval``: examine any system on any benchmark, and each part of an assistant by itself."""

from __future__ import annotations

import argparse
import logging
import sys
from importlib import import_module
from typing import Any

from gaea.errors import GaeaError

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("gaea.eval.run_command", "ask any system any benchmark, and score it"),
    "score": ("gaea.eval.score_command", "score a run again, or the shards of one"),
    "list": ("gaea.eval.run_command", "benchmarks and systems"),
    "suite": (
        "gaea.eval.suite_command",
        "the shipped assistant on Orbit and Travel, in every way, beside every baseline",
    ),
    "gate": ("gaea.eval.gate_command", "run the small suite, and hold it against the committed results"),
    "reference": ("gaea.eval.reference_command", "recompute the distances of others, and what other conventions do"),
    "orbit": ("gaea.eval.special", "seen, unseen, other cameras, another world, and questions"),
    "retrieval": ("gaea.eval.special", "what neighbours do to an answer: the ablation, and leakage"),
    "decoding": (
        "gaea.eval.special",
        "each search of the S2 tree with each selection, and whether more computing helps",
    ),
    "reliability": (
        "gaea.eval.special",
        "what is promised: regions, and answers that are given, against what comes true",
    ),
    "spoken": ("gaea.eval.special", "what is read out of real answers of vision-language models"),
    "report": ("gaea.eval.report_command", "runs as a page, as Markdown and as JSON"),
    "compare": ("gaea.eval.report_command", "two runs of a benchmark, and which of their differences are real"),
    "export": ("gaea.eval.export_command", "a benchmark as a task folder for another harness (lmms-eval)"),
    "told": ("gaea.eval.told", "can the model that talks read a true briefing, and conclude from it"),
    "pointed": ("gaea.eval.pointed", "can the model that points read where its neighbours lie"),
    "finetuned": ("gaea.eval.finetuned", "a base and its adapters on the same held-out questions, type by type"),
    "judge": ("gaea.eval.judge_command", "mark the answers in words of a run, and check the judge"),
}
"""Name of each command, the module that has it (loaded when it is called), and what it does.

Such a module has ``arguments(name, parser)``, which declares them, and ``run(options)``, whose result, where it is a
number, is the exit status.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="python -m gaea.eval", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    chosen = next((name for name in given if name in COMMANDS), None)
    for name, (module, told) in COMMANDS.items():
        command = commands.add_parser(name, help=told, description=told)
        if name == chosen:
            import_module(module).arguments(name, command)
    options = parser.parse_args(given)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would tell of every request
    try:
        status: Any = import_module(COMMANDS[options.command][0]).run(options)
    except GaeaError as error:
        print(f"gaea: {error}", file=sys.stderr)  # noqa: T201 - this is the edge
        return 2
    return status if isinstance(status, int) else 0


if __name__ == "__main__":
    raise SystemExit(main())
