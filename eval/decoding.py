"""The examination of decoding: every search with every selection, a curve over compute, and a model that chooses.

All searches of one photo ask one scorer, which answers each prefix once; what a search would have cost by itself is
counted in scored cells (prefixes whose next symbols were asked for). An oracle's best in the pool is kept apart from
everything that is called accuracy.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gaea.adviser import Adviser, count_failures
from gaea.decoding import Decoded, NextToken
from gaea.engine import Engine
from gaea.errors import InputError
from gaea.eval.grouped import Draws, compared, score
from gaea.eval.metrics import Outcome
from gaea.eval.orbit import Case
from gaea.eval.strategies import SELECTIONS, Search, curves, select, strategies
from gaea.finetune import reward as training
from gaea.reward import WITHIN_KM, RewardHead, features
from gaea.selection import Choice, oracle_best_in_pool
from gaea.sphere import great_circle_km

logger = logging.getLogger(__name__)
Scorer = Callable[[Case], NextToken]
CURVED = {"samples, grid": ("majority", "likelihood", "least loss (median)")}
CURVED_ELSE = ("likelihood", "least loss (median)")
ADVISED = ("beam 5", "30 samples, grid")
SHOWN = 10  # candidates that a model is shown


@dataclasses.dataclass(frozen=True)
class DecodingExam:
    """How it is run.

    Attributes:
        symbols: Most symbols of a path.
        advised: Pictures of each split for which a language model chooses.
        curved: Whether the same searches are also run at more and more compute.
        reward: How reward heads are trained.
        seed: Of draws, heads and intervals.
    """

    symbols: int = 6
    advised: int = 20
    curved: bool = True
    reward: training.RewardConfig = dataclasses.field(default_factory=training.RewardConfig)
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Heads:
    """Reward heads by search, what each is worth on held-out validation places, and why some are missing."""

    heads: Mapping[str, RewardHead]
    quality: Mapping[str, Any]
    absent: Mapping[str, str]


def train_heads(scorer: Scorer, cases: Sequence[Case], exam: DecodingExam) -> Heads:
    """Train a reward head for each search, on validation places; every fourth block is kept to measure it."""
    searches = strategies(exam.symbols, exam.seed)
    rows: dict[str, list[tuple[np.ndarray, np.ndarray, bool]]] = {name: [] for name in searches}
    blocks = {name: index for index, name in enumerate(dict.fromkeys(case.name for case in cases))}
    for case in counted(cases):
        score_next = scorer(case)
        for name, search in searches.items():
            decoded = search(score_next)
            points = np.array([c.point for c in decoded.candidates])
            near = np.asarray(great_circle_km(points[:, 0], points[:, 1], case.lat, case.lon)) <= WITHIN_KM
            rows[name].append((features(decoded), near, blocks[case.name] % 4 == 3))
    heads, quality, absent = {}, {}, {}
    for name, mine in rows.items():
        try:
            heads[name], quality[name] = _head(mine, exam)
        except InputError as error:
            absent[name] = str(error)
    return Heads(heads, quality, absent)


def _head(mine: Sequence[tuple[np.ndarray, np.ndarray, bool]], exam: DecodingExam) -> tuple[RewardHead, Any]:
    taught, held = ([(x, y) for x, y, kept in mine if kept == part] for part in (False, True))
    if not taught:
        raise InputError("there are no validation places to train on")
    head = training.train(*(np.concatenate(part) for part in zip(*taught, strict=True)), exam.reward)
    told: dict[str, Any] = {"candidates": sum(len(y) for _, y in taught)}
    if held:
        told |= dataclasses.asdict(training.assess(head, *(np.concatenate(part) for part in zip(*held, strict=True))))
    return head, {key: None if value != value else value for key, value in told.items()}  # noqa: PLR0124 - NaN


def examine(
    scorer: Scorer, cases: Sequence[Case], heads: Heads, exam: DecodingExam, engine: Engine | None = None
) -> dict[str, Any]:
    """Everything that is reported of one model on one split.

    Args:
        scorer: The model's, for a case.
        cases: With the block in their name.
        heads: Reward heads.
        exam: How.
        engine: A language model that chooses from pools; None for none.
    """
    draws = Draws([case.name for case in cases], seed=exam.seed)
    table = strategies(exam.symbols, exam.seed)
    curved = curves(exam.symbols, exam.seed) if exam.curved else {}
    kept: dict[str, list[Found]] = {name: [] for name in table}
    points: dict[str, list[Found]] = {f"{kind}|{n}": [] for kind, steps in curved.items() for n in steps}
    advice: dict[str, list[tuple[Choice, Outcome, Outcome]]] = {}
    for index, case in enumerate(counted(cases)):
        score_next = scorer(case)
        pools = {name: search(score_next) for name, search in table.items()}
        for name, decoded in pools.items():
            kept[name].append(Found.of(decoded, case, heads.heads.get(name)))
        for kind, steps in curved.items():
            for n, search in steps.items():
                points[f"{kind}|{n}"].append(Found.of(search(score_next), case, None, losses=("median",)))
        if engine is not None and index < exam.advised:
            for how, told in advise(engine, case, pools).items():
                advice.setdefault(how, []).append(told)
    return {
        "n": draws.pictures,
        "places": draws.places,
        "table": {name: _scores(found, draws) for name, found in kept.items()},
        "curve": {
            kind: {str(n): _scores(points[f"{kind}|{n}"], draws, CURVED.get(kind, CURVED_ELSE)) for n in steps}
            for kind, steps in curved.items()
        },
        "more compute": {kind: _gain(kind, steps, points, draws) for kind, steps in curved.items()},
        "a model chooses": {how: _advised(told, cases, exam) for how, told in advice.items()},
        "diagnostic: best in pool, never an answer": {name: _oracle(found, draws) for name, found in kept.items()},
    }


@dataclasses.dataclass(frozen=True)
class Found:
    """What one search gave for one picture."""

    outcomes: Mapping[str, Outcome]
    scored: int
    best_km: float
    pool: int

    @classmethod
    def of(
        cls,
        decoded: Decoded,
        case: Case,
        head: RewardHead | None,
        losses: tuple[str, ...] = ("median", "geoscore", "hit"),
    ) -> Found:
        """Select from it, and look at the truth for the diagnostic."""
        picked, truth = select(decoded, head, losses), (case.lat, case.lon)
        oracle = oracle_best_in_pool(decoded.candidates, truth)
        outcomes = {name: picked.outcome(name, truth) for name in picked.points}
        return cls(outcomes, decoded.scored, oracle.best_km, oracle.pool)


def advise(engine: Engine, case: Case, pools: Mapping[str, Decoded]) -> dict[str, tuple[Choice, Outcome, Outcome]]:
    """Let a language model choose from pools, and name a point: its choice, and beside it the one of least loss."""
    sight, truth, told = engine.see(case.image), (case.lat, case.lon), {}
    for name in ADVISED:
        decoded = pools[name]
        adviser = Adviser(engine, sight, decoded.belief())
        safe = select(decoded, None, ("median",)).outcome("least loss (median)", truth)
        choice = adviser.choose(decoded.candidates[:SHOWN])
        told[f"chooses from {name}"] = (choice, Outcome(*truth, choice.point, {}, {}), safe)
    drawn = pools["30 samples, grid"]
    adviser = Adviser(engine, sight, drawn.belief())
    safe = select(drawn, None, ("median",)).outcome("least loss (median)", truth)
    choice = adviser.point(pools["greedy"], drawn)
    told["names a point after greedy and 30 samples"] = (choice, Outcome(*truth, choice.point, {}, {}), safe)
    return told


def _scores(found: Sequence[Found], draws: Draws, selections: Iterable[str] = SELECTIONS) -> dict[str, Any]:
    told: dict[str, Any] = {"scored cells": round(float(np.mean([f.scored for f in found])), 1)}
    for name in selections:
        if all(name in f.outcomes for f in found):
            told[name] = score([f.outcomes[name] for f in found], draws)
    return told


def _gain(kind: str, steps: Mapping[int, Search], points: Mapping[str, list[Found]], draws: Draws) -> dict[str, Any]:
    """What the most compute changes against the least, picture by picture."""
    least, most = (points[f"{kind}|{n}"] for n in (min(steps), max(steps)))
    return {
        name: {
            "from": min(steps),
            "to": max(steps),
            "times the cells": round(float(np.sum([f.scored for f in most]) / np.sum([f.scored for f in least])), 1),
            **compared([f.outcomes[name] for f in most], [f.outcomes[name] for f in least], draws),
        }
        for name in CURVED.get(kind, CURVED_ELSE)
    }


def _advised(
    told: Sequence[tuple[Choice, Outcome, Outcome]], cases: Sequence[Case], exam: DecodingExam
) -> dict[str, Any]:
    draws = Draws([case.name for case in cases[: len(told)]], seed=exam.seed)
    failures = count_failures([choice for choice, _, _ in told])
    return {
        "asked": failures.asked,
        "failed": failures.failed,
        "reasons": failures.reasons,
        "answers": score([given for _, given, _ in told], draws),
        "least loss (median) on the same": score([safe for _, _, safe in told], draws),
    }


def _oracle(found: Sequence[Found], draws: Draws) -> dict[str, Any]:
    best_km = np.array([f.best_km for f in found])
    return {
        "pool": round(float(np.mean([f.pool for f in found])), 1),
        "best_km": draws.estimate(best_km, np.median),
        "a candidate within 200 km": draws.estimate((best_km <= 200).astype(float)),
    }


def counted(cases: Sequence[Case]) -> Iterable[Case]:
    """The same cases, with a word about how far it has come."""
    for done, case in enumerate(cases):
        if done and done % 25 == 0:
            logger.info("%d of %d pictures", done, len(cases))
        yield case
