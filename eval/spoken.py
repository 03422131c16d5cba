"""Reads real answers of vision-language models, and compares with what their own authors' parser made of them.

The answers are ``reference/vlm_predictions`` (arXiv 2502.14412): text, parsed and true coordinates, and a distance.
They carry no licence, so they are read where they lie and nothing of them is written but counts.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gaea.errors import InputError
from gaea.locate.text import TextConfig, belief_from_text
from gaea.sphere import geoscore, great_circle_km
from gaea.spoken import Spoken, read

FOLDER = "reference/vlm_predictions"
AGREE_DEG = 0.01


@dataclass(frozen=True)
class Reply:
    """One answer: its text, the truth, and what the file's parser and distance column say (None where empty)."""

    model: str
    row: int
    text: str
    true: tuple[float, float]
    parsed: tuple[float, float] | None
    distance_km: float | None


def replies(data: Path) -> Iterator[Reply]:
    """All answers, file by file.

    Raises:
        InputError: The folder is not there.
    """
    files = sorted((data / FOLDER).glob("*.csv.gz"))
    if not files:
        raise InputError(f"no answers in {data / FOLDER}: give --data the folder that holds reference/")
    for file in files:
        with gzip.open(file, "rt", encoding="utf-8", newline="") as lines:
            for number, row in enumerate(csv.DictReader(lines)):
                lat, lon, km = (row[name].strip() for name in ("predicted_lat", "predicted_long", "distance"))
                yield Reply(
                    model=file.name.removesuffix("-full-bench.csv.gz"),
                    row=number,
                    text=row["model_response"],
                    true=(float(row["label_lat"]), float(row["label_long"])),
                    parsed=(float(lat), float(lon)) if lat and lon else None,
                    distance_km=float(km) if km else None,
                )


def agrees(said: Spoken, parsed: tuple[float, float]) -> bool:
    """Whether the one pair of coordinates that was read is the file's, to 0.01°."""
    pairs = [c for c in said.candidates if c.kind == "coordinates"]
    return len(pairs) == 1 and max(abs(pairs[0].lat - parsed[0]), abs(pairs[0].lon - parsed[1])) <= AGREE_DEG


def examine(data: Path, beliefs: int = 0, seed: int = 0) -> dict[str, Any]:
    """Count what is read, agrees and differs, for each model; with ``beliefs``, score so many of each as beliefs."""
    read_by: dict[str, list[tuple[Reply, Spoken]]] = {}
    for reply in replies(data):
        read_by.setdefault(reply.model, []).append((reply, read(reply.text)))
    return {model: _counted(pairs) | _believed(pairs, beliefs, seed) for model, pairs in read_by.items()}


def _counted(pairs: list[tuple[Reply, Spoken]]) -> dict[str, Any]:
    kinds = [{c.kind for c in said.candidates} for _, said in pairs]
    parsed = [(reply, said) for reply, said in pairs if reply.parsed is not None]
    measured = [reply for reply, _ in parsed if reply.distance_km is not None]
    ours = [float(great_circle_km(*reply.true, *reply.parsed)) for reply in measured if reply.parsed]
    theirs = [reply.distance_km or 0.0 for reply in measured]
    errors = np.array([_error_km(reply, said) for reply, said in pairs])
    return {
        "answers": len(pairs),
        "coordinates": sum("coordinates" in k for k in kinds),
        "places named only": sum(bool(k) and "coordinates" not in k for k in kinds),
        "refused": sum(said.refused for _, said in pairs),
        "unreadable": sum(not said.candidates and not said.refused for _, said in pairs),
        "city contradicts coordinates": sum("named beside" in said.problem for _, said in pairs),
        "the file parses": len(parsed),
        "agree": sum(agrees(said, reply.parsed) for reply, said in parsed if reply.parsed),
        "differ": [reply.row for reply, said in parsed if reply.parsed and not agrees(said, reply.parsed)],
        "largest difference of distances, %": _largest(ours, theirs),
        "median_km": round(float(np.median(errors)), 1),
        "geoscore": round(float(np.where(np.isfinite(errors), geoscore(np.minimum(errors, 20015.0)), 0.0).mean()), 1),
    }


def _error_km(reply: Reply, said: Spoken) -> float:
    """Distance of the likeliest candidate; infinite where there is none."""
    if not said.candidates:
        return float("inf")
    best = max(said.candidates, key=lambda c: c.weight)
    return float(great_circle_km(*reply.true, best.lat, best.lon))


def _largest(ours: list[float], theirs: list[float]) -> float:
    """Largest relative difference of distances of more than a kilometre, in percent."""
    a, b = np.array(ours), np.array(theirs)
    far = b > 1
    return round(float(100 * np.max(np.abs(a - b)[far] / b[far], initial=0.0)), 4)


def _believed(pairs: list[tuple[Reply, Spoken]], count: int, seed: int) -> dict[str, Any]:
    """Mean bits gained at the truth over knowing nothing, and how often regions hold it."""
    if not count:
        return {}
    chosen = np.random.default_rng(seed).choice(len(pairs), min(count, len(pairs)), replace=False)
    bits, held = [], []
    for index in chosen:
        reply, said = pairs[index]
        belief = belief_from_text([said], TextConfig())
        bits.append(float(belief.log_density(*reply.true) + np.log(510_065_622.0)) / np.log(2))
        held.append([bool(belief.region(mass).contains(*reply.true)) for mass in (0.5, 0.9)])
    return {
        "beliefs": len(bits),
        "bits gained": round(float(np.mean(bits)), 2),
        "held by 50 and 90 %": [round(float(v), 3) for v in np.mean(held, axis=0)],
    }
