"""What fine-tuning changed: a base and its adapters are asked the same held-out questions, type by type.

Rows are those of ``python -m gaea.finetune questions make``: each carries the key that is right and the options that
were offered, so nothing has to be judged. Every contestant is asked as rows are trained on
(:func:`gaea.finetune.examples.messages`), with the same evidence or without any; differences are taken question by
question, and intervals are over places (:mod:`gaea.eval.grouped`), because questions about one place hang together.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gaea import geotokens
from gaea.cells import to_latlon
from gaea.countries import normalise
from gaea.engine import Engine
from gaea.errors import InputError
from gaea.eval.choices import LETTERS, chosen
from gaea.eval.grouped import Draws
from gaea.eval.yesno import verdict
from gaea.finetune.dataset import Example
from gaea.finetune.examples import Tell, messages
from gaea.finetune.questions import CHOICE, LOCATION, TRUE_FALSE, Item, item_of_example
from gaea.finetune.solving import tells_place
from gaea.photo import Photo
from gaea.sphere import great_circle_km

NEAR_KM = 200.0
"""S2 symbols count as right within this distance, the field's 'region'."""

ANSWER_TOKENS = {"LVQA": 200}
"""Room for a reply; 60 for the other types."""


CONDITIONS = ("none", "right", "wrong")
"""What a contestant is told: nothing, neighbours of the picture, or neighbours of a picture taken far away."""


@dataclasses.dataclass(frozen=True)
class Asked:
    """A held-out question with its picture.

    Attributes:
        item: The question, its key and options.
        example: The row that it came as.
        image: What the row shows.
    """

    item: Item
    example: Example
    image: Image.Image


def read(rows: Iterable[Example], images: Path, *, limit: int = 0, seed: int = 0) -> list[Asked]:
    """Questions about one picture each, drawn evenly if there are more than ``limit``.

    Raises:
        InputError: No row carries what it is right by, or a picture cannot be read.
    """
    held = [row for row in rows if len(row.images) == 1]
    if limit and len(held) > limit:
        held = [held[i] for i in np.sort(np.random.default_rng(seed).choice(len(held), limit, replace=False))]
    if not held:
        raise InputError("no question about one picture: expected rows made by 'python -m gaea.finetune questions'")
    return [Asked(item_of_example(row), row, Photo.open(images / row.images[0]).image()) for row in held]


def right(item: Item, reply: str) -> bool:
    """Whether a reply gives the key, by the type of question; what settles on nothing is wrong."""
    if item.question_type == TRUE_FALSE:
        return verdict(reply).value == item.key.casefold()
    if item.question_type == CHOICE:
        return chosen(reply, item.options).value == LETTERS[item.options.index(item.key)]
    if item.question_type == LOCATION and item.skill == "coordinates":
        return _near(item, reply)
    said = normalise(reply)
    return all(normalise(part) in said for part in item.key.split(", "))


def _near(item: Item, reply: str) -> bool:
    places = geotokens.from_text(reply)
    if not places:
        return False
    lat, lon = (float(value) for value in to_latlon(geotokens.cell_of_prefix(places[0])))
    return bool(great_circle_km(item.lat, item.lon, lat, lon) <= NEAR_KM)


def answers(
    engine: Engine, asked: Sequence[Asked], *, tell: Tell | None = None, progress: Callable[..., Any] = iter
) -> list[str]:
    """What an engine replies to each question; the engine adds the system message where its model was trained so."""
    replies = []
    for number, one in enumerate(progress(asked)):
        evidence = tell(number, one.example, one.image) if tell else ""
        told = messages(one.example, evidence=evidence, system=False)
        question = [message for message in told if message["role"] == "user"][:1]
        room = ANSWER_TOKENS.get(one.item.question_type, 60)
        replies.append(engine.complete(question, engine.see(one.image), max_new_tokens=room))
    return replies


def compare(asked: Sequence[Asked], replies: dict[str, list[str]], *, seed: int = 0) -> dict[str, Any]:
    """Accuracy by type, and by skill, of each contestant, and how far each is from the first.

    Args:
        asked: The questions.
        replies: Of each contestant, by name; the first is the base.
        seed: Of the resamples.

    Returns:
        ``types``, ``skills`` and ``given`` (whether the question says where): name to ``{"n", "accuracy": {contestant:
        [value, [low, high]]}, "gain": {…}}``.
    """
    kinds = np.array([one.item.question_type for one in asked])
    skills = np.array([f"{one.item.question_type} {one.item.skill}" for one in asked])
    places = np.array([f"{one.item.lat:.3f} {one.item.lon:.3f}" for one in asked])
    marks = {
        name: np.array([right(one.item, reply) for one, reply in zip(asked, said, strict=True)], float)
        for name, said in replies.items()
    }
    base = next(iter(marks))

    def told(rows: np.ndarray) -> dict[str, Any]:
        draws = Draws(places[rows].tolist(), seed=seed)
        return {
            "n": len(rows),
            "places": draws.places,
            "accuracy": {name: draws.estimate(mark[rows]) for name, mark in marks.items()},
            "gain": {
                name: draws.estimate(mark[rows] - marks[base][rows]) for name, mark in marks.items() if name != base
            },
        }

    def grouped(labels: np.ndarray) -> dict[str, Any]:
        return {str(label): told(np.flatnonzero(labels == label)) for label in np.unique(labels)}

    given = np.array(["coordinates" if tells_place(one.item) else "the picture alone" for one in asked])
    return {
        "types": {**grouped(kinds), "all": told(np.arange(len(asked)))},
        "given": grouped(given),
        "skills": grouped(skills),
    }


