"""The regression gate: a small suite, run in minutes, and held against the results that were committed.

A figure passes when it lies within the committed interval; what involves no model has to be equal. Entries whose data
are not here are not run, and are named; a suite of which nothing could be run is an error.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gaea.errors import InputError
from gaea.eval.answers import CONTRACT
from gaea.eval.benchmark import Benchmark
from gaea.eval.benchmarks import open_benchmark
from gaea.eval.bootstrap import Asked, Bootstrap
from gaea.eval.judged import summary
from gaea.eval.judging import Judging, judge_run
from gaea.eval.records import RunHeader
from gaea.eval.running import Plan, run
from gaea.eval.runs import Run, git_commit
from gaea.eval.scoring import score
from gaea.eval.system import System
from gaea.eval.systems import open_system
from gaea.eval.verdicts import VERDICTS, VerdictBook
from gaea.rag.files import write_atomically

COMMITTED = Path("docs/results/gate.json")
PLACES = (
    *("median_km", "geoscore", "within_25_km", "within_200_km", "within_2500_km"),
    *("country", "s2_level_4", "within_2500_km, abstentions missed"),
)
PROMISES = ("coverage_50", "coverage_90", "bits_gained")
SHARES = ("answered", "country", "s2_level_4", "coverage_50", "coverage_90", *(n for n in PLACES if n[:6] == "within"))
EQUAL = 1e-6
"""Relative difference up to which figures that involve no model are the same."""


@dataclass(frozen=True)
class Entry:
    """One run of the suite.

    Attributes:
        benchmark: Its name.
        system: Its name.
        plan: Which items.
        settings: Of the system.
        exact: Whether every figure has to be equal.
    """

    benchmark: str
    system: str
    plan: Plan
    settings: Mapping[str, str] = field(default_factory=dict)
    exact: bool = False


SUITE: Mapping[str, Entry] = {
    "orbit, nano": Entry("orbit", "assistant", Plan(limit=24, only="locate")),
    "orbit, nano without retrieval": Entry("orbit", "assistant", Plan(limit=8, only="locate"), {"index": "none"}),
    "orbit, nano, questions": Entry("orbit", "assistant", Plan(limit=10, only="ask")),
    "travel, nano": Entry("travel", "assistant", Plan(limit=8, only="locate")),
    "orbit, nearest neighbour": Entry("orbit", "nearest", Plan(limit=24, only="locate")),
    "orbit, random place": Entry("orbit", "random-place", Plan(), exact=True),
    "orbit, majority": Entry("orbit", "majority", Plan(), exact=True),
    "travel, random place": Entry("travel", "random-place", Plan(), exact=True),
    "travel, majority": Entry("travel", "majority", Plan(), exact=True),
}


@dataclass(frozen=True)
class Finding:
    """One figure, held against the committed one.

    Attributes:
        entry: Of the suite.
        figure: Its name.
        value: Now; None where there is none.
        committed: As committed, with its interval.
        passed: Whether it lies within.
    """

    entry: str
    figure: str
    value: float | None
    committed: list[Any]
    passed: bool

    def line(self) -> str:
        """One line."""
        value, (low, high) = self.committed
        now = "nothing" if self.value is None else f"{self.value:g}"
        mark = "ok " if self.passed else "OUT"
        return f"{mark} {self.entry}: {self.figure} {now}, committed {value:g} ({low:g} to {high:g})"


def measure(
    out: Path,
    data: Path,
    cache: Path,
    *,
    tell: Callable[[str], object] = lambda _: None,
    suite: Mapping[str, Entry] = SUITE,
) -> dict[str, Any]:
    """Run the suite.

    Args:
        out: Folder of the runs.
        data: Imagery and photographs.
        cache: Decoded imagery.
        tell: Told how it goes.
        suite: What is run.

    Returns:
        ``entries`` by name, and why others are ``absent``.

    Raises:
        InputError: Nothing could be run.
    """
    opened: dict[str, Benchmark | str] = {}
    entries: dict[str, Any] = {}
    absent: dict[str, str] = {}
    systems: dict[tuple[Any, ...], System] = {}
    for name, entry in suite.items():
        benchmark = opened.setdefault(entry.benchmark, _opened(entry.benchmark, data, cache))
        if isinstance(benchmark, str):
            absent[name] = benchmark
            continue
        key = (entry.system, *sorted(entry.settings.items()), entry.benchmark if entry.system == "majority" else "")
        system = systems.get(key) or open_system(entry.system, entry.settings, benchmark, seed=entry.plan.seed)
        systems[key] = system
        tell(name)
        made = run(benchmark, system, entry.plan, out / name.replace(", ", "-").replace(" ", "-"), tell=tell)
        entries[name] = _entry(made, entry)
    if not entries:
        raise InputError(f"nothing of the suite could be run: {'; '.join(dict.fromkeys(absent.values()))}")
    return {"contract": CONTRACT, "git_commit": git_commit(), "entries": entries, "absent": absent}


def _opened(name: str, data: Path, cache: Path) -> Benchmark | str:
    try:
        return open_benchmark(name, data=data, cache=cache)
    except InputError as error:
        return str(error)


def _entry(made: Run, entry: Entry) -> dict[str, Any]:
    header: RunHeader = made.header
    return {
        "benchmark": header.benchmark,
        "data_sha256": header.data_sha256,
        "system": header.system,
        "hashes": dict(header.hashes),
        "plan": dataclasses.asdict(entry.plan),
        "exact": entry.exact,
        "figures": figures(made),
    }


def figures(made: Run) -> dict[str, Any]:
    """What is held fast of a run: places, promises, and marks by rule (never by a model)."""
    told = score(made)
    found = {name: told["places"][name] for name in PLACES if name in told.get("places", {})}
    found |= {name: told["calibration"][name] for name in PROMISES if name in told.get("calibration", {})}
    pairs, plan = list(made.pairs()), Judging(None)
    answered = np.array([said.status == "answered" for _, said in pairs], float)
    draws = Bootstrap([item.place for item, _ in pairs])
    found |= draws.estimate(Asked({"answered": answered}))
    found = {name: _widened(each, 1.0, draws.places) if name in SHARES else each for name, each in found.items()}
    if any(item.kind == "ask" for item in made.items):
        with VerdictBook(made.folder / VERDICTS) as book:
            marks = summary(pairs, judge_run(pairs, plan, book), plan)
        found |= {
            f"{kind}, by rule": _widened(each["score"], 100.0, each["n"]) for kind, each in marks["scores"].items()
        }
    return {name: each for name, each in found.items() if each[0] is not None}


def _widened(estimate: list[Any], whole: float, count: int) -> list[Any]:
    """An estimate of none or all, whose bootstrap has no width, with the rule of three instead.

    Source: Hanley and Lippman-Hand (1983): none of n leaves up to 3 / n at 95 %.
    """
    value, (low, high) = estimate
    if value is None or low != high or value not in (0.0, whole):
        return estimate
    reach = min(3.0 / count, 1.0) * whole
    return [value, [0.0, reach] if value == 0 else [whole - reach, whole]]


def held(now: Mapping[str, Any], committed: Mapping[str, Any]) -> tuple[list[Finding], list[str]]:
    """Every committed figure against the present one, and notes on what could not be compared.

    Raises:
        InputError: None could be.
    """
    findings: list[Finding] = []
    notes: list[str] = []
    for name, was in committed["entries"].items():
        entry = now["entries"].get(name)
        if entry is None:
            notes.append(f"{name}: not run ({now['absent'].get(name, 'no longer in the suite')})")
            continue
        if entry["data_sha256"] != was["data_sha256"]:
            notes.append(f"{name}: not compared, the data are others than those committed ({was['data_sha256'][:12]})")
            continue
        changed = [key for key in was["hashes"] if entry["hashes"].get(key) != was["hashes"][key]]
        if changed:
            notes.append(f"{name}: another {', '.join(changed)} than committed")
        findings += [_held(name, figure, entry, each, was) for figure, each in was["figures"].items()]
    if not findings:
        raise InputError(f"nothing could be compared with the committed results: {'; '.join(notes)}")
    return findings, notes


def _held(name: str, figure: str, entry: Mapping[str, Any], each: list[Any], was: Mapping[str, Any]) -> Finding:
    value = entry["figures"].get(figure, [None])[0]
    known, (low, high) = each
    near = EQUAL * max(abs(known), 1.0)
    if value is None:
        return Finding(name, figure, None, each, False)
    passed = abs(value - known) <= near if was["exact"] else low - near <= value <= high + near
    return Finding(name, figure, value, each, passed)


def load(path: Path) -> dict[str, Any]:
    """Committed results.

    Raises:
        InputError: There are none, or they cannot be read.
    """
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {**told, "entries": dict(told["entries"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} has no results to compare with: {error!r}; make them with --update") from error


def save(told: Mapping[str, Any], path: Path) -> None:
    """Keep results for the next time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8") and None)
