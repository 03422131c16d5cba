"""Recomputes what others computed from real answers, and shows what their conventions do to the same answers.

The answers are ``reference/vlm_predictions`` (arXiv 2502.14412): true and predicted coordinates, and a distance column
of their own. They carry no licence, so they are read where they lie and nothing of them is written but figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gaea.errors import InputError
from gaea.eval.metrics import FARTHEST_KM, THRESHOLDS_KM
from gaea.eval.spoken import Reply, replies
from gaea.gazetteer import gazetteer
from gaea.sphere import EARTH_RADIUS_KM, geoscore, great_circle_km

SPHERES_KM = (EARTH_RADIUS_KM, 6371.0, 6378.137, 6372.8)
"""Radii that are in use; the one that fits a column best is told."""

EQUAL_KM = 0.01
"""Distances that differ by less are the same."""


@dataclass(frozen=True)
class Column:
    """The distance column of one file, and ours of the same rows.

    Attributes:
        model: Whose answers.
        answers: All rows of the file.
        theirs: (n,) their distances of the rows that they parsed, km.
        true: (n, 2) degrees.
        given: (n, 2) degrees.
        unanswered: (answers − n, 2) true degrees of the rows that they could not parse.
    """

    model: str
    answers: int
    theirs: np.ndarray
    true: np.ndarray
    given: np.ndarray
    unanswered: np.ndarray

    @property
    def ours(self) -> np.ndarray:
        """(n,) great-circle distances, km."""
        return np.asarray(great_circle_km(*self.true.T, *self.given.T))


def columns(data: Path) -> list[Column]:
    """One for each file.

    Raises:
        InputError: The folder is not there, or has no parsed row.
    """
    by_model: dict[str, list[Reply]] = {}
    for reply in replies(data):
        by_model.setdefault(reply.model, []).append(reply)
    found = []
    for model, mine in by_model.items():
        rows = [reply for reply in mine if reply.parsed is not None and reply.distance_km is not None]
        if not rows:
            raise InputError(f"{model}: no row has coordinates and a distance")
        theirs, true, given = (np.array([of(row) for row in rows], float) for of in (_distance, _true, _parsed))
        others = [reply for reply in mine if reply.parsed is None or reply.distance_km is None]
        unanswered = np.array([_true(reply) for reply in others], float).reshape(-1, 2)
        found.append(Column(model, len(mine), theirs, true, given, unanswered))
    return found


def recomputed(column: Column) -> dict[str, Any]:
    """How far their distances and ours differ, row by row, and the figures that follow from both."""
    ours, theirs = column.ours, column.theirs
    fits = {radius: np.abs(ours * radius / EARTH_RADIUS_KM - theirs) for radius in SPHERES_KM}
    radius = min(SPHERES_KM, key=lambda each: float(np.median(fits[each])))
    apart = np.abs(ours - theirs)
    return {
        "answers": column.answers,
        "rows with a distance": len(theirs),
        "their formula": "ellipsoid" if (np.median(fits[radius]) > EQUAL_KM) else f"sphere of {radius:g} km",
        "rows recomputed to 10 m by that formula": int((fits[radius] <= EQUAL_KM).sum()),
        "rows that differ from the contract's by more than 0.6 %": int(
            (apart > np.maximum(0.006 * theirs, EQUAL_KM)).sum()
        ),
        "largest difference, %": round(float(100 * np.max(apart / np.maximum(theirs, 1.0))), 4),
        "median km, theirs and ours": [round(float(np.median(each)), 3) for each in (theirs, ours)],
        "mean km, theirs and ours": [round(float(np.mean(each)), 3) for each in (theirs, ours)],
        "thresholds, theirs and ours": {
            f"≤ {km} km": [round(float(100 * np.mean(each <= km)), 3) for each in (theirs, ours)]
            for km in THRESHOLDS_KM
        },
        "rows that change sides of a threshold": {
            f"{km} km": int(((theirs <= km) != (ours <= km)).sum()) for km in THRESHOLDS_KM
        },
    }


def conventions(column: Column) -> dict[str, dict[str, float]]:
    """The same answers under other conventions: what each does to median, GeoScore and the five shares."""
    ours = column.ours
    every = np.append(ours, np.full(column.answers - len(ours), FARTHEST_KM))
    city = _city_centred(column.given)
    centred = np.asarray(great_circle_km(*column.true.T, *city.T))
    true_city = np.asarray(great_circle_km(*_city_centred(column.true).T, *city.T))
    missing = np.full(column.answers - len(ours), FARTHEST_KM)
    from_null = np.asarray(great_circle_km(*column.unanswered.T, 0.0, 0.0))
    whole_km = np.append(np.round(ours), missing)
    return {
        "contract: every answer, ≤, great circle": _figures(every),
        "< instead of ≤": _figures(every, strict=True),
        "distances rounded to 1 km, <": _figures(whole_km, strict=True),
        "distances rounded to 1 km, ≤": _figures(whole_km),
        "missing answers left out": _figures(ours),
        "missing answers set to 0, 0": _figures(np.append(ours, from_null)),
        "the file's own distances, missing left out": _figures(column.theirs),
        "answers moved to their city's centre": _figures(np.append(centred, missing)),
        "answers and truths moved to their city's centres": _figures(np.append(true_city, missing)),
    }


def _city_centred(points: np.ndarray) -> np.ndarray:
    """The nearest town of more than 5,000 people of each point, (n, 2)."""
    towns = gazetteer()
    nearest = towns.nearest(*points.T, 1)[0][:, 0]
    return np.stack([towns.lat[nearest], towns.lon[nearest]], 1)


def _figures(error_km: np.ndarray, *, strict: bool = False) -> dict[str, float]:
    points = np.where(error_km < FARTHEST_KM, geoscore(error_km), 0.0)
    shares = {
        f"{'<' if strict else '≤'} {km} km": round(float(100 * np.mean(error_km < km if strict else error_km <= km)), 2)
        for km in THRESHOLDS_KM
    }
    return {
        "n": len(error_km),
        "median_km": round(float(np.median(error_km)), 1),
        "geoscore": round(float(points.mean()), 1),
    } | shares


def markdown(told: dict[str, Any]) -> str:
    """Both tables."""
    lines = [
        "| model | rows | their formula | recomputed to 10 m | median theirs / ours | rows across a threshold |",
        "|---|---|---|---|---|---|",
    ]
    for model, each in told.items():
        mine = each["recomputed"]
        medians = " / ".join(f"{value:,.2f} km" for value in mine["median km, theirs and ours"])
        across = ", ".join(
            f"{count} at {name}" for name, count in mine["rows that change sides of a threshold"].items() if count
        )
        lines.append(
            f"| {model} | {mine['rows with a distance']:,} of {mine['answers']:,} | {mine['their formula']} | "
            f"{mine['rows recomputed to 10 m by that formula']:,} | {medians} | {across or 'none'} |"
        )
    for model, each in told.items():
        names = [f"{km} km" for km in THRESHOLDS_KM]
        lines += [
            "",
            f"{model}",
            "",
            "| convention | n | median km | GeoScore | " + " | ".join(names) + " |",
            "|" + "---|" * (4 + len(names)),
        ]
        for name, figures in each["conventions"].items():
            n, median, points, *shares = figures.values()
            lines.append(
                f"| {name} | {n:,} | {median:,.1f} | {points:,.1f} | " + " | ".join(f"{s:.2f} %" for s in shares) + " |"
            )
    return "\n".join(lines) + "\n"


def examine(data: Path) -> dict[str, Any]:
    """Both, by model."""
    return {each.model: {"recomputed": recomputed(each), "conventions": conventions(each)} for each in columns(data)}


def _distance(reply: Reply) -> float:
    return float(reply.distance_km or 0.0)


def _true(reply: Reply) -> Sequence[float]:
    return reply.true


def _parsed(reply: Reply) -> Sequence[float]:
    return reply.parsed or (np.nan, np.nan)
