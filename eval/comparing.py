"""Which differences between two systems are real: paired, place by place, and held to how many are looked at.

Both systems were asked the same items, so differences are taken item by item, and whole places are drawn with
replacement (paired cluster bootstrap; Davison and Hinkley 1997, §3.8). ``p`` is two-sided: twice the share of resamples
on the rarer side of zero, never below what the number of resamples can show. Because several scores are looked at, p
is adjusted by Holm's method (S. Holm, Scandinavian Journal of Statistics 6, 1979); a difference is called *real* where
the adjusted p is below 0.05.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gaea.errors import InputError
from gaea.eval.answers import Answers
from gaea.eval.judging import IN_WORDS, PARSED
from gaea.eval.records import MASSES, Item, Prediction
from gaea.eval.runs import Run
from gaea.eval.scoring import within
from gaea.eval.verdicts import LEXICAL, MOST, PARSER, Verdict

LEVEL = 0.05
RESAMPLES = 4000
"""So many that the smallest p, 2 / 4001, survives Holm's adjustment over a hundred scores at 0.05."""

MANY, FEWER = 20_000, 1000
BLOCK = 100
LOWER = ("median_km", "mean_km", "area_50_km2", "area_90_km2", "contradicted")
"""Scores that are better when lower."""


@dataclass(frozen=True)
class Sides:
    """One score of both systems: (n,) values each, NaN where an item is not asked; compared by mean or median."""

    one: np.ndarray
    other: np.ndarray
    median: bool = False


def compare(one: Run, other: Run, verdicts: Sequence[Sequence[Verdict]] = ((), ()), *, seed: int = 0) -> dict[str, Any]:
    """Every score that both runs have, on the items that both were asked.

    Args:
        one: A run.
        other: Another of the same benchmark.
        verdicts: Of each run, as far as they were judged; only marks by the same judge are compared.
        seed: Of the draws.

    Returns:
        ``one``, ``other``, ``n``, ``places``, items of ``one alone`` and ``other alone``, and ``scores`` by name:
        values of both, ``difference`` (one − other) with its interval, ``p``, ``p_adjusted``, ``real``, ``better``.

    Raises:
        InputError: They are of different benchmarks, share no item, or share items that say different things.
    """
    pairs = shared(one, other)
    items = [item for item, _, _ in pairs]
    sides = {name: each for name, each in _sides(pairs, verdicts) if _both(each).any()}
    scores = differences(sides, [item.place for item in items], seed=seed)
    return {
        "benchmark": one.header.benchmark,
        "one": one.header.system,
        "other": other.header.system,
        "n": len(items),
        "places": len({item.place for item in items}),
        "one alone": len(one.items) - len(items),
        "other alone": len(other.items) - len(items),
        "resamples": _resamples(len({item.place for item in items})),
        "seed": seed,
        "level": LEVEL,
        "method": "paired bootstrap over places; two-sided p, adjusted by Holm over all scores shown",
        "scores": scores,
    }


def shared(one: Run, other: Run) -> list[tuple[Item, Prediction, Prediction]]:
    """Items of both, with what each system made of them.

    Raises:
        InputError: See :func:`compare`.
    """
    if one.header.benchmark != other.header.benchmark:
        raise InputError(
            f"{one.folder} is of {one.header.benchmark} and {other.folder} of {other.header.benchmark}: "
            "only runs of one benchmark can be compared"
        )
    theirs = {item.id: (item, made) for item, made in other.pairs()}
    both = [(item, made, *theirs[item.id]) for item, made in one.pairs() if item.id in theirs]
    if not both:
        raise InputError(f"{one.folder} and {other.folder} share no item: nothing can be compared")
    if changed := [
        item.id for item, _, again, _ in both if (item.question, item.truth) != (again.question, again.truth)
    ]:
        raise InputError(
            f"{len(changed)} items, such as {changed[0]}, say another thing in {other.folder} than in {one.folder}: "
            "the benchmark was changed in between; run one of them again"
        )
    return [(item, made, again) for item, made, _, again in both]


