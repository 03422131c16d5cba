"""How far marks can be trusted: two judges on the same answers, one judge asked twice in another way, and length.

Kappa is Cohen's with quadratic weights over marks rounded to whole numbers (J. Cohen, Psychological Bulletin 70, 1968):
1 is full agreement, 0 what chance would give. Correlation is Pearson's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

FEWEST = 3
"""Pairs that a coefficient is given for."""


def agreement(one: Sequence[float], other: Sequence[float]) -> dict[str, Any]:
    """Two series of marks (0 to 10) of the same answers.

    Returns:
        ``n``, ``kappa``, ``pearson``, mean difference (other − one), mean absolute difference, and the share within one
        mark; None where it cannot be told.
    """
    a, b = np.asarray(one, float), np.asarray(other, float)
    told: dict[str, Any] = {"n": len(a)}
    if not len(a):
        return told | dict.fromkeys(("kappa", "pearson", "mean_difference", "mean_apart", "within_one"))
    return told | {
        "kappa": rounded(quadratic_kappa(a, b)),
        "pearson": rounded(pearson(a, b)),
        "mean_difference": rounded(float((b - a).mean())),
        "mean_apart": rounded(float(np.abs(b - a).mean())),
        "within_one": rounded(float((np.abs(b - a) <= 1).mean())),
    }


def quadratic_kappa(one: np.ndarray, other: np.ndarray) -> float:
    """Cohen's kappa with quadratic weights of (n,) marks; NaN where chance leaves nothing to disagree about."""
    a, b = np.rint(one), np.rint(other)
    seen = float(((a - b) ** 2).mean()) if len(a) else float("nan")
    by_chance = float(((a[:, None] - b[None, :]) ** 2).mean()) if len(a) else 0.0
    return 1 - seen / by_chance if by_chance else float("nan")


def pearson(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of (n,) numbers; NaN where one of them does not vary, or of fewer than three."""
    if len(one) < FEWEST or not one.std() or not other.std():
        return float("nan")
    return float(np.corrcoef(one, other)[0, 1])


def length_effect(words: Sequence[int], marks: Sequence[float]) -> dict[str, Any]:
    """Whether longer answers are marked higher: correlation of marks with the logarithm of their words."""
    told = pearson(np.log1p(np.asarray(words, float)), np.asarray(marks, float))
    return {"n": len(words), "pearson": rounded(told), "median_words": float(np.median(words)) if len(words) else None}


def rounded(value: float) -> float | None:
    """Four decimals; None for NaN, which JSON cannot say."""
    return None if np.isnan(value) else round(value, 4)
