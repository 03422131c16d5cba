"""``python -m gaea.finetune sft``: fine-tune a LLaVA-class model on a file of questions."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Write = Callable[[str], None]


def declare(commands: Any) -> None:
    """Add the command to the subparsers of a program."""
    sft = commands.add_parser("sft", help="fine-tune a LLaVA-class model on questions about photos (LoRA, QLoRA)")
    sft.add_argument("data", metavar="DATA", help="rows in one of GAEA's formats: .json, .jsonl or .parquet")
    sft.add_argument("--recipe", default="gaea-7b", help="a YAML file, 'gaea-7b', 'gaea-7b-qlora' or 'lora-nano'")
    sft.add_argument("--images", type=Path, help="folder that the rows' paths start from (default: that of DATA)")
    sft.add_argument("--validation", metavar="FILE", help="rows that the loss is also measured on")
    sft.add_argument("--model", help="folder or hub name of the base, or nano; replaces the recipe's")
    sft.add_argument("--quantize", choices=("4bit", "8bit"), help="load the base quantised; replaces the recipe's")
    sft.add_argument("--retrieval", metavar="INDEX", help="tell neighbours from this index in the prompt")
    sft.add_argument("--steps", type=int, help="optimiser steps; replaces the recipe's")
    sft.add_argument("--out", type=Path, default=Path("runs/sft"), help="folder of the run; a second start goes on")
    sft.add_argument("--device", default="cpu", help="torch device")


def run(options: argparse.Namespace, write: Write) -> int:
    """Fine-tune as the options say, and write what was measured as JSON; returns the exit status."""
    from tqdm import tqdm

    from gaea.finetune import evidence, recipe
    from gaea.finetune.lora import LoraRecipe
    from gaea.finetune.rowfiles import read_examples
    from gaea.finetune.sft import leads, tune

    settings = recipe.load(options.recipe, LoraRecipe)
    given = {name: getattr(options, name) for name in ("model", "quantize", "steps") if getattr(options, name)}
    if options.retrieval:
        given["retrieval"] = dataclasses.replace(settings.retrieval, index=options.retrieval)
    settings = dataclasses.replace(settings, **given)
    tell = None
    if settings.retrieval.index is not None:
        tell = evidence.open_evidence(settings.retrieval, seed=settings.seed)
    done = tune(
        settings,
        list(read_examples(options.data)),
        options.out,
        images=options.images or Path(options.data).parent,
        validation=list(read_examples(options.validation)) if options.validation else (),
        device=options.device,
        tell=tell,
        progress=tqdm,
    )
    if leads():
        write(json.dumps({"adapter": str(done.adapter), **done.metrics}, indent=2))
    return 0
