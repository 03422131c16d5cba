"""What judging came to: scores by type of question as GAEA-Bench counts them, failures by name, and the checks.

A type's score is its mean mark × 10 (0 to 100). Two averages are given, because both are in use: the mean of the types,
which is GAEA-Bench's, and the mean of the questions. Intervals are by the bootstrap over places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gaea.eval.agreement import agreement, length_effect
from gaea.eval.bootstrap import Asked, Bootstrap, Ordered
from gaea.eval.claims import ClaimChecker, Support
from gaea.eval.judge import prompt_sha256
from gaea.eval.judging import IN_WORDS, PARSED, Answered, Judging
from gaea.eval.verdicts import GOOD, LEXICAL, MOST, PARSER, Verdict, outcomes

TYPES = ("long", "short", "choice", "true_false")
LABELS: Mapping[bool, str] = {
    True: "lexical: word overlap and facts, no model judged; not to be compared with judged marks",
    False: "judged by a model; choices and true/false parsed",
}
_CLAIMS: tuple[Support, ...] = ("supported", "unsupported", "contradicted")


def summary(pairs: Sequence[Answered], verdicts: Sequence[Verdict], plan: Judging, *, seed: int = 0) -> dict[str, Any]:
    """Scores, failures and checks of one run.

    Args:
        pairs: Items with their predictions.
        verdicts: Of :func:`gaea.eval.judging.judge_run` with the same plan.
        plan: Who judged.
        seed: Of the bootstrap.

    Returns:
        JSON-ready. ``scores`` by type: ``n``, ``score`` with its interval, ``by``, ``outcomes``; ``mean of types``,
        ``mean of questions``, ``failed``, ``checks``, ``claims``.
    """
    name = plan.judge.name if plan.judge else LEXICAL
    first = {v.item: v for v in verdicts if not v.probe and v.judge in (PARSER, name)}
    marked = [(item, first[item.id]) for item, _ in pairs if item.id in first]
    told: dict[str, Any] = {
        "judge": name,
        "label": LABELS[plan.judge is None],
        "second judge": plan.second.name if plan.second else None,
        "form enforced": getattr(plan.judge, "enforced", None),
        "prompts": {kind: prompt_sha256(kind)[:16] for kind in IN_WORDS} if plan.judge else {},
        "n": len(marked),
    }
    if not marked:
        return told | {"scores": {}, "checks": {}, "claims": {}, "failed": 0}
    marks = np.array([v.mark for _, v in marked]) * 100 / MOST
    kinds = np.array([v.question_type for _, v in marked])
    found = Bootstrap([item.place for item, _ in marked], seed=seed).estimate(
        Asked(
            means={kind: np.where(kinds == kind, marks, np.nan) for kind in TYPES} | {"mean of questions": marks},
            ordered={"mean of types": (np.arange(len(marks)), _mean_of_means(marks, kinds))},
        )
    )
    scores = {}
    for kind in (each for each in TYPES if each in kinds):
        mine = [v for _, v in marked if v.question_type == kind]
        by = PARSER if kind in PARSED else name
        scores[kind] = {"n": len(mine), "score": found[kind], "by": by, "outcomes": outcomes(mine)}
    return told | {
        "scores": scores,
        "mean of types": found["mean of types"],
        "mean of questions": found["mean of questions"],
        "failed": sum(v.outcome not in GOOD for _, v in marked),
        "checks": _checks(verdicts, plan),
        "claims": claims(pairs),
    }


def claims(pairs: Sequence[Answered]) -> dict[str, Any]:
    """Statements of all answers in words against the facts of their items; {} where no item has facts."""
    checker = ClaimChecker(fact for item, _ in pairs for fact in item.truth.facts)
    checked = [
        (item.place, checker.check(said.text, item.truth.facts, item.question))
        for item, said in pairs
        if item.truth.facts and item.question_type in IN_WORDS and said.text.strip()
    ]
    if not checked:
        return {}
    counts = {name: np.array([made.count(name) for _, made in checked], float) for name in _CLAIMS}
    good, bad = counts["supported"], counts["contradicted"]

    def precision(weights: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return (weights @ good) / (weights @ (good + bad))

    found = Bootstrap([place for place, _ in checked]).estimate(
        Asked(
            {"answers with a contradiction": (bad > 0).astype(float)},
            {},
            {"precision": (np.arange(len(good)), precision)},
        )
    )
    return {"answers": len(checked), **{name: int(counts[name].sum()) for name in _CLAIMS}, **found}


def _mean_of_means(marks: np.ndarray, kinds: np.ndarray) -> Ordered:
    """The mean of the means of the types that a resample has."""
    inside = np.stack([kinds == kind for kind in np.unique(kinds)], 1).astype(float)

    def read(weights: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return np.asarray(np.nanmean((weights @ (inside * marks[:, None])) / (weights @ inside), axis=1))

    return read


def _checks(verdicts: Sequence[Verdict], plan: Judging) -> dict[str, Any]:
    """Two judges, order, and length; only where both verdicts came about as they should."""
    if plan.judge is None:
        return {}
    mine = {v.item: v for v in verdicts if v.judge == plan.judge.name and not v.probe and v.outcome == "judged"}
    told: dict[str, Any] = {
        "length": length_effect([v.words for v in mine.values()], [v.mark for v in mine.values()]),
        "order swapped": _beside(mine, [v for v in verdicts if v.probe == "swapped"]),
        "said twice": _beside(mine, [v for v in verdicts if v.probe == "longer"]),
    }
    if plan.second is not None:
        others = [v for v in verdicts if v.judge == plan.second.name and not v.probe]
        told["two judges"] = {
            kind: _beside({k: v for k, v in mine.items() if v.question_type == kind}, others) for kind in IN_WORDS
        } | {"all": _beside(mine, others)}
    return told


def _beside(mine: Mapping[str, Verdict], others: Sequence[Verdict]) -> dict[str, Any]:
    both = [(mine[v.item].mark, v.mark) for v in others if v.item in mine and v.outcome == "judged"]
    failed = sum(v.outcome not in (*GOOD, "no answer", "no reference") for v in others)
    return agreement([a for a, _ in both], [b for _, b in both]) | {"failed": failed}
