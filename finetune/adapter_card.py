"""The card of an adapter: what it belongs to, how it came about, what it scored, and how it is used."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from gaea.adapters import LIKENESS_FILE
from gaea.finetune.lora import LoraRecipe

_PACKAGES = ("torch", "transformers", "peft", "accelerate")


@dataclasses.dataclass(frozen=True)
class Made:
    """How an adapter came about.

    Attributes:
        recipe: The resolved settings.
        likeness: Of the base.
        rows: Training rows.
        data_hash: SHA-256 of them.
        skipped: Rows that could not be used.
        steps: Optimiser steps.
        metrics: What was measured, by name.
        sources: Of the data, one line each, with the licence: OpenStreetMap's ODbL where rows were made from it.
    """

    recipe: LoraRecipe
    likeness: Mapping[str, Any]
    rows: int
    data_hash: str
    skipped: int
    steps: int
    metrics: Mapping[str, float]
    sources: tuple[str, ...] = ()


def write(folder: Path, made: Made) -> None:
    """Write card, likeness and recipe beside the weights."""
    (folder / "README.md").write_text(card(made), encoding="utf-8")
    told = {"base": made.recipe.model, "likeness": dict(made.likeness), "concludes": made.recipe.concludes}
    (folder / LIKENESS_FILE).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    settings = json.dumps(dataclasses.asdict(made.recipe), indent=2) + "\n"
    (folder / "recipe.json").write_text(settings, encoding="utf-8")


def card(made: Made) -> str:
    """The card as Markdown, its head as hubs read it."""
    measured = [f"| {name} | {value:.4g} |" for name, value in made.metrics.items()] or ["| nothing | |"]
    return "\n".join(
        [
            "---",
            f"base_model: {json.dumps(made.recipe.model)}",
            f"library_name: {'peft' if made.recipe.method == 'lora' else 'transformers'}",
            "pipeline_tag: image-text-to-text",
            f"tags: [gaea, geolocation, s2{', lora' if made.recipe.method == 'lora' else ''}]",
            "---",
            "",
            "# A GAEA adapter" if made.recipe.method == "lora" else "# A model fine-tuned with GAEA",
            "",
            "Says where a photo was taken, in S2 symbols and in words.",
            "",
            "| | |",
            "|---|---|",
            *(f"| {name} | {value} |" for name, value in _rows(made)),
            "",
            "## Measured",
            "",
            "| | |",
            "|---|---|",
            *measured,
            "",
            *_use(made.recipe),
            "## Data and licences",
            "",
            *([f"- {line}" for line in made.sources] or ["- The rows name no sources."]),
            "",
        ]
    )


def _rows(made: Made) -> list[tuple[str, str]]:
    recipe = made.recipe
    shape = f"rank {recipe.rank}, alpha {recipe.alpha}, dropout {recipe.dropout:g}"
    projector = f"trained at {recipe.projector_rate:g}" if recipe.projector_rate else "as in the base"
    return [
        ("Base", f"`{recipe.model}`" + (f", loaded in {recipe.quantize}" if recipe.quantize else "")),
        ("LoRA", f"{shape}, on every linear layer of the language model" if recipe.method == "lora" else "none"),
        ("Projector", projector),
        ("S2 symbols", "24 rows of the word tables, trained" if recipe.geotokens else "none"),
        ("Rates", f"{recipe.learning_rate:g}, cosine, warm-up {recipe.warmup_share:g}; decay {recipe.weight_decay:g}"),
        ("Batch", f"{recipe.batch_size} rows, {made.steps:,} steps, {recipe.precision}, seed {recipe.seed}"),
        ("Neighbours", _neighbours(recipe)),
        ("Data", f"{made.rows:,} rows, SHA-256 `{made.data_hash}`; {made.skipped:,} could not be used"),
        ("Versions", ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES)),
    ]


def _use(recipe: LoraRecipe) -> list[str]:
    if recipe.method != "lora":
        return ["## Use", "", "```sh", "gaea ask PHOTO --model THIS_FOLDER", "```", ""]
    return [
        "## Use",
        "",
        "```sh",
        f"gaea ask PHOTO --model {recipe.model} --adapter THIS_FOLDER",
        f"gaea merge {recipe.model} THIS_FOLDER MERGED",
        "```",
        "",
        "vLLM takes it merged: it loads no rows of word tables at run time.",
        "",
    ]


def _neighbours(recipe: LoraRecipe) -> str:
    told = recipe.retrieval
    if told.index is None:
        return "none in the prompt"
    return (
        f"{told.similar} similar, {told.dissimilar + told.hard} dissimilar from `{Path(told.index).name}`; "
        f"left out in {told.dropped_share:.0%} of the rows, wrong in {told.wrong_share:.0%}"
    )
