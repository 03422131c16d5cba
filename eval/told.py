"""Can the model that talks read its briefing? Every question is asked with the truth about a place in the briefing.

The picture is blank and says nothing, so what is wrong here was not found wrong: it was read, or concluded, wrongly.
Places are drawn evenly over land, from validation blocks; the test blocks are left to the examination of the whole
(``python -m gaea.eval orbit``).
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gaea import places, prompts
from gaea.briefing import FAIRLY_SURE, Briefing, place_facts
from gaea.engine import Engine
from gaea.eval.grouped import Draws
from gaea.eval.orbit import ASKED, right
from gaea.finetune.qa import Item, choice, simple, true_false
from gaea.finetune.splits import Part, part_of

RADIUS_KM = (120.0, 400.0)


def land(count: int, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Places on the land of validation blocks, drawn evenly."""
    found: list[tuple[float, float]] = []
    while len(found) < count:
        lat = np.degrees(np.arcsin(rng.uniform(-0.87, 0.87, 4096)))
        lon = rng.uniform(-180, 180, 4096)
        mine = (part_of(lat, lon) == Part.VALIDATION) & (places.country_codes(lat, lon, shore=False) != "")
        found += zip(lat[mine].tolist(), lon[mine].tolist(), strict=True)
    return found[:count]


def blank() -> Image.Image:
    """A picture that says nothing."""
    return Image.new("RGB", (96, 96), (100, 100, 97))


def briefings(count: int, rng: np.random.Generator) -> list[tuple[str, Briefing]]:
    """True briefings about places on the land of validation blocks, and what the places are called."""
    return [
        (
            f"{lat:.3f} {lon:.3f}",
            Briefing(facts=place_facts(places.describe(lat, lon)), sure=FAIRLY_SURE, radius_km=RADIUS_KM),
        )
        for lat, lon in land(count, rng)
    ]


def question(told: Briefing, others: list[Briefing], rng: np.random.Generator) -> Item:
    """One question about a place, of any kind and form; wrong claims and options are those of other places."""
    facts = dict(told.facts)
    kind = str(rng.choice([kind for kind in ASKED if kind in facts]))
    values = (dict(others[int(i)].facts).get(kind) for i in rng.permutation(len(others)))
    wrong = list(dict.fromkeys(value for value in values if value not in (None, facts[kind])))
    form = int(rng.integers(3))
    if form == 0 or not wrong:
        return simple(kind, told, rng)
    return true_false(kind, told, wrong[0], rng) if form == 1 else choice(kind, told, wrong[:3], rng)


def examine(engine: Engine, count: int, seed: int = 0, progress: Callable[..., Any] = iter) -> dict[str, Any]:
    """Ask ``count`` questions; accuracy by form with intervals over places, and every reply that was wrong."""
    rng = np.random.default_rng(seed)
    known = briefings(count, rng)
    sight = engine.see(blank())
    marks, where, wrong = defaultdict[str, list[float]](list), defaultdict[str, list[str]](list), []
    for place, told in progress(known):
        item = question(told, [briefing for _, briefing in known], rng)
        reply = engine.complete(prompts.talk(told, (), item.question), sight)
        good = right(item, reply)
        marks[item.form].append(good)
        where[item.form].append(place)
        if not good:
            wrong.append({"question": item.question, "expected": item.answer, "reply": reply})
    scored = {form: {"n": len(m), "accuracy": Draws(where[form], seed=seed).estimate(np.array(m, float))}
              for form, m in sorted(marks.items())}  # fmt: skip
    return {"forms": scored, "wrong": wrong}


def arguments(name: str, parser: argparse.ArgumentParser) -> None:  # noqa: ARG001 - the table's form
    """Declare what ``python -m gaea.eval told`` takes."""
    parser.add_argument("--model", help="folder or hub name of another model than the shipped one")
    parser.add_argument("--count", type=int, default=200, help="questions")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/eval/told.json"), help="JSON of the result")


def run(options: argparse.Namespace) -> None:
    """Examine, keep the result and print it."""
    from tqdm import tqdm

    from gaea.engine import TransformersEngine
    from gaea.finetune.lora import shipped_nano

    engine = TransformersEngine(options.model or shipped_nano(), system=bool(options.model))
    report = examine(engine, options.count, options.seed, tqdm)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(report["forms"], indent=1))  # noqa: T201 - what was asked for
