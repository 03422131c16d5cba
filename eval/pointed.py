"""Can the model that points read its neighbours? It is told where look-alikes lie, and asked for S2 symbols.

The picture is blank, so all that the model can know is what it was told: rows around the place, as of a gallery that
holds it, as many as are always told or two; nothing; or rows around another place, at least 1,000 km away, which it can
only follow. Places are drawn evenly over land, from validation blocks. A model that was never taught to read neighbours
answers all of them alike.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gaea import geotokens, prompts
from gaea.decoding import BeamConfig, greedy
from gaea.engine import Engine
from gaea.errors import InputError
from gaea.eval.grouped import Draws
from gaea.eval.told import blank, land
from gaea.locate.neighbours import Neighbour
from gaea.sphere import destination, great_circle_km

SYMBOLS = 4
"""Level 6, cells some 150 km wide: as fine as rows so near each other tell."""
NEAR_KM = 200.0
AROUND_KM = 60.0
ELSEWHERE_KM = 1000.0
FEW = 2
SIMILARITY = np.linspace(0.97, 0.92, prompts.NEIGHBOURS)
NAMES = ("surprise_bits", "near_truth", "near_told")
PLAIN = BeamConfig(symbols=SYMBOLS, keep=0.0, least_gain_bits=0.0)


def around(lat: float, lon: float, rng: np.random.Generator) -> list[Neighbour]:
    """As many rows as are told, evenly over the disc of 60 km around a place."""
    away, bearing = AROUND_KM * np.sqrt(rng.random(prompts.NEIGHBOURS)), rng.uniform(0, 360, prompts.NEIGHBOURS)
    rows = zip(*(np.asarray(v).tolist() for v in (*destination(lat, lon, bearing, away), SIMILARITY)), strict=True)
    return [Neighbour(at, *row, "similar") for at, row in enumerate(rows)]


def examine(engine: Engine, count: int, seed: int = 0, progress: Callable[..., Any] = iter) -> dict[str, Any]:
    """Ask about ``count`` places under each evidence; shares and bits with intervals over places.

    Returns:
        For each evidence: ``surprise_bits``, how little the model expected the place's own cell of level 6 (14.6 bits
        where it knows nothing); ``near_truth``, the share of likeliest cells within 200 km of it; ``near_told``, within
        200 km of the place that the rows lie around, where there are any.

    Raises:
        InputError: So few places that none lies far from another.
    """
    rng = np.random.default_rng(seed)
    places = np.array(land(count, rng))
    sight = engine.see(blank())
    marks: dict[str, list[list[float]]] = {"near": [], "few": [], "none": [], "elsewhere": []}
    for lat, lon in progress(places):
        far = places[great_circle_km(lat, lon, *places.T) >= ELSEWHERE_KM]
        if not len(far):
            raise InputError(f"none of {count} places lies {ELSEWHERE_KM:,.0f} km from the others: ask about more")
        own = geotokens.encode(lat, lon)[None, :SYMBOLS]
        here, other = around(lat, lon, rng), far[rng.integers(len(far))]
        kinds: list[tuple[str, Any, list[Neighbour]]] = [
            ("near", (lat, lon), here),
            ("few", (lat, lon), here[:FEW]),
            ("none", None, []),
            ("elsewhere", other, around(*other, rng)),
        ]
        for evidence, told, rows in kinds:
            score = engine.scorer(prompts.locate(prompts.neighbour_tokens(rows)), sight)
            log_p = sum(float(score(own[:, :k])[0, own[0, k]]) for k in range(SYMBOLS))
            point = greedy(score, PLAIN).candidates[0].point
            near = [
                float(great_circle_km(*point, *place) <= NEAR_KM) for place in ((lat, lon), told) if place is not None
            ]
            marks[evidence].append([-log_p / math.log(2), *near])
    draws = Draws([f"{lat:.3f} {lon:.3f}" for lat, lon in places], seed=seed)
    return {
        evidence: {name: draws.estimate(column) for name, column in zip(NAMES, np.array(rows).T, strict=False)}
        for evidence, rows in marks.items()
    }


def arguments(name: str, parser: argparse.ArgumentParser) -> None:  # noqa: ARG001 - the table's form
    """Declare what ``python -m gaea.eval pointed`` takes."""
    parser.add_argument("--model", help="folder or hub name of another model than the shipped one; it has S2 symbols")
    parser.add_argument("--count", type=int, default=200, help="places")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/eval/pointed.json"), help="JSON of the result")


def run(options: argparse.Namespace) -> None:
    """Examine, keep the result and print it."""
    from tqdm import tqdm

    from gaea.engine import TransformersEngine
    from gaea.finetune.lora import shipped_nano

    engine = TransformersEngine(options.model or shipped_nano(), system=False)
    report = examine(engine, options.count, options.seed, tqdm)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))  # noqa: T201 - what was asked for
