"""Can the model that talks read its briefing? Every question is asked with the truth about a place in the briefing.

The picture is blank and says nothing, so what is wrong here was not found wrong: it was read, or concluded, wrongly.
Places are drawn evenly over land, from validation blocks; the test blocks are left to the examination of the whole
(``python -m gaea.eval orbit``).

With ``--talk`` it is whole conversations, as nano learns to have them: several questions at once, doubt, alternatives,
evidence, things that no briefing holds. The ways of asking are those of its lessons, and what counts is the reply word
for word: it is for models taught so, and says nothing of other ways.
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
from gaea.finetune.briefings import DoubtConfig, doubt, know
from gaea.finetune.dialogue import conversation
from gaea.finetune.qa import Item, choice, simple, true_false
from gaea.finetune.splits import Part, part_of

RADIUS_KM = (120.0, 400.0)
TURNS = 5
KINDS = ("where", "sure", "else", "why", "combined", "outside")


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
    return {"forms": _scored(marks, where, seed), "wrong": wrong}


def converse(engine: Engine, count: int, seed: int = 0, progress: Callable[..., Any] = iter) -> dict[str, Any]:
    """Have conversations of :data:`TURNS` questions; the share of replies that are the reference word for word.

    Args:
        engine: What talks.
        count: Questions in all.
        seed: Of places, doubts and questions.
        progress: A tqdm-like wrapper.
    """
    rng = np.random.default_rng((seed, 1))
    world = know(*np.array(land(max(count // TURNS, 10), rng)).T)
    told = [doubt(place, world, rng, DoubtConfig(swapped_share=0.0, held_share=0.05)) for place in world]
    sight = engine.see(blank())
    marks, where, wrong = defaultdict[str, list[float]](list), defaultdict[str, list[str]](list), []
    for number, briefing in enumerate(progress(told)):
        others = [told[int(i)] for i in rng.integers(len(told), size=5)]
        turns: list[tuple[str, str]] = []
        for item in conversation(briefing, others, rng, TURNS):
            reply = engine.complete(prompts.talk(briefing, turns, item.question), sight)
            turns.append((item.question, reply))
            good = reply.strip() == item.answer
            for kind in ("all", item.form if item.form != "open" else item.kind if item.kind in KINDS else "one fact"):
                marks[kind].append(good)
                where[kind].append(str(number))
            if not good:
                wrong.append({"kind": item.kind, "question": item.question, "expected": item.answer, "reply": reply})
    return {"forms": _scored(marks, where, seed), "wrong": wrong}


def _scored(marks: dict[str, list[float]], where: dict[str, list[str]], seed: int) -> dict[str, Any]:
    """How many there are of each form, and how many are right, with an interval over places."""
    return {
        form: {"n": len(good), "accuracy": Draws(where[form], seed=seed).estimate(np.array(good, float))}
        for form, good in sorted(marks.items())
    }


def arguments(name: str, parser: argparse.ArgumentParser) -> None:  # noqa: ARG001 - the table's form
    """Declare what ``python -m gaea.eval told`` takes."""
    parser.add_argument("--model", help="folder or hub name of another model than the shipped one")
    parser.add_argument("--count", type=int, default=200, help="questions")
    parser.add_argument("--talk", action="store_true", help="whole conversations; replies count word for word")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/eval/told.json"), help="JSON of the result")


def run(options: argparse.Namespace) -> None:
    """Examine, keep the result and print it."""
    from tqdm import tqdm

    from gaea.engine import TransformersEngine
    from gaea.finetune.lora import shipped_nano

    engine = TransformersEngine(options.model or shipped_nano(), system=bool(options.model))
    report = (converse if options.talk else examine)(engine, options.count, options.seed, tqdm)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(report["forms"], indent=1))  # noqa: T201 - what was asked for