def differences(sides: Mapping[str, Sides], places: Sequence[str], *, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Differences of means and medians with intervals and adjusted p, all from the same resamples.

    Args:
        sides: By name; items that either side lacks are left out of a score.
        places: The place of each item.
        seed: Of the draws.
    """
    if not sides:
        return {}
    names, place_of = np.unique(np.asarray(places), return_inverse=True)
    readers = {name: _reader(each) for name, each in sides.items()}
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in sides}
    for weights in _weights(len(names), seed):
        spread = weights[:, place_of]
        for name, read in readers.items():
            drawn[name].append(np.subtract(*read(spread)))
    ones = np.ones((1, len(place_of)))
    found, p = {}, {}
    for name, read in readers.items():
        a, b = (float(each[0]) for each in read(ones))
        told = np.concatenate(drawn[name])
        told = told[~np.isnan(told)]
        low, high = np.quantile(told, (0.025, 0.975))
        p[name] = p_value(told) if a != b or (told != 0).any() else 1.0
        found[name] = {
            "n": int(_both(sides[name]).sum()),
            "one": round(a, 4),
            "other": round(b, 4),
            "difference": [round(a - b, 4), [round(float(low), 4), round(float(high), 4)]],
            "p": round(p[name], 5),
        }
    for name, adjusted in holm(p).items():
        real = adjusted < LEVEL
        better = "one" if (found[name]["difference"][0] > 0) != (name in LOWER) else "other"
        found[name] |= {"p_adjusted": round(adjusted, 5), "real": real, "better": better if real else None}
    return found


def p_value(drawn: np.ndarray) -> float:
    """Two-sided, from (resamples,) differences: twice the share on the rarer side of zero, one resample added."""
    least = min((drawn <= 0).sum(), (drawn >= 0).sum())
    return float(min(1.0, 2 * (least + 1) / (len(drawn) + 1)))


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Holm's adjusted p by name: the k-th smallest of m times m − k + 1, never falling, at most 1."""
    adjusted, highest = {}, 0.0
    for rank, name in enumerate(sorted(p, key=p.__getitem__)):
        highest = max(highest, min(1.0, p[name] * (len(p) - rank)))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p}


def _sides(
    pairs: Sequence[tuple[Item, Prediction, Prediction]], verdicts: Sequence[Sequence[Verdict]]
) -> Iterator[tuple[str, Sides]]:
    located = np.array([item.kind == "locate" for item, _, _ in pairs])
    one, other = (Answers.of([(each[0], each[side]) for each in pairs]) for side in (1, 2))
    if located.any():
        far = [np.where(located, each.error_km, np.nan) for each in (one, other)]
        yield "median_km", Sides(*far, median=True)
        yield "geoscore", Sides(*(np.where(located, each.geoscore, np.nan) for each in (one, other)))
        hits = [within(each) for each in far]
        for name in hits[0]:
            yield name, Sides(hits[0][name], hits[1][name])
        yield "country", Sides(*(np.where(located, each.country_hit, np.nan) for each in (one, other)))
        for mass in MASSES:
            yield f"coverage_{mass}", Sides(*(_covered(each, mass) for each in (one, other)))
        yield "log_density", Sides(*(_log_density(each) for each in (one, other)))
    yield from _marks([item for item, _, _ in pairs], verdicts)


def _marks(items: Sequence[Item], verdicts: Sequence[Sequence[Verdict]]) -> Iterator[tuple[str, Sides]]:
    """Marks × 10 by type, of each judge that both runs have."""
    found = [{(v.judge, v.item): v.mark for v in each if not v.probe} for each in verdicts]
    judges = {judge for judge, _ in found[0]} & {judge for judge, _ in found[1]}
    for judge in sorted(judges, key=lambda each: (each != PARSER, each == LEXICAL, each)):
        for kind in (*PARSED, *IN_WORDS):
            asked = [item.id if item.question_type == kind else "" for item in items]
            values = [np.array([of.get((judge, each), np.nan) for each in asked]) * 100 / MOST for of in found]
            by = "parsed" if judge == PARSER else "lexical, not judged" if judge == LEXICAL else f"judged by {judge}"
            yield f"{kind} ({by})", Sides(*values)


def _covered(answers: Answers, mass: int) -> np.ndarray:
    made = answers.predictions
    return np.array([np.nan if p.covered is None else float(p.covered.get(mass, np.nan)) for p in made])


def _log_density(answers: Answers) -> np.ndarray:
    return np.array([np.nan if p.log_score is None else p.log_score for p in answers.predictions])


def _both(sides: Sides) -> np.ndarray:
    return ~np.isnan(sides.one) & ~np.isnan(sides.other)


def _reader(sides: Sides) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """From (resamples, items) weights to both sides' values a resample."""
    kept = np.flatnonzero(_both(sides))
    values = (sides.one[kept], sides.other[kept])

    def mean(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mine = weights[:, kept]
        with np.errstate(invalid="ignore"):
            return mine @ values[0] / mine.sum(1), mine @ values[1] / mine.sum(1)

    def median(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mine = weights[:, kept]
        return _median(values[0], mine), _median(values[1], mine)

    return median if sides.median else mean


def _median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Medians of (n,) values under (resamples, n) weights: where the mass reaches one half."""
    order = np.argsort(values, kind="stable")
    mass = np.cumsum(weights[:, order], axis=1)
    half = mass[:, -1:] / 2
    last = len(values) - 1
    low, high = (np.minimum((mass < half).sum(1), last), np.minimum((mass <= half).sum(1), last))
    return np.where(half[:, 0] > 0, (values[order][low] + values[order][high]) / 2, np.nan)


def _weights(places: int, seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    left = _resamples(places)
    while left:
        size = min(BLOCK, left)
        picked = rng.integers(places, size=(size, places))
        yield np.stack([np.bincount(row, minlength=places) for row in picked]).astype(float)
        left -= size


def _resamples(places: int) -> int:
    return RESAMPLES if places <= MANY else FEWER
