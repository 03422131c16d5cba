"""``python -m gaea.eval reference``: recompute others' distances, and show what other conventions do."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

from gaea.rag.files import write_atomically

HEAD = (
    "Real answers of vision-language models (arXiv 2502.14412) under the evaluation contract and under other "
    "conventions; printed by `python -m gaea.eval reference --out docs/results/conventions.json`."
)
log = logging.getLogger("gaea.eval")


def arguments(name: str, parser: argparse.ArgumentParser) -> None:  # noqa: ARG001 - the table's form
    """Declare the arguments."""
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder that holds reference/")
    parser.add_argument("--out", type=Path, help="JSON of the figures; a .md lies beside it")


def run(options: argparse.Namespace) -> None:
    """Recompute, write and print."""
    from gaea.eval.reference import examine, markdown

    told = examine(options.data)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        for path, text in (
            (options.out, json.dumps(told, indent=2, ensure_ascii=False) + "\n"),
            (options.out.with_suffix(".md"), f"{HEAD}\n\n{markdown(told)}"),
        ):
            write_atomically(path, lambda part, text=text: part.write_text(text, encoding="utf-8") and None)
        log.info("wrote %s", options.out)
    print(markdown(told), end="")  # noqa: T201 - this is the edge