def markdown(report: dict[str, Any]) -> str:
    """The tables of a report."""
    names = list(report["types"]["all"]["accuracy"])
    lines = [
        f"{report['types']['all']['n']} questions about {report['types']['all']['places']} held-out places; accuracy, "
        "95 % intervals over places; gain over the first, question by question.",
        "",
    ]
    for title, group in (("type", report["types"]), ("given", report["given"]), ("skill", report["skills"])):
        lines += [
            f"| {title} | n | {' | '.join(names)} | {' | '.join(f'gain of {name}' for name in names[1:])} |",
            "|" + "---|" * (2 * len(names) + 1),
        ]
        for label, told in group.items():
            cells = [_per_cent(told["accuracy"][name]) for name in names]
            cells += [_per_cent(told["gain"][name], sign=True) for name in names[1:]]
            lines.append(f"| {label} | {told['n']} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def _per_cent(estimate: list[Any], *, sign: bool = False) -> str:
    value, (low, high) = estimate
    form = "{:+.1f}" if sign else "{:.1f}"
    return f"{form.format(100 * value)} ({form.format(100 * low)} to {form.format(100 * high)})"


# ── the command ─────────────────────────────────────────────────────────────


def arguments(name: str, parser: argparse.ArgumentParser) -> None:  # noqa: ARG001 - the table's form
    """Declare what ``python -m gaea.eval finetuned`` takes."""
    parser.add_argument("rows", type=Path, help="held-out rows made by 'python -m gaea.finetune questions make'")
    parser.add_argument("--images", type=Path, help="folder that the rows' paths start from (default: that of ROWS)")
    parser.add_argument("--model", default="nano", help="the base: folder, hub name or nano")
    parser.add_argument(
        "--adapter", action="append", default=[], metavar="NAME=FOLDER[@4bit]",
        help="one more contestant; @4bit or @8bit puts it on the quantised base",
    )  # fmt: skip
    parser.add_argument("--no-base", action="store_true", help="leave the base alone out")
    parser.add_argument("--retrieval", metavar="INDEX", help="tell neighbours from this index, or nano, in the prompt")
    parser.add_argument(
        "--evidence", nargs="+", choices=CONDITIONS, default=["right"],
        help="with --retrieval: neighbours of the picture, of one taken far away, or none; all are asked under each",
    )  # fmt: skip
    parser.add_argument("--limit", type=int, default=0, help="questions asked (default: all)")
    parser.add_argument("--system", action="store_true", help="send the system message, for models trained with it")
    parser.add_argument("--device", default="cpu", help="torch device")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/eval/finetuned.json"), help="JSON; a .md lies beside it")


def run(options: argparse.Namespace) -> None:
    """Ask everyone, write the report, and print its tables."""
    from tqdm import tqdm

    from gaea.engine import TransformersEngine
    from gaea.finetune.lora import shipped_nano
    from gaea.finetune.rowfiles import read_examples

    asked = read(
        read_examples(options.rows), options.images or options.rows.parent, limit=options.limit, seed=options.seed
    )
    base = shipped_nano() if options.model == "nano" else options.model
    told = _evidence(options)
    replies, seconds = {}, {}
    for name, adapter, quantize in contestants(options.adapter, base=not options.no_base):
        engine = TransformersEngine(
            base, adapter=adapter, quantize=quantize, device=options.device, system=options.system
        )
        for condition, tell in told.items():
            label = f"{name}, {condition}" if len(told) > 1 else name
            begun = time.perf_counter()
            replies[label] = answers(engine, asked, tell=tell, progress=tqdm)
            seconds[label] = round(time.perf_counter() - begun, 1)
    report = {"rows": options.rows.name, "model": options.model, "seconds": seconds}
    report |= compare(asked, replies, seed=options.seed)
    report["replies"] = [
        {"id": one.item.unique_id, "key": one.item.key, **{name: said[i] for name, said in replies.items()}}
        for i, one in enumerate(asked)
    ]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    options.out.with_suffix(".md").write_text(markdown(report), encoding="utf-8")
    print(markdown(report), end="")  # noqa: T201 - what was asked for


def contestants(adapters: Sequence[str], *, base: bool) -> list[tuple[str, str | None, str | None]]:
    """(name, adapter, quantisation) of everyone who is asked, the base first.

    Raises:
        InputError: An adapter has no name, or a name comes twice.
    """
    found: list[tuple[str, str | None, str | None]] = [("base", None, None)] if base else []
    for told in adapters:
        name, equals, folder = told.partition("=")
        folder, _, bits = folder.partition("@")
        if not (name and equals and folder) or bits not in ("", "4bit", "8bit"):
            raise InputError(f"--adapter {told}: expected NAME=FOLDER, or NAME=FOLDER@4bit")
        found.append((name, folder, bits or None))
    if not found or len({name for name, _, _ in found}) < len(found):
        raise InputError("expected at least one contestant, each with a name of its own")
    return found


def _evidence(options: argparse.Namespace) -> dict[str, Tell | None]:
    """What is told under each condition; without an index nothing, under one."""
    from gaea.finetune import evidence
    from gaea.finetune.lora import EvidenceRecipe

    if not options.retrieval:
        return {"none": None}
    # As many as the recipe lora-nano tells; nothing is left out but the picture itself.
    recipe = EvidenceRecipe(options.retrieval, 4, 1, 1, dropped_share=0.0, wrong_share=0.0, unseen_share=0.0)
    right = evidence.open_evidence(recipe, device=options.device, seed=options.seed)
    wrong = dataclasses.replace(right, recipe=dataclasses.replace(recipe, wrong_share=1.0))
    return {name: {"none": None, "right": right, "wrong": wrong}[name] for name in dict.fromkeys(options.evidence)}
