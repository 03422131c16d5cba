"""Orbit: the benchmark that runs here at once. Seen and unseen places, other cameras, and another world altogether."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gaea import places
from gaea.assistant import Assistant, Chat, find
from gaea.belief import ANSWERED
from gaea.briefing import Briefing, place_facts
from gaea.eval.blocks import even_crops
from gaea.eval.case import PROBE, Case
from gaea.eval.metrics import Outcome, score
from gaea.finetune.imagery import Imagery
from gaea.finetune.qa import Item, choice, simple, true_false
from gaea.finetune.splits import Part
from gaea.photo import Photo

ASKED = (
    "country",
    "continent",
    "climate",
    "hemisphere",
    "coast",
    "driving",
    "languages",
    "neighbours",
    "capital",
    "currency",
)
_GIVEN = {"true-false": r"\b(yes|no)\b", "choice": r"\b[A-D]\)"}


def crops(imagery: Imagery, part: Part, count: int, seed: int) -> Iterator[Case]:
    """New views of one split, one of each block before any gives a second; test blocks were never trained on."""
    yield from even_crops(imagery, part, count, PROBE, np.random.default_rng((seed, int(part), 99)))


def table(folder: Path) -> Iterator[Case]:
    """Photographs listed in ``metadata.csv`` with ``file_name, latitude, longitude``."""
    with (folder / "metadata.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            name = row["file_name"]
            yield Case(
                Photo.open(folder / name).image(), float(row["latitude"]), float(row["longitude"]), Path(name).stem
            )


def locate(assistant: Assistant, case: Case) -> tuple[Outcome, Chat]:
    """One outcome: the point that is given when asked to guess, and the areas; abstention is noted beside it."""
    chat = assistant.open(Photo.open(case.image))
    trust = assistant.calibration
    found = find(chat.pooled, chat.neighbours, chat.photo, trust, provenance={}, guess=True).answer
    regions = {n: chat.pooled.region(m) for n, m in zip((50, 90), trust.region_mass, strict=True)}
    outcome = Outcome(
        case.lat,
        case.lon,
        (found.point.lat, found.point.lon) if found.point else None,
        {n: bool(region.contains(case.lat, case.lon)) for n, region in regions.items()},
        {n: region.area_km2 for n, region in regions.items()},
        chat.finding.abstained,
    )
    return outcome, chat


def examine(assistant: Assistant, cases: Iterator[Case], progress: Callable[..., Any] = iter) -> dict[str, Any]:
    """Score the whole system on one split, beside its parts and the nearest neighbour alone."""
    outcomes: dict[str, list[Outcome]] = {"system": [], "nearest neighbour": []}
    blocks: list[str] = []
    for case in progress(cases):
        blocks.append(case.name)
        outcome, chat = locate(assistant, case)
        outcomes["system"].append(outcome)
        for name, belief in chat.beliefs.items():
            outcomes.setdefault(f"{name} alone", []).append(Outcome(case.lat, case.lon, belief.point(ANSWERED), {}, {}))
        if chat.neighbours.similar:
            best = chat.neighbours.similar[0]
            outcomes["nearest neighbour"].append(Outcome(case.lat, case.lon, (best.lat, best.lon), {}, {}))
    return {name: score(found, places=blocks) for name, found in outcomes.items() if found}


def one_by_one(assistant: Assistant, cases: Iterator[Case]) -> list[dict[str, Any]]:
    """Every picture on a row of its own."""
    rows = []
    for case in cases:
        outcome, chat = locate(assistant, case)
        top = chat.neighbours.similar[0].similarity if chat.neighbours.similar else None
        guess = outcome.guess
        rows.append(
            {
                "name": case.name,
                "truth": [case.lat, case.lon],
                "guess": [round(v, 2) for v in guess] if guess else None,
                "error_km": round(outcome.error_km),
                "abstained": outcome.abstained,
                "in_90": outcome.covered[90],
                "similarity": round(top, 3) if top is not None else None,
            }
        )
    return rows


def refusals(assistant: Assistant, photos: Iterator[Path]) -> dict[str, Any]:
    """How many photos of another world are refused."""
    refused = total = 0
    for path in photos:
        total += 1
        refused += assistant.open(path).finding.abstained
    return {"n": total, "abstained": refused, "share": round(refused / total, 4) if total else None}


def questions(assistant: Assistant, cases: Iterator[Case], seed: int = 0) -> dict[str, Any]:
    """Ask about each picture; accuracy by kind and form, beside the majority answer and the blanked picture.

    An answer is right when it contains the reference's key, which is what is true of the picture's own place.
    """
    rng = np.random.default_rng(seed)
    blank = assistant.open(Photo.open(Image.new("RGB", (96, 96), (100, 100, 97))))
    asked: list[tuple[str, Item, str, str]] = []
    known = [(case, places.describe(case.lat, case.lon)) for case in cases]
    world = [Briefing(facts=place_facts(place)) for _, place in known]
    for case, place in known:
        truth = Briefing(facts=place_facts(place))
        facts = dict(truth.facts)
        chat = assistant.open(Photo.open(case.image))
        kinds = [k for k in ASKED if k in facts]
        for kind in rng.choice(kinds, min(3, len(kinds)), replace=False):
            wrong = [
                v
                for o in rng.permutation(np.array(world, dtype=object))
                if (v := dict(o.facts).get(kind)) not in (None, facts[kind])
            ]
            form = int(rng.integers(3))
            if form == 0 or not wrong:
                item = simple(str(kind), truth, rng)
            elif form == 1:
                item = true_false(str(kind), truth, wrong[0], rng)
            else:
                item = choice(str(kind), truth, list(dict.fromkeys(wrong))[:3], rng)
            chat.turns.clear()
            blank.turns.clear()
            asked.append(
                (item.form, item, chat.ask(item.question, guess=True).text, blank.ask(item.question, guess=True).text)
            )
    return _by_kind(asked)


def _by_kind(asked: list[tuple[str, Item, str, str]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    groups = {f"{i.kind} (open)" if f == "open" else f for f, i, _, _ in asked}
    for group in sorted(groups):
        mine = [(i, a, b) for f, i, a, b in asked if (f"{i.kind} (open)" if f == "open" else f) == group]
        common = Counter(i.key for i, _, _ in mine).most_common(1)[0][1]
        result[group] = {
            "n": len(mine),
            "accuracy": round(sum(right(i, a) for i, a, _ in mine) / len(mine), 3),
            "majority": round(common / len(mine), 3),
            "blanked": round(sum(right(i, b) for i, _, b in mine) / len(mine), 3),
        }
    return result


def right(item: Item, reply: str) -> bool:
    """An open answer has to contain the key; of verdicts and letters, the last one given counts."""
    if item.form == "open":
        return item.key in reply
    given = re.findall(_GIVEN[item.form], reply, re.IGNORECASE)
    return bool(given) and given[-1].lower() == item.key.lower()


def save(report: dict[str, Any], path: Path) -> None:
    """Write a report as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
