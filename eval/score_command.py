"""``python -m gaea.eval score RUN …``: score a run, or the shards of one, and keep the scores beside it."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gaea.eval.runs import read_run
from gaea.eval.scoring import score
from gaea.rag.files import write_atomically

SCORES = "scores.json"
log = logging.getLogger("gaea.eval")


def arguments(name: str, parser: argparse.ArgumentParser) -> None:  # noqa: ARG001 - the table's form
    """Declare the arguments."""
    parser.add_argument("run", type=Path, nargs="+", help="folder of a run; several are shards of one")
    parser.add_argument("--out", type=Path, help=f"folder that {SCORES} is written to (default: the first)")
    parser.add_argument("--resamples", type=int, help="of the bootstrap (default: 1000, 200 of very many places)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")


def run(options: argparse.Namespace) -> None:
    """Score, write and print."""
    score_folder(options.run, seed=options.seed, resamples=options.resamples, out=options.out or options.run[0])


def score_folder(folders: Sequence[Path], *, seed: int, out: Path, resamples: int | None = None) -> dict[str, Any]:
    """Score the run in these folders, write ``scores.json``, and print the main lines."""
    told = score(read_run(*folders), seed=seed, resamples=resamples)
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(out / SCORES, lambda part: part.write_text(text, encoding="utf-8") and None)
    print("\n".join(lines(told)))  # noqa: T201 - this is the edge
    log.info("wrote %s", out / SCORES)
    return told


def lines(told: dict[str, Any]) -> list[str]:
    """The main figures, a line a group."""
    counts = ", ".join(f"{count:,} {name}" for name, count in told["n"].items() if count)
    found = [f"{told['benchmark']}, {told['system']}: {counts}"]
    groups = {"places": told.get("places")} | {
        f"  {name}": each["places"] for name, each in told.get("splits", {}).items()
    }
    for name, group in (groups | {"location questions": told.get("location questions")}).items():
        if group:
            shown = [f"{label} {_shown(group[key], key)}" for key, label in _SHOWN.items() if key in group]
            found.append(f"{name} ({group['n']:,}): " + ", ".join(shown))
    regions = told.get("calibration", {})
    if regions.get("n"):
        found.append(
            "regions hold the truth: "
            + ", ".join(f"{m} % {_shown(regions[f'coverage_{m}'], 'within')}" for m in (50, 90))
        )
    found += [f"{count:,} × {reason}" for reason, count in told["errors"].items()]
    return found


_SHOWN = {
    "median_km": "median",
    "within_25_km": "≤ 25 km",
    "within_200_km": "≤ 200 km",
    "within_2500_km": "≤ 2500 km",
    "geoscore": "GeoScore",
    "country": "country",
    "city": "city",
    "country, in words": "country in words",
}


def _shown(estimate: Any, key: str) -> str:
    value, (low, high) = estimate
    if key == "median_km":
        return f"{value:,.0f} km ({low:,.0f}–{high:,.0f})"
    if key == "geoscore":
        return f"{value:,.0f} ({low:,.0f}–{high:,.0f})"
    return f"{100 * value:.1f} % ({100 * low:.1f}–{100 * high:.1f})"
