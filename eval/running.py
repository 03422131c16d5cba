"""Asks a system every item of a benchmark: on the disk as it goes, and going on where it stopped."""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gaea.errors import GaeaError, InputError
from gaea.eval.answers import CONTRACT
from gaea.eval.benchmark import Benchmark
from gaea.eval.metrics import FARTHEST_KM
from gaea.eval.records import Item, Prediction, RunHeader
from gaea.eval.runs import Run, RunWriter, git_commit, read_run
from gaea.eval.system import Picture, System
from gaea.sphere import geoscore, great_circle_km

ASKED_AT_A_TIME = 64
"""Items that are handed to the threads of a system at a time; what a kill costs at most."""


@dataclass(frozen=True)
class Plan:
    """Which items are asked, and how.

    Attributes:
        limit: So many, spread over splits and types; None for all.
        shard: ``i/n``.
        seed: Of everything that draws.
        only: ``locate`` or ``ask``; '' for both.
        splits: Only these; all if empty.
        again: Ask anew what failed with an error.
    """

    limit: int | None = None
    shard: str = "1/1"
    seed: int = 0
    only: str = ""
    splits: tuple[str, ...] = ()
    again: bool = False


def items_of(benchmark: Benchmark, plan: Plan) -> tuple[Item, ...]:
    """The items that a plan asks.

    Raises:
        InputError: None are left.
    """
    some = tuple(
        item
        for item in benchmark.items
        if plan.only in ("", item.kind) and (not plan.splits or item.split in plan.splits)
    )
    if benchmark.items and not some:
        known = ", ".join(sorted({item.split for item in benchmark.items}))
        raise InputError(
            f"{benchmark.name} has no item of kind '{plan.only or 'any'}' in {plan.splits or known}: {known}"
        )
    return dataclasses.replace(benchmark, items=some).chosen(plan.limit, plan.shard, plan.seed)


def header_of(benchmark: Benchmark, system: System, plan: Plan) -> RunHeader:
    """What has to be known to make the run again."""
    return RunHeader(
        benchmark=benchmark.name,
        version=benchmark.version,
        data_sha256=benchmark.sha256,
        system=system.name,
        settings={
            **system.settings,
            **{name: value for name, value in dataclasses.asdict(plan).items() if name != "again"},
            "root": str(benchmark.root or ""),
            "benchmark faults": benchmark.faults,
        },
        seed=plan.seed,
        hashes=dict(system.hashes),
        git_commit=git_commit(),
        contract=CONTRACT,
        started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def run(
    benchmark: Benchmark,
    system: System,
    plan: Plan,
    folder: Path,
    *,
    tell: Callable[[str], object] = lambda _: None,
) -> Run:
    """Make or finish a run.

    Args:
        benchmark: What is asked.
        system: Who is asked.
        plan: Which items.
        folder: Of the run; if it holds this very run, what is missing is asked.
        tell: Told how it goes, about every two seconds.

    Raises:
        InputError: The folder holds another run, or no item is left to ask.
    """
    items = items_of(benchmark, plan)
    with RunWriter(folder, header_of(benchmark, system, plan), items) as writer:
        done = {key for key, made in writer.done.items() if not (plan.again and made.status == "error")}
        todo = [item for item in items if item.id not in done]
        progress = Progress(items, writer.done, tell)
        for item, prediction in _asked(system, todo, benchmark.picture):
            writer.append(prediction)
            progress(item, prediction)
        progress.say()
    return read_run(folder)


def _asked(system: System, items: Sequence[Item], picture: Picture) -> Iterator[tuple[Item, Prediction]]:
    """Every item with its prediction, in order, several at a time where the system takes it."""
    if system.at_once <= 1:
        for item in items:
            yield item, predict(system, item, picture)
        return
    with ThreadPoolExecutor(system.at_once) as pool:
        for start in range(0, len(items), ASKED_AT_A_TIME):
            some = items[start : start + ASKED_AT_A_TIME]
            yield from zip(some, pool.map(lambda item: predict(system, item, picture), some), strict=True)


def predict(system: System, item: Item, picture: Picture) -> Prediction:
    """One prediction; a failure that can be expected becomes one of status ``error``."""
    started = time.perf_counter()
    try:
        made = system.predict(item, picture)
    except GaeaError as error:
        made = Prediction(item.id, "error", error=str(error)[:500])
    return dataclasses.replace(made, seconds=round(time.perf_counter() - started, 4))


class Progress:
    """Says how a run goes: how many, the score so far, what failed, and how long it may still take."""

    def __init__(
        self, items: Sequence[Item], done: Mapping[str, Prediction], tell: Callable[[str], object], every_s: float = 2.0
    ) -> None:
        self._total, self._tell, self._every = len(items), tell, every_s
        self._errors: list[float] = []
        self._statuses: Counter[str] = Counter()
        self._made = 0
        for item in items:
            if item.id in done:
                self._note(item, done[item.id])
        self._before = sum(self._statuses.values())
        self._started = self._told = time.monotonic()

    def __call__(self, item: Item, prediction: Prediction) -> None:
        """Take in one."""
        self._note(item, prediction)
        self._made += 1
        if time.monotonic() - self._told >= self._every:
            self.say()

    def say(self) -> None:
        """Tell."""
        self._told = time.monotonic()
        self._tell(self.line())

    def line(self) -> str:
        """One line."""
        done = sum(self._statuses.values())
        told = [f"{done:,} of {self._total:,}"]
        if self._errors:
            far = np.array(self._errors)
            points = np.where(far < FARTHEST_KM, geoscore(far), 0.0)
            near = 100 * np.mean(far <= 200)
            told.append(f"median {np.median(far):,.0f} km, {near:.1f} % ≤ 200 km, GeoScore {points.mean():,.0f}")
        told += [f"{count:,} {name}" for name, count in sorted(self._statuses.items()) if name != "answered"]
        if self._made:
            each = (time.monotonic() - self._started) / self._made
            told.append(f"{each:.2g} s each, {_span(each * (self._total - done))} left")
        return "; ".join(told)

    def _note(self, item: Item, prediction: Prediction) -> None:
        self._statuses[prediction.status] += 1
        if item.truth.point is not None and item.question_type in (None, "location"):
            point = prediction.point
            self._errors.append(FARTHEST_KM if point is None else float(great_circle_km(*item.truth.point, *point)))


def _span(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )


def timing(run_: Run) -> dict[str, Any]:
    """Seconds of an item: median and total."""
    taken = [made.seconds for made in run_.predictions.values()]
    return {"median_s": round(float(np.median(taken)), 4), "total_s": round(float(np.sum(taken)), 1)} if taken else {}
